"""What a recipe says under `watch:`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class WatchConfig(BaseModel):
    """What `goldloop watch` begins a round of the loop for, and how much it may spend on them.

    Of what begins a round, null means never; of what holds one back, null means without a limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pull_minutes: float | None = Field(default=15, gt=0)
    """How often the sources are looked through for what is new."""
    new_items: int | None = Field(default=100, ge=1)
    """So many items that came since the last round begin one."""
    new_labels: int | None = Field(default=50, ge=1)
    """So many labels that no model has been trained with begin one."""
    drift_minutes: float | None = Field(default=60, gt=0)
    """How often, at most, items are looked through for drift, as `drift:` says; what is found begins a
    round, once."""
    every_hours: float | None = Field(default=None, gt=0)
    """So long after the last round began one begins anyway."""
    cool_down_minutes: float = Field(default=30, ge=0)
    """So long after a round has ended none begins."""
    rounds_per_day: int | None = Field(default=8, ge=1)
    """In any 24 hours."""
    seconds_per_day: float | None = Field(default=None, gt=0)
    """That rounds may take of this machine in any 24 hours; one that has begun is not broken off."""
