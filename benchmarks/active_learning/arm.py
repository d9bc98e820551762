"""One strategy on one data set: chosen, pushed, annotated, collected, committed, learned from, and again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

from cases import Case

from goldloop import loop, wiring
from goldloop.catalog.content import items_of, stream_items
from goldloop.labeling.config import Selection
from goldloop.labeling.selection import ordered
from goldloop.progress import Silent
from goldloop.quality.linear_head import fitted
from goldloop.recipe import Recipe, parse
from goldloop.records import Item, Prediction
from goldloop.simulation import simulate
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

STRATEGIES: dict[str, Any] = {
    "random": "random",
    "uncertainty": "uncertainty",
    "margin": "margin",
    "entropy": "entropy",
    "diversity": "diversity",
    "cluster": "cluster",
    "mix": {"kind": "mix", "parts": {"margin": 0.6, "diversity": 0.3, "random": 0.1}},
}


class Arm:
    """One strategy with one seed, in a Label Studio project of its own.

    Args:
        case: the data.
        strategy: a name in `STRATEGIES`.
        seed: of every draw.
        workspace: where a Label Studio runs.
        wrong: the share of answers that annotators get wrong.
    """

    def __init__(self, case: Case, strategy: str, seed: int, workspace: Workspace, wrong: float) -> None:
        self.case, self.workspace, self.wrong = case, workspace, wrong
        self.selection = Selection.model_validate({"strategy": STRATEGIES[strategy], "seed": seed})
        self.recipe = self._recipe(f"{case.name}-{strategy}-{seed}")
        self.labels: dict[str, str] = {}
        """Key -> what annotators said, as the last commit settled it."""

    def go(self, steps: Sequence[int], target: float | None) -> list[tuple[int, float]]:
        """Labels and accuracy after each round, up to the last step or to the target.

        Args:
            steps: numbers of labels, rising.
            target: the accuracy at which it ends.
        """
        loop.pull(self.recipe, self.workspace)
        with self.workspace.engine.connect() as connection:
            items = {item.key: item for item in items_of(connection, self.recipe.name)}
        if items.keys() != set(self.case.pool):
            raise SystemExit(f"{self.recipe.name}: the catalog has other items than the case")
        curve: list[tuple[int, float]] = []
        learned = None
        for step in steps:
            self._annotate(self._chosen(items, step - len(self.labels), learned))
            learned = fitted(
                self.case.placed(list(self.labels)),
                self.case.ids(list(self.labels.values())),
                len(self.case.classes),
            )
            curve.append((len(self.labels), self._accuracy(learned)))
            if target is not None and curve[-1][1] >= target:
                break
        return curve

    def _chosen(self, items: dict[str, Item], wanted: int, learned: Any) -> list[str]:
        fresh = [item for key, item in items.items() if key not in self.labels]
        taken = [item for key, item in items.items() if key in self.labels]

        def predictions(asked: Sequence[Item]) -> list[Prediction[str]]:
            found = []
            for row in learned(self.case.placed([item.key for item in asked])).tolist():
                scores = dict(zip(self.case.classes, row, strict=True))
                best = max(scores, key=scores.__getitem__)
                found.append(Prediction(target=best, confidence=min(scores[best], 1.0), scores=scores))
            return found

        order = ordered(
            fresh,
            self.selection,
            None if learned is None else predictions,
            lambda asked: self.case.placed([item.key for item in asked]),
            taken=taken,
            wanted=wanted,
        )
        return [item.key for item in order[:wanted]]

    def _annotate(self, keys: Sequence[str]) -> None:
        """Through Label Studio and back, into a certified version."""
        task = tasks.create(self.recipe.task)
        with self.workspace.lock(self.recipe.name):
            session = wiring.session(self.recipe, self.workspace)
            session.reconcile()
            stream = stream_items(self.workspace.engine, self.recipe.name, list(keys))
            session.push(stream, len(keys), task.task_data, wiring.known_answers(task), Silent())
        simulate(self.recipe, error_rate=self.wrong, workspace=self.workspace)
        loop.collect(self.recipe, self.workspace)
        version = loop.commit(self.recipe, self.workspace)
        rows = version.dataset("train").select_columns(["key", *task.to_row(self.case.classes[0])])
        before = len(self.labels)
        self.labels = {row["key"]: task.from_row(row) for row in rows}
        if len(self.labels) != before + len(keys):
            raise SystemExit(
                f"{self.recipe.name}: {len(self.labels)} labels after {before} and {len(keys)} tasks"
            )

    def _accuracy(self, learned: Any) -> float:
        """On the items that judge, by the truth."""
        answers = learned(self.case.placed(self.case.judges)).argmax(1)
        truth = self.case.ids([self.case.labels[key] for key in self.case.judges])
        return float((answers == truth).mean())

    def _recipe(self, name: str) -> Recipe:
        return parse(
            {
                "name": name,
                "sources": [dict(self.case.source)],
                "task": dict(self.case.task),
                "dataset": {
                    "split": {"train": 1.0, "validation": 0.0, "test": 0.0},
                    "duplicates": {"texts": "off", "images": "off"},
                },
            }
        )


def run(
    case: Case,
    strategy: str,
    seed: int,
    workspace: Workspace,
    steps: Sequence[int],
    target: float | None,
    wrong: float,
) -> tuple[dict[str, Any], dict[str, str]]:
    """An arm's line for the results, and the labels that it got."""
    began = time.perf_counter()
    arm = Arm(case, strategy, seed, workspace, wrong)
    curve = arm.go(steps, target)
    line = {
        "case": case.name,
        "seed": seed,
        "strategy": strategy,
        "target": curve[-1][1] if target is None else target,
        "curve": curve,
        "seconds": time.perf_counter() - began,
    }
    return line, arm.labels


def drawn(seed: int, key: str) -> bytes:
    """The place of an item in an order of chance."""
    return hashlib.sha256(f"active-learning:{seed}:{key}".encode()).digest()
