"""What a recipe says under `labeling:`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Selection(BaseModel):
    """Which items are sent to annotators, and how many lie open at a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: Literal["random", "uncertainty"] = "random"
    """`uncertainty` sends what the champion is least sure of first; random until there is a champion."""
    batch: int | None = Field(default=None, ge=1)
    """Keep this many tasks open; by default all items are sent at once."""
    seed: int = 0


class LabelingConfig(BaseModel):
    """How items are annotated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    annotators_per_item: int = Field(default=1, ge=1, le=50)
    select: Selection = Selection()
    project: str | None = Field(default=None, min_length=3, max_length=50)
    """The Label Studio project's title; by default made from the recipe's name."""
