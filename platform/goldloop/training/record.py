"""What is kept of a finished run, and what made it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch

from goldloop.errors import TrainingError
from goldloop.training.throughput import Throughput

RUN_FILE = "run.json"
_PACKAGES = ("goldloop", "torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy", "pillow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run.

    Attributes:
        id: the name of its folder.
        folder: where everything of it lies.
        metric: the task's metric.
        value: what the kept weights reached on the validation split; None where that is empty.
        metrics: every figure that they reached there.
        chosen: whether the best weights or the last ones were kept.
        throughput: of the last session; None where it had nothing left to train.
        seconds: from start to end over all sessions, preparation and evaluation included.
        epochs: how many were begun.
        steps: how many were done.
        spent: seconds of the last session in which no step was done, by what they were spent on:
            `preparation`, `compile`, `evaluation`, `checkpoints` (to copy them, or to wait for the disk; they
            are written while steps are done); and as a `whole`.
    """

    id: str
    folder: Path
    metric: str
    value: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    chosen: Literal["best", "last"]
    throughput: Throughput | None
    seconds: float
    epochs: int
    steps: int
    spent: Mapping[str, float] = field(default_factory=dict)

    @property
    def model(self) -> Path:
        """The model folder."""
        return self.folder / "model"

    @property
    def report(self) -> Path:
        """The page about it."""
        return self.folder / "report.html"

    def summary(self) -> str:
        """One line about it."""
        reached = (
            "no validation split" if self.value is None else f"validation {self.metric} {self.value:.4f}"
        )
        line = f"{reached} after {self.steps} steps ({self.epochs} epochs) in {self.seconds:.0f} s"
        if self.throughput is None:
            return line
        return f"{line}, {self.throughput.samples_per_second:.0f} samples/s"

    def write(self, identity: str, made_by: Mapping[str, Any]) -> None:
        """Write `run.json`, which makes the run a finished one."""
        figures = asdict(self)
        del figures["folder"]
        text = json.dumps({"identity": identity, "run": figures, **made_by}, indent=2, ensure_ascii=False)
        aside = self.folder / f".{RUN_FILE}.{os.getpid()}"
        with aside.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.folder / RUN_FILE)

    @classmethod
    def read(cls, folder: Path, identity: str) -> Run | None:
        """The finished run in a folder; None where there is none.

        Raises:
            TrainingError: the folder holds another run, or its record cannot be read.
        """
        file = folder / RUN_FILE
        if not file.exists():
            return None
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            figures = dict(content["run"])
            speed = figures.pop("throughput")
            run = cls(folder=folder, throughput=None if speed is None else Throughput(**speed), **figures)
            found = content["identity"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                "the run's record cannot be read",
                where=file,
                found=f"{type(error).__name__}: {error}",
                remedy="Remove the run's folder to train again",
            ) from error
        check_identity(found, identity, file)
        return run


def check_identity(found: str, expected: str, where: Path) -> None:
    """Refuse to take another run's state for this one's.

    Raises:
        TrainingError: they differ.
    """
    if found != expected:
        raise TrainingError(
            "the folder holds a run with another configuration or other data",
            where=where,
            remedy="Give the run a folder of its own",
        )


def packages() -> dict[str, str]:
    """Name -> version of what training stands on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware(device: torch.device, processes: int) -> dict[str, Any]:
    """What the run computes on."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": processes,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def commit() -> str | None:
    """The git commit of the present folder; None outside a repository."""
    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() if done.returncode == 0 else None
