"""Items with labels to commit: texts, and images that lie in a media store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from goldloop.dataset.amendment import amend
from goldloop.dataset.config import DatasetConfig
from goldloop.dataset.policies import ByGroup
from goldloop.dataset.version import Version
from goldloop.dataset.whole import write
from goldloop.media import MediaStore
from goldloop.records import Item, Label, Outcome, content_key
from goldloop.tasks import tasks
from goldloop.tasks.base import Task

CLASSES = ("yes", "no", "1")
"""Names that YAML would take for something else."""


@dataclass
class Material:
    """What a commit is made of; `commit` writes it."""

    root: Path
    task: Task[Any]
    media: MediaStore
    items: dict[str, Item]
    labels: list[Label[Any]]
    outcomes: list[Outcome]
    config: DatasetConfig = field(default_factory=DatasetConfig)
    name: str = "signs"

    @property
    def versions(self) -> Path:
        return self.root / "versions"

    def commit(self, **changes: Any) -> Version:
        arguments: dict[str, Any] = {
            "root": self.versions,
            "name": self.name,
            "task": self.task,
            "labels": self.labels,
            "items": self.items,
            "media": self.media,
            "config": self.config,
            "outcomes": self.outcomes,
            "balances": {"pull": {"pulled": len(self.items)}},
            "recipe_digest": "0" * 64,
        }
        return write(**(arguments | changes))

    def amend(self, **changes: Any) -> Version:
        """Commit changes to the last version."""
        arguments: dict[str, Any] = {
            "root": self.versions,
            "name": self.name,
            "task": self.task,
            "labels": (),
            "items": {},
            "media": self.media,
            "config": self.config,
            "recipe_digest": "0" * 64,
        }
        version = amend(**(arguments | changes)).version
        assert version is not None
        return version

    def keys(self, split: str) -> list[str]:
        """Content keys of the rows that a first commit puts into a split, sorted."""
        config = self.config.split
        rule = ByGroup(seed=config.seed, train=config.train, validation=config.validation, test=config.test)
        return sorted(
            label.key for label in self.labels if rule.place(self.items[label.key].group, None) == split
        )


def label_of(key: str, target: Any) -> Label[Any]:
    return Label(key=key, target=target, annotators=("ann-1", "ann-2"), agreement=1.0, provenance="human")


def texts(root: Path, count: int = 60, classes: Sequence[str] = CLASSES) -> Material:
    """Texts of which the last two are still open."""
    items = {}
    for number in range(count):
        text = f"request {number} \N{WAVING HAND SIGN}\r\nwith two lines"
        key = content_key(text.encode())
        items[key] = Item(
            key=key,
            modality="text",
            uri=f"table.csv#{number}",
            group=key,
            source="0:table",
            text=text,
            media_type="text/plain",
        )
    labelled = list(items)[:-2]
    labels = [label_of(key, classes[number % len(classes)]) for number, key in enumerate(labelled)]
    outcomes = [Outcome(subject=key, outcome="labelled") for key in labelled]
    outcomes += [Outcome(subject=key, outcome="open", reason="1 of 2 annotators") for key in list(items)[-2:]]
    task = tasks.create({"kind": "text-classification", "classes": list(classes)})
    return Material(root, task, MediaStore(root / "media"), items, labels, outcomes)


def images(root: Path) -> Material:
    """The examples of the image task, all labelled."""
    return examples_of(root, "image-classification")


def examples_of(root: Path, kind: str) -> Material:
    """The examples of a task, all labelled."""
    task = tasks.create(tasks.get(kind).example_config())
    media = MediaStore(root / "media")
    examples = task.examples()
    for example in examples:
        if example.content is not None:
            media.put(example.item, example.content)
    items = {example.item.key: example.item for example in examples}
    labels = [label_of(example.item.key, example.target) for example in examples]
    outcomes = [Outcome(subject=key, outcome="labelled") for key in items]
    return Material(root, task, media, items, labels, outcomes)


@pytest.fixture
def make_texts(tmp_path: Path) -> Callable[..., Material]:
    return lambda where="one", **changes: texts(tmp_path / where, **changes)


@pytest.fixture
def make_images(tmp_path: Path) -> Callable[..., Material]:
    return lambda where="one": images(tmp_path / where)


@pytest.fixture
def make_examples(tmp_path: Path) -> Callable[[str], Material]:
    return lambda kind: examples_of(tmp_path / "one", kind)
