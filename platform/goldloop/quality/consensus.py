"""Annotations -> labels: what several annotators say of an item together, or why it has no label."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from goldloop.errors import AnnotationError
from goldloop.quality.agreement import Agreement, agreement_of, pairwise_agreement
from goldloop.records import IMPORTED, Annotation, Item, Label, Outcome
from goldloop.tasks.base import ConsensusPolicy, Task


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of every item.

    Attributes:
        labels: of the items that have one, by key.
        outcomes: one per item, by key: `labelled`, `imported`, `open`, `disputed`, `skipped` or `rejected`.
        agreement: over all items that were answered twice or more, disputed ones included.
        answers: key -> annotator -> target, of every item that people answered.
    """

    labels: tuple[Label[Any], ...]
    outcomes: tuple[Outcome, ...]
    agreement: Agreement
    answers: Mapping[str, Mapping[str, Any]]


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
    answers: dict[str, dict[str, Any]] = {}
    for item in sorted(items, key=lambda item: item.key):
        try:
            targets = _answers(task, item, acts[item.key])
            if targets:
                answers[item.key] = targets
            result = _settle_item(task, item, acts[item.key], targets, policy, annotators_per_item)
        except AnnotationError as error:
            result = Outcome(subject=item.key, outcome="rejected", reason=str(error))
        if isinstance(result, Label):
            labels.append(result)
            name = "imported" if result.provenance == "imported" else "labelled"
            result = Outcome(subject=item.key, outcome=name)
        outcomes.append(result)
    agreement = agreement_of(task, [list(targets.values()) for targets in answers.values()])
    return Settlement(tuple(labels), tuple(outcomes), agreement, answers)


def _answers(task: Task[Any], item: Item, acts: Iterable[Annotation]) -> dict[str, Any]:
    """Annotator -> target, in the order of the annotators' names."""
    return {act.annotator: task.decode(act.results, item) for act in _latest(acts) if not act.cancelled}


def _settle_item(
    task: Task[Any],
    item: Item,
    acts: Sequence[Annotation],
    targets: Mapping[str, Any],
    policy: ConsensusPolicy,
    needed: int,
) -> Label[Any] | Outcome:
    if not targets:
        return _unanswered(task, item, acts, needed)
    if len(targets) < needed:
        return Outcome(subject=item.key, outcome="open", reason=f"{len(targets)} of {needed} annotators")
    answers = list(targets.values())
    target = task.consensus(answers, policy)
    if target is None:
        return Outcome(subject=item.key, outcome="disputed", reason=_votes(task, answers))
    people = tuple(name for name in targets if name != IMPORTED)
    if not people:
        return Label(key=item.key, target=target, annotators=(), agreement=None, provenance="imported")
    # Who has once seen a model's answer has seen it, in whichever act that was.
    shown = {act.shown_model for act in acts if act.annotator in targets and act.shown_model is not None}
    return Label(
        key=item.key,
        target=target,
        annotators=people,
        agreement=pairwise_agreement(task, answers),
        provenance="human-over-prediction" if shown else "human",
        shown_models=tuple(sorted(shown)),
    )


def _unanswered(task: Task[Any], item: Item, acts: Sequence[Annotation], needed: int) -> Label[Any] | Outcome:
    if item.label_use == "imported" and item.label is not None:
        task.to_row(item.label)  # refuses a label that means nothing to the task as it is now
        return Label(key=item.key, target=item.label, annotators=(), agreement=None, provenance="imported")
    if acts:
        return Outcome(subject=item.key, outcome="skipped", reason=f"skipped by {len(_latest(acts))}")
    return Outcome(subject=item.key, outcome="open", reason=f"0 of {needed} annotators")


def _latest(acts: Iterable[Annotation]) -> list[Annotation]:
    """The last act of each annotator, by annotator."""
    last: dict[str, Annotation] = {}
    for act in sorted(acts, key=lambda act: (_moment(act.updated_at), act.id)):
        last[act.annotator] = act
    return [last[annotator] for annotator in sorted(last)]


def _moment(written: str) -> datetime:
    """A time to compare by: as text, `12:00:00Z` would come after `12:00:00.5Z`."""
    moment = datetime.fromisoformat(written)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _votes(task: Task[Any], answers: Sequence[Any]) -> str:
    votes = Counter(task.describe(answer) for answer in answers)
    counted = sorted(votes.items(), key=lambda vote: (-vote[1], vote[0]))
    return "annotators disagree: " + ", ".join(f"{text} {count}" for text, count in counted)
