"""How answers to one item become one: by the task's own consensus, or by Dawid and Skene's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from goldloop.errors import RecipeError
from goldloop.quality.dawid_skene import class_sets, likely_set, most_likely, posteriors
from goldloop.tasks.base import SettlementPolicy, Task

_DIGITS = 3
"""Of a confidence that is kept: more would say nothing, and would make rows differ that are the same."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer out of several.

    Attributes:
        target: None where they are disputed.
        confidence: probability in [0, 1] that it is true, where the policy tells one.
        remark: what is to be said of a dispute besides the votes.
    """

    target: Any
    confidence: float | None = None
    remark: str = ""


class Settler(Protocol):
    """Decides on an item by its key and its answers."""

    def __call__(self, key: str, answers: Sequence[Any], *, alone: bool = False) -> Decision:
        """`alone`: by these answers, without what the whole dataset tells of the item."""


def settler(task: Task[Any], policy: SettlementPolicy, answered: Mapping[str, Mapping[str, Any]]) -> Settler:
    """How a policy decides.

    Args:
        task: compares answers.
        policy: which.
        answered: key -> annotator -> target, of the whole dataset.

    Raises:
        RecipeError: the policy cannot settle answers of this kind.
    """
    if policy != "dawid-skene":
        return _TasksOwn(task, policy)
    if not task.answers_are_classes:
        raise RecipeError(
            "Dawid and Skene's consensus weighs answers that are classes",
            where="dataset.consensus",
            found=f"{task.config.kind}, whose answers are more than that",
            expected="a kind of classification",
            remedy="Use `majority`, `unanimous` or `{reviewer: NAME}`",
        )
    return _DawidSkene(task, answered)


class _TasksOwn:
    def __init__(self, task: Task[Any], policy: Any) -> None:
        self._task = task
        self._policy = policy

    def __call__(self, key: str, answers: Sequence[Any], *, alone: bool = False) -> Decision:
        return Decision(self._task.consensus(answers, self._policy))


class _DawidSkene:
    def __init__(self, task: Task[Any], answered: Mapping[str, Mapping[str, Any]]) -> None:
        self._task = task
        given = [target for targets in answered.values() for target in targets.values()]
        self._sets = any(isinstance(target, list) for target in given)
        self._shares = class_sets(answered, task.classes) if self._sets else posteriors(answered)

    def __call__(self, key: str, answers: Sequence[Any], *, alone: bool = False) -> Decision:
        if alone:
            return Decision(self._task.consensus(answers, "majority"))
        shares = self._shares[key]
        found: Any = likely_set(shares) if self._sets else most_likely(shares)
        if found is None:
            told = ", ".join(
                f"{name} {share:.0%}"
                for name, share in sorted(
                    shares.items(), key=lambda each: (-round(each[1], _DIGITS), each[0])
                )
                if share > 0.005
            )
            return Decision(None, remark=f"; as likely as one another: {told}")
        target, confidence = found
        return Decision(target, round(min(confidence, 1.0), _DIGITS))
