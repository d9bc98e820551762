"""What a recipe says under `drift:`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class DriftConfig(BaseModel):
    """How items that came since the champion's version are held against those that it knew."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    false_alarms: float = Field(default=0.01, ge=0.001, le=0.2)
    """How often, at most, a look finds drift where there is none: of all its tests together."""
    min_items: int = Field(default=50, ge=20)
    """Items that each side has at least; of fewer a test says nothing."""
    max_items: int = Field(default=500, ge=50, le=5000)
    """Of more, so many are drawn, of each group one: time grows with their square."""
    recent: Literal["all", "production"] = "all"
    """What is held against the version: all that came since, or only requests that the server kept."""
    seed: int = 0
