"""What all kinds of places have in common: what they have of a content is found, and can be erased."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from goldloop.progress import Progress
from goldloop.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Place:
    """Something of a content, somewhere.

    Attributes:
        kind: of place, such as `version`.
        where: which one, such as `signs@0123456789ab`.
        what: what is there, in words.
    """

    kind: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind} {self.where}: {self.what}"

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Holder(ABC):
    """One kind of place.

    Args:
        workspace: where.
    """

    kind: ClassVar[str]

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    @abstractmethod
    def find(self, key: str) -> list[Place]:
        """What is there of a content; nothing is changed."""

    @abstractmethod
    def erase(self, key: str, progress: Progress) -> list[Place]:
        """Leave nothing of a content there; killed at any moment and called again, it ends what it began.

        Returns:
            What is out of goldloop's reach, for people to erase.
        """

    def place(self, where: object, what: str) -> Place:
        """A place of this kind; paths are told from the workspace on."""
        if isinstance(where, Path) and where.is_relative_to(self.workspace.root):
            where = where.relative_to(self.workspace.root).as_posix()
        return Place(self.kind, str(where), what)


class Disposable(Holder):
    """Files that can be made again: those that have something of a content go whole."""

    what: ClassVar[str]
    """What such a file has of it, in words."""

    @abstractmethod
    def files(self, key: str) -> Iterator[Path]:
        """Those that have, or may have, something of a content."""

    @override
    def find(self, key: str) -> list[Place]:
        return [self.place(path, self.what) for path in self.files(key)]

    @override
    def erase(self, key: str, progress: Progress) -> list[Place]:
        for path in list(self.files(key)):
            path.unlink()
        return []


def counted(parts: Iterable[tuple[int, str]]) -> str:
    """Counts in words, `2 addresses, 1 annotation`; those of nothing are left out."""
    return ", ".join(_said(parts))


def _said(parts: Iterable[tuple[int, str]]) -> Iterator[str]:
    for count, noun in parts:
        if count:
            plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
            yield f"{count} {noun if count == 1 else plural}"
