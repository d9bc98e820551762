"""A run as one page of HTML: what learned what, how it went, how fast, and where its time went.

Made from what the run's folder holds, `run.json` and `metrics.jsonl`, and `profile.json` if it was profiled.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldloop.errors import TrainingError
from goldloop.pages import template
from goldloop.pages.charts import Chart, Point, Series, number_text
from goldloop.training.profile import Profile
from goldloop.training.record import RUN_FILE

REPORT_FILE = "report.html"
METRICS_FILE = "metrics.jsonl"

EXPLAINED: dict[str, str] = {
    "samples_per_second": "examples trained on, over all processes",
    "tokens_per_second": "real tokens, without padding",
    "padded_tokens_per_second": "tokens with padding: what the network computed",
    "useful_token_share": "real tokens of all that were computed",
    "step_p50": "half of the steps took less",
    "step_p95": "19 of 20 steps took less",
    "data_wait_share": "of the time, in which the step waited for its data",
    "model_flops_per_second": "operations that the examples need, forward and backward, without padding",
    "ceiling_flops_per_second": "what matrix products reach on this device at this precision, measured",
    "model_flops_utilization": "of this ceiling, what the run made use of",
    "peak_memory_bytes": "most that the process held: allocated on the GPU, else resident in memory",
    "peak_reserved_bytes": "most that PyTorch took of the GPU's memory, free blocks included",
    "steps": "how many were timed, the first ones left out",
    "samples": "examples in these steps",
    "seconds": "how long these steps took",
    "warmup_steps": "first steps, left out: memory is allocated, kernels are chosen",
    "warmup_seconds": "how long these took",
    "compile_seconds": "for which the run stood still to be compiled",
    "recompiles": "how often more had to be compiled later: each time the run stands still, 0 is right",
    "syncs_per_step": "how often a step waits for the device, which then has nothing to do: 0 is right",
}
"""What each figure of `Throughput` means."""

_SPENT = {
    "preparation": "preparation",
    "compile": "compiling",
    "compute": "computing",
    "wait": "waiting for data",
    "evaluation": "evaluation",
    "checkpoints": "checkpoints",
    "rest": "the rest",
}
_MOST_METRICS = 8
_TEMPLATE = Path(__file__).with_name("run_report.html.jinja")


@dataclass(frozen=True, slots=True)
class Portion:
    """A piece of a bar.

    Attributes:
        part: names its color.
        name: what it is.
        seconds: how long it took.
        share: of the whole, in [0, 1].
    """

    part: str
    name: str
    seconds: float
    share: float


def write_report(folder: Path) -> Path:
    """Write the page of a finished run into its folder.

    Args:
        folder: with `run.json` and `metrics.jsonl`.

    Raises:
        TrainingError: the run is not finished, or its files cannot be read.
    """
    file = folder / REPORT_FILE
    aside = file.with_name(f".{REPORT_FILE}.{os.getpid()}")
    aside.write_text(page(folder), encoding="utf-8")
    aside.replace(file)
    return file


def page(folder: Path) -> str:
    """The page of a finished run.

    Raises:
        TrainingError: the run is not finished, or its files cannot be read.
    """
    record, lines = _read(folder)
    run, facts = record["run"], record.get("facts", {})
    losses = [line for line in lines if "loss" in line]
    scored = [line for line in lines if "metrics" in line]
    total = losses[-1]["total"] if losses else run["steps"]
    profile = Profile.read(folder)
    return template(_TEMPLATE).render(
        run=run,
        name=facts.get("name", run["id"]),
        version=facts.get("version"),
        checkpoint=_named(record["training"]["checkpoint"]),
        kind=record["task"]["kind"],
        total=total,
        best_step=next((line["step"] for line in reversed(scored) if line["best"]), None),
        evaluations=len(scored),
        learning=[*_learning(run["metric"], losses, scored), *_range_test(record.get("learning_rate"))],
        layers=_layers(record.get("layers", ())),
        speed=_speed(losses),
        throughput=[
            (_worded(name), figure(name, value), EXPLAINED.get(name, ""))
            for name, value in (run["throughput"] or {}).items()
            if value is not None
        ],
        headline=_headline(run),
        notes=record.get("notes", ()),
        spent=portions(run),
        profile=profile,
        parts=_profile_portions(profile),
        settings=list(_flat(record["training"])),
        made_by=_made_by(record),
        figure=figure,
        written=duration,
    )


def _read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        record = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        file = folder / METRICS_FILE
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        return record, [json.loads(line) for line in text.splitlines()]
    except (OSError, ValueError) as error:
        raise TrainingError(
            "the run's record cannot be read",
            where=folder,
            found=f"{type(error).__name__}: {error}",
            remedy="Finish the run first: `goldloop train` goes on where it was",
        ) from error


def _learning(
    metric: str, losses: Sequence[Mapping[str, Any]], scored: Sequence[Mapping[str, Any]]
) -> list[Chart]:
    charts = [
        Chart("Loss", "step", "loss", [Series("training loss", _points(losses, "loss"), smooth=True)]),
        Chart(
            "Learning rate",
            "step",
            "rate",
            [Series("learning rate", _points(losses, "learning_rate"))],
            from_zero=True,
        ),
    ]
    names = list(dict.fromkeys([metric, *(name for line in scored for name in line["metrics"])]))
    for name in names[:_MOST_METRICS]:
        points = [(line["step"], line["metrics"][name]) for line in scored if name in line["metrics"]]
        best = next((line for line in reversed(scored) if line["best"]), None)
        marked = None
        if name == metric and best is not None:
            value = best["metrics"][name]
            marked = ((best["step"], value), f"best: {value:.4f} at step {best['step']}")
        title = f"Validation {_worded(name)}"
        charts.append(Chart(title, "step", _worded(name), [Series(title, points)], marked=marked))
    return [chart for chart in charts if chart.drawable]


def _range_test(found: Mapping[str, Any] | None) -> list[Chart]:
    """How the loss went while the learning rate rose, where it was searched for."""
    if found is None or not found["rates"]:
        return []
    points = [(math.log10(rate), loss) for rate, loss in zip(found["rates"], found["losses"], strict=True)]
    marked = None
    if found["falls"]:
        chosen = math.log10(found["learning_rate"])
        nearest = min(points, key=lambda point: abs(point[0] - chosen))
        marked = (nearest, f"chosen: {found['learning_rate']:.2e}")
    name = "Range test of the learning rate"
    chart = Chart(name, "learning rate, as a power of 10", "loss", [Series(name, points)], marked=marked)
    return [chart] if chart.drawable else []


def _layers(learning: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Layers that learn otherwise than others: which, how many of their numbers, how fast, from when on."""
    if len(learning) < 2:
        return []
    rows = []
    for each in learning:
        begins = "never" if each["begins"] is None else f"epoch {number_text(each['begins'])}"
        begins = "the start" if each["begins"] == 0 else begins
        rows.append((each["layers"], f"{each['parameters']:,}", number_text(each["share"]), begins))
    return rows


