from __future__ import annotations

import numpy

from goldloop.evaluation.gates import gates
from goldloop.evaluation.report import Report
from goldloop.evaluation.slices import slices_of

COMPARISONS = 60


def gate(**fields):
    return gates.create({"kind": "no-worse-on-slices", **fields})


def told(report: Report, right, sources) -> Report:
    """The same report with other answers and with sources."""
    items = tuple(
        item.model_copy(update={"agreement": float(is_right), "circumstances": {"source": source}})
        for item, is_right, source in zip(report.items, right, sources, strict=True)
    )
    return report.model_copy(update={"items": items, "slices": slices_of(items)})


def test_better_on_the_whole_and_worse_on_one_slice_is_refused_with_that_slice(make_report):
    report = make_report(items=400)
    sources = ["phone"] * 60 + ["scanner"] * 340
    before = numpy.arange(400) % 5 != 0
    now = numpy.arange(400) % 20 != 0
    now[:60] = numpy.arange(60) % 2 == 0
    challenger, champion = told(report, now, sources), told(report, before, sources)
    assert challenger.mean_agreement > champion.mean_agreement
    verdict = gate().judge(challenger, champion)
    assert not verdict.passed
    assert "source 'phone'" in verdict.explanation
    assert verdict.examples
    phones = {item.key for item in challenger.items if item.circumstances["source"] == "phone"}
    assert set(verdict.examples) <= phones
    assert gate(margin=0.5).judge(challenger, champion).passed, "a loss within the margin is nobody's concern"


def test_every_slice_that_lost_is_named(make_report):
    report = make_report(items=400)
    sources = ["phone"] * 60 + ["fax"] * 60 + ["scanner"] * 280
    before = numpy.ones(400, bool)
    now = before.copy()
    now[:60] = numpy.arange(60) % 2 == 0
    now[60:120] = numpy.arange(60) % 3 != 0
    verdict = gate().judge(told(report, now, sources), told(report, before, sources))
    assert not verdict.passed
    assert verdict.explanation.startswith("2 of 3 slices lost")
    assert "source 'phone'" in verdict.explanation
    assert "source 'fax'" in verdict.explanation
    assert "scanner" not in verdict.explanation
    assert verdict.figure == -0.5


def test_equally_good_models_are_refused_no_more_often_than_stated(make_report):
    report = make_report(items=300)
    refused = 0
    for seed in range(COMPARISONS):
        generator = numpy.random.default_rng(seed)
        sources = generator.choice(list("abcdef"), 300).tolist()
        own, rival = (told(report, generator.random(300) < 0.85, sources) for _ in range(2))
        refused += not gate().judge(own, rival).passed
    # Of 60 at 5% each, more than 7 are seen once in a thousand times.
    assert refused <= 8


def test_without_a_champion_there_is_nothing_to_lose(make_report):
    assert gate().judge(make_report(), None).passed


def test_only_the_circumstances_that_are_named_count(make_report):
    report = make_report(items=400)
    sources = ["phone"] * 60 + ["scanner"] * 340
    awful = told(report, [False] * 60 + [True] * 340, sources)
    assert gate(by=["length"]).judge(awful, told(report, [True] * 400, sources)).passed
    assert not gate(by=["source"]).judge(awful, told(report, [True] * 400, sources)).passed
