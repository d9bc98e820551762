"""From what is known follows what is done: each reason for a round, and each against one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from goldloop.rounds.config import WatchConfig
from goldloop.rounds.decision import DAY, MOST_ATTEMPTS, Facts, Round, Seen, decide

NOW = 1_000_000.0
BEFORE = Round(number=1, began=NOW - 40_000, ended=NOW - 39_000, seconds=1000.0, outcome="promoted")
QUIET = Facts(now=NOW, rounds=(BEFORE,))
JUST_ENDED = replace(BEFORE, number=2, began=NOW - 100, ended=NOW - 60, seconds=40.0)
CUT_OFF = Round(number=2, began=NOW - 50, seconds=45.0)

CASES = {
    "nothing is new": (QUIET, {}, "wait", (), ()),
    "the first": (Facts(now=NOW), {}, "begin", ("first",), ()),
    "the first again, after it failed": (
        Facts(now=NOW, rounds=(replace(BEFORE, outcome="failed"),)), {}, "begin", ("first",), (),
    ),
    "enough items": (replace(QUIET, items=100), {}, "begin", ("items",), ()),
    "too few items": (replace(QUIET, items=99), {}, "wait", (), ("too-few-items",)),
    "items begin nothing": (replace(QUIET, items=5000), {"new_items": None}, "wait", (), ()),
    "enough labels": (replace(QUIET, labels=50), {}, "begin", ("labels",), ()),
    "too few labels": (replace(QUIET, labels=49), {}, "wait", (), ("too-few-labels",)),
    "too few of both": (
        replace(QUIET, labels=1, items=1), {}, "wait", (), ("too-few-labels", "too-few-items"),
    ),
    "nothing left to do": (replace(QUIET, labels=1, idle=True), {}, "begin", ("idle",), ()),
    "nothing left, nothing done": (replace(QUIET, idle=True), {}, "wait", (), ()),
    "drift": (replace(QUIET, drift=("input",)), {}, "begin", ("drift",), ()),
    "on schedule": (QUIET, {"every_hours": 11}, "begin", ("schedule",), ()),
    "before the schedule": (QUIET, {"every_hours": 12}, "wait", (), ()),
    "several at once": (
        replace(QUIET, items=200, labels=60, drift=("labels",)), {}, "begin",
        ("items", "labels", "drift"), (),
    ),
    "cool-down": (
        replace(QUIET, labels=50, rounds=(BEFORE, JUST_ENDED)), {}, "wait", ("labels",), ("cool-down",),
    ),
    "cool-down is over": (
        replace(QUIET, labels=50, rounds=(BEFORE, JUST_ENDED)), {"cool_down_minutes": 1}, "begin",
        ("labels",), (),
    ),
    "cool-down of nothing": (replace(QUIET, rounds=(BEFORE, JUST_ENDED)), {}, "wait", (), ()),
    "rounds of a day": (
        replace(QUIET, labels=50, rounds=(BEFORE, BEFORE)), {"rounds_per_day": 2}, "wait", ("labels",),
        ("rounds",),
    ),
    "rounds of the day before": (
        replace(QUIET, labels=50, rounds=(replace(BEFORE, began=NOW - DAY - 1), BEFORE)),
        {"rounds_per_day": 2}, "begin", ("labels",), (),
    ),
    "seconds of a day": (
        replace(QUIET, labels=50), {"seconds_per_day": 1000}, "wait", ("labels",), ("seconds",),
    ),
    "seconds are left": (replace(QUIET, labels=50), {"seconds_per_day": 1001}, "begin", ("labels",), ()),
    "drift waits for the cool-down too": (
        replace(QUIET, drift=("input",), rounds=(JUST_ENDED,)), {}, "wait", ("drift",), ("cool-down",),
    ),
    "cut off": (replace(QUIET, cut_off=CUT_OFF), {}, "go-on", ("cut-off",), ()),
    "cut off, and no cool-down": (
        replace(QUIET, cut_off=CUT_OFF, rounds=(JUST_ENDED,)), {"rounds_per_day": 1}, "go-on",
        ("cut-off",), (),
    ),
    "cut off, and the seconds are spent": (
        replace(QUIET, cut_off=CUT_OFF), {"seconds_per_day": 1045}, "wait", ("cut-off",), ("seconds",),
    ),
    "cut off too often": (
        replace(QUIET, cut_off=replace(CUT_OFF, attempts=MOST_ATTEMPTS)), {}, "give-up", ("cut-off",), (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_decided(case):
    facts, settings, action, reasons, against = CASES[case]
    decision = decide(facts, WatchConfig.model_validate(settings))
    assert (decision.action, decision.reasons, decision.against) == (action, reasons, against)
    assert decision.told


def test_a_decision_tells_its_figures():
    facts = replace(QUIET, labels=50, rounds=(BEFORE, JUST_ENDED))
    decision = decide(facts, WatchConfig())
    assert "50 new labels" in decision.told
    assert "60 s ago" in decision.told
    assert decision.figures == {"items": 0, "labels": 50, "rounds": 2, "seconds": 1040.0}


def test_the_same_decision_with_other_figures_need_not_be_told_twice():
    few = [decide(replace(QUIET, labels=count), WatchConfig()) for count in (1, 2)]
    assert few[0].same == few[1].same
    assert few[0].told != few[1].told
    assert few[0].same != decide(replace(QUIET, labels=50), WatchConfig()).same


@pytest.mark.parametrize(
    ("now", "left"),
    [
        (Seen(version="a@1", names=("input",), came=60), ()),
        (Seen(version="a@1", names=("input", "labels"), came=60), ("labels",)),
        (Seen(version="a@1", names=("input",), came=109), ()),
        (Seen(version="a@1", names=("input",), came=110), ("input",)),
        (Seen(version="a@2", names=("input",), came=60), ("input",)),
        (Seen(version="a@2", names=(), came=600), ()),
    ],
    ids=["the-same", "another-thing", "few-items-more", "many-items-more", "another-version", "none"],
)
def test_drift_that_a_round_has_answered_begins_no_other(now, left):
    answered = Seen(version="a@1", names=("input",), came=60)
    assert now.beyond(answered, 50) == left
    assert now.beyond(None, 50) == now.names