def _speed(losses: Sequence[Mapping[str, Any]]) -> list[Chart]:
    live = [{"step": line["step"], **line["speed"]} for line in losses if line.get("speed")]
    # A session's first figures have its warm-up in them.
    samples = _points(live, "samples_per_second") or _points(losses, "samples_per_second")[1:]
    charts = [
        Chart("Examples", "step", "samples/s", [Series("samples per second", samples)], from_zero=True),
        Chart(
            "Tokens",
            "step",
            "tokens/s",
            [
                Series("real", _points(live, "tokens_per_second")),
                Series("with padding", _points(live, "padded_tokens_per_second")),
            ],
            from_zero=True,
        ),
        *(
            Chart(title, "step", y, [Series(title, _points(live, name))], percent=True, from_zero=True)
            for name, title, y in (
                ("useful_token_share", "Useful tokens", "share of all"),
                ("data_wait_share", "Waiting for data", "share of the time"),
                ("model_flops_utilization", "Use of the device", "share of its ceiling"),
            )
        ),
        Chart(
            "Memory",
            "step",
            "GB at most",
            [Series("peak memory", [(x, y / 1e9) for x, y in _points(live, "peak_memory_bytes")])],
            from_zero=True,
        ),
    ]
    return [chart for chart in charts if chart.drawable]


def _points(lines: Sequence[Mapping[str, Any]], name: str) -> list[Point]:
    return [(line["step"], line[name]) for line in lines if line.get(name) is not None]


