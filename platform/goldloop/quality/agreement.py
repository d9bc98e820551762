"""How far annotators agree, by the task's own measure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from goldloop.tasks.base import Task


def pairwise_agreement(task: Task[Any], targets: Sequence[Any]) -> float | None:
    """Mean agreement over all pairs of answers to one item, in [0, 1]; None with fewer than two."""
    if len(targets) < 2:
        return None
    return fmean(task.agreement(one, other) for one, other in combinations(targets, 2))
