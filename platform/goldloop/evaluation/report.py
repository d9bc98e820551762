"""What is known of a model on one split of one dataset version, and how it is found out.

    rows -> predict, a chunk at a time -> Judged, one per item -> figures with intervals -> Report

<folder>/
  report.json     all of it; `Report.load` reads it
  report.html     the same for people: one page, nothing loaded from elsewhere
  confusion.png   where the task has a confusion matrix
  verdicts.json   what the gates said, once they were asked
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from goldloop.errors import ModelError
from goldloop.evaluation import clusters
from goldloop.evaluation.calibration import Calibration, calibration_of
from goldloop.evaluation.costs import Costs
from goldloop.evaluation.data import JudgingData
from goldloop.evaluation.judged import Estimate, Judged
from goldloop.evaluation.robustness import MOST, Corruption, corruptions_of
from goldloop.evaluation.slices import Slice, slices_of
from goldloop.records import Prediction
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    from goldloop.evaluation.gates.base import Verdict
    from goldloop.evaluation.rows import Asked

REPORT_FILE = "report.json"
PAGE_FILE = "report.html"
PICTURE_FILE = "confusion.png"
VERDICTS_FILE = "verdicts.json"

Predict = Callable[[Sequence[bytes | str]], list[Prediction[Any]]]
Around = Callable[[Mapping[str, Any], bytes | str], Mapping[str, Any]]
"""A row and its content -> its circumstances by name."""
Measure = Callable[[Sequence[bytes | str], float], Costs | None]
"""Some contents, and items a second in batches -> what the model costs to ask."""
Content = Callable[[str], bytes | str | None]
"""Content key -> an image's bytes or a text; None where it is not at hand."""


