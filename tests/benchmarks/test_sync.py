"""The benchmark of sync runs from its first step to its last, and its table says what was not measured."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "sync"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Its program; what it imports from its folder goes again."""
    names = ("load", "servers", "step", "run")
    monkeypatch.syspath_prepend(str(BENCHMARK))
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location("benchmarks_sync_run", BENCHMARK / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def test_the_table_says_what_has_not_been_measured(run: ModuleType) -> None:
    line = {"server": "sqlite", "size": 1_000, "seconds": 2.0, "base": 70, "peak": 90, "requests": 5}
    measured = [
        {**line, "step": "raw import", "tasks": 1_000},
        {**line, "step": "goldloop push", "tasks": 900},
        {**line, "step": "SDK tasks.create", "tasks": 40},
    ]
    text = run.report(run.facts("2000-01-01"), measured, [1_000])
    assert "| 1,000 | raw import | 2.0 | 500 | 1.00 | 5 | 90 | 70 |" in text
    assert "| 1,000 | goldloop push | 2.0 | 450 | 0.90 | 5 | 90 | 70 |" in text
    assert "| 1,000 | SDK tasks.create | 50 (extrapolated from 40) | 20 | 0.04 |" in text
    assert "| 1,000 | SDK export | not yet measured |" in text
    assert text.count("not yet measured") == len(run.steps("sqlite")) - 1 - 3
    assert "postgresql" not in text


def test_what_was_measured_several_times_is_told_by_its_median(run: ModuleType) -> None:
    line = {"server": "sqlite", "size": 1_000, "tasks": 1_000, "base": 70, "peak": 90, "requests": 5}
    measured = [{**line, "step": "goldloop push", "seconds": seconds} for seconds in (4.0, 1.0, 2.0)]
    text = run.report(run.facts("2000-01-01"), measured, [1_000])
    assert "| 1,000 | goldloop push | 2.0 | 500 |" in text


def test_a_table_of_some_steps_has_no_others(run: ModuleType) -> None:
    line = {"server": "sqlite", "size": 1_000, "tasks": 1_000, "base": 70, "peak": 90, "requests": 5}
    measured = [{**line, "step": "goldloop push", "seconds": 2.0}]
    text = run.report(run.facts("2000-01-01"), measured, [1_000], ["goldloop push"])
    assert [row for row in text.splitlines() if row.startswith("| 1,000")] == [
        "| 1,000 | goldloop push | 2.0 | 500 |  | 5 | 90 | 70 |"
    ]


def test_sizes_that_were_measured_to_the_end_are_not_measured_again(run: ModuleType) -> None:
    whole = [
        {"server": "sqlite", "size": 1_000, "step": step}
        for step in run.ORDER
        for _ in range(5 if step in run.REPEATED else 1)
    ]
    part = [{"server": "sqlite", "size": 10_000, "step": step} for step in run.ORDER[:-1]]
    assert run.missing("sqlite", [1_000, 10_000, 100_000], whole + part, run.ORDER) == [10_000, 100_000]
    assert run.missing("sqlite", [1_000], whole[1:], run.ORDER) == [1_000]
    assert run.missing("sqlite", [10_000], whole + part, run.ORDER[:3]) == []
    assert run.missing("postgresql", [1_000], whole, run.ORDER) == [1_000]
    assert list(run.measure("sqlite", [], run.ORDER)) == []


@pytest.mark.e2e
def test_every_step_runs(run: ModuleType) -> None:
    lines = list(run.measure("sqlite", [40], run.ORDER))
    assert [line["step"] for line in lines] == list(run.ORDER)
    assert all(line["tasks"] == 40 for line in lines)
