"""The script of the closed loop's benchmark, its first two happenings: a real watcher, killed, ends alike."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "closed_loop" / "run.py"


def test_a_watcher_that_is_killed_twice_ends_as_one_that_is_left_alone(tmp_path: Path):
    command = [sys.executable, str(SCRIPT), "--minutes", "0", "--happenings", "2", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (report,) = tmp_path.glob("*.md")
    told = report.read_text(encoding="utf-8")
    assert "The final states are equal" in told
    assert "2 kills of the watcher and 3 starts" in told
    assert "never said" not in done.stdout
