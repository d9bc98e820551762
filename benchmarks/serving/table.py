"""The table of what was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from servers import ARMS, PACKAGE

ABSENT = "not yet measured"
CLIENTS = (1, 8, 64)
PAIRS = (("goldloop", "plain"), ("goldloop-label-studio", "label-studio-ml"))


def write_table(file: Path, lines: Sequence[Mapping[str, Any]], arguments: Sequence[str]) -> str:
    """Write the table, and return it."""
    levels = sorted({line["clients"] for line in lines if line["kind"] == "load"}) or list(CLIENTS)
    text = [
        f"# Serving, {file.stem}",
        "",
        "One text a request, all answers with the scores of 77 classes; clients on the same machine. Means "
        "over repeats; `p99` of the slowest repeat.",
        "",
        "| arm | "
        + " | ".join(f"{_clients(level)}: requests/s | p50 ms | p99 ms" for level in levels)
        + " |",
        "| --- |" + " ---: | ---: | ---: |" * len(levels),
        *(_row(arm, levels, lines) for arm in ARMS),
        "",
        *(_ratio(own, other, level, lines) for own, other in PAIRS for level in levels),
        "",
        _soak(lines),
        "",
        _swap(lines),
        "",
        *_made_by(lines),
        f"Command: `benchmarks/serving/run.py {' '.join(arguments)}`".rstrip() + ".",
        "",
    ]
    file.write_text("\n".join(text), encoding="utf-8")
    return "\n".join(text)


def _clients(number: int) -> str:
    return f"{number} client" + ("s" if number != 1 else "")


def _of(arm: str, level: int, lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [
        line
        for line in lines
        if line["kind"] == "load" and (line["arm"], line["clients"]) == (arm, level) and line["answers"]
    ]


def _row(arm: str, levels: Sequence[int], lines: Sequence[Mapping[str, Any]]) -> str:
    cells = []
    for level in levels:
        found = _of(arm, level, lines)
        if not found:
            cells += [ABSENT, "", ""]
            continue
        errors = sum(line["errors"] for line in found)
        rate = fmean(line["requests_per_second"] for line in found)
        cells += [
            f"{rate:.0f}" + (f" ({errors} errors)" if errors else ""),
            f"{1000 * fmean(line['p50'] for line in found):.1f}",
            f"{1000 * max(line['p99'] for line in found):.0f}",
        ]
    return f"| {arm} | " + " | ".join(cells) + " |"


def _ratio(own: str, other: str, level: int, lines: Sequence[Mapping[str, Any]]) -> str:
    rates = [
        {line["repeat"]: line["requests_per_second"] for line in _of(arm, level, lines)}
        for arm in (own, other)
    ]
    shared = sorted(rates[0].keys() & rates[1].keys())
    if not shared:
        return f"- `{own}` to `{other}` at {_clients(level)}: {ABSENT}."
    ratios = [rates[0][repeat] / rates[1][repeat] for repeat in shared]
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    return (
        f"- `{own}` to `{other}` at {_clients(level)}: {fmean(ratios):.2f} times as many (by repeat {each})."
    )


def _soak(lines: Sequence[Mapping[str, Any]]) -> str:
    found = [line for line in lines if line["kind"] == "soak"]
    if not found:
        return f"Soak: {ABSENT}."
    line = found[-1]
    growth = line["growth_per_minute"]
    slope = "" if growth is None else f", growth {growth / 1e6:+.2f} MB a minute"
    return (
        f"Soak of {line['minutes']:g} minutes at {line['clients']} clients: {line['answers']:,} answers, "
        f"{line['errors']} errors, {line['requests_per_second']:.0f} requests/s; memory "
        f"{line['memory_first'] / 1e6:.0f} MB after a fifth of it, {line['memory_last'] / 1e6:.0f} MB at the "
        f"end, {line['memory_most'] / 1e6:.0f} MB at most{slope}."
    )


def _swap(lines: Sequence[Mapping[str, Any]]) -> str:
    found = [line for line in lines if line["kind"] == "swap"]
    if not found:
        return f"Change of the champion under load: {ABSENT}."
    line = found[-1]
    models = ", ".join(f"{name} {count:,}" for name, count in sorted(line["models"].items()))
    return (
        f"Change of the champion under load, {line['swaps']} times in {line['seconds']:g} s at "
        f"{line['clients']} clients: {line['answers']:,} answers ({models}), "
        f"{line['errors']} failed requests, p99 {1000 * line['p99']:.0f} ms."
    )


def _made_by(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    if not lines:
        return []
    machines = {json.dumps(line["machine"], sort_keys=True) for line in lines}
    return [f"Machine: {machine}. {PACKAGE} with gunicorn." for machine in sorted(machines)]
