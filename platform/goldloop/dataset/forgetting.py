"""Versions without one content: its rows, lines and answers go, and each version still proves itself.

A version's digest is a tree over its rows' digests, and the ledger has the digest of each row. Of a content
that is forgotten the ledger keeps this digest, as a tombstone: outcome `forgotten`, no row, no reason, no
answer. So the version's digest can be recomputed from the bytes as before, though no byte of the content or
of its label is left. (The digest of a row is no content; but who has the content and its label can tell by
it that it was here.)

Files that versions share are written anew once, and shared again. Each version is put together aside and
takes the place of the former one by renaming; what a killed process left is settled by the next.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from goldloop.dataset.answers import answers_without, has_answers
from goldloop.dataset.certificate import DESCRIPTION, recertify
from goldloop.dataset.compaction import Source, merge_shards
from goldloop.dataset.digest import root as root_digest
from goldloop.dataset.draft import sweep, write_description
from goldloop.dataset.layout import link
from goldloop.dataset.ledger import Ledger
from goldloop.dataset.ledger_files import LEDGER_SUFFIX, ledger_without
from goldloop.dataset.ledger_lines import FORGOTTEN, WITH_ROW, Line
from goldloop.dataset.manifest import Manifest, Part
from goldloop.dataset.past import Ground
from goldloop.dataset.reviewed import REVIEWED, has_reviewed, reviewed_outcomes, reviewed_without
from goldloop.dataset.shards import numbers_of_key, part_of
from goldloop.dataset.signing import SigningKey
from goldloop.dataset.tally import Tally
from goldloop.dataset.version import Version, version_in
from goldloop.durable import flush, flush_all
from goldloop.errors import VersionError
from goldloop.tasks import tasks

_ASIDE, _FORMER, _SHARED = ".forgetting-", ".former-", ".forgetting"


@dataclass(frozen=True, slots=True)
class Held:
    """What one version has of a content.

    Attributes:
        version: which.
        line: its line in the ledger; None where the version never considered it, or no longer does.
        files: how many of its files have something of it, rows that are dead among them.
    """

    version: Version
    line: Line | None
    files: int

    @property
    def is_tombstone(self) -> bool:
        """Whether it was forgotten, and nothing is left of it."""
        return self.line is not None and self.line.outcome == FORGOTTEN and not self.files

    @property
    def split(self) -> str | None:
        """The split that its row is in, or was in before it was forgotten."""
        if self.line is None:
            return None
        return self.line.reason or None if self.line.outcome == FORGOTTEN else self.line.split


def held(root: Path, key: str) -> Iterator[Held]:
    """The versions that have something of a content, or a tombstone, by name and age.

    Args:
        root: the workspace's versions.
        key: of the content.

    Raises:
        VersionError: one of them cannot be read, so that there is no telling.
    """
    files = _Files(key, root / _SHARED)
    for folder in _folders(root):
        version = version_in(folder)
        manifest = Manifest.load(folder)
        line = Ledger([folder / part.path for part in manifest.ledger]).find([key]).get(key)
        count = sum(files.have(folder, part) for part in manifest.parts())
        count += has_reviewed(folder / REVIEWED, key)
        if line is not None or count:
            yield Held(version, line, count)


def forget(root: Path, key: str, signing: SigningKey | None, gone: Callable[[str], None]) -> None:
    """Leave nothing of a content in any version but its tombstone.

    The caller holds the lock of every name.

    Args:
        root: the workspace's versions.
        key: of the content.
        signing: signs the certificates that have to be written anew; those of an earlier signature lose it.
        gone: told the digest of each shard that goes, before it does.

    Raises:
        VersionError: a version cannot be read or written.
    """
    shared = root / _SHARED
    shutil.rmtree(shared, ignore_errors=True)
    files = _Files(key, shared)
    try:
        for name in sorted({folder.parent for folder in _folders(root)}):
            sweep(name)
        for folder in _folders(root):
            manifest = Manifest.load(folder)
            has = any(files.have(folder, part) for part in manifest.parts())
            if has or has_reviewed(folder / REVIEWED, key):
                _rewrite(folder, manifest, key, files, signing, gone)
    except OSError as error:
        raise VersionError(
            "a version cannot be written anew",
            where=root,
            found=error.strerror or str(error),
            remedy="Make room on the disk, and run the same command again: it goes on where it was",
        ) from error
    finally:
        shutil.rmtree(shared, ignore_errors=True)


def _folders(root: Path) -> list[Path]:
    """The folders of all versions, once those that a killed process was replacing are in their places."""
    for former in root.glob(f"*/{_FORMER}*"):
        folder = former.with_name(former.name.removeprefix(_FORMER))
        if folder.exists():
            shutil.rmtree(former)
        else:
            former.rename(folder)
    for left in root.glob(f"*/{_ASIDE}*"):
        shutil.rmtree(left)
    found = [path.parent.parent for path in root.glob(f"*/*/{DESCRIPTION}") if path.parts[-3][0] != "."]
    return sorted(found, key=lambda folder: (folder.parent.name, (folder / DESCRIPTION).stat().st_mtime_ns))


class _Files:
    """Which files have something of a content; each is looked at once, under whatever names it lies."""

    def __init__(self, key: str, shared: Path) -> None:
        self._key = key
        self._shared = shared
        self._known: dict[str, bool] = {}
        self._anew: dict[str, Source | None] = {}

    def have(self, folder: Path, part: Part) -> bool:
        """Whether something of it is in a file, dead rows and overruled lines among that."""
        if part.sha256 not in self._known:
            self._known[part.sha256] = self._look(folder / part.path)
        return self._known[part.sha256]

    def anew(self, path: Path, part: Part) -> Source | None:
        """The file without it, written once; None where nothing else is in it."""
        if part.sha256 not in self._anew:
            self._shared.mkdir(exist_ok=True)
            self._anew[part.sha256] = self._write(path, part, self._shared / f"{part.sha256}{path.suffix}")
        return self._anew[part.sha256]

    def _look(self, path: Path) -> bool:
        if path.suffix == LEDGER_SUFFIX:
            line = Ledger([path]).last_lines([self._key]).get(self._key)
            return (
                line is not None and line.outcome != FORGOTTEN and (line.outcome, line.held) != (None, None)
            )
        if path.parent.name == "data":
            return bool(numbers_of_key(path, self._key))
        return has_answers(path, self._key)

    def _write(self, path: Path, part: Part, target: Path) -> Source | None:
        from pyarrow import parquet

        if path.suffix == LEDGER_SUFFIX:
            return Source(target, part_of(target, ledger_without(target, path, self._key)))
        if path.parent.name != "data":
            return Source(target, part_of(target, answers_without(target, path, self._key)))
        numbers = frozenset(numbers_of_key(path, self._key))
        anew = merge_shards(target, parquet.read_schema(path), [Source(path, part)], numbers)
        return None if anew is None else Source(target, anew)


def _rewrite(
    folder: Path,
    manifest: Manifest,
    key: str,
    files: _Files,
    signing: SigningKey | None,
    gone: Callable[[str], None],
) -> None:
    ground = Ground.at(folder)
    if ground is None:
        raise VersionError(
            "the version is broken, and is not written anew",
            where=folder,
            remedy="`goldloop verify` says what is wrong; bring it back from a copy, or delete the folder",
        )
    aside = folder.with_name(f"{_ASIDE}{folder.name}")
    for inside in ("data", "goldloop"):
        (aside / inside).mkdir(parents=True)
    after = _moved(folder, manifest, aside, key, files, gone)
    after.save(aside)
    if has_reviewed(folder / REVIEWED, key):
        reviewed_without(aside / REVIEWED, folder / REVIEWED, key)
    elif (folder / REVIEWED).exists():
        link(folder / REVIEWED, aside / REVIEWED)
    reviewed = reviewed_outcomes(aside / REVIEWED)
    version, tally = _counted_anew(version_in(folder), ground, key)
    told = ground.certificate
    task = tasks.create(version.task)
    write_description(
        aside, version, task, tally, told["agreement"], after, reviewed=reviewed, ledger=told["ledger"]
    )
    _check(aside, after, version, tally)
    recertify(aside, {**told, "reviewed": dict(sorted(reviewed.items()))}, tally, signing)
    flush_all(
        [*(path for path in aside.rglob("*") if path.is_file()), aside / "data", aside / "goldloop", aside]
    )
    former = folder.with_name(f"{_FORMER}{folder.name}")
    folder.rename(former)
    aside.rename(folder)
    flush(folder.parent)
    shutil.rmtree(former)


def _moved(
    folder: Path, manifest: Manifest, aside: Path, key: str, files: _Files, gone: Callable[[str], None]
) -> Manifest:
    """Link a version's files into another folder; those that have something of a content are written anew."""
    numbers: set[int] = set()

    def moved(parts: Sequence[Part]) -> tuple[Part, ...]:
        found = []
        for part in parts:
            source: Source | None = Source(folder / part.path, part)
            if files.have(folder, part):
                if part.path.startswith("data/"):
                    gone(part.sha256)
                    numbers.update(numbers_of_key(folder / part.path, key))
                source = files.anew(folder / part.path, part)
            if source is not None:
                link(source.path, aside / part.path)
                found.append(replace(source.part, path=part.path))
        return tuple(found)

    shards = {split: moved(parts) for split, parts in manifest.shards.items()}
    return Manifest(
        shards={split: parts for split, parts in shards.items() if parts},
        ledger=moved(manifest.ledger),
        answers=moved(manifest.answers),
        dead=tuple(number for number in manifest.dead if number not in numbers),
        next=manifest.next,
    )


