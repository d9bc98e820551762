"""What a version's own figures say against it, in sentences: for its card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from goldloop.dataset.tally import Tally

_TENTATIVE = 0.667
"""Below this even tentative conclusions are unsafe (Krippendorff, Content Analysis, 2019, chapter 12)."""
_FEW = 20
_RARE = 0.1
_OUT = ("disputed", "rejected", "skipped", "open")


def known_limits(tally: Tally, agreement: Mapping[str, Any], classes: tuple[str, ...]) -> Iterator[str]:
    """One sentence for each limit; none where the figures show none.

    Args:
        tally: what the version's rows and items add up to.
        agreement: `items`, `alpha` and by class.
        classes: names in id order.
    """
    checked = int(agreement.get("items") or 0)
    if checked < tally.rows:
        once = tally.rows - checked
        yield f"{once:,} of {tally.rows:,} labels rest on one answer or on their source alone."
    alpha = agreement.get("alpha")
    if alpha is not None and alpha < _TENTATIVE:
        yield f"Annotators agree little beyond chance: Krippendorff's alpha is {alpha:.3f}."
    for name, facts in agreement.get("classes", {}).items():
        if facts["alpha"] is not None and facts["alpha"] < _TENTATIVE:
            yield f"Of {name!r} they agree little beyond chance: alpha is {facts['alpha']:.3f}."
    yield from _rare(tally, classes)
    if tally.provenance["human-over-prediction"]:
        shown = tally.provenance["human-over-prediction"]
        yield f"{shown:,} labels were given with a model's suggestion in sight, which people tend to follow."
    left_out = {name: tally.outcomes[name] for name in _OUT if tally.outcomes[name]}
    if left_out:
        told = ", ".join(f"{count:,} {name}" for name, count in left_out.items())
        yield f"Items without a label are not in it, and may be the hard ones: {told}."
    if tally.outcomes["forgotten"]:
        yield f"{tally.outcomes['forgotten']:,} items were erased on request after it was made."


def _rare(tally: Tally, classes: tuple[str, ...]) -> Iterator[str]:
    if not tally.classes:
        return
    counts = {name: sum(tally.classes[split, name] for split in tally.splits) for name in classes}
    none = [name for name, count in counts.items() if not count]
    if none:
        yield f"No row names {', '.join(map(repr, none))}."
    most = max(counts.values(), default=0)
    rare = [name for name, count in counts.items() if 0 < count < max(_FEW, _RARE * most)]
    if rare and len(rare) < len(counts):
        told = ", ".join(f"{name!r} ({counts[name]:,})" for name in rare)
        yield f"Rare, so little is learned or measured of it: {told}."
    unseen = [name for name, count in counts.items() if count and not tally.classes["test", name]]
    if unseen and tally.splits["test"]:
        yield f"The test split has none of {', '.join(map(repr, unseen))}: nothing is measured of it."
