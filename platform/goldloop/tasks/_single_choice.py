"""What the tasks share whose answer is one class of a fixed list.

A target is a class name. Class ids, positions in the list, appear in rows and in networks only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from goldloop.errors import AnnotationError
from goldloop.records import Item, Prediction
from goldloop.tasks._classes import ClassesConfig, ClassesTask, unknown_class
from goldloop.tasks._logits import tempered_logits
from goldloop.tasks._losses import CLASS_LOSS_OPTIONS, choice_loss
from goldloop.tasks._regions import class_value, new_region, region_id, region_value
from goldloop.tasks._segments import answers
from goldloop.tasks.base import PLAIN_LOSS, Batch, ConsensusPolicy, LossOptions, Model

if TYPE_CHECKING:
    import torch

CONTROL = "label"
"""The name of the Choices tag, of the target's column and of its key in a prepared row."""

_INLINE_UP_TO = 12
_HOTKEYS = "1234567890"


class ChoiceConfig(ClassesConfig):
    """What the recipe of such a task says."""

    fewest_classes = 2


class ClassTask(ClassesTask[str]):
    """A task whose target is one class name; its kinds differ in what they show and what they train."""

    config: ChoiceConfig
    metric = "accuracy"
    loss_options = CLASS_LOSS_OPTIONS
    answers_are_classes = True
    object_name: ClassVar[str]
    """The name of the tag that shows the item, and of the item's field in a Label Studio task."""

    def choices(self) -> str:
        """The Choices tag of the labelling interface."""
        inline = "true" if len(self.classes) <= _INLINE_UP_TO else "false"
        own_digit = all(name in _HOTKEYS for name in self.classes)
        lines = [
            f'  <Choices name="{CONTROL}" toName="{self.object_name}" choice="single-radio" '
            f'showInLine="{inline}" required="true" requiredMessage="Choose a class, or skip the task">'
        ]
        for number, name in enumerate(self.classes):
            hotkey = name if own_digit else _HOTKEYS[number : number + 1]
            lines.append(
                f"    <Choice {class_value(name)}" + (f' hotkey="{hotkey}"' if hotkey else "") + "/>"
            )
        return "\n".join([*lines, "  </Choices>"])

    @override
    def parse(self, value: Any, item: Item) -> str:
        return self.known_class(value)

    @override
    def decode(self, results: Sequence[Mapping[str, Any]], item: Item) -> str:
        where = f"item {item.key}"
        if len(results) == 0:
            raise AnnotationError(
                "no class was chosen",
                where=where,
                expected="exactly one choice",
                remedy="Choose a class in Label Studio, or skip the task",
            )
        regions = ", ".join(region_id(region) for region in results)
        if len(results) > 1:
            raise AnnotationError(
                "more than one answer",
                where=f"{where}, regions {regions}",
                found=f"{len(results)} regions",
                expected="exactly one choice",
                remedy="Keep one choice in Label Studio and update the annotation",
            )
        return self._decode_region(results[0], f"{where}, region {regions}")

    def _decode_region(self, region: Any, where: str) -> str:
        value = region_value(region, CONTROL, self.object_name, "choices", where)
        chosen = value.get("choices")
        if not isinstance(chosen, list | tuple) or len(chosen) != 1 or not isinstance(chosen[0], str):
            raise AnnotationError(
                "a choice must be exactly one class name",
                where=where,
                found=repr(value),
                expected='{"choices": [CLASS]}',
                remedy="Keep one choice in Label Studio and update the annotation",
            )
        return self.known_class(chosen[0], where)

    @override
    def encode(self, target: str, item: Item) -> list[dict[str, Any]]:
        if target not in self.classes:
            raise unknown_class(target, self.classes, f"item {item.key}")
        value = {"choices": [target]}
        return [new_region(item, 0, CONTROL, self.object_name, "choices", value)]

    @override
    def to_row(self, target: str) -> dict[str, Any]:
        return {CONTROL: self.class_id(target)}

    @override
    def from_row(self, row: Mapping[str, Any]) -> str:
        return self.class_name(row[CONTROL], row.get("key"))

    @override
    def agreement(self, a: str, b: str) -> float:
        return float(a == b)

    @override
    def consensus(self, targets: Sequence[str], policy: ConsensusPolicy) -> str | None:
        ranked = Counter(targets).most_common(2)
        if not ranked or (policy == "unanimous" and len(ranked) > 1):
            return None
        if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
            return None
        return ranked[0][0]

    @override
    def loss(self, outputs: Any, batch: Batch, options: LossOptions = PLAIN_LOSS) -> torch.Tensor:
        return choice_loss(answers(outputs.logits, batch), batch.targets, options)

    @override
    def predict(self, model: Model, outputs: Any) -> list[Prediction[str]]:
        predictions = []
        for row in tempered_logits(outputs, model).softmax(-1).tolist():
            best = max(range(len(row)), key=row.__getitem__)
            scores = dict(zip(self.classes, row, strict=True))
            predictions.append(
                Prediction(target=self.classes[best], confidence=min(row[best], 1.0), scores=scores)
            )
        return predictions

    @override
    def summarize(self, tallies: Sequence[Any]) -> dict[str, float]:
        """Accuracy, F1 averaged over the classes that appear, and recall averaged over expected ones."""
        from sklearn.metrics import accuracy_score, f1_score, recall_score

        predicted, expected = zip(*tallies, strict=True)
        answers, truth = self._paired_ids(predicted, expected)
        of_expected = {"labels": sorted(set(truth)), "average": "macro", "zero_division": 0}
        return {
            "accuracy": float(accuracy_score(truth, answers)),
            "macro_f1": float(f1_score(truth, answers, average="macro", zero_division=0)),
            "balanced_accuracy": float(recall_score(truth, answers, **of_expected)),
        }

    @override
    def classes_in(self, target: str) -> Sequence[str]:
        return (target,)

    @override
    def per_class(self, predicted: Sequence[str], expected: Sequence[str]) -> dict[str, dict[str, float]]:
        from sklearn.metrics import precision_recall_fscore_support

        answers, truth = self._paired_ids(predicted, expected)
        figures = precision_recall_fscore_support(
            truth, answers, labels=range(len(self.classes)), zero_division=0
        )
        names = ("precision", "recall", "f1", "support")
        columns = zip(*(figure.tolist() for figure in figures), strict=True)
        return {
            label: {name: float(value) for name, value in zip(names, column, strict=True)}
            for label, column in zip(self.classes, columns, strict=True)
        }

    @override
    def confusion(self, predicted: Sequence[str], expected: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        from sklearn.metrics import confusion_matrix

        answers, truth = self._paired_ids(predicted, expected)
        counts = confusion_matrix(truth, answers, labels=range(len(self.classes)))
        return tuple(tuple(row) for row in counts.tolist())

    def _paired_ids(self, predicted: Sequence[str], expected: Sequence[str]) -> tuple[list[int], list[int]]:
        if len(predicted) != len(expected):
            raise ValueError(f"{len(predicted)} answers for {len(expected)} expected ones")
        return [self.class_id(name) for name in predicted], [self.class_id(name) for name in expected]


def targets_of(rows: Sequence[Mapping[str, Any]]) -> torch.Tensor | None:
    """Class ids of prepared rows, int64 `(B,)`; None where the rows have no label."""
    import torch

    labels = [row.get(CONTROL) for row in rows]
    known = [label for label in labels if label is not None]
    if not known:
        return None
    if len(known) < len(labels):
        raise ValueError(f"{len(labels) - len(known)} of {len(labels)} rows have no label")
    return torch.tensor(known, dtype=torch.int64)


def carried(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a prepared row keeps of its row beside the content: the key and the class id."""
    return {name: row[name] for name in ("key", CONTROL) if row.get(name) is not None}
