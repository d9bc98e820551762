"""What the tasks share whose answer is any number of classes of a fixed list, none included.

A target is a list of class names in id order, without repetitions. The network decides each class by itself:
one probability per class, and the answer is every class at the threshold or above.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field
from typing_extensions import override

from goldloop.errors import AnnotationError
from goldloop.records import Item, Prediction
from goldloop.tasks._classes import ClassesConfig, ClassesTask
from goldloop.tasks._logits import finite_logits
from goldloop.tasks._losses import CLASS_LOSS_OPTIONS, choices_loss
from goldloop.tasks._precision_recall import precision_recall
from goldloop.tasks._regions import class_value, new_region, region_id, region_value
from goldloop.tasks._segments import answers
from goldloop.tasks.base import PLAIN_LOSS, Batch, ConsensusPolicy, LossOptions, Model

if TYPE_CHECKING:
    import datasets
    import numpy
    import torch
    from numpy.typing import NDArray

CONTROL = "labels"
"""The name of the Choices tag, of the target's column and of its key in a prepared row."""

SEPARATOR = "|"
"""What stands between class names that a source gives as one text."""

_INLINE_UP_TO = 12
_HOTKEYS = "1234567890"
_NOTHING = "no class"


class ChoicesConfig(ClassesConfig):
    """What the recipe of such a task says."""

    confidence: float = Field(default=0.5, gt=0, lt=1)
    """The probability from which on a model's answer has a class."""


