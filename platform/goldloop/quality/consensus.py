"""Annotations -> labels: what several annotators say of an item together, or why it has no label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from goldloop.errors import AnnotationError
from goldloop.quality.agreement import pairwise_agreement
from goldloop.records import Annotation, Item, Label, Outcome
from goldloop.tasks.base import ConsensusPolicy, Task


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of every item.

    Attributes:
        labels: of the items that have one, by key.
        outcomes: one per item, by key: `labelled`, `imported`, `open`, `disputed`, `skipped` or `rejected`.
    """

    labels: tuple[Label[Any], ...]
    outcomes: tuple[Outcome, ...]


def settle(
    task: Task[Any],
    items: Iterable[Item],
    annotations: Iterable[Annotation],
    policy: ConsensusPolicy,
    annotators_per_item: int,
) -> Settlement:
    """Settle every item.

    Of each annotator the latest act counts. A skip is no answer, an empty answer is one. People's answers
    go before an imported label; a `truth` never becomes a label.

    Args:
        task: decodes and compares.
        items: all that must have an outcome.
        annotations: of these items, in any order.
        policy: how answers become one.
        annotators_per_item: answers that an item needs.
    """
    acts: dict[str, list[Annotation]] = defaultdict(list)
    for annotation in annotations:
        acts[annotation.key].append(annotation)
    labels: list[Label[Any]] = []
    outcomes: list[Outcome] = []
    for item in sorted(items, key=lambda item: item.key):
        result = _settle_item(task, item, _latest(acts[item.key]), policy, annotators_per_item)
        if isinstance(result, Label):
            labels.append(result)
            name = "imported" if result.provenance == "imported" else "labelled"
            result = Outcome(subject=item.key, outcome=name)
        outcomes.append(result)
    return Settlement(tuple(labels), tuple(outcomes))


def _settle_item(
    task: Task[Any], item: Item, acts: Sequence[Annotation], policy: ConsensusPolicy, needed: int
) -> Label[Any] | Outcome:
    answers = [act for act in acts if not act.cancelled]
    if not answers:
        return _unanswered(item, acts, needed)
    try:
        targets = {act.annotator: task.decode(act.results, item) for act in answers}
    except AnnotationError as error:
        return Outcome(subject=item.key, outcome="rejected", reason=str(error))
    if len(answers) < needed:
        return Outcome(subject=item.key, outcome="open", reason=f"{len(answers)} of {needed} annotators")
    target = task.consensus(list(targets.values()), policy)
    if target is None:
        return Outcome(subject=item.key, outcome="disputed", reason=_votes(targets))
    shown = sorted({act.shown_model for act in answers if act.shown_model is not None})
    return Label(
        key=item.key,
        target=target,
        annotators=tuple(sorted(targets)),
        agreement=pairwise_agreement(task, list(targets.values())),
        provenance="human-over-prediction" if shown else "human",
        shown_models=tuple(shown),
    )


def _unanswered(item: Item, acts: Sequence[Annotation], needed: int) -> Label[Any] | Outcome:
    if item.label_use == "imported" and item.label is not None:
        return Label(key=item.key, target=item.label, annotators=(), agreement=None, provenance="imported")
    if acts:
        return Outcome(subject=item.key, outcome="skipped", reason=f"skipped by {len(acts)}")
    return Outcome(subject=item.key, outcome="open", reason=f"0 of {needed} annotators")


def _latest(acts: Iterable[Annotation]) -> list[Annotation]:
    """The last act of each annotator, by annotator."""
    last: dict[str, Annotation] = {}
    for act in sorted(acts, key=lambda act: (act.updated_at, act.id)):
        last[act.annotator] = act
    return [last[annotator] for annotator in sorted(last)]


def _votes(targets: Mapping[str, Any]) -> str:
    texts = [str(target) for target in targets.values()]
    counted = sorted({(-texts.count(text), text) for text in texts})
    return "annotators disagree: " + ", ".join(f"{text} {-count}" for count, text in counted)
