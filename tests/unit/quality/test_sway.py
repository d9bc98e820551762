"""Planted answers: what is known of them is what is found."""

from __future__ import annotations

import random

import pytest

from goldloop.quality.in_words import sway_found
from goldloop.quality.sway import given_after, sway
from goldloop.records import Annotation, Suggestion
from goldloop.tasks import tasks

TASK = tasks.create({"kind": "text-classification", "classes": ["a", "b"]})
BEFORE, MADE, AFTER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00.000+00:00", "2026-01-03T00:00:00Z"


def _act(key: str, annotator: str = "ada", created: str = AFTER, seconds: float | None = None) -> Annotation:
    return Annotation(
        id=1, task_id=1, key=key, annotator=annotator, results=(), cancelled=False,
        created_at=created, updated_at=created, lead_time=seconds,
    )  # fmt: skip


def _suggestion(
    key: str, target: str = "a", shown: bool = True, model: str = "m/1", at: str = MADE
) -> Suggestion:
    return Suggestion(key=key, model=model, target=target, shown=shown, made_at=at)


def _planted(count: int, follows: float, seed: int = 0):
    """People are right in 80%; those who see the suggestion, right in 60%, follow it with a chance."""
    chance = random.Random(seed)
    suggestions, answers, acts = [], {}, []
    for number in range(count):
        key, shown, truth = f"k{number}", number % 2 == 0, chance.choice("ab")
        other = "b" if truth == "a" else "a"
        suggested = truth if chance.random() < 0.6 else other
        suggestions.append(_suggestion(key, suggested, shown))
        own = truth if chance.random() < 0.8 else other
        answers[key] = {"ada": suggested if shown and chance.random() < follows else own}
        acts.append(_act(key, seconds=2.0 if shown else 5.0))
    return given_after(TASK, suggestions, answers, acts)


def test_people_who_follow_are_found_to_and_by_how_much():
    # Unseen they agree in 0.6 * 0.8 + 0.4 * 0.2 = 0.56; seen, half of the rest comes over: 0.78.
    found = sway(_planted(4000, follows=0.5))
    assert found is not None
    assert found.difference == pytest.approx(0.22, abs=0.04)
    assert found.interval is not None
    assert found.interval[0] < 0.22 < found.interval[1]
    assert found.interval[0] > 0
    assert (found.shown.items, found.blind.items) == (2000, 2000)
    assert (found.shown.seconds, found.blind.seconds) == (2.0, 5.0)


def test_people_who_do_not_are_found_not_to():
    found = sway(_planted(2000, follows=0))
    assert found is not None
    assert found.interval is not None
    assert found.interval[0] < 0 < found.interval[1]


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    held = 0
    for seed in range(60):
        found = sway(_planted(400, follows=0.5, seed=seed))
        assert found is not None
        assert found.interval is not None
        held += found.interval[0] <= 0.22 <= found.interval[1]
    assert held >= 51


def test_only_what_came_after_a_suggestion_counts_and_the_last_one_before_it():
    suggestions = [
        _suggestion("a", "a"),
        _suggestion("a", "b", model="m/2", at="2026-02-01T00:00:00+00:00"),
        _suggestion("b", "a"),
        _suggestion("c", "b", shown=False),
    ]
    answers = {key: {"ada": "a", "bob": "a"} for key in "abcd"}
    acts = [
        _act("a"),
        _act("a", "bob", "2026-02-02T00:00:00Z"),
        _act("b", created=BEFORE),
        _act("c"),
        _act("d"),
    ]
    found = {
        (each.key, each.annotator): (each.shown, each.agreement)
        for each in given_after(TASK, suggestions, answers, acts)
    }
    assert found == {("a", "ada"): (True, 1), ("a", "bob"): (True, 0), ("c", "ada"): (False, 0)}


def test_who_has_seen_another_models_answer_is_on_neither_side():
    suggestions = [_suggestion("a", shown=True)]
    suggestions += [_suggestion("a", shown=False, model="m/2", at="2026-01-02T12:00:00+00:00")]
    assert given_after(TASK, suggestions, {"a": {"ada": "a"}}, [_act("a")]) == []


def test_too_few_items_tell_nothing():
    assert sway([]) is None
    assert sway(_planted(8, follows=0.5)) is None
    assert sway([each for each in _planted(200, follows=0.5) if each.shown]) is None


@pytest.mark.parametrize(
    ("follows", "state", "told"),
    [(0.5, "act", "sway annotators by +"), (0, "fine", "No sign")],
    ids=["yes", "no"],
)
def test_it_is_said_in_words(follows, state, told):
    finding = sway_found(sway(_planted(3000, follows)))
    assert (finding.kind, finding.state) == ("sway", state)
    assert told in finding.title
    assert len(finding.rows) == 2
    assert sway_found(None).state == "unknown"
