"""Sources -> catalog: every address gets one outcome, and every content is kept once.

Memory holds what is being read and no more: what is found is staged in the catalog, and settled by it in one
transaction at the end. A source whose fingerprint is that of the last pull is not read at all; of others
only parts whose mark has changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Engine

from goldloop.catalog import stages
from goldloop.catalog.arrivals import FORGOTTEN, Arrivals, part_key
from goldloop.catalog.ledger import Balance, balance
from goldloop.catalog.settlement import count_not_told, count_standing, settle
from goldloop.connectors.base import Connector, Found
from goldloop.errors import AnnotationError, Dropped, ItemError
from goldloop.progress import Progress
from goldloop.records import Item, Modality, Quarantined

_TELL = 100
"""Entries after which progress is told."""

Put = Callable[[Item, bytes], None]
ShowDropped = Callable[[str, Item, str], None]


@dataclass(frozen=True)
class Source:
    """One source of a recipe.

    Attributes:
        name: its position and kind, such as `0:files`.
        connector: what reads it.
        reading: a digest of all that decides what is made of what it has: its section, the task, cleaning.
    """

    name: str
    connector: Connector
    reading: str


@dataclass(frozen=True)
class Looked:
    """What is known of the sources before they are read.

    Attributes:
        changed: those that must be read.
        facts: what to remember of each source: `reading`, `fingerprint`, `bookmark`.
        trusted: those of `changed` that were read in the same way the last time.
    """

    sources: Sequence[Source]
    changed: Sequence[Source]
    facts: dict[str, dict[str, Any]]
    trusted: Collection[str]


@dataclass
class Told:
    """What reading told.

    Attributes:
        total: addresses that came, or were kept one by one.
        continued: sources that told only what is new.
    """

    total: int = 0
    continued: set[str] = field(default_factory=set)


def look(connection: Connection, recipe: str, sources: Sequence[Source], *, full: bool = False) -> Looked:
    """Which sources have changed since the last pull.

    Args:
        connection: the catalog.
        recipe: the recipe's name.
        sources: all of them.
        full: take nothing for unchanged.

    Raises:
        SourceError: a source cannot be read at all.
    """
    before = (stages.result_of(connection, recipe, "pull") or {}).get("sources", {})
    changed, facts, trusted = [], {}, set()
    for source in sources:
        known = before.get(source.name, {})
        mark = source.connector.fingerprint()
        same = not full and known.get("reading") == source.reading
        if same:
            trusted.add(source.name)
        if not same or mark is None or known.get("fingerprint") != mark:
            changed.append(source)
        facts[source.name] = {
            "reading": source.reading,
            "fingerprint": mark,
            "bookmark": known.get("bookmark") if same else None,
        }
    return Looked(sources, changed, facts, trusted)


class Intake:
    """What is made of what sources give.

    Args:
        put: keeps an image's bytes, by content, as it streams by: a pull that is killed leaves nothing but
            files that the next one finds again.
        modality: what the task can work on.
        parse: the task's reading of a label that a source knows; raises AnnotationError.
        check: refuses items that the task cannot ask about; raises ItemError.
        clean: the recipe's cleaning of an item whose label is in the task's form: the item as it is to be
            kept, and what was done to it; raises Dropped.
        show: is told of each item that is dropped: its source and address, the item, and why.
        forgotten: keys of contents that were erased: they are not taken in again.
    """

    def __init__(
        self,
        put: Put,
        modality: Modality,
        parse: Callable[[Any, Item], Any],
        check: Callable[[Item], None] = lambda _item: None,
        clean: Callable[[Item], tuple[Item, str]] = lambda item: (item, ""),
        show: ShowDropped = lambda _subject, _item, _reason: None,
        forgotten: Collection[str] = (),
    ) -> None:
        self._put = put
        self._modality = modality
        self._parse = parse
        self._check = check
        self._clean = clean
        self._forgotten = forgotten
        self._show = show

    def read(self, arrivals: Arrivals, looked: Looked, progress: Progress) -> Told:
        """Stream every source that has changed into the staged arrivals."""
        told = Told()
        for source in looked.changed:
            facts = looked.facts[source.name]
            settled = source.name in looked.trusted
            known = _Known(arrivals, source.name, facts["bookmark"], settled=settled)
            with progress.track(f"pull {source.name}") as advance:
                self._stream(arrivals, source, known, told, advance)
            mark = source.connector.bookmark()
            if mark is not None and facts["bookmark"] is not None:
                told.continued.add(source.name)
            facts["bookmark"] = mark
        return told

    def _stream(
        self, arrivals: Arrivals, source: Source, known: _Known, told: Told, advance: Callable[[int], None]
    ) -> None:
        open_part: tuple[str, str] | None = None
        since = 0
        for found in source.connector.read(known):
            count = 1
            part = None
            if isinstance(found, Found):
                part = None if found.part is None or found.mark is None else (found.part, found.mark)
            if open_part is not None and part != open_part:
                arrivals.finish_part(source.name, *open_part)
            open_part = part
            if isinstance(found, Found):
                arrivals.add(source.name, self._row(found, source.name))
            elif found.many:
                count = arrivals.keep_part(source.name, found.part, found.mark)
            else:
                arrivals.keep(source.name, found.part, found.mark)
            told.total += count
            since += count
            if since >= _TELL:
                advance(since)
                since = 0
        if open_part is not None:
            arrivals.finish_part(source.name, *open_part)
        arrivals.flush()
        advance(since)

    def _row(self, found: Found, source: str) -> dict[str, Any]:
        entry = found.entry
        place = {
            "uri": entry.uri,
            "number": found.number,
            "part": None if found.part is None else part_key(found.part),
            "mark": found.mark if found.part is None else None,
        }
        if isinstance(entry, Quarantined):
            return {**place, "outcome": "quarantined", "reason": entry.reason}
        if entry.key in self._forgotten:
            return {**place, **FORGOTTEN}
        try:
            item, note = self._taken(entry)
        except Dropped as error:
            shown = error.item if isinstance(error.item, Item) else entry
            self._show(f"{source} {entry.uri}", shown, str(error))
            return {**place, "outcome": "dropped", "reason": str(error)}
        except (AnnotationError, ItemError) as error:
            return {**place, "outcome": "quarantined", "reason": str(error)}
        if item.key in self._forgotten:
            return {**place, **FORGOTTEN}
        if item.content is not None:
            self._put(item, item.content)
        return {**place, **_columns(item), "reason": note}

    def _taken(self, entry: Item) -> tuple[Item, str]:
        if entry.modality != self._modality:
            raise ItemError(f"this is {entry.modality}, the task works on {self._modality}")
        self._check(entry)
        label = None if entry.label is None else self._parse(entry.label, entry)
        return self._clean(replace(entry, label=label))


def pull(
    engine: Engine,
    recipe: str,
    looked: Looked,
    intake: Intake,
    inputs: str,
    progress: Progress,
) -> Balance:
    """Read what has changed, and make the catalog say what was found.

    Args:
        engine: the catalog.
        recipe: the recipe's name.
        looked: what `look` found.
        intake: what is made of what sources give.
        inputs: a digest of all that decides the result but the sources' content: an attempt that was killed
            is gone on with from the same ones.
        progress: where to tell how far it is.

    Raises:
        LedgerError: an address has no outcome, or two.
    """
    names = [source.name for source in looked.sources]
    changed = {source.name for source in looked.changed}
    arrivals = Arrivals.resume(engine.begin, recipe, inputs)
    told = intake.read(arrivals, looked, progress)
    progress.say(f"pull: settling {told.total:,} addresses")
    with engine.begin() as connection:
        total = told.total + count_standing(connection, recipe, set(names) - changed)
        for source in told.continued:
            total += count_not_told(connection, recipe, arrivals.attempt, source)
        books = settle(
            connection, recipe, arrivals.attempt, names, read=changed, continued=told.continued, total=total
        )
        result = {"balance": str(books), "sources": looked.facts}
        stages.finish(connection, recipe, "pull", inputs, result)
        return books


def is_unchanged(connection: Connection, recipe: str, looked: Looked) -> bool:
    """Whether the last pull found just these sources, as they are."""
    before = stages.result_of(connection, recipe, "pull") or {}
    return not looked.changed and list(before.get("sources", {})) == [each.name for each in looked.sources]


def books_of(connection: Connection, recipe: str) -> Balance:
    """The books of the last pull."""
    return balance(connection, recipe, "pull")


@contextmanager
def committed(connection: Connection) -> Iterator[Connection]:
    """A transaction on one connection, for tables that are its own."""
    yield connection
    connection.commit()


class _Known:
    """What the catalog knows of one source."""

    def __init__(self, arrivals: Arrivals, source: str, bookmark: str | None, *, settled: bool) -> None:
        self._arrivals = arrivals
        self._source = source
        self._settled = settled
        self.bookmark = bookmark

    def unchanged(self, marks: Mapping[str, str], *, many: bool = False) -> Collection[str]:
        return self._arrivals.unchanged(self._source, marks, many=many, settled=self._settled)


def _columns(item: Item) -> dict[str, Any]:
    return {
        "key": item.key,
        "grouping": None if item.group == item.key else item.group,
        "metadata": dict(item.metadata),
        "label": _canonical(item.label),
        "label_use": item.label_use,
        "modality": item.modality,
        "text": item.text,
        "media_type": item.media_type,
        "width": item.width,
        "height": item.height,
    }


def _canonical(label: Any) -> Any:
    """A label whose JSON is the same text wherever it is equal."""
    return json.loads(json.dumps(label, sort_keys=True)) if isinstance(label, dict | list) else label
