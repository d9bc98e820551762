"""What is known of a model on one split of one dataset version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Estimate(BaseModel):
    """A figure with its bootstrap interval.

    `low` and `high` bound the 95% interval over resampled items; higher is better throughout.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float
    low: float
    high: float


class Judged(BaseModel):
    """One item of the split: what was expected and what the model said, in the task's own form."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    expected: Any
    predicted: Any
    confidence: float


class Report(BaseModel):
    """A model's figures on one split.

    Attributes:
        name: the recipe's name.
        model: which model: its run id.
        version: digest of the dataset version.
        split: which split.
        metric: the figure that chooses between models.
        metrics: every figure of the task's `score`, with intervals.
        classes: class names in id order.
        per_class: class name -> {precision, recall, f1, support}.
        confusion: rows expected, columns predicted, in id order; counts. Empty where the task has none.
        items: every item judged, ordered by key.
        left_out: keys that could not be judged fairly -> reason (the model's own suggestion was shown).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    model: str
    version: str
    split: str
    metric: str
    metrics: Mapping[str, Estimate]
    classes: tuple[str, ...]
    per_class: Mapping[str, Mapping[str, float]]
    confusion: tuple[tuple[int, ...], ...]
    items: tuple[Judged, ...]
    left_out: Mapping[str, str]
