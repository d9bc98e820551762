"""The benchmark of selection runs from first to last, goes on, and says what is not measured."""

from __future__ import annotations

import importlib.util
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARK = ROOT / "benchmarks" / "active_learning"
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Its program; what it imports from its folder goes again."""
    names = ("cases", "arm", "backtest", "table", "run")
    monkeypatch.syspath_prepend(str(BENCHMARK))
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location("benchmarks_active_learning_run", BENCHMARK / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def test_labels_needed_are_read_off_between_rounds(run: ModuleType) -> None:
    curve = [[100, 0.5], [200, 0.7], [300, 0.6], [400, 0.9]]
    assert run.table.needed(curve, 0.6) == pytest.approx(150)
    assert run.table.needed(curve, 0.8) == pytest.approx(300 + 100 * 2 / 3)
    assert run.table.needed(curve, 0.4) == 100
    assert run.table.needed(curve, 0.95) is None


def test_the_table_says_what_has_not_been_measured(run: ModuleType) -> None:
    told = {"case": "x", "at": 9, "more": 5, "low": 0.0, "value": 0.01, "high": 0.02}
    lines = [
        {"case": "x", "seed": 0, "strategy": "random", "target": 0.8, "curve": [[100, 0.6], [200, 0.8]]},
        {"case": "x", "seed": 0, "strategy": "margin", "target": 0.8, "curve": [[50, 0.6], [100, 0.8]]},
        {"case": "x", "seed": 0, "strategy": "cluster", "target": 0.8, "curve": [[100, 0.6], [200, 0.7]]},
        {**told, "seed": 0, "came": 0.015, "held": True},
        {**told, "seed": 1, "came": 0.03, "held": False},
    ]
    asked = [{"case": "x", "strategy": name} for name in ("random", "margin", "cluster", "entropy")]
    text = run.table.report({}, lines, asked)
    assert "| margin | 1 | 100 | 50% |" in text
    assert "| cluster | 1 | not reached by 1 of 1 seeds |" in text
    assert "| entropy | 0 | not yet measured | not yet measured |" in text
    assert "Of 2 intervals, which should hold the truth 8 times of 10, 1 did (50%)" in text
    assert "| x | 9 | 5 | 2 | +1.0 ± 1.0 | +2.2 | 1 of 2 |" in text


@pytest.mark.e2e
def test_the_tiniest_size_runs_and_goes_on(run: ModuleType) -> None:
    if not DATA.exists():
        pytest.skip("the real data are not beside the repository")
    lines: list[dict] = []
    size = run.SIZES["tiny"]
    asked = Namespace(cases=["sign-digits"], seeds=1, data=DATA, wrong=0.0, scratch=None)

    run.measure(asked, size, lines, lines.append)

    arms = [line for line in lines if "strategy" in line]
    assert [line["strategy"] for line in arms] == ["random", "mix"]
    assert [labels for labels, _ in arms[0]["curve"]] == [24, 48, 72]
    assert arms[0]["target"] == arms[0]["curve"][-1][1] > 0.2
    assert all(0 <= accuracy <= 1 for line in arms for _, accuracy in line["curve"])
    (test,) = (line for line in lines if "held" in line)
    assert test["low"] <= test["value"] <= test["high"]
    # What has its line is not done again.
    before = [line for line in lines if line.get("strategy") != "mix"]
    run.measure(asked, size, before, before.append)
    again = before[-1]
    assert len(before) == len(lines)
    assert again["curve"] == arms[1]["curve"]
