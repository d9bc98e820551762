"""Sources -> catalog: every address gets one outcome, and every content is kept once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine

from goldloop.catalog import stages
from goldloop.catalog.content import replace_content
from goldloop.catalog.ledger import Balance, write_books
from goldloop.connectors.base import Connector
from goldloop.errors import AnnotationError, ItemError
from goldloop.media import MediaStore
from goldloop.progress import Progress
from goldloop.records import Item, Modality, Outcome, Quarantined


class Intake:
    """One pull over all sources of a recipe.

    Media are written as they stream by, by content, so that a pull which is killed leaves nothing but
    files that the next one finds again; the catalog changes in one transaction at the end.

    Args:
        media: where images are kept.
        modality: what the task can work on.
        parse: the task's reading of a label that a source knows; raises AnnotationError.
        check: refuses items that the task cannot ask about; raises ItemError.
        forgotten: keys of contents that were erased: they are not taken in again.
    """

    def __init__(
        self,
        media: MediaStore,
        modality: Modality,
        parse: Callable[[Any, Item], Any],
        check: Callable[[Item], None] = lambda _item: None,
        forgotten: Collection[str] = (),
    ) -> None:
        self._media = media
        self._modality = modality
        self._parse = parse
        self._check = check
        self._forgotten = forgotten
        self._items: dict[str, Item] = {}
        self._seen: dict[str, tuple[str, str]] = {}
        self._outcomes: list[Outcome] = []
        self._total = 0

    def read(self, sources: Sequence[tuple[str, Connector]], progress: Progress) -> None:
        """Stream every source; `sources` pairs each with its name in the recipe."""
        for name, connector in sources:
            with progress.track(f"pull {name}") as advance:
                for entry in connector.items():
                    self._total += 1
                    self._outcomes.append(self._take(entry, name))
                    advance(1)

    def store(self, engine: Engine, recipe: str, inputs: str) -> Balance:
        """Make the catalog say what was found, from which inputs.

        Raises:
            LedgerError: an address has no outcome, or two.
        """
        with engine.begin() as connection:
            replace_content(connection, recipe, self._items.values(), self._seen)
            books = write_books(connection, recipe, "pull", self._total, self._outcomes)
            stages.finish(connection, recipe, "pull", inputs, {"balance": str(books)})
            return books

    def _take(self, entry: Item | Quarantined, source: str) -> Outcome:
        subject = f"{source} {entry.uri}"
        if isinstance(entry, Quarantined):
            return Outcome(subject=subject, outcome="quarantined", reason=entry.reason)
        if entry.key in self._forgotten:
            return Outcome(subject=subject, outcome="forgotten", reason="this content was erased")
        if entry.modality != self._modality:
            reason = f"this is {entry.modality}, the task works on {self._modality}"
            return Outcome(subject=subject, outcome="quarantined", reason=reason)
        try:
            self._check(entry)
            label = None if entry.label is None else self._parse(entry.label, entry)
        except (AnnotationError, ItemError) as error:
            return Outcome(subject=subject, outcome="quarantined", reason=str(error))
        self._seen[entry.uri] = (entry.key, source)
        first = self._items.get(entry.key)
        if first is not None:
            return Outcome(subject=subject, outcome="duplicate", reason=self._merge(first, label))
        if entry.content is not None:
            self._media.put(entry, entry.content)
        self._items[entry.key] = replace(entry, source=source, label=label, content=None)
        return Outcome(subject=subject, outcome="pulled")

    def _merge(self, first: Item, label: Any) -> str:
        """Note another address of the same content; where their labels differ, neither is believed."""
        reason = f"the same content as {first.uri}"
        if label is None or first.label == label:
            return reason
        if first.label is None:
            return f"{reason}; its label {label!r} is not used, as the first address has none"
        self._items[first.key] = replace(first, label=None, label_use=None)
        return f"{reason}, where the label is {first.label!r} and not {label!r}: neither is used"


def fingerprint(sources: Sequence[tuple[str, Connector]]) -> str | None:
    """What the sources would give, as one text; None where one of them cannot tell."""
    parts = list(_fingerprints(sources))
    return None if None in parts else "\n".join(str(part) for part in parts)


def _fingerprints(sources: Sequence[tuple[str, Connector]]) -> Iterator[str | None]:
    for name, connector in sources:
        mark = connector.fingerprint()
        yield None if mark is None else f"{name} {mark}"
