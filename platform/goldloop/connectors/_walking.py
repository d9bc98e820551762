"""Files below a folder of any fsspec system, folder by folder: memory never holds the whole listing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Info = Mapping[str, Any]
"""What a system tells of a file: `name`, `type`, `size`, and its own marks of change."""

_SIGNS = re.compile(r"[*?\[]")


def has_signs(path: str) -> bool:
    """Whether a path has the signs of a glob."""
    return _SIGNS.search(path) is not None


def below(system: Any, path: str) -> Iterator[tuple[str, Info]]:
    """Every file below a folder, or the file itself, in the order of their whole paths."""
    yield from _walk(system, path.rstrip("/") or path, lambda folder, depth: True)


def matching(system: Any, pattern: str) -> Iterator[tuple[str, Info]]:
    """Every file that a glob of `*`, `?`, `[...]` and `**` fits; folders that lead to none are left out."""
    from fsspec.utils import glob_translate

    steps = pattern.split("/")
    first = next(number for number, step in enumerate(steps) if has_signs(step))
    root = "/".join(steps[:first]) or ("/" if pattern.startswith("/") else "")
    whole = re.compile(glob_translate(pattern))
    folders = [re.compile(glob_translate(step)) for step in _certain(steps[first:-1])]
    deepest = None if "**" in steps else len(steps) - first - 1

    def enters(folder: str, depth: int) -> bool:
        if depth < len(folders):
            return folders[depth].match(folder) is not None
        return deepest is None or depth < deepest

    for path, info in _walk(system, root, enters):
        if whole.match(path):
            yield path, info


def _certain(steps: Sequence[str]) -> list[str]:
    """The steps before the first `**`, each of which is one folder."""
    return list(steps[: steps.index("**")] if "**" in steps else steps)


def _walk(
    system: Any, folder: str, enters: Callable[[str, int], bool], depth: int = 0
) -> Iterator[tuple[str, Info]]:
    listing = system.ls(folder, detail=True)
    # Drivers keep every listing: of a large store that is all of it, and of one that grows the past.
    system.invalidate_cache(folder)
    for path, info in _sorted(listing, folder):
        if info["type"] != "directory":
            yield path, _followed(system, path, info)
        elif enters(path.rpartition("/")[2], depth):
            yield from _walk(system, path, enters, depth + 1)


def _sorted(listing: Sequence[Info], folder: str) -> Iterator[tuple[str, Info]]:
    """A folder's entries in an order in which going into each gives whole paths in order."""
    entries = []
    for info in listing:
        path = str(info["name"]).rstrip("/")
        is_folder = info["type"] == "directory"
        # Object stores list a folder's own placeholder in it.
        if path.strip("/") != folder.strip("/") or (not is_folder and len(listing) == 1):
            entries.append((path + "/" if is_folder else path, path, info))
    entries.sort(key=lambda entry: entry[0])
    return ((path, info) for _, path, info in entries)


def _followed(system: Any, path: str, info: Info) -> Info:
    """Of a link on this machine, what it leads to, if it leads to a file."""
    if not info.get("islink"):
        return info
    try:
        target: Info = system.info(path)
    except OSError:
        return info
    return target if target["type"] == "file" else info
