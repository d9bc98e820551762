"""What a recipe says under `dataset:`."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator

from goldloop.tasks.base import SettlementPolicy

_PSEUDONYM = re.compile(r"annotator-[0-9a-f]{8}|imported")
_HIDDEN = "hidden@goldloop.invalid"


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


class Reviewer(BaseModel):
    """`consensus: {reviewer: NAME}`: what this person says of an item is its label."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reviewer: str
    """A pseudonym, as versions show it, or the address with which someone logs in to Label Studio. An address
    is never written down: in a version it is a pseudonym, in a stored recipe it is hidden."""
    otherwise: SettlementPolicy = "majority"
    """How items are settled that the reviewer has not answered."""

    @field_validator("reviewer")
    @classmethod
    def _can_be_found(cls, reviewer: str) -> str:
        reviewer = reviewer.strip()
        if "@" not in reviewer and not _PSEUDONYM.fullmatch(reviewer):
            raise ValueError(
                f"{reviewer!r} is no pseudonym such as annotator-0a1b2c3d, as `goldloop show` tells "
                "them, and "
                "no address"
            )
        return reviewer

    @field_serializer("reviewer", when_used="json")
    def _without_address(self, reviewer: str) -> str:
        return _HIDDEN if "@" in reviewer else reviewer


class DatasetConfig(BaseModel):
    """How annotations become a dataset version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    consensus: SettlementPolicy | Reviewer = "majority"
    """How several answers become one label."""
    split: Split = Split()

    @field_validator("consensus", mode="before")
    @classmethod
    def _is_a_policy(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in get_args(SettlementPolicy):
            known = ", ".join(get_args(SettlementPolicy))
            raise ValueError(f"one of {known} or {{reviewer: NAME}}, not {value!r}")
        return value
