"""Annotations -> labels: what several annotators say of an item together, or why it has no label."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

from goldloop.errors import AnnotationError
from goldloop.quality.agreement import Agreement, agreement_of, pairwise_agreement
from goldloop.quality.annotators import compare
from goldloop.quality.policies import Settler, settler
from goldloop.records import IMPORTED, Annotation, Item, Label, Outcome, Reopened, Reviewed
from goldloop.tasks.base import SettlementPolicy, Task


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of every item.

    Attributes:
        labels: of the items that have one, by key.
        outcomes: one per item, by key: `labelled`, `imported`, `open`, `disputed`, `skipped` or `rejected`.
        agreement: over all items that were answered twice or more, disputed ones included; answers to items
            that were sent back are left out, as they are not given independently.
        answers: key -> annotator -> target, of every item that people answered.
        alike: key -> the mean agreement of two of its answers, of the items that `agreement` is over.
        reviewed: what came of the items that were sent back, by key.
    """

    labels: tuple[Label[Any], ...]
    outcomes: tuple[Outcome, ...]
    agreement: Agreement
    answers: Mapping[str, Mapping[str, Any]]
    alike: Mapping[str, float]
    reviewed: tuple[Reviewed, ...] = ()


@dataclass(slots=True)
class _Case:
    """One item and what was done with it.

    Attributes:
        all_acts: every act, in any order.
        acts: the last act of each annotator, by annotator; of an item that was sent back, those before that.
        targets: annotator -> target, of these.
        later: the same since it was sent back.
        fault: why an answer cannot be read.
    """

    item: Item
    all_acts: Sequence[Annotation]
    acts: list[Annotation]
    targets: dict[str, Any] = field(default_factory=dict)
    later: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None


def settle(
    task: Task[Any],
    items: Iterable[Item],
    annotations: Iterable[Annotation],
    policy: SettlementPolicy,
    annotators_per_item: int,
    *,
    reviewer: str | None = None,
    reopened: Mapping[str, Reopened] | None = None,
) -> Settlement:
    """Settle every item.

    Of each annotator the latest act counts. A skip is no answer, an empty answer is one. People's answers
    go before an imported label; a `truth` never becomes a label. Of an item that was sent back the answers
    since then decide; until there is one, it keeps its label.

    Args:
        task: decodes and compares.
        items: all that must have an outcome.
        annotations: of these items, in any order.
        policy: how answers become one.
        annotators_per_item: answers that an item needs.
        reviewer: the annotator whose answer is the label of an item, whatever others say.
        reopened: key -> the items that were sent back.

    Raises:
        RecipeError: the policy cannot settle answers of this kind.
    """
    sent = reopened or {}
    acts: dict[str, list[Annotation]] = defaultdict(list)
    for annotation in annotations:
        acts[annotation.key].append(annotation)
    cases = [
        _case(task, item, acts[item.key], sent.get(item.key))
        for item in sorted(items, key=lambda item: item.key)
    ]
    answered = {case.item.key: case.targets for case in cases if case.targets}
    decide = settler(task, policy, answered)
    desk = _Desk(task, decide, annotators_per_item, reviewer)
    results = {case.item.key: desk.settle(case, sent.get(case.item.key)) for case in cases}
    labels = {key: result for key, result in results.items() if isinstance(result, Label)}
    alike = compare(task, answered)
    targets = {key: label.target for key, label in labels.items()}
    return Settlement(
        tuple(labels.values()),
        tuple(_outcome(key, result) for key, result in results.items()),
        agreement_of(task, answered, targets, [act for case in cases for act in case.acts], alike),
        {case.item.key: case.targets | case.later for case in cases if case.targets or case.later},
        {key: fmean(pairs.values()) for key, pairs in alike.items()},
        tuple(
            _reviewed(task, case, sent[case.item.key], results[case.item.key])
            for case in cases
            if case.item.key in sent
        ),
    )


def _case(task: Task[Any], item: Item, acts: Sequence[Annotation], sent: Reopened | None) -> _Case:
    since = [] if sent is None else [act for act in acts if (act.id, act.updated_at) not in sent.known]
    case = _Case(item, acts, latest(act for act in acts if act not in since))
    try:
        case.targets = _answers(task, item, case.acts)
        case.later = _answers(task, item, latest(since))
    except AnnotationError as error:
        case.fault = str(error)
    return case