class Report(BaseModel):
    """A model's figures on one split.

    Attributes:
        name: the recipe's name.
        model: which model, such as `signs/3`.
        version: which dataset version, such as `signs@DIGEST`.
        split: which split.
        task: the task's configuration, with its classes.
        metric: the figure that chooses between models.
        metrics: every figure of the task's `score`, with intervals.
        classes: class names in id order.
        per_class: class name -> {precision, recall, f1, support}.
        confusion: rows expected, columns predicted, in id order; counts. Empty where the task has none.
        items: every item judged, ordered by key.
        left_out: keys that could not be judged fairly -> reason (the model's own suggestion was shown).
        seconds: how long the model took to answer, its loading left out.
        slices: parts of the items that have something in common, the weakest first.
        calibration: whether the model is right as often as it is sure; None where its confidence is no
            probability of being right.
        costs: what it costs to ask; None where it was not measured.
        data: what is known of what judges; None where it was not looked at.
        robustness: what spoiled contents cost, the dearest first; empty where that was not asked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    model: str
    version: str
    split: str
    task: Mapping[str, Any]
    metric: str
    metrics: Mapping[str, Estimate]
    classes: tuple[str, ...]
    per_class: Mapping[str, Mapping[str, float]]
    confusion: tuple[tuple[int, ...], ...]
    items: tuple[Judged, ...]
    left_out: Mapping[str, str]
    seconds: float
    slices: tuple[Slice, ...] = ()
    calibration: Calibration | None = None
    costs: Costs | None = None
    data: JudgingData | None = None
    robustness: tuple[Corruption, ...] = ()

    @property
    def items_per_second(self) -> float:
        """How fast the model answered."""
        return len(self.items) / max(self.seconds, 1e-9)

    @property
    def graded(self) -> bool:
        """Whether answers are right by degrees, as boxes and masks are, and not right or wrong."""
        return any(0 < item.agreement < 1 for item in self.items)

    @property
    def mean_agreement(self) -> float:
        """How alike answers and labels are on average, in [0, 1]."""
        return sum(item.agreement for item in self.items) / len(self.items)

    def judged_by(self, data: JudgingData) -> Report:
        """The same, with what is known of what judges."""
        return self.model_copy(update={"data": data})

    def weak(self) -> list[Slice]:
        """The slices on which the model is worse, and that is hardly chance."""
        return [each for each in self.slices if each.is_weak]

    def wrong(self) -> list[Judged]:
        """The items judged wrongly, the most confident first."""
        found = (item for item in self.items if item.wrong)
        return sorted(found, key=lambda item: (-item.badness, item.key))

    def without(self, key: str) -> Report:
        """The same figures, which were measured with all items, without what is told of one of them."""
        left_out = {each: reason for each, reason in self.left_out.items() if each != key}
        items = tuple(item for item in self.items if item.key != key)
        changes: dict[str, Any] = {"items": items, "left_out": left_out}
        if self.data is not None and self.data.seen is not None:
            seen = tuple(each for each in self.data.seen if each != key)
            changes["data"] = self.data.model_copy(update={"seen": seen})
        return self.model_copy(update=changes)

    def headline(self) -> str:
        """One line: the figure that chooses, its interval and over how many items."""
        figure = self.metrics[self.metric]
        return (
            f"{self.split} {self.metric} {figure.value:.3f} "
            f"({figure.low:.3f} to {figure.high:.3f}) on {len(self.items)} items"
        )

    def save(self, folder: Path, verdicts: Sequence[Verdict] = (), content: Content | None = None) -> None:
        """Write the report's folder; what was there before is replaced by the whole of it.

        Args:
            folder: where.
            verdicts: what the gates said, for the page.
            content: gives the page texts and pictures of the items judged wrongly.
        """
        from goldloop.evaluation.page import page
        from goldloop.evaluation.picture import confusion_picture

        picture = confusion_picture(self.confusion, self.classes) if self.confusion else None
        said = json.dumps([verdict.model_dump() for verdict in verdicts], indent=1, ensure_ascii=False)
        files = {
            REPORT_FILE: self.model_dump_json(indent=1).encode() + b"\n",
            PAGE_FILE: page(self, verdicts, picture, content).encode(),
            **({PICTURE_FILE: picture} if picture is not None else {}),
            **({VERDICTS_FILE: said.encode()} if verdicts else {}),
        }
        _replace_folder(folder, files)

    @classmethod
    def load(cls, folder: Path) -> Report:
        """The report in a folder.

        Raises:
            ModelError: there is none, or it cannot be read.
        """
        file = folder / REPORT_FILE
        try:
            return cls.model_validate_json(file.read_bytes())
        except OSError as error:
            raise ModelError("there is no report", where=file, found=error.strerror) from error
        except ValidationError as error:
            first = error.errors()[0]
            raise ModelError(
                "the report cannot be read",
                where=file,
                found=f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
                remedy="Remove its folder and evaluate again",
            ) from error


def verdicts_in(folder: Path) -> list[Verdict]:
    """What the gates said of the report in a folder; empty where they were not asked."""
    from goldloop.evaluation.gates.base import Verdict

    try:
        said = json.loads((folder / VERDICTS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return [Verdict.model_validate(each) for each in said]


def evaluate(
    task: Task[Any],
    rows: Iterable[Mapping[str, Any]],
    predict: Predict,
    *,
    name: str,
    model: str,
    version: str,
    split: str,
    own_models: Collection[str] = (),
    around: Around = lambda _row, _content: {},
    measure: Measure = lambda _contents, _rate: None,
    place: clusters.Place | None = None,
    spoiled: bool = False,
) -> Report:
    """Judge a model by the rows of a split, in bounded memory.

    Args:
        task: with the classes of the dataset version.
        rows: each with `key`, the content (`image` or `text`), the target's columns and `shown_models`.
        predict: answers a list of image bytes or texts, in order.
        name: the recipe's name.
        model: which model.
        version: which dataset version the rows are of.
        split: which split of it.
        own_models: names under which the model's suggestions may have been shown to annotators; items
            where they were say nothing about it and are left out.
        around: tells the circumstances of a row, by which slices are made.
        measure: tells what the model costs to ask.
        place: makes points of contents, by which slices of mistakes are found that no circumstance names.
        spoiled: ask about some items again, spoiled as production spoils them.

    Raises:
        ModelError: nothing is left to judge the model by.
    """
    from goldloop.evaluation.rows import chunks, fair
    from goldloop.evaluation.significance import intervals

    judged: list[Judged] = []
    left_out: dict[str, str] = {}
    seconds = 0.0
    some: list[Asked] = []
    seen = clusters.Seen(place)
    for chunk in chunks(task, fair(rows, frozenset(own_models), left_out)):
        contents = [each.content for each in chunk]
        began = time.perf_counter()
        predictions = predict(contents)
        seconds += time.perf_counter() - began
        some += chunk[: MOST - len(some)]
        seen.take([each.row["key"] for each in chunk], contents)
        for each, prediction in zip(chunk, predictions, strict=True):
            judged.append(_judge(task, each, prediction, around))
    if not judged:
        raise _nothing_to_judge(version, split, len(left_out))
    regions = clusters.regions(seen, judged)
    judged = sorted((_lying_in(item, regions) for item in judged), key=lambda item: item.key)
    a_few, labels = [each.content for each in some], [each.expected for each in some]
    predicted = [item.predicted for item in judged]
    expected = [item.expected for item in judged]
    return Report(
        name=name,
        model=model,
        version=version,
        split=split,
        task=task.config.model_dump(mode="json", by_alias=True),
        metric=task.metric,
        metrics=intervals(task, predicted, expected),
        classes=task.classes,
        per_class=task.per_class(predicted, expected),
        confusion=task.confusion(predicted, expected),
        items=tuple(judged),
        left_out=left_out,
        seconds=seconds,
        slices=slices_of(judged),
        calibration=calibration_of(judged) if task.answers_are_classes else None,
        costs=measure(a_few, len(judged) / max(seconds, 1e-9)),
        robustness=corruptions_of(task, predict, a_few, labels) if spoiled else (),
    )


def _judge(task: Task[Any], asked: Asked, prediction: Prediction[Any], around: Around) -> Judged:
    predicted = task.present(prediction.target)
    circumstances = dict(around(asked.row, asked.content))
    if isinstance(asked.expected, str) and task.classes:
        circumstances["class"] = asked.expected
    return Judged(
        key=asked.row["key"],
        expected=asked.expected,
        predicted=predicted,
        confidence=prediction.confidence,
        agreement=task.agreement(predicted, asked.expected),
        circumstances=circumstances,
    )


def _lying_in(item: Judged, regions: Mapping[str, str]) -> Judged:
    """The item with the region of mistakes that it lies in as a circumstance."""
    if item.key not in regions:
        return item
    circumstances = {**item.circumstances, clusters.CIRCUMSTANCE: regions[item.key]}
    return item.model_copy(update={"circumstances": circumstances})


def _nothing_to_judge(version: str, split: str, left_out: int) -> ModelError:
    if left_out:
        return ModelError(
            "no item of the split can judge the model fairly",
            where=f"{version} {split}",
            found=f"{left_out} items, on all of which its own suggestion was shown",
            remedy="Label more items without pre-annotations",
        )
    return ModelError(
        "there is nothing in the split to judge a model by",
        where=f"{version} {split}",
        found="no items",
        remedy=f"Label more items, or give `{split}` a larger share in `dataset.split`",
    )


def _replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    former = folder.with_name(f".{folder.name}.{os.getpid()}.former")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        for name, data in files.items():
            with (aside / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            folder.replace(former)
        aside.replace(folder)
    except OSError as error:
        raise ModelError(
            "the report cannot be written",
            where=folder,
            found=error.strerror,
            remedy="Make room on the disk, or move the workspace",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
