"""What every source has in common."""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from goldloop.connectors._content import printable
from goldloop.connectors._expression import Expression, Fields, checked
from goldloop.connectors._values import json_value
from goldloop.errors import ItemError, SourceError
from goldloop.plugins import Plugin, PluginConfig
from goldloop.records import Item, LabelUse, Quarantined

ExpressionField = Annotated[str, Field(min_length=1), AfterValidator(checked)]


class LabelPurpose(BaseModel):
    """What the labels that a source already knows are for.

    `use: imported` takes them as labels; `use: annotation` puts them into Label Studio as annotations,
    where people correct them; `use: truth` hides them from annotators and models, for simulated
    annotators and control items.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    use: LabelUse


class KnownLabel(LabelPurpose):
    """Where the labels are that a source already knows, and what they are for."""

    origin: str = Field(alias="from")
    """`folder` for the name of a file's folder, or the name of a column."""


class ConnectorConfig(PluginConfig):
    """What every source's configuration has.

    `filter` and `group` are expressions over the fields that an entry has before its content is read: the
    columns of a row, or what a file's address says. Every entry has `uri`.
    """

    limit: int | None = Field(default=None, ge=1)
    """At most this many addresses of those that the filter takes, in the source's own stable order."""
    filter: ExpressionField | None = None
    """Which entries belong to the source, such as `year >= 2020 and language in ["en", "de"]`."""
    group: str | None = Field(default=None, min_length=1)
    """What entries of one split have in common: a field's name, or an expression."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """An entry that belongs to the source; `group` is None for one of its own."""

    group: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """One address of a source.

    Attributes:
        entry: what is there.
        number: its place among others of its part; of equal contents the lower one counts as the first.
        part: the part of the source that it belongs to; None where it is one by itself.
        mark: changes whenever what is there could have; None where that cannot be told without reading,
            and where reading failed for now. All of a part have the part's.
    """

    entry: Item | Quarantined
    number: int = 0
    part: str | None = None
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A part of a source that was not read, as its mark is that of the last time.

    Attributes:
        part: its name; the address itself where it is a part by itself.
        mark: the mark.
        many: whether it is a part of many addresses.
    """

    part: str
    mark: str
    many: bool = False


class Known(Protocol):
    """What is known of a source from before."""

    @property
    def bookmark(self) -> str | None:
        """Where the last pull left a source that can go on from there."""

    def unchanged(self, marks: Mapping[str, str], *, many: bool = False) -> Collection[str]:
        """Which parts (name -> mark) need not be read again; ask for some hundreds at a time."""


class NothingKnown:
    """A source that is read for the first time."""

    bookmark = None

    def unchanged(self, marks: Mapping[str, str], *, many: bool = False) -> Collection[str]:
        """None."""
        return ()


class Connector(Plugin):
    """A source of items.

    `read` streams in bounded memory, in an order that is stable across runs and machines. What cannot
    be read or decoded comes as `Quarantined` with its reason and never stops the rest; only a source
    that cannot be read at all raises.
    """

    Config = ConnectorConfig
    needs_server: ClassVar[bool] = False
    """Whether only a running server has anything to read: it has no example, and tests of its own."""

    @classmethod
    @abstractmethod
    def example(cls, folder: Path) -> dict[str, Any]:
        """Write a tiny source into an empty folder, and tell its section of a recipe.

        It has two usable items or more and something that cannot be used: feeds the contract tests.
        """

    @abstractmethod
    def read(self, known: Known) -> Iterator[Found | Kept]:
        """Every address of the source, each exactly once: what is there, or that it is as it was.

        An image item carries its bytes in `content`. `source` is left to the caller to number.

        Raises:
            SourceError: the source as a whole cannot be read, or has nothing in it.
        """

    @abstractmethod
    def fingerprint(self) -> str | None:
        """A digest that changes whenever `read` could give something else; None if that cannot be told.

        Cheaper than reading: a listing with sizes and times.

        Raises:
            SourceError: the source as a whole cannot be read.
        """

    def items(self) -> Iterator[Item | Quarantined]:
        """Every address, read now."""
        for found in self.read(NothingKnown()):
            if isinstance(found, Found):
                yield found.entry

    def bookmark(self) -> str | None:
        """After `read`: where the next pull may go on, what was told before staying as it is.

        None where each pull tells all that there is.
        """
        return None

    def choose(self, uri: str, fields: Fields) -> Chosen | Quarantined | None:
        """Whether an entry belongs to the source, and to which group; None where the filter leaves it out."""
        fields = {**fields, "uri": uri}
        if self._unseen:
            self._seen |= dict.fromkeys(fields)
            self._unseen = self.unknown_fields(self._seen)
        try:
            if self._filter is not None and not self._filter(fields):
                return None
            return Chosen(self._group_of(fields))
        except ItemError as error:
            return Quarantined(uri=uri, reason=f"`filter` or `group`: {error}")

    def entry(
        self, uri: str, fields: Fields, make: Callable[[str | None], Item]
    ) -> Item | Quarantined | None:
        """What `make` makes for a group, or why there is nothing; None where the filter leaves it out."""
        chosen = self.choose(uri, fields)
        if not isinstance(chosen, Chosen):
            return chosen
        try:
            return make(chosen.group)
        except ItemError as error:
            return Quarantined(uri=uri, reason=str(error))

    def check_fields(self, known: Collection[str], where: str) -> None:
        """Refuse a filter or group that speaks of a field which no entry has.

        Raises:
            SourceError: names the nearest one.
        """
        for name in sorted(self.unknown_fields(known)):
            raise no_field(name, list(dict.fromkeys([*known, "uri"])), where)

    def check_seen(self, where: str) -> None:
        """At the end of a source whose fields nobody knows beforehand: refuse as `check_fields` does.

        Raises:
            SourceError: names the nearest one.
        """
        if self._seen:
            self.check_fields(list(self._seen), where)

    def unknown_fields(self, known: Collection[str]) -> set[str]:
        """The fields that `filter` and `group` speak of and that are not among these."""
        names = set(self._filter.names) if self._filter is not None else set()
        if self.config.group not in known and self._group is not None:
            names |= {self._group} if isinstance(self._group, str) else self._group.names
        return names - {*known, "uri"}

    @cached_property
    def _seen(self) -> dict[str, None]:
        """The fields of all entries so far, while one that is spoken of has not come."""
        return {}

    @cached_property
    def _unseen(self) -> set[str]:
        return self.unknown_fields(())

    @cached_property
    def _filter(self) -> Expression | None:
        return None if self.config.filter is None else Expression(self.config.filter)

    @cached_property
    def _group(self) -> Expression | str | None:
        """What the group follows from: an expression, or the name of a field that is none."""
        text = self.config.group
        try:
            return None if text is None else Expression(text)
        except ValueError:
            return str(text)

    def _group_of(self, fields: Fields) -> str | None:
        group = self._group
        if group is None:
            return None
        if self.config.group in fields:
            value = fields[self.config.group]
        else:
            value = None if isinstance(group, str) else group(fields)
        value = json_value(value)
        return None if value is None or value == "" else printable(str(value))


def no_field(name: str, known: Collection[str], where: str, what: str = "field") -> SourceError:
    """What to raise where a recipe names a field, or a column, that a source does not have."""
    near = difflib.get_close_matches(name, known, n=1)
    return SourceError(
        f"there is no {what} {name!r}",
        where=where,
        found=", ".join(known),
        remedy=f"Did you mean {near[0]!r}?" if near else None,
    )
