"""`strategy: uncertainty`: what the champion is least sure of first (least confidence)."""

from __future__ import annotations

from typing_extensions import override

from goldloop.labeling.strategies.base import Pool, Strategy, by_score
from goldloop.records import Item


class Uncertainty(Strategy):
    """By the confidence of the champion's answer, the lowest first (Lewis and Gale, 1994)."""

    @override
    def order(self, pool: Pool) -> list[Item]:
        return by_score(pool, lambda prediction: prediction.confidence)
