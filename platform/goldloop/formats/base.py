"""What every format has in common: a folder <-> samples, and what the folder cannot hold.

    folder --read--> Sample | Quarantined          samples --losses--> what would be lost
                                                    samples --write--> folder, whole or not at all

Coordinates are pixels of the upright image, as in a target: a file that tells another size is quarantined.
"""

from __future__ import annotations

import os
import shutil
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from goldloop.errors import RecipeError, SourceError
from goldloop.plugins import Plugin, PluginConfig
from goldloop.records import Quarantined
from goldloop.tasks.base import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One labelled image or text of a data set.

    Attributes:
        name: tells it apart in its folder: a file's relative path, or `FILE#ROW`.
        content: an image as a file or its bytes; a text as itself.
        target: the answer, in the task's own form; None where the data set has none for it.
        split: `train`, `validation` or `test`; None where the data set is not split.
        group: samples of one group stay in one split; None where it stands alone.
        metadata: what else is known of it; JSON values.
    """

    name: str
    content: Path | bytes | str
    target: Any
    split: str | None = None
    group: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class FormatConfig(PluginConfig):
    """What every format's configuration has."""


class Format(Plugin):
    """A way to lay out a data set on disk. Its nested `Config` is what a recipe may say of it."""

    Config = FormatConfig
    kinds: ClassVar[frozenset[str] | None]
    """The task kinds that it can hold; None for every kind."""
    holds_group: ClassVar[bool] = False
    holds_metadata: ClassVar[bool] = False

    @classmethod
    def holds(cls, kind: str) -> bool:
        """Whether it can hold data of a task kind."""
        return cls.kinds is None or kind in cls.kinds

    def kind_of(self, folder: Path) -> str:
        """The task kind of a data set, as far as the format or the data tells.

        Raises:
            SourceError: it could be of several.
        """
        kinds = sorted(self.kinds or ())
        if len(kinds) == 1:
            return kinds[0]
        raise SourceError(
            "the data set could be of several task types",
            where=folder,
            expected="one of " + ", ".join(kinds) if kinds else "a task type",
            remedy="Say which: `--task KIND`, or `task: KIND` in the source's section",
        )

    @abstractmethod
    def task_fields(self, folder: Path, kind: str) -> dict[str, Any]:
        """What the data set says of the task: `classes` in the format's own order of ids, `keypoints`.

        Raises:
            SourceError: there is no data set of this format.
        """

    @abstractmethod
    def read(self, folder: Path, kind: str) -> Iterator[Sample | Quarantined]:
        """Every sample, in a stable order; what cannot be read says why and where, and the rest goes on.

        A `Quarantined` has a name relative to the folder as its `uri`.

        Raises:
            SourceError: there is no data set of this format.
        """

    def losses(self, task: Task[Any], samples: Iterable[Sample]) -> list[str]:
        """What the format cannot hold of these samples, a line each with its count; empty if it holds all."""
        total = 0
        found: Counter[str] = Counter()
        for sample in samples:
            total += 1
            if sample.group is not None and not self.holds_group:
                found["group, which keeps samples in one split"] += 1
            if not self.holds_metadata:
                found.update(list(sample.metadata))
            found.update(set(self.lost(task, sample)))
        return [f"{what}: {count} of {total} samples" for what, count in found.items()]

    def lost(self, task: Task[Any], sample: Sample) -> Iterator[str]:
        """What the format cannot hold of one sample's content and target, each in words of its own."""
        yield from ()

    def write(self, folder: Path, task: Task[Any], samples: Iterable[Sample]) -> None:
        """Write a data set: all of it, or nothing.

        Args:
            folder: where; it must not be there, or be empty.
            task: what the targets are of; its classes are the format's, in the order of their ids.
            samples: each image's name a file name, whose stem no other has. Gone through more than once.

        Raises:
            RecipeError: the format does not hold this kind of task.
            SourceError: something is there already, or a sample cannot be written at all.
        """
        if not self.holds(task.config.kind):
            raise RecipeError(
                f"{self.config.kind} cannot hold {task.config.kind}",
                expected=", ".join(sorted(self.kinds or ())),
                remedy="jsonl and label-studio hold every task type",
            )
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise SourceError(
                "something is there already", where=folder, remedy="Name a folder that is new, or empty"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            aside.mkdir()
            self.write_into(aside, task, samples)
            aside.replace(folder)
        except OSError as error:
            raise SourceError(
                "the data set cannot be written; nothing of it is kept", where=folder, found=str(error)
            ) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    @abstractmethod
    def write_into(self, folder: Path, task: Task[Any], samples: Iterable[Sample]) -> None:
        """Write a data set into an empty folder."""


def bad(name: str, reason: object, line: int | None = None) -> Quarantined:
    """A sample or line that cannot be used; `name` is its file's, relative to the folder."""
    if line is None:
        return Quarantined(uri=name, reason=f"{name}: {reason}")
    return Quarantined(uri=f"{name}#line-{line}", reason=f"{name}, line {line}: {reason}")
