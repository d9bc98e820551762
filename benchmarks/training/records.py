"""What was measured: lines of JSON, appended as they come, each with the machine that it was measured on."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from goldloop.training.record import commit, hardware

PACKAGES = ("goldloop", "torch", "transformers", "accelerate", "datasets", "torchvision", "numpy")


class Measurements:
    """The measurements in a file.

    Args:
        file: lines of JSON.
        machine: where new ones are made.
    """

    def __init__(self, file: Path, machine: dict[str, Any]) -> None:
        self.file = file
        self.machine = machine
        self.lines: list[dict[str, Any]] = []
        if file.is_file():
            self.lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    def has(self, **place: Any) -> bool:
        """Whether it was measured without an error, on the same device with as many threads."""
        same = ("device", "cpus", "threads")
        return any(
            place.items() <= line.items()
            and "error" not in line
            and all(line["machine"][name] == self.machine[name] for name in same)
            for line in self.lines
        )

    def add(self, found: dict[str, Any], **place: Any) -> None:
        """Keep a measurement."""
        line = {**place, **found, "machine": self.machine}
        self.lines.append(line)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def of(self, case: str, layer: str, arm: str) -> dict[int, dict[str, Any]]:
        """By repeat; the last one counts where there are several."""
        return {
            line["repeat"]: line
            for line in self.lines
            if (line["case"], line["layer"], line["arm"]) == (case, layer, arm) and "error" not in line
        }


def machine(threads: int) -> dict[str, Any]:
    """Hardware and versions."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {
        **hardware(device, 1),
        "threads": threads,
        "processor": _processor(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": commit(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
