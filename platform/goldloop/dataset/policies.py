"""How a group finds its split: each policy is a rule that can be held against a row again at any time.

    group        by the SHA-256 of its name, which is a number in [0, 1)
    stratified   by that number too, held against limits that were drawn for its rarest class
    temporal     by its latest time
    predefined   by what the source says

A version has the policies that any of its rows was placed by, and of each row which, and by what: its class,
its time, its source's word. A policy that a commit needs and that is not there yet is added; none ever
changes.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from typing_extensions import override

from goldloop.dataset.splits import SplitName

Limits = tuple[float, float]
"""Below the first is test, below the second validation, and train from there on."""


def number_of(group: str, seed: int) -> float:
    """Where a group stands in [0, 1): the same on any machine, and as good as drawn by lot."""
    # Named, so that no other draw over the same keys (which items are sent out first) goes along with it.
    digest = hashlib.sha256(f"split:{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class Policy(BaseModel):
    """One rule.

    Attributes:
        seed: of the draw. Where a recipe has another one, all items are placed anew.
        closed: whether the test split takes no new group.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    closed: bool = False

    @abstractmethod
    def place(self, group: str, basis: str | None) -> SplitName | None:
        """The split of a group; None where it has none.

        Args:
            group: its name.
            basis: what it is placed by, where that is not its name alone.
        """


class ByGroup(Policy):
    """By the group's number alone."""

    kind: Literal["group"] = "group"
    train: float
    validation: float
    test: float

    @override
    def place(self, group: str, basis: str | None) -> SplitName:
        number = number_of(group, self.seed)
        if number < self.test and self.closed:
            # What would have been for testing is shared out among the others as they share the rest.
            return "validation" if number / self.test < self.validation / (1 - self.test) else "train"
        return _within(number, (self.test, self.test + self.validation))


class Stratified(Policy):
    """By the group's number, with other limits for each class.

    Attributes:
        strata: class -> its limits; the empty name is of items without any class.
    """

    kind: Literal["stratified"] = "stratified"
    strata: Mapping[str, Limits]

    @override
    def place(self, group: str, basis: str | None) -> SplitName | None:
        limits = self.strata.get(basis or "")
        return None if limits is None else _within(number_of(group, self.seed), limits)


class Temporal(Policy):
    """By time: the oldest items are for training, the newest for testing.

    Attributes:
        field: of the metadata.
        validation_from, test_from: as `times.parse` writes them.
    """

    kind: Literal["temporal"] = "temporal"
    field: str
    validation_from: str
    test_from: str

    @override
    def place(self, group: str, basis: str | None) -> SplitName | None:
        if basis is None:
            return None
        if basis >= self.test_from:
            return None if self.closed else "test"
        return "validation" if basis >= self.validation_from else "train"


class Predefined(Policy):
    """By the word of the source.

    Attributes:
        field: of the metadata; or `source`, which is the number of the source in the recipe.
        values: what it says -> the split that it means.
        otherwise: the split of items of which it says nothing.
    """

    kind: Literal["predefined"] = "predefined"
    field: str
    values: Mapping[str, SplitName]
    otherwise: SplitName | None = None

    @override
    def place(self, group: str, basis: str | None) -> SplitName | None:
        found = self.otherwise if basis is None else self.values.get(basis)
        return None if found == "test" and self.closed else found


AnyPolicy = Annotated[ByGroup | Stratified | Temporal | Predefined, Field(discriminator="kind")]
_LIST: TypeAdapter[list[AnyPolicy]] = TypeAdapter(list[AnyPolicy])


def read_policies(described: Mapping[str, Any]) -> list[Policy]:
    """The policies of a version by what its `version.json` says.

    Raises:
        ValueError: it says something else.
    """
    return list(_LIST.validate_python(described["policies"]))


def policy_facts(policies: Iterable[Policy]) -> list[dict[str, Any]]:
    """Policies as `version.json` says them."""
    return [policy.model_dump(mode="json") for policy in policies]


def _within(number: float, limits: Limits) -> SplitName:
    if number < limits[0]:
        return "test"
    return "validation" if number < limits[1] else "train"
