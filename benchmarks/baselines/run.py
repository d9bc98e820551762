"""What a model must beat: trivial answers to the test split of a version, beside the champion's.

    .venv/bin/python benchmarks/baselines/run.py NAME [NAME ...]

Each NAME is a recipe that `goldloop run` has taken to a model in this workspace (GOLDLOOP_HOME). Baselines
learn from the training split, choose on the validation split and are scored on the test split, by the
task's own figures.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from goldloop import loop, wiring
from goldloop.tasks import tasks
from goldloop.tasks._class_maps import map_of, target_of
from goldloop.tasks._spans import without_overlaps
from goldloop.tasks.base import Task
from goldloop.workspace import Workspace

Rows = Sequence[tuple[dict[str, Any], Any]]
"""Row and target of each item."""
Answers = Callable[[Rows], list[Any]]


def most_frequent(task: Task[Any], train: Rows, validation: Rows) -> dict[str, Answers]:
    """The most frequent answer, always."""
    best = Counter(target for _, target in train).most_common(1)[0][0]
    return {"the most frequent class": lambda rows: [best] * len(rows)}


def one_layout(task: Task[Any], train: Rows, validation: Rows) -> dict[str, Answers]:
    """The boxes of one training image for every image: that which does best on the validation split."""
    expected = [target for _, target in validation]
    best = max(
        (target for _, target in train),
        key=lambda target: task.score([target] * len(expected), expected)[task.metric],
    )
    return {"the best layout of a training image": lambda rows: [best] * len(rows)}


def frequent_pixels(task: Task[Any], train: Rows, validation: Rows) -> dict[str, Answers]:
    """The most frequent class, of all pixels and of each place."""
    size = Counter((target["width"], target["height"]) for _, target in train).most_common(1)[0][0]
    counts = numpy.zeros((len(task.classes), size[1], size[0]), dtype=numpy.int64)
    for _, target in train:
        if (target["width"], target["height"]) == size:
            pixels = map_of(target, task.classes)
            for identity in range(len(task.classes)):
                counts[identity] += pixels == identity
    everywhere = numpy.full((size[1], size[0]), counts.sum((1, 2)).argmax(), dtype=numpy.uint8)
    by_place = counts.argmax(0).astype(numpy.uint8)

    def always(pixels: Any) -> Answers:
        answer = target_of(pixels, task.classes)
        return lambda rows: [answer] * len(rows)

    return {
        "the most frequent class": always(everywhere),
        "the most frequent class of each pixel": always(by_place),
    }


def known_names(task: Task[Any], train: Rows, validation: Rows) -> dict[str, Answers]:
    """Nothing, and whatever is written as a training span was, the longest first."""
    votes: dict[str, Counter[str]] = {}
    for _, spans in train:
        for span in spans:
            votes.setdefault(span["text"], Counter())[span["label"]] += 1
    names = {name: found.most_common(1)[0][0] for name, found in votes.items()}

    def find(row: dict[str, Any]) -> list[Any]:
        text, found = row["text"], []
        words = text.split(" ")
        starts = numpy.cumsum([0, *(len(word) + 1 for word in words)])
        for first in range(len(words)):
            for last in range(first + 1, min(first + 7, len(words)) + 1):
                name = " ".join(words[first:last])
                if name in names:
                    start = int(starts[first])
                    found.append(
                        {"label": names[name], "start": start, "end": start + len(name), "text": name}
                    )
        return without_overlaps(found)

    return {
        "no span": lambda rows: [[] for _ in rows],
        "names of the training split": lambda rows: [find(row) for row, _ in rows],
    }


BASELINES = {
    "image-classification": most_frequent,
    "text-classification": most_frequent,
    "object-detection": one_layout,
    "semantic-segmentation": frequent_pixels,
    "token-classification": known_names,
}


def rows_of(version: Any, task: Task[Any], split: str) -> Rows:
    """The rows of a split, without their images."""
    data = version.dataset(split)
    if "image" in data.column_names:
        data = data.remove_columns("image")
    return [(row, task.from_row(row)) for row in data]


def main(names: Sequence[str]) -> None:
    """Print a table."""
    workspace = Workspace.open()
    print("| recipe | test items | answer | figure |\n| --- | --- | --- | --- |")
    for name in names:
        version = wiring.version_of(workspace, name, None)
        task = tasks.create(version.task)
        train, validation, test = (rows_of(version, task, split) for split in ("train", "validation", "test"))
        expected = [target for _, target in test]
        for words, answer in BASELINES[task.config.kind](task, train, validation).items():
            figure = task.score(answer(test), expected)[task.metric]
            print(f"| {name} | {len(test)} | {words} | {task.metric} {figure:.3f} |")
        report = loop.evaluate(f"{name}/latest", on=version.ref, workspace=workspace)
        found = report.metrics[task.metric]
        print(
            f"| {name} | {len(report.items)} | **{report.model}** | "
            f"{task.metric} **{found.value:.3f}** ({found.low:.3f} to {found.high:.3f}) |"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
