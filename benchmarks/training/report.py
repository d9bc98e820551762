"""The table and the plots of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
from cases import ARMS, Case, Size
from records import Measurements

ABSENT = "not yet measured"
_LAYERS = {
    "end-to-end": "End to end",
    "compute": "Compute only (one batch, cached)",
    "data": "Data only (the loader drained, second epoch)",
    "checkpoint": "With a checkpoint every ten steps",
    "learning": "Learning (the clock stands still while accuracy is looked at)",
}
_COLUMNS: tuple[tuple[str, Callable[[Mapping[str, Any]], float | None], str], ...] = (
    ("examples/s", lambda line: line["samples_per_second"], "{:,.1f}"),
    ("real tokens/s", lambda line: line["tokens_per_second"], "{:,.0f}"),
    ("padded tokens/s", lambda line: line["padded_tokens_per_second"], "{:,.0f}"),
    ("useful", lambda line: line["useful_token_share"], "{:.2f}"),
    ("of the limit", lambda line: line.get("of_limit"), "{:.0%}"),
    ("step p50 ms", lambda line: 1000 * line["step_p50"], "{:.1f}"),
    ("p95 ms", lambda line: 1000 * line["step_p95"], "{:.1f}"),
    ("data wait", lambda line: line["data_wait_share"], "{:.1%}"),
    ("memory GB", lambda line: line["peak_memory"] / 1e9, "{:.2f}"),
    ("reserved GB", lambda line: _billions(line.get("peak_reserved")), "{:.2f}"),
    ("warm-up s", lambda line: line["warmup_seconds"], "{:.1f}"),
    ("compile s", lambda line: line["compile_seconds"], "{:.0f}"),
    ("recompiles", lambda line: line["recompiles_after_warmup"], "{:.0f}"),
    ("waits a step", lambda line: line.get("syncs_per_step"), "{:.0f}"),
    ("stall ms a checkpoint", lambda line: _thousands(line.get("checkpoint_stall")), "{:.0f}"),
    ("s to the target", lambda line: line.get("seconds_to_target"), "{:.1f}"),
    ("loss at the end", lambda line: line.get("end_loss"), "{:.3f}"),
    ("held-out accuracy", lambda line: line.get("accuracy"), "{:.4f}"),
)


def _billions(value: float | None) -> float | None:
    return None if value is None else value / 1e9


def _thousands(value: float | None) -> float | None:
    return None if value is None else value * 1000


def write_report(
    file: Path, cases: Sequence[Case], size: str, measurements: Measurements, arguments: Sequence[str]
) -> None:
    """Write the table, and a plot of each case that has been measured."""
    lines = [
        f"# Training speed, {file.stem}",
        "",
        f"`benchmarks/training/run.py {' '.join(arguments)}`",
        "",
        *_machines(measurements),
        "Medians over repeats, quartiles in brackets; arms took turns, each run a process of its own.",
        "",
    ]
    for case in cases:
        lines += _case(case, size, measurements, file)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines), encoding="utf-8")
    print(f"written: {file}")


def _machines(measurements: Measurements) -> list[str]:
    """Where it was measured; one line for each combination of hardware and versions."""
    found = []
    for line in measurements.lines:
        machine = line["machine"]
        packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
        text = (
            f"{machine['device']}; {machine['processor']}, {machine['cpus']} CPU cores, {machine['threads']} "
            f"threads for each process; Python {machine['python']}; {packages}; "
            f"commit {(machine['commit'] or 'unknown')[:12]}."
        )
        if text not in found:
            found.append(text)
    return [*(found or [f"Nothing has been measured: {ABSENT}."]), ""]


def _case(case: Case, size: str, measurements: Measurements, file: Path) -> list[str]:
    chosen = case.sizes[size]
    lines = [
        f"## {case.title}",
        "",
        f"{chosen.examples:,} examples, {chosen.epochs} epochs, batches of {case.batch_size}, "
        f"{chosen.warmup_steps} steps of warm-up.{_amounts(case, chosen)}",
        *(f"`{arm}`: `{options}`." for arm, options in case.arms.items() if options),
        "",
        *_limits(case, measurements),
    ]
    for layer in case.layers:
        arms = chosen.layer(layer).arms
        lines += [f"### {_LAYERS[layer]}", ""]
        if any(measurements.of(case.name, layer, arm) for arm in arms):
            lines += [*_table(case, layer, arms, measurements), "", *_ratios(case, layer, arms, measurements)]
        else:
            lines += [f"{', '.join(arms)}: {ABSENT}.", ""]
    lines += _against_cache(case, measurements)
    plot = file.with_name(f"{file.stem}-{case.name}.svg")
    if _plot(plot, case, measurements):
        lines += [f"![{case.title}]({plot.name})", ""]
    return lines


def _limits(case: Case, measurements: Measurements) -> list[str]:
    found = [line for layer in case.layers for line in measurements.of(case.name, layer, "limits").values()]
    if not found:
        return [f"Limits of the device: {ABSENT}.", ""]
    fp32, bf16, copy = (numpy.median([line[name] for line in found]) for name in ("fp32", "bf16", "copy"))
    goal = f" The goal is {case.goal:.0%} of the limit." if case.goal else ""
    return [
        f"Limits measured between the runs: {fp32 / 1e12:,.2f} TFLOP/s in float32, {bf16 / 1e12:,.2f} in "
        f"bfloat16, {copy / 1e9:,.0f} GB/s.{goal}",
        "",
    ]


def _amounts(case: Case, size: Size) -> str:
    """What is measured otherwise on which layer."""
    parts = [
        f"{_LAYERS[layer].partition(' (')[0]}: {size.layer(layer).steps} steps"
        for layer in case.layers
        if size.layer(layer).steps is not None
    ]
    if "learning" in case.layers:
        parts.append(f"the target is an accuracy of {case.target}")
    text = "; ".join(parts)
    return f" {text[0].upper()}{text[1:]}." if text else ""


def _table(case: Case, layer: str, arms: Sequence[str], measurements: Measurements) -> list[str]:
    of_arms = {arm: list(_with_share(case, layer, arm, measurements).values()) for arm in arms}
    kept = [
        (title, value, form)
        for title, value, form in _COLUMNS
        if any(_value(value, line) is not None for lines in of_arms.values() for line in lines)
    ]
    rows = [
        "| arm | runs | " + " | ".join(title for title, _, _ in kept) + " |",
        "| --- | ---: |" + " ---: |" * len(kept),
    ]
    for arm, lines in of_arms.items():
        cells = [_cell([_value(value, line) for line in lines], form) for _, value, form in kept]
        if not lines:
            cells[0] = ABSENT
        rows.append(f"| {arm} | {len(lines)} | " + " | ".join(cells) + " |")
    return rows


def _value(value: Callable[[Mapping[str, Any]], float | None], line: Mapping[str, Any]) -> float | None:
    return value(line) if "samples_per_second" in line else None


def _cell(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, middle, high = numpy.percentile(known, (25, 50, 75))
    text = form.format(middle)
    spread = (form.format(low), form.format(high))
    return f"{text} ({spread[0]} to {spread[1]})" if len(known) > 2 and spread != (text, text) else text


def _with_share(case: Case, layer: str, arm: str, measurements: Measurements) -> dict[int, dict[str, Any]]:
    """The measurements of an arm, each with the share of its repeat's own limit."""
    limits = measurements.of(case.name, layer, "limits")
    found = {}
    for repeat, line in measurements.of(case.name, layer, arm).items():
        found[repeat] = line
        limit = limits.get(repeat)
        if limit is None or "flops_per_example" not in line or "precision" not in line:
            continue
        if case.limit == "copy" and case.bytes_per_example:
            most = limit["copy"] / case.bytes_per_example
        else:
            most = limit["fp32" if line["precision"] == "fp32" else "bf16"] / line["flops_per_example"]
        found[repeat] = {**line, "of_limit": line["samples_per_second"] / most}
    return found