class ClassSetTask(ClassesTask[list[str]]):
    """A task whose target is a set of classes; its kinds differ in what they show and what they train."""

    config: ChoicesConfig
    metric = "micro_f1"
    loss_options = CLASS_LOSS_OPTIONS
    answers_are_classes = True
    object_name: ClassVar[str]
    """The name of the tag that shows the item, and of the item's field in a Label Studio task."""

    def choices(self) -> str:
        """The Choices tag of the labelling interface; nothing chosen is an answer."""
        inline = "true" if len(self.classes) <= _INLINE_UP_TO else "false"
        lines = [
            f'  <Choices name="{CONTROL}" toName="{self.object_name}" choice="multiple" '
            f'showInLine="{inline}" required="false">'
        ]
        for number, name in enumerate(self.classes):
            hotkey = _HOTKEYS[number : number + 1]
            lines.append(
                f"    <Choice {class_value(name)}" + (f' hotkey="{hotkey}"' if hotkey else "") + "/>"
            )
        return "\n".join([*lines, "  </Choices>"])

    @override
    def parse(self, value: Any, item: Item) -> list[str]:
        """Class names: a list, such a list in JSON, one name, or several with `|` between them."""
        where = f"item {item.key}"
        names = self._listed(value) if isinstance(value, str) else value
        if isinstance(names, int) and not isinstance(names, bool):
            names = [names]
        if not isinstance(names, list | tuple):
            raise AnnotationError(
                "the answer is a list of classes",
                where=where,
                found=repr(value)[:80],
                expected="[CLASS, ...]",
            )
        return self._canonical([self.known_class(name, where) for name in names])

    def _listed(self, text: str) -> Any:
        """What a text of a table says; a class may have any sign in its name, so it goes first."""
        if self.config.present_name(text) in self.classes:
            return [text]
        if text.lstrip().startswith("["):
            try:
                return json.loads(text)
            except ValueError:
                return text
        return [name.strip() for name in text.split(SEPARATOR)]

    def _canonical(self, names: Sequence[str]) -> list[str]:
        return sorted(set(names), key=self.classes.index)

    @override
    def decode(self, results: Sequence[Mapping[str, Any]], item: Item) -> list[str]:
        where = f"item {item.key}"
        if len(results) == 0:
            return []
        regions = ", ".join(region_id(region) for region in results)
        if len(results) > 1:
            raise AnnotationError(
                "more than one answer",
                where=f"{where}, regions {regions}",
                found=f"{len(results)} regions",
                expected="one region with all choices, or none",
                remedy="Choose again in Label Studio and update the annotation",
            )
        where = f"{where}, region {regions}"
        value = region_value(results[0], CONTROL, self.object_name, "choices", where)
        chosen = value.get("choices")
        if not isinstance(chosen, list | tuple) or not all(isinstance(name, str) for name in chosen):
            raise AnnotationError(
                "choices must be a list of class names",
                where=where,
                found=repr(value)[:80],
                expected='{"choices": [CLASS, ...]}',
                remedy="Choose again in Label Studio and update the annotation",
            )
        return self._canonical([self.known_class(name, where) for name in chosen])

    @override
    def encode(self, target: list[str], item: Item) -> list[dict[str, Any]]:
        for name in target:
            self.class_id(name, f"item {item.key}")
        # Label Studio has no region for a Choices tag in which nothing is chosen.
        value = {"choices": self._canonical(target)}
        return [new_region(item, 0, CONTROL, self.object_name, "choices", value)] if target else []

    def labels_features(self) -> datasets.Features:
        """The column of the target."""
        import datasets

        return datasets.Features({CONTROL: datasets.List(self.class_features())})

    @override
    def to_row(self, target: list[str]) -> dict[str, Any]:
        return {CONTROL: sorted({self.class_id(name) for name in target})}

    @override
    def from_row(self, row: Mapping[str, Any]) -> list[str]:
        return self._canonical([self.class_name(identity, row.get("key")) for identity in row[CONTROL]])

    @override
    def agreement(self, a: list[str], b: list[str]) -> float:
        """Jaccard's index: classes in both of those in either; 1 if both are empty."""
        either = len({*a, *b})
        return len({*a} & {*b}) / either if either else 1.0

    @override
    def consensus(self, targets: Sequence[list[str]], policy: ConsensusPolicy) -> list[str] | None:
        """The classes that more than half of the annotators chose; a tie on any class leaves none to tell."""
        if not targets:
            return None
        votes = Counter(name for target in targets for name in set(target))
        if policy == "unanimous":
            return self._canonical(list(votes)) if all(n == len(targets) for n in votes.values()) else None
        if any(2 * count == len(targets) for count in votes.values()):
            return None
        return self._canonical([name for name, count in votes.items() if 2 * count > len(targets)])

    @override
    def loss(self, outputs: Any, batch: Batch, options: LossOptions = PLAIN_LOSS) -> torch.Tensor:
        return choices_loss(answers(outputs.logits, batch), batch.targets, options)

    @override
    def predict(self, model: Model, outputs: Any) -> list[Prediction[list[str]]]:
        """Every class at the threshold or above; as sure as the network is of its least sure class."""
        predictions = []
        for row in finite_logits(outputs).sigmoid().tolist():
            scores = dict(zip(self.classes, row, strict=True))
            target = [name for name, score in scores.items() if score >= self.config.confidence]
            least = min(max(score, 1 - score) for score in row)
            predictions.append(Prediction(target=target, confidence=least, scores=scores))
        return predictions

    @override
    def tally(self, predicted: list[str], expected: list[str]) -> NDArray[numpy.int64]:
        """True positives, false positives and false negatives of each class, `(3, C)`."""
        import numpy

        counts = numpy.zeros((3, len(self.classes)), dtype=numpy.int64)
        for name in {*predicted, *expected}:
            kind = 2 if name not in predicted else 0 if name in expected else 1
            counts[kind, self.class_id(name)] = 1
        return counts

    @override
    def summarize(self, tallies: Sequence[Any]) -> dict[str, float]:
        """F1 over all choices, and its mean over the classes that appear; the share of wholly right answers.

        Where no class is predicted or expected anywhere, all is right: 1.
        """
        import numpy

        counts = numpy.asarray(tallies)
        total = counts.sum(0)
        appearing = total[:, total.any(0)]
        return {
            "micro_f1": float(_f1(appearing.sum(1))),
            "macro_f1": float(_f1(appearing).mean()) if appearing.size else 1.0,
            "exact_match": float((counts[:, 1:].sum((1, 2)) == 0).mean()),
        }

    @override
    def classes_in(self, target: list[str]) -> Sequence[str]:
        return target

    @override
    def describe(self, target: list[str]) -> str:
        text: Any = ", ".join(target) or _NOTHING
        return super().describe(text)

    @override
    def per_class(
        self, predicted: Sequence[list[str]], expected: Sequence[list[str]]
    ) -> dict[str, dict[str, float]]:
        import numpy

        counts = numpy.zeros((3, len(self.classes)), dtype=numpy.int64)
        for pair in zip(predicted, expected, strict=True):
            counts += self.tally(*pair)
        return {
            name: precision_recall(hits, hits + false, hits + missed)
            for name, (hits, false, missed) in zip(self.classes, counts.T.tolist(), strict=True)
        }

    def targets_of(self, rows: Sequence[Mapping[str, Any]]) -> torch.Tensor | None:
        """What prepared rows are to answer, float32 `(B, C)` of 0 and 1; None where they have no label."""
        import torch

        known = [row[CONTROL] for row in rows if row.get(CONTROL) is not None]
        if not known:
            return None
        if len(known) < len(rows):
            raise ValueError(f"{len(rows) - len(known)} of {len(rows)} rows have no label")
        return torch.stack([torch.as_tensor(chosen) for chosen in known]).float()

    def carried(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What a prepared row keeps of its row: the key, and its classes as uint8 `(C,)` of 0 and 1."""
        import numpy

        kept = {} if row.get("key") is None else {"key": row["key"]}
        if row.get(CONTROL) is None:
            return kept
        chosen = numpy.zeros(len(self.classes), dtype=numpy.uint8)
        chosen[[int(identity) for identity in row[CONTROL]]] = 1
        return {**kept, CONTROL: chosen}


def _f1(counts: Any) -> Any:
    """F1 from true positives, false positives and false negatives, `(3, ...)`; 1 where all are 0."""
    import numpy

    hits, false, missed = counts
    all_counts = 2 * hits + false + missed
    return numpy.where(all_counts == 0, 1.0, 2 * hits / numpy.maximum(all_counts, 1))
