"""The class registry: ids never move, names are only ever added."""

from __future__ import annotations

from collections.abc import Sequence


def extended(known: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """The registry after a recipe: known classes keep their ids, new ones follow in the recipe's order.

    A class that the recipe no longer has keeps its id too: labels in older versions mean what they meant.
    """
    return (*known, *(name for name in wanted if name not in known))