def _answers(task: Task[Any], item: Item, acts: Iterable[Annotation]) -> dict[str, Any]:
    """Annotator -> target, in the order of the annotators' names."""
    return {act.annotator: task.decode(act.results, item) for act in acts if not act.cancelled}


@dataclass(frozen=True, slots=True)
class _Desk:
    """How one item after the other is settled."""

    task: Task[Any]
    decide: Settler
    needed: int
    reviewer: str | None

    def settle(self, case: _Case, sent: Reopened | None) -> Label[Any] | Outcome:
        if case.fault is not None:
            return Outcome(subject=case.item.key, outcome="rejected", reason=case.fault)
        try:
            if case.later:
                return self._decided(case, case.later, sent)
            if set(case.targets) <= {IMPORTED} and _is_imported(case.item):
                # If it has a task, then only because its label is in doubt.
                return self._unanswered(replace(case, acts=[]))
            return self._settle(case)
        except AnnotationError as error:
            return Outcome(subject=case.item.key, outcome="rejected", reason=str(error))

    def _settle(self, case: _Case) -> Label[Any] | Outcome:
        if not case.targets:
            return self._unanswered(case)
        if self.reviewer is not None and self.reviewer in case.targets:
            return self._decided(case, {self.reviewer: case.targets[self.reviewer]}, None)
        if len(case.targets) < self.needed:
            reason = f"{len(case.targets)} of {self.needed} annotators"
            return Outcome(subject=case.item.key, outcome="open", reason=reason)
        return self._decided(case, case.targets, None)

    def _decided(
        self, case: _Case, targets: Mapping[str, Any], sent: Reopened | None
    ) -> Label[Any] | Outcome:
        """The label that these answers make, or that they differ."""
        key, answers = case.item.key, list(targets.values())
        if self.reviewer is not None and self.reviewer in targets:
            answers = [targets[self.reviewer]]
        found = self.decide(key, answers, alone=targets is not case.targets)
        if found.target is None:
            reason = f"annotators disagree: {_votes(self.task, answers)}{found.remark}"
            return Outcome(subject=key, outcome="disputed", reason=reason)
        people = tuple(name for name in targets if name != IMPORTED)
        if not people:
            return Label(key=key, target=found.target, annotators=(), agreement=None, provenance="imported")
        # Who has once seen a model's answer has seen it, in whichever act that was.
        shown = {act.shown_model for act in case.all_acts if act.annotator in targets}
        shown |= {None if sent is None else sent.shown_model}
        seen = tuple(sorted(model for model in shown if model is not None))
        return Label(
            key=key,
            target=found.target,
            annotators=people,
            agreement=pairwise_agreement(self.task, list(case.targets.values())),
            provenance="human-over-prediction" if seen else "human",
            shown_models=seen,
            confidence=found.confidence,
        )

    def _unanswered(self, case: _Case) -> Label[Any] | Outcome:
        item = case.item
        if _is_imported(item):
            self.task.to_row(item.label)  # refuses a label that means nothing to the task as it is now
            return Label(
                key=item.key, target=item.label, annotators=(), agreement=None, provenance="imported"
            )
        if case.acts:
            return Outcome(subject=item.key, outcome="skipped", reason=f"skipped by {len(case.acts)}")
        return Outcome(subject=item.key, outcome="open", reason=f"0 of {self.needed} annotators")


def _is_imported(item: Item) -> bool:
    return item.label_use == "imported" and item.label is not None


def _outcome(key: str, result: Label[Any] | Outcome) -> Outcome:
    if isinstance(result, Outcome):
        return result
    return Outcome(subject=key, outcome="imported" if result.provenance == "imported" else "labelled")


def _reviewed(task: Task[Any], case: _Case, sent: Reopened, result: Label[Any] | Outcome) -> Reviewed:
    before = task.present(sent.given)
    after = result.target if isinstance(result, Label) else None
    if not case.later and case.fault is None:
        outcome: Any = "open"
    elif after is None:
        outcome = "disputed"
    else:
        outcome = "confirmed" if after == before else "changed"
    return Reviewed(
        key=sent.key,
        reason=sent.reason,
        outcome=outcome,
        before=before,
        after=after,
        reviewers=tuple(sorted(case.later)),
    )


def latest(acts: Iterable[Annotation]) -> list[Annotation]:
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
    return ", ".join(f"{text} {count}" for text, count in counted)
