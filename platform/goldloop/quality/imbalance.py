"""Classes that are rare: what a model sees too seldom it does not learn, and tests cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from goldloop.quality.findings import Finding

_FEW = 10
"""Training examples below which a class is hardly learned, and its figures mean little."""
_RARE = 0.1
"""Share of the middle class's examples below which one is rare."""
_SHOWN = 12


def imbalance(classes: Sequence[str], counts: Mapping[str, Mapping[str, int]]) -> Finding:
    """How evenly the classes are filled.

    Args:
        classes: names in id order.
        counts: split -> class -> how often its rows name it.
    """
    train = {name: counts.get("train", {}).get(name, 0) for name in classes}
    known = sorted(count for count in train.values() if count)
    if len(known) < 2:
        return Finding(
            kind="imbalance",
            state="unknown",
            title="There are not two classes to compare",
            meaning="",
            certainty=f"{len(known)} classes have training items",
            remedy="Label items of other classes" if classes else "",
        )
    middle = known[len(known) // 2]
    rare = sorted(
        (name for name in classes if train[name] < max(_FEW, _RARE * middle)),
        key=lambda name: (train[name], name),
    )
    absent = [name for name in rare if not train[name]]
    untested = [name for name in classes if train[name] and not counts.get("test", {}).get(name, 0)]
    ratio = known[-1] / known[0]
    rows = [
        (name, *(counts[split].get(name, 0) for split in counts))
        for name in sorted(classes, key=lambda name: (train[name], name))[:_SHOWN]
    ]
    title = (
        f"{len(rare)} of {len(classes)} classes have few training items"
        if rare
        else f"All {len(classes)} classes have training items enough"
    )
    told = f"; {len(absent)} have none at all" if absent else ""
    return Finding(
        kind="imbalance",
        state="act" if absent else "look" if rare else "fine",
        title=f"{title}{told}",
        meaning="A model rarely answers with a class that it has hardly seen, however well it does overall."
        if rare
        else "",
        certainty=f"Counted: the largest class has {ratio:.1f} times as many as the smallest, the "
        "middle one has "
        f"{middle:,}. Few means below {_FEW}, or below a tenth of the middle one."
        + (f" {len(untested)} classes have no test item, so nothing is known of them." if untested else ""),
        remedy="Collect and label more of these first; meanwhile `training.class_weights: balanced` "
        "makes each "
        "count for more, and the figures by class in the report tell what it does to them."
        if rare
        else "",
        columns=("class", *counts),
        rows=rows if rare or untested else (),
        count=len(rare),
    )
