"""`strategy: cluster`: for a cold start, the typical items of every kind that there is."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from typing_extensions import override

from goldloop.labeling.strategies.base import Pool, Strategy, first
from goldloop.labeling.strategies.diversity import unit
from goldloop.plugins import PluginConfig
from goldloop.records import Item

_SEED = 0


class Cluster(Strategy):
    """As many clusters as items are wanted, by k-means; of each its most typical item, the largest first.

    With few labels, what is typical teaches more than what is odd (Hacohen, Dekel and Weinshall, 2022).
    """

    class Config(PluginConfig):
        """What a recipe says of it."""

        clusters: int | None = Field(default=None, ge=1)
        """By default as many as items are wanted, up to 500."""

    @override
    def order(self, pool: Pool) -> list[Item]:
        if pool.points is None or not pool.items:
            return list(pool.items)
        count = min(self.config.clusters or min(pool.wanted, 500), len(pool.items))
        return first(pool, _typical(unit(pool.points(pool.items)), max(count, 1), pool.wanted))


def _typical(points: Any, clusters: int, wanted: int) -> list[int]:
    """Places of points, cluster by cluster in turn, in each from its middle outwards."""
    import numpy
    from sklearn.cluster import MiniBatchKMeans

    if len(points) <= clusters:
        return list(range(len(points)))
    found = MiniBatchKMeans(clusters, random_state=_SEED, n_init=1, batch_size=2048).fit(points)
    away = numpy.linalg.norm(points - found.cluster_centers_[found.labels_], axis=1)
    order = numpy.lexsort((numpy.arange(len(points)), away))
    members: dict[int, list[int]] = {}
    for place in order.tolist():
        members.setdefault(int(found.labels_[place]), []).append(place)
    largest = sorted(members.values(), key=lambda each: (-len(each), each[0]))
    turns = (each[turn] for turn in range(len(largest[0])) for each in largest if turn < len(each))
    return [place for place, _ in zip(turns, range(wanted), strict=False)]
