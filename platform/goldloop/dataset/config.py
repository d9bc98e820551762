"""What a recipe says under `dataset:`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator

from goldloop.dataset.splits import SplitName
from goldloop.dataset.times import parse_time
from goldloop.records import Modality
from goldloop.tasks.base import SettlementPolicy

_PSEUDONYM = re.compile(r"annotator-[0-9a-f]{8}|imported")
_HIDDEN = "hidden@goldloop.invalid"


class _Policy(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GroupPolicy(_Policy):
    """`group`: a function of the group's name alone."""

    kind: Literal["group"] = "group"


class StratifiedPolicy(_Policy):
    """`stratified`: each class in the wanted shares, as far as what is placed already allows."""

    kind: Literal["stratified"] = "stratified"


class TemporalPolicy(_Policy):
    """`{kind: temporal, field: COLUMN}`: the newest items for testing."""

    kind: Literal["temporal"] = "temporal"
    field: str
    """A field of the items' metadata with their time."""
    validation_from: str | None = None
    """From when on; by default what gives the shares when the first version is committed."""
    test_from: str | None = None

    @field_validator("validation_from", "test_from", mode="before")
    @classmethod
    def _is_a_time(cls, value: Any) -> str | None:
        found = parse_time(value)
        if value is not None and found is None:
            raise ValueError(f"{value!r} is no time, such as 2024-03-01 or 2024-03-01T12:30:00Z")
        return found

    @model_validator(mode="after")
    def _ascends(self) -> TemporalPolicy:
        if (self.validation_from is None) != (self.test_from is None):
            raise ValueError("give both `validation_from` and `test_from`, or neither")
        if (
            self.validation_from is not None
            and self.test_from is not None
            and self.test_from < self.validation_from
        ):
            raise ValueError("`test_from` is before `validation_from`")
        return self


class PredefinedPolicy(_Policy):
    """`{kind: predefined, field: COLUMN}`: what the source says."""

    kind: Literal["predefined"] = "predefined"
    field: str = "split"
    """A field of the items' metadata: `split`, where the data set's own format has it; or `source`, which is
    the number of the source in the recipe, from 0."""
    values: dict[str, SplitName] = Field(default_factory=dict)
    """What it says -> what that means, beside the usual names."""
    otherwise: SplitName | None = None
    """The split of items of which it says nothing; by default they are kept out."""
    leaks: Literal["refuse", "keep-out"] = "refuse"
    """What to do with near-duplicates in different splits: nothing is committed, or those are kept out that
    are not in the split most in need of protection (testing, then validation)."""

    @field_validator("values", mode="before")
    @classmethod
    def _named_by_texts(cls, values: Any) -> Any:
        return {str(name): split for name, split in values.items()} if isinstance(values, dict) else values


PolicyConfig = Annotated[
    GroupPolicy | StratifiedPolicy | TemporalPolicy | PredefinedPolicy, Field(discriminator="kind")
]


class Split(BaseModel):
    """How items come into splits; one that is in a split never leaves it for another."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: float = Field(default=0.8, gt=0, le=1)
    validation: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.1, ge=0, lt=1)
    seed: int = 0
    """Of the draw. Another one, set on purpose, places all items anew."""
    policy: PolicyConfig = GroupPolicy()
    """What new groups are placed by."""
    frozen: bool = False
    """Whether the test split, once there is one, takes new items only by `goldloop commit --grow-test`."""

    @field_validator("policy", mode="before")
    @classmethod
    def _may_be_a_name(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _adds_up(self) -> Split:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares of train, validation and test add up to {total:g}, not to 1")
        return self


class Duplicates(BaseModel):
    """What counts as the same thing twice, and is therefore kept in one split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Literal["near", "off"] = "near"
    """`near`: other encodings and sizes, crops down to 80% of each side, mirror images."""
    texts: Literal["near", "exact", "off"] = "near"
    """`exact`: all but case, punctuation and blanks is the same; `near`: 85% of it, and all numbers."""

    @field_validator("images", "texts", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        # In YAML, `off` is the other way of writing `false`.
        return "off" if value is False else value

    def of(self, modality: Modality) -> Literal["near", "exact"] | None:
        """What counts for a kind of content; None where nothing is looked for."""
        rule = self.images if modality == "image" else self.texts
        return None if rule == "off" else rule


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
    media: Literal["inside", "reference"] = "inside"
    """Where the images of new rows lie: inside the version; or at the address that they came from, which the
    row has beside their digest. Rows that are in a version already stay as they lie; texts lie inside."""
    duplicates: Duplicates = Duplicates()
    """`off`, or what to look for: `{images: near, texts: near}`."""

    @field_validator("duplicates", mode="before")
    @classmethod
    def _may_be_off(cls, value: Any) -> Any:
        return {"images": "off", "texts": "off"} if value in (False, "off") else value

    @field_validator("consensus", mode="before")
    @classmethod
    def _is_a_policy(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in get_args(SettlementPolicy):
            known = ", ".join(get_args(SettlementPolicy))
            raise ValueError(f"one of {known} or {{reviewer: NAME}}, not {value!r}")
        return value