def _counted_anew(version: Version, ground: Ground, key: str) -> tuple[Version, Tally]:
    """A version, and what it adds up to, once a content in it is forgotten."""
    task = tasks.create(version.task)
    line = ground.ledger.find([key]).get(key)
    if line is None:
        return version, ground.tally(task)
    rows = ground.labels(task, [line]) if line.outcome in WITH_ROW else []
    less = Tally.of(task, rows, [str(line.outcome)])
    tally = ground.tally(task).changed(less=less, plus=Tally(outcomes=Counter({FORGOTTEN: 1})))
    counts, class_counts = tally.counts(), tally.class_counts(task.classes)
    return replace(version, counts=counts, class_counts=class_counts), tally


def _check(aside: Path, after: Manifest, version: Version, tally: Tally) -> None:
    """Hold what was written against what the version is to be."""
    ledger = Ledger([aside / part.path for part in after.ledger])
    digest = root_digest(version.task["kind"], version.classes, ledger.tree().buckets)
    rows = sum(part.rows for parts in after.shards.values() for part in parts) - len(after.dead)
    if digest != version.digest or rows != tally.rows:
        raise VersionError(
            "the version did not come out as it was meant; it stays as it was",
            where=version.folder,
            found=f"digest {digest[:12]}, {rows} rows",
            expected=f"digest {version.digest[:12]}, {tally.rows} rows",
            remedy="`goldloop verify` says whether it was whole before; check the disk",
        )
