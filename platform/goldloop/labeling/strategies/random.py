"""`strategy: random`: chance alone, by content: an item keeps its place whatever else there is."""

from __future__ import annotations

from typing_extensions import override

from goldloop.labeling.strategies.base import Pool, Strategy
from goldloop.records import Item


class Random(Strategy):
    """As chance has it."""

    @override
    def order(self, pool: Pool) -> list[Item]:
        return list(pool.items)