def portions(run: Mapping[str, Any]) -> list[Portion]:
    """Where the time of a run's last session went; empty where it was not written down.

    Args:
        run: figures as in `run.json`; `spent` has the seconds of `preparation`, `compile`, `evaluation`,
            `checkpoints` and of the session as a `whole`.
    """
    spent = dict(run.get("spent") or {})
    speed = run.get("throughput")
    if "whole" not in spent or speed is None:
        return []
    whole = spent.pop("whole")
    training = speed["seconds"] + speed["warmup_seconds"]
    spent["wait"] = speed["data_wait_share"] * speed["seconds"]
    spent["compute"] = max(training - spent["wait"], 0.0)
    spent["rest"] = max(whole - sum(spent.values()), 0.0)
    whole = sum(spent.values())
    return [
        Portion(part, name, spent[part], spent[part] / whole)
        for part, name in _SPENT.items()
        if spent.get(part, 0.0) > 0
    ]


def _profile_portions(profile: Profile | None) -> list[Portion]:
    if profile is None:
        return []
    return [Portion(part, name, seconds, share) for part, (name, seconds, share) in profile.rows().items()]


def _headline(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The few figures that stand under the result."""
    speed = run["throughput"] or {}
    shown = [
        ("took", duration(run["seconds"])),
        ("steps", f"{run['steps']:,}"),
        ("epochs", f"{run['epochs']:,}"),
    ]
    shown += [
        (label, figure(name, speed[name]))
        for name, label in (
            ("samples_per_second", "samples per second"),
            ("tokens_per_second", "real tokens per second"),
            ("useful_token_share", "useful tokens"),
            ("data_wait_share", "waiting for data"),
            ("model_flops_utilization", "use of the device"),
            ("peak_memory_bytes", "peak memory"),
        )
        if speed.get(name) is not None
    ]
    return shown


def _made_by(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    hardware, packages = record.get("hardware", {}), record.get("packages", {})
    facts = record.get("facts", {})
    shown = {
        "dataset version": facts.get("version"),
        "task": record["task"]["kind"],
        "checkpoint": _named(record["training"]["checkpoint"]),
        "seed": record.get("seed"),
        "precision": {"no": "float32"}.get(record.get("precision", ""), record.get("precision")),
        "commit": record.get("commit"),
        "device": hardware.get("device"),
        "processes": hardware.get("processes"),
        "processors": hardware.get("cpus"),
        "threads": hardware.get("threads"),
        "system": " ".join(str(hardware[name]) for name in ("system", "machine") if name in hardware),
        "Python": hardware.get("python"),
        **packages,
    }
    return [(name, str(value)) for name, value in shown.items() if value not in (None, "")]


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings by their dotted names, as they may be overridden on the command line."""
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "none" if value is None else str(value)


def _named(checkpoint: Any) -> str:
    """A checkpoint in a few words."""
    if isinstance(checkpoint, Mapping):
        return f"{checkpoint['from-config']['model_type']}, from scratch"
    return str(checkpoint)


def _worded(name: str) -> str:
    words = {
        "step_p50": "step, median",
        "step_p95": "step, 95th percentile",
        "peak_memory_bytes": "peak memory",
        "peak_reserved_bytes": "peak memory, reserved",
        "model_flops_per_second": "computed for the examples",
        "ceiling_flops_per_second": "the device's ceiling",
        "model_flops_utilization": "use of the device",
        "syncs_per_step": "waits for the device per step",
    }
    return words.get(name, name.replace("_", " "))


def figure(name: str, value: float) -> str:
    """A figure of `Throughput` with its unit."""
    if name.endswith("_share") or name.endswith("_utilization"):
        return f"{value:.1%}"
    if name.endswith("_flops_per_second"):
        return f"{value / 1e12:,.1f} TFLOP/s" if value >= 1e12 else f"{value / 1e9:,.1f} GFLOP/s"
    if name.endswith("_bytes"):
        return f"{value / 1e9:,.2f} GB"
    if name in ("step_p50", "step_p95") or name.endswith("seconds"):
        return duration(value)
    return f"{value:,.0f}" if isinstance(value, int) or value >= 100 else number_text(value)


def duration(seconds: float) -> str:
    """Seconds as people write them: `350 µs`, `4.2 ms`, `17.3 s`, `2 min 5 s`, `3 h 12 min`."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"
