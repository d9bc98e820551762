"""The results as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

Line = Mapping[str, Any]


def needed(curve: Sequence[Sequence[float]], target: float) -> float | None:
    """Labels at which a curve first reaches a target, straight between rounds; None where it does not."""
    before: Sequence[float] | None = None
    for labels, accuracy in curve:
        if accuracy >= target:
            if before is None or accuracy == before[1]:
                return labels
            return before[0] + (labels - before[0]) * (target - before[1]) / (accuracy - before[1])
        before = (labels, accuracy)
    return None


def report(made: Line, lines: Sequence[Line], arms: Sequence[Line]) -> str:
    """All tables.

    Args:
        made: with what, on what.
        lines: of arms and of back-tests.
        arms: those that were asked for: case, strategy; what has no line is not yet measured.
    """
    measured = [line for line in lines if "strategy" in line]
    tests = [line for line in lines if "held" in line]
    text = ["# Labels needed, by strategy", ""]
    for case in dict.fromkeys(arm["case"] for arm in arms):
        text += _of_case(case, [arm["strategy"] for arm in arms if arm["case"] == case], measured)
    text += ["## The label budget, held against what came", "", *_of_tests(tests), ""]
    text += [f"Made with: {json.dumps(made)}.", ""]
    return "\n".join(text)


def _of_case(case: str, strategies: Sequence[str], lines: Sequence[Line]) -> list[str]:
    own = [line for line in lines if line["case"] == case]
    text = [f"## {case}", ""]
    references = [line for line in own if line["strategy"] == "random"]
    if references:
        most = references[0]["curve"][-1][0]
        reached = fmean(line["target"] for line in references)
        text += [
            f"The accuracy of {most:,} random labels is {100 * reached:.2f}% "
            f"(mean of {len(references)} seeds); a strategy's labels are those at which it first reaches "
            "that of its own seed.",
            "",
        ]
    text += ["| strategy | seeds | labels needed | of the random ones |", "| --- | ---: | ---: | ---: |"]
    for strategy in strategies:
        found = [line for line in own if line["strategy"] == strategy]
        text.append(f"| {strategy} | {len(found)} | {_row(found, references)} |")
    return [*text, ""]


def _row(lines: Sequence[Line], references: Sequence[Line]) -> str:
    if not lines:
        return "not yet measured | not yet measured"
    labels = [needed(line["curve"], line["target"]) for line in lines]
    whole = {line["seed"]: line["curve"][-1][0] for line in references}
    if any(each is None for each in labels):
        missed = sum(each is None for each in labels)
        return f"not reached by {missed} of {len(labels)} seeds | "
    shares = [
        each / whole[line["seed"]] for each, line in zip(labels, lines, strict=True) if each is not None
    ]
    known = [each for each in labels if each is not None]
    spread = f" ± {stdev(known):.0f}" if len(known) > 1 else ""
    return f"{fmean(known):,.0f}{spread} | {fmean(shares):.0%}"


def _of_tests(tests: Sequence[Line]) -> list[str]:
    if not tests:
        return ["Not yet measured."]
    text = [
        f"Of {len(tests)} intervals, which should hold the truth 8 times of 10, "
        f"{sum(line['held'] for line in tests)} did ({fmean(line['held'] for line in tests):.0%}). "
        "Intervals of one seed share labels, so they are fewer than they seem.",
        "",
        "| data | at | more | seeds | told, points | came, points | held |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for case, at, more in dict.fromkeys((line["case"], line["at"], line["more"]) for line in tests):
        own = [line for line in tests if (line["case"], line["at"], line["more"]) == (case, at, more)]
        told = f"{100 * fmean(line['value'] for line in own):+.1f}"
        half = f"{50 * fmean(line['high'] - line['low'] for line in own):.1f}"
        came = f"{100 * fmean(line['came'] for line in own):+.1f}"
        held = f"{sum(line['held'] for line in own)} of {len(own)}"
        text.append(f"| {case} | {at:,} | {more:,} | {len(own)} | {told} ± {half} | {came} | {held} |")
    return text
