"""How a version's files come into its folder: linked from the version before, written, or merged."""

from __future__ import annotations

import os
import shutil
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from goldloop.dataset.answers import merge_answers, write_answers
from goldloop.dataset.changes import Changes
from goldloop.dataset.compaction import Source, merge_shards, run_to_merge, shards_to_rewrite
from goldloop.dataset.ledger_files import merge_ledger, write_lines
from goldloop.dataset.ledger_lines import Tree
from goldloop.dataset.manifest import Manifest, Part
from goldloop.dataset.shards import numbers_of, part_of, schema_of, write_shards
from goldloop.dataset.splits import SPLITS
from goldloop.media import MediaStore
from goldloop.tasks.base import Task


def lay_out(
    folder: Path,
    before: Path | None,
    task: Task[Any],
    changes: Changes,
    tree: Tree,
    media: MediaStore,
    *,
    by_address: bool = False,
) -> Manifest:
    """Put the files of a version into its folder: those it shares, and those that the changes need.

    Args:
        folder: new, and empty.
        before: the folder of the version that these are changes to; None: they are all there is.
        task: with the version's class registry.
        changes: what is new.
        tree: the buckets of its digest.
        media: where images lie.
        by_address: leave those of new rows outside whose address gives just their bytes.

    Returns:
        The manifest, not yet written.
    """
    for name in ("data", "goldloop"):
        (folder / name).mkdir(parents=True)
    known = Manifest() if before is None else Manifest.load(before)
    shards, dead = _shards(folder, before, known, task, changes, media, by_address)
    return Manifest(
        shards=shards,
        ledger=_ledger(folder, _sources(before, known.ledger), changes, tree),
        answers=_answers(folder, _sources(before, known.answers), changes),
        dead=dead,
        next=changes.next,
    )


def new_files(folder: Path, before: Path | None) -> frozenset[str]:
    """The files of a version's manifest that the one before has not."""
    known = set() if before is None else {part.sha256 for part in Manifest.load(before).parts()}
    return frozenset(part.path for part in Manifest.load(folder).parts() if part.sha256 not in known)


def _shards(
    folder: Path,
    before: Path | None,
    known: Manifest,
    task: Task[Any],
    changes: Changes,
    media: MediaStore,
    by_address: bool,
) -> tuple[dict[str, tuple[Part, ...]], tuple[int, ...]]:
    dead = sorted({*known.dead, *changes.dead})
    first = changes.first
    sources: dict[str, list[Source]] = {}
    split: str
    for split in SPLITS:
        rows = [entry for entry in changes.entries if entry.split == split]
        parts = write_shards(folder / "data", task, split, rows, media, first, by_address=by_address)
        first += len(rows)
        sources[split] = [*_sources(before, known.shards.get(split, ())), *_sources(folder, parts)]
    counts = {source.path: _dead_in(source, dead) for each in sources.values() for source in each}
    rewritten = shards_to_rewrite([source for each in sources.values() for source in each], counts)
    shards: dict[str, tuple[Part, ...]] = {}
    gone: set[int] = set()
    for split, every in sources.items():
        kept = _rearranged(folder, split, every, rewritten, frozenset(dead), task)
        stay = {source.path for source in kept}
        for source in every:
            if source.path not in stay:
                gone.update(_dead_numbers(source, dead))
                _drop(folder, source)
        if kept:
            shards[split] = _named(folder, kept, f"data/{split}-{{place:05}}-of-{{count:05}}.parquet")
    return shards, tuple(number for number in dead if number not in gone)


def _rearranged(
    folder: Path,
    split: str,
    sources: Sequence[Source],
    rewritten: Sequence[Source],
    dead: frozenset[int],
    task: Task[Any],
) -> list[Source]:
    """The shards of a split once what is to be merged or written anew is."""
    run = run_to_merge([source.part for source in sources])
    groups = [[source] for source in sources[:run]] + ([list(sources[run:])] if run < len(sources) else [])
    kept: list[Source] = []
    for place, group in enumerate(groups):
        if len(group) == 1 and group[0] not in rewritten:
            kept += group
            continue
        path = folder / "data" / f"{split}-merged-{place:05}.parquet"
        part = merge_shards(path, schema_of(task), group, dead)
        if part is not None:
            kept.append(Source(path, part))
    return kept


def _ledger(folder: Path, sources: Sequence[Source], changes: Changes, tree: Tree) -> tuple[Part, ...]:
    chain = list(sources)
    if changes.lines:
        path = folder / "goldloop" / "ledger-new.arrow"
        chain.append(Source(path, part_of(path, write_lines(path, changes.lines, tree))))
    # Where all buckets are new, files that have older ones cannot stay.
    run = 0 if tree.is_new else run_to_merge([source.part for source in chain])
    if len(chain) - run > 1:
        path = folder / "goldloop" / "ledger-merged.arrow"
        lines = merge_ledger(path, [source.path for source in chain[run:]], whole=run == 0)
        _drop(folder, *chain[run:])
        chain[run:] = [Source(path, part_of(path, lines))]
    return _named(folder, chain, "goldloop/ledger-{place:05}.arrow")


def _answers(folder: Path, sources: Sequence[Source], changes: Changes) -> tuple[Part, ...]:
    chain = list(sources)
    # Where nobody ever answered, nothing has to be taken back.
    known = any(source.part.rows for source in chain)
    answers = {key: given for key, given in changes.answers.items() if given or known}
    if answers or not chain:
        path = folder / "goldloop" / "answers-new.parquet"
        chain.append(Source(path, part_of(path, write_answers(path, answers))))
    run = run_to_merge([source.part for source in chain])
    if len(chain) - run > 1:
        path = folder / "goldloop" / "answers-merged.parquet"
        lines = merge_answers(path, [source.path for source in chain[run:]], whole=run == 0)
        _drop(folder, *chain[run:])
        chain[run:] = [Source(path, part_of(path, lines))]
    return _named(folder, chain, "goldloop/answers-{place:05}.parquet")


def _sources(folder: Path | None, parts: Sequence[Part]) -> list[Source]:
    return [] if folder is None else [Source(folder / part.path, part) for part in parts]


def _named(folder: Path, sources: Sequence[Source], form: str) -> tuple[Part, ...]:
    """Give files their names: those that were written here are renamed, those of another version linked."""
    parts = []
    for place, source in enumerate(sources):
        part = replace(source.part, path=form.format(place=place, count=len(sources)))
        target = folder / part.path
        if source.path.is_relative_to(folder):
            source.path.replace(target)
        else:
            link(source.path, target)
        parts.append(part)
    return tuple(parts)


def _drop(folder: Path, *sources: Source) -> None:
    """Take away files that were written here and stand in another one now."""
    for source in sources:
        if source.path.is_relative_to(folder):
            source.path.unlink()


def link(source: Path, target: Path) -> None:
    """Have a file under a second name; a copy of it where the file system cannot do that."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _dead_numbers(source: Source, dead: Sequence[int]) -> list[int]:
    """Which of these numbers are of rows of a shard."""
    inside = dead[bisect_left(dead, source.part.first) : bisect_right(dead, source.part.last)]
    if source.part.is_gapless or not inside:
        return list(inside)
    return sorted(set(inside).intersection(numbers_of(source.path, source.part)))


def _dead_in(source: Source, dead: Sequence[int]) -> int:
    return len(_dead_numbers(source, dead))
