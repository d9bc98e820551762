"""`strategy: entropy`: where the champion's probabilities are spread the widest first."""

from __future__ import annotations

import math
from typing import Any

from typing_extensions import override

from goldloop.labeling.strategies.base import Pool, Strategy, by_score
from goldloop.records import Item, Prediction


class Entropy(Strategy):
    """By the entropy of the classes' probabilities, the highest first.

    Of sets of classes, each of which is a question of its own, by the sum of theirs; of answers without
    probabilities of classes, by confidence.
    """

    @override
    def order(self, pool: Pool) -> list[Item]:
        return by_score(pool, lambda prediction: -entropy(prediction))


def entropy(prediction: Prediction[Any]) -> float:
    """In nats; 0 where the champion is sure."""
    if not prediction.scores:
        return _binary(prediction.confidence)
    shares = list(prediction.scores.values())
    if isinstance(prediction.target, list):
        return sum(_binary(share) for share in shares)
    return sum(_part(share) for share in shares)


def _binary(share: float) -> float:
    return _part(share) + _part(1 - share)


def _part(share: float) -> float:
    return -share * math.log(share) if share > 0 else 0.0
