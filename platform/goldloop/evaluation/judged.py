"""One item that a model was judged by, and a figure with its interval: what reports are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

Circumstance = str | int | float | bool | None


def _as_json(value: Any) -> Any:
    """Targets as JSON gives them back, so that a report that was read equals the one that was written."""
    if isinstance(value, Mapping):
        return {name: _as_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(part) for part in value]
    return value


Target = Annotated[Any, BeforeValidator(_as_json)]


class Estimate(BaseModel):
    """A figure with its bootstrap interval.

    `low` and `high` bound the 95% interval over resampled items; higher is better throughout.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float
    low: float
    high: float


class Judged(BaseModel):
    """One item of the split: what was expected and what the model said, in the task's own form.

    Attributes:
        key: the content key.
        expected, predicted: in the task's own form.
        confidence: in [0, 1].
        agreement: the task's, in [0, 1]: 1 if the answer is right.
        circumstances: what is known of the item besides: name -> value; slices are made by them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    expected: Target
    predicted: Target
    confidence: float
    agreement: float
    circumstances: Mapping[str, Circumstance] = {}

    @property
    def wrong(self) -> bool:
        """Whether the answer is not wholly right."""
        return self.agreement < 1

    @property
    def badness(self) -> float:
        """How surely the model was how wrong, in [0, 1]."""
        return self.confidence * (1 - self.agreement)
