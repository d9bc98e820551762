from __future__ import annotations

from goldloop.evaluation.gates import gates
from goldloop.evaluation.slices import slices_of


def gate(value, **fields):
    return gates.create({"kind": "slice-at-least", "value": value, **fields})


def with_sources(report, wrong_in):
    """The first sixty of 300 items are of one source, of which so many are wrong; all else is right."""
    items = tuple(
        item.model_copy(
            update={
                "agreement": float(not number < wrong_in),
                "circumstances": {"source": "phone" if number < 60 else "scanner"},
            }
        )
        for number, item in enumerate(report.items)
    )
    return report.model_copy(update={"items": items, "slices": slices_of(items)})


def test_a_slice_below_the_value_is_refused_by_its_name_with_its_items(make_report):
    report = with_sources(make_report(items=300), 30)
    verdict = gate(0.8).judge(report, None)
    assert not verdict.passed
    assert verdict.figure == 0.5
    assert "source 'phone': agreement 0.500" in verdict.explanation
    assert "on 60 items" in verdict.explanation
    assert set(verdict.examples) <= {item.key for item in report.items[:30]}


def test_a_slice_that_may_reach_the_value_passes(make_report):
    report = with_sources(make_report(items=300), 9)
    assert gate(0.9).judge(report, None).passed, "0.85 of 60 items may well be 0.9"
    assert not gate(0.97).judge(report, None).passed


def test_slices_of_few_items_do_not_count(make_report):
    report = with_sources(make_report(items=300), 30)
    assert gate(0.8, fewest=61).judge(report, None).passed


def test_a_circumstance_that_the_report_does_not_know_is_refused_with_those_it_does(make_report):
    verdict = gate(0.8, by=["camera"]).judge(with_sources(make_report(items=300), 0), None)
    assert not verdict.passed
    assert "no slices by camera, only by source" in verdict.explanation
