"""What nothing needs any more under the versions of a name, and taking it away.

Versions share files by hard links, so that a version's folder can go whenever it is not needed itself: the
disk gets back what no other has. What is listed stays unless a number of versions to keep is given; and then,
too, what a run or a model names.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from goldloop.dataset import history, tags
from goldloop.dataset.arrow_files import names_of
from goldloop.dataset.draft import ASIDE, sweep
from goldloop.dataset.manifest import Manifest
from goldloop.dataset.past import NAME_LENGTH
from goldloop.durable import flush
from goldloop.errors import VersionError

_FOLDER = re.compile(rf"[0-9a-f]{{{NAME_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class Garbage:
    """One thing that nothing needs.

    Attributes:
        path: where it lies.
        why: why it can go.
        bytes: what the disk gets back, once what stands before it in the list is gone too.
    """

    path: Path
    why: str
    bytes: int


def find_garbage(folder: Path, *, keep: int | None = None, needed: Collection[str] = ()) -> list[Garbage]:
    """What can go of the versions of one name; a version with a tag stays. The caller holds its lock.

    Args:
        folder: of the name.
        keep: how many of the newest versions to keep beside those that are needed; None: all.
        needed: beginnings of the digests of versions that something names, 8 digits or more of each.

    Raises:
        VersionError: the log or the tags cannot be read: nothing can be told to be garbage.
    """
    needed = {*needed, *tags.tagged(folder)}
    listed = list(dict.fromkeys(commit.digest for commit in reversed(history.commits(folder))))
    names = {digest[:NAME_LENGTH] for digest in listed}
    found = [(path, "a command that was killed left it") for path in sorted(folder.glob(f"{ASIDE}*"))]
    found += [
        (path, "it was never listed")
        for path in sorted(folder.iterdir() if folder.is_dir() else ())
        if _FOLDER.fullmatch(path.name) and path.name not in names
    ]
    present = [digest for digest in listed if (folder / digest[:NAME_LENGTH]).exists()]
    for digest in [] if keep is None else reversed(present[max(keep, 1) :]):
        if not any(digest.startswith(each) for each in needed):
            found.append((folder / digest[:NAME_LENGTH], f"{max(keep or 1, 1)} newer versions are kept"))
    return list(_weighed(found))


def unused_arrow_files(cache: Path, folders: Iterable[Path]) -> list[Garbage]:
    """Arrow files of rows that no version has any more.

    Args:
        cache: where they lie.
        folders: of every version that stays.

    Raises:
        VersionError: a version cannot be read: nothing can be told to be garbage.
    """
    used = {name for folder in folders for name in names_of(Manifest.load(folder))}
    files = sorted(path for path in cache.glob("*.arrow") if path.name not in used) if cache.is_dir() else []
    return list(_weighed([(path, "no version has its rows") for path in files]))


def take_away(found: Iterable[Garbage]) -> int:
    """Remove garbage; returns the bytes that the disk gets back. The caller holds the locks.

    A version's folder is renamed before it is emptied, so that it is there whole or not at all.

    Raises:
        VersionError: something cannot be removed.
    """
    freed = 0
    for each in found:
        try:
            _remove(each.path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise VersionError(
                "it cannot be removed", where=each.path, found=error.strerror, remedy="Check who owns it"
            ) from error
        freed += each.bytes
    return freed


def _remove(path: Path) -> None:
    if not path.is_dir():
        path.unlink()
        return
    if path.name.startswith(ASIDE):
        shutil.rmtree(path)
        return
    path.replace(path.with_name(f"{ASIDE}{path.name}"))
    flush(path.parent)
    sweep(path.parent)


def _weighed(found: Iterable[tuple[Path, str]]) -> Iterator[Garbage]:
    """What each gives back: files of which it has the last name."""
    names: Counter[tuple[int, int]] = Counter()
    for path, why in found:
        size = 0
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_symlink() or not file.is_file():
                continue
            told = file.stat()
            names[told.st_dev, told.st_ino] += 1
            if names[told.st_dev, told.st_ino] == told.st_nlink:
                size += told.st_size
        yield Garbage(path, why, size)
