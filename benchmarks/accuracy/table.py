"""The table of what both arms reached."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

ARMS = ("goldloop", "plain")
_CONFIDENCE = 0.95


def write_table(file: Path, cases: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> str:
    """Write the table; returns it."""
    rows = [
        f"# Accuracy beside a plain loop, {file.stem}",
        "",
        "`benchmarks/accuracy/run.py`; the same recipe, weights at the start and number of epochs;",
        "last weights, test split; mean ± standard deviation over seeds.",
        *_places(lines),
        "",
        "| data | metric | items | seeds | goldloop | plain | difference, 95% |",
        "| --- | --- | --- | ---: | --- | --- | --- |",
        *(_row(name, [line for line in lines if line["case"] == name]) for name in cases),
        "",
        "Difference: goldloop's minus the plain loop's, seed by seed, with Student's interval.",
        "Seconds are in the lines beside it, and of no weight where other work ran: speed is measured",
        "by `benchmarks/training`.",
        "Sizes:",
        "",
        *(f"- {name}: {_sizes(case)}" for name, case in cases.items()),
        "",
        "Each seed:",
        "",
        "| data | seed | goldloop | plain |",
        "| --- | ---: | ---: | ---: |",
        *_seeds(cases, lines),
    ]
    text = "\n".join(rows) + "\n"
    file.write_text(text, encoding="utf-8")
    return text


def _places(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    for line in lines:
        where = line["hardware"]
        versions = ", ".join(f"{name} {version}" for name, version in line["packages"].items())
        text = (
            f"{where['device']} ({where['machine']}), {where['cpus']} CPU cores, {where['threads']} threads; "
            f"Python {where['python']}; {versions}; commit {(line['commit'] or 'unknown')[:12]}."
        )
        if text not in found:
            found.append(text)
    return found


def _row(name: str, lines: Sequence[Mapping[str, Any]]) -> str:
    values = {arm: {line["seed"]: line["value"] for line in lines if line["arm"] == arm} for arm in ARMS}
    if not all(values.values()):
        return f"| {name} | | | 0 | not yet measured | not yet measured | |"
    items = lines[0]["items"]
    pairs = [
        values["goldloop"][seed] - values["plain"][seed]
        for seed in sorted(values["goldloop"].keys() & values["plain"].keys())
    ]
    return (
        f"| {name} | {lines[0]['metric']} | {items['train']:,} / {items['test']:,} | {len(pairs)} | "
        f"{_spread(list(values['goldloop'].values()))} | {_spread(list(values['plain'].values()))} | "
        f"{interval(pairs)} |"
    )


def _spread(values: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"


def interval(differences: Sequence[float]) -> str:
    """Mean of paired differences, and Student's interval where there are at least two."""
    if not differences:
        return "no pair"
    mean = statistics.mean(differences)
    if len(differences) < 2:
        return f"{mean:+.4f}"
    error = statistics.stdev(differences) / len(differences) ** 0.5
    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(differences) - 1)) * error
    return f"{mean:+.4f} ({mean - half:+.4f} to {mean + half:+.4f})"


def _sizes(case: Mapping[str, Any]) -> str:
    rows = [f"{case['examples']:,} training examples"] if "examples" in case else []
    return ", ".join([*rows, *(f"{name} {value}" for name, value in case["training"].items())])


def _seeds(cases: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = []
    for name in cases:
        own = {(line["arm"], line["seed"]): line["value"] for line in lines if line["case"] == name}
        for seed in sorted({seed for _, seed in own}):
            cells = [f"{own[arm, seed]:.4f}" if (arm, seed) in own else "" for arm in ARMS]
            rows.append(f"| {name} | {seed} | {' | '.join(cells)} |")
    return rows
