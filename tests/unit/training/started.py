"""Runs of `program.py` in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("program.py")


def start(*arguments: object, launcher: tuple[str, ...] = ()) -> subprocess.Popen:
    command = [sys.executable, *launcher, str(PROGRAM), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def end(process: subprocess.Popen, expected: int = 0) -> None:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == expected, output


def outcome(folder: Path) -> tuple[bytes, list[dict]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        for timed in ("samples_per_second", "speed"):
            line.pop(timed, None)
    return (folder / "model" / "model.safetensors").read_bytes(), lines
