"""What every source has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from goldloop.plugins import Plugin, PluginConfig
from goldloop.records import Item, LabelUse, Quarantined


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
    """What every source's configuration has."""

    limit: int | None = Field(default=None, ge=1)
    """At most this many addresses, in the source's own stable order."""


class Connector(Plugin):
    """A source of items.

    `items` streams in bounded memory, in an order that is stable across runs and machines. What cannot
    be read or decoded comes as `Quarantined` with its reason and never stops the rest; only a source
    that cannot be read at all raises.
    """

    Config = ConnectorConfig

    @classmethod
    @abstractmethod
    def example(cls, folder: Path) -> dict[str, Any]:
        """Write a tiny source into an empty folder, and tell its section of a recipe.

        It has two usable items or more and something that cannot be used: feeds the contract tests.
        """

    @abstractmethod
    def items(self) -> Iterator[Item | Quarantined]:
        """Every address of the source, each exactly once, as an item or quarantined.

        An image item carries its bytes in `content`. `source` is left to the caller to number.

        Raises:
            SourceError: the source as a whole cannot be read, or has nothing in it.
        """

    @abstractmethod
    def fingerprint(self) -> str | None:
        """A digest that changes whenever `items` could give something else; None if that cannot be told.

        Cheaper than reading: a listing with sizes and times.

        Raises:
            SourceError: the source as a whole cannot be read.
        """
