"""The table of a run: a row for each question, a column for each tool, and how goldloop stands to each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

TOOLS = ("goldloop", "DVC", "save_to_disk", "Parquet rewrite")
QUESTIONS = (
    ("first commit", "seconds"),
    ("first commit, flushed", "seconds"),
    ("commit, changed", "seconds"),
    ("commit, changed, flushed", "seconds"),
    ("commit, added", "seconds"),
    ("commit, added, flushed", "seconds"),
    ("bytes of the first commit", "bytes"),
    ("bytes of a commit, changed", "bytes"),
    ("bytes of a commit, added", "bytes"),
    ("bytes after all", "bytes"),
    ("checkout, with nothing there", "seconds"),
    ("checkout, after one that is there", "seconds"),
    ("random read, one by one", "seconds"),
    ("random read, in batches of 100", "seconds"),
    ("verify", "seconds"),
    ("memory", "bytes"),
)
_SMALL = ("commit, changed", "commit, changed, flushed", "commit, added", "commit, added, flushed")
Found = Mapping[tuple[str, str], list[float]]


def tables(lines: Iterable[Mapping[str, Any]], sizes: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Markdown of all data.

    Args:
        lines: what the arms measured.
        sizes: data -> what of it there was.
    """
    by_data: dict[str, dict[tuple[str, str], list[float]]] = {data: defaultdict(list) for data in sizes}
    for line in lines:
        value = line.get("seconds", line.get("bytes"))
        if value is not None:
            by_data[line["data"]][line["tool"], line["what"]].append(value)
    text = []
    for data, found in by_data.items():
        text += ["", f"## {data}: {_sized(sizes[data])}", "", *_table(found), "", *_beside(found)]
    return text


def _sized(size: Mapping[str, int]) -> str:
    told = {name: f"{size[name]:,}" for name in ("rows", "changed", "added")}
    return "{rows} rows, commits of {changed} changed labels or {added} added rows".format(**told)


def _table(found: Found) -> list[str]:
    rows = [f"| | {' | '.join(TOOLS)} |", f"| --- |{' ---: |' * len(TOOLS)}"]
    for what, unit in QUESTIONS:
        cells = [_cell(found.get((tool, what), []), unit) for tool in TOOLS]
        rows.append(f"| {what} | {' | '.join(cells)} |")
    return rows


def _cell(values: Sequence[float], unit: str) -> str:
    """The median; of several, the highest too."""
    if not values:
        return "-"
    show = _seconds if unit == "seconds" else _bytes
    middle = show(median(values))
    return middle if len(values) == 1 else f"{middle} (at most {show(max(values))})"


def _seconds(value: float) -> str:
    return f"{value * 1000:,.0f} ms" if value < 10 else f"{value:,.1f} s"


def _bytes(value: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:,.1f} {unit}"
    return f"{value:,.0f} B"


def _beside(found: Found) -> list[str]:
    """The goals, and what came of them."""
    ours = {what: median(values) for (tool, what), values in found.items() if tool == "goldloop"}
    lines = []
    for what in (each for each in _SMALL if each in ours):
        others = [
            f"{median(found[tool, what]) / ours[what]:.1f}x as fast as {tool}"
            for tool in TOOLS[1:]
            if (tool, what) in found
        ]
        if others:
            lines.append(f"- {what}: {', '.join(others)} (goal: 20x each).")
    first = ours.get("bytes of the first commit")
    share = ours.get("bytes of a commit, 0.1% changed")
    if first and share is not None:
        lines.append(
            f"- a commit that changes 0.1% of the labels adds {share / first:.2%} to the disk (goal: 2% at "
            f"most), in {_seconds(ours['commit, 0.1% changed'])}."
        )
    for what in ("random read, one by one", "random read, in batches of 100"):
        if what in ours and ("save_to_disk", what) in found:
            ratio = median(found["save_to_disk", what]) / ours[what]
            lines.append(f"- {what}: {ratio:.2f} times the speed of `load_from_disk` (goal: 1).")
    if "commit, changed, by comparing everything" in ours:
        told = _seconds(ours["commit, changed, by comparing everything"])
        lines.append(
            f"- the same small commit by `write`, which is given all labels and compares them: {told}."
        )
    return lines
