"""`strategy: margin`: where the champion can hardly choose between two classes first."""

from __future__ import annotations

from heapq import nlargest
from typing import Any

from typing_extensions import override

from goldloop.labeling.strategies.base import Pool, Strategy, by_score
from goldloop.records import Item, Prediction


class Margin(Strategy):
    """By how much likelier the first class is than the second, the least first (Scheffer et al., 2001).

    Of answers without probabilities of classes, by confidence.
    """

    @override
    def order(self, pool: Pool) -> list[Item]:
        return by_score(pool, margin)


def margin(prediction: Prediction[Any]) -> float:
    """How much likelier the first class is than the second, in [0, 1]."""
    if len(prediction.scores) < 2:
        return prediction.confidence
    first, second = nlargest(2, prediction.scores.values())
    return first - second
