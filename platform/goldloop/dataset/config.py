"""What a recipe says under `dataset:`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from goldloop.tasks.base import ConsensusPolicy


class Split(BaseModel):
    """Shares of the splits; an item's split is a function of its group alone, so it never moves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: float = Field(default=0.8, gt=0, le=1)
    validation: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.1, ge=0, lt=1)
    seed: int = 0

    @model_validator(mode="after")
    def _adds_up(self) -> Split:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares of train, validation and test add up to {total:g}, not to 1")
        return self


class DatasetConfig(BaseModel):
    """How annotations become a dataset version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    consensus: ConsensusPolicy = "majority"
    split: Split = Split()