def pairs(case: str, layer: str, arm: str, measurements: Measurements) -> list[float]:
    """How many times as fast goldloop was, repeat by repeat."""
    own, other = (measurements.of(case, layer, name) for name in ("goldloop", arm))
    rates = [
        (_rate(layer, own[repeat]), _rate(layer, other[repeat]))
        for repeat in sorted(own.keys() & other.keys())
    ]
    return [mine / theirs for mine, theirs in rates if mine is not None and theirs is not None]


def _rate(layer: str, line: Mapping[str, Any]) -> float | None:
    """How fast an arm was: examples per second, or how soon it had learned; None where it never had."""
    if layer != "learning":
        return float(line["samples_per_second"])
    seconds = line["seconds_to_target"]
    return None if seconds is None else 1 / seconds


def _ratios(case: Case, layer: str, arms: Sequence[str], measurements: Measurements) -> list[str]:
    parts = []
    for arm in (arm for arm in arms if arm != "goldloop"):
        found = pairs(case.name, layer, arm, measurements)
        text = ABSENT if not found else f"**{_cell(list(found), '{:.2f}')}** times ({len(found)} pairs)"
        parts.append(f"{arm} {text}")
    return [f"goldloop against: {'; '.join(parts)}.", ""] if parts else []


def _against_cache(case: Case, measurements: Measurements) -> list[str]:
    """What the data path costs: training against training on one batch in memory."""
    if not {"end-to-end", "compute"} <= set(case.layers) or case.data.modality != "image":
        return []
    whole, cached = (measurements.of(case.name, layer, "goldloop") for layer in ("end-to-end", "compute"))
    found = [
        whole[repeat]["samples_per_second"] / cached[repeat]["samples_per_second"]
        for repeat in sorted(whole.keys() & cached.keys())
    ]
    text = _cell(list(found), "{:.3f}")
    return [f"goldloop end to end against goldloop on one batch in memory: {text} times as fast.", ""]


def _plot(file: Path, case: Case, measurements: Measurements) -> bool:
    """Every measurement as a point, medians as bars; False where there is none."""
    found = {(layer, arm): measurements.of(case.name, layer, arm) for layer in case.layers for arm in ARMS}
    layers = [layer for layer in case.layers if any(found[layer, arm] for arm in ARMS)]
    arms = [arm for arm in ARMS if any(found[layer, arm] for layer in case.layers)]
    if not layers:
        return False
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = case.name
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(layers), figsize=(4 * len(layers), 3), squeeze=False)
    for axis, layer in zip(axes[0], layers, strict=True):
        for place, arm in enumerate(arms):
            rates = [line["samples_per_second"] for line in found[layer, arm].values()]
            if rates:
                colour = "tab:orange" if arm == "goldloop" else "tab:gray"
                axis.barh(place, numpy.median(rates), color=colour, alpha=0.6)
                axis.plot(rates, [place] * len(rates), "k.", markersize=4)
        axis.set_yticks(range(len(arms)), arms if axis is axes[0][0] else [""] * len(arms))
        axis.set_ylim(len(arms) - 0.5, -0.5)
        axis.set_title(_LAYERS[layer].partition(" (")[0])
        axis.set_xlabel("examples per second")
    figure.suptitle(case.title)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
    return True
