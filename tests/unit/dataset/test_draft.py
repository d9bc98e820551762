"""Commits, transfers and collections that are killed, at every moment at which they touch a file.

Commits are interrupted, too, and run out of disk.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from goldloop.dataset.draft import ASIDE, sweep

pytestmark = pytest.mark.long

PROGRAM = Path(__file__).with_name("program.py")


@pytest.mark.parametrize(
    ("way", "moments"),
    [
        ("kill", 30),
        ("amend", 30),
        ("interrupt", 30),
        ("full", 5),
        ("publish", 30),
        ("fetch", 30),
        ("gc", 30),
    ],
)
def test_what_is_cut_off_lists_nothing_half_written_and_the_next_one_works(tmp_path, way, moments):
    assert cut_off(way, tmp_path) >= moments


@pytest.mark.parametrize("way", ["kill", "amend", "publish", "gc"])
def test_what_is_killed_at_any_time_lists_nothing_half_written_and_the_next_one_works(tmp_path, way):
    # How many of the ten were done before is the machine's affair.
    assert cut_off(way, tmp_path, 7, 10) <= 10


def cut_off(way: str, folder: Path, *more: int) -> int:
    """How often it was."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM), way, str(folder), *map(str, more)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout)


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path):
    (tmp_path / f"{ASIDE}folder" / "data").mkdir(parents=True)
    (tmp_path / f"{ASIDE}log").touch()
    (tmp_path / "log.jsonl").touch()
    (tmp_path / "0123").mkdir()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0123", "log.jsonl"]
