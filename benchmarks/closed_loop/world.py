"""What happens outside of goldloop in the script: files come, people label, texts of another kind turn up."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from goldloop import wiring
from goldloop.deciding import Memory
from goldloop.recipe import Recipe, load
from goldloop.simulation import simulate
from goldloop.workspace import Workspace

WORDS: Mapping[str, tuple[str, ...]] = {
    "travel": ("train", "ticket", "platform", "luggage", "station"),
    "garden": ("rose", "spade", "compost", "hedge", "seedling"),
    "kitchen": ("oven", "dough", "pepper", "skillet", "recipe"),
}
STRANGE = ("refund", "invoice", "overdue", "ledger", "payment", "balance", "tariff", "levy")
FILES, LABELS, STRANGERS = 40, 30, 30
"""Of one event; the recipe waits for as many files and labels, and strangers alone are too few for it."""
_PURE = 0.7
NETWORK = {
    "model_type": "bert", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 2, "vocab_size": 300,
}  # fmt: skip


@dataclass
class World:
    """One recipe's sources and annotators.

    Attributes:
        folder: where files are put; what is to come is made beside it.
        recipe: reads them.
        path: the recipe's file.
        workspace: where it works.
    """

    folder: Path
    recipe: Recipe
    path: Path
    workspace: Workspace
    written: int = 0
    labelled: int = 0

    @classmethod
    def made(cls, root: Path, workspace: Workspace) -> World:
        """A world without a file, and its recipe."""
        folder = root / "texts"
        folder.mkdir(parents=True)
        fields = {
            "name": "closed-loop",
            "sources": [
                {"kind": "files", "url": f"{folder}/**/*.txt", "label": {"from": "folder", "use": "truth"}},
            ],
            "task": {"kind": "text-classification", "classes": list(WORDS)},
            "dataset": {"split": {"train": 0.5, "validation": 0.2, "test": 0.3}},
            "training": {
                "checkpoint": {"from-config": NETWORK},
                "epochs": 12, "batch_size": 8, "learning_rate": 5.0e-3,
            },
            "gates": [
                {"kind": "at-least", "metric": "accuracy", "value": 0.2},
                {"kind": "no-worse-than-champion", "metric": "accuracy"},
            ],
            "drift": {"min_items": 20, "false_alarms": 0.001},
            "watch": {
                "pull_minutes": 0.0001, "new_items": FILES, "new_labels": LABELS, "drift_minutes": 0.0001,
                "cool_down_minutes": 0, "rounds_per_day": 100,
            },
        }  # fmt: skip
        path = root / "closed-loop.yaml"
        path.write_text(yaml.safe_dump(fields), encoding="utf-8")
        return cls(folder, load(path), path, workspace)

    def files(self, count: int = FILES) -> None:
        """Texts of the known kinds come."""
        self._put(count, WORDS)

    def strangers(self) -> None:
        """Texts come that are like none before."""
        self._put(STRANGERS, dict.fromkeys(WORDS, STRANGE))

    def labels(self) -> None:
        """Somebody labels more of them in Label Studio; one answer of ten is wrong."""
        self.labelled += LABELS
        simulate(self.recipe, annotators=1, error_rate=0.1, limit=self.labelled, workspace=self.workspace)

    def nothing(self) -> None:
        """A quiet while."""

    def rounds(self) -> int:
        """How many rounds have ended, none being open."""
        memory = Memory.of(self.recipe, self.workspace)
        return -1 if memory.open is not None else len(memory.rounds)

    def state(self) -> dict[str, Any]:
        """All that must not depend on what disturbed the watcher."""
        session = wiring.session(self.recipe, self.workspace)
        totals = session.client.project_totals(session.project)
        memory = Memory.of(self.recipe, self.workspace)
        models = wiring.registry(self.workspace).models(self.recipe.name)
        return {
            "tasks": totals.tasks,
            "annotations": totals.annotations,
            "predictions": totals.predictions,
            "version": wiring.version_of(self.workspace, self.recipe.name, None).digest,
            "models": [(model.number, list(model.aliases), model.value) for model in models],
            "rounds": [(each.number, list(each.reasons), each.outcome) for each in memory.rounds],
        }

    def _put(self, count: int, words: Mapping[str, tuple[str, ...]]) -> None:
        """All at once, as a folder that is moved in: nobody sees half of them."""
        coming = self.folder.parent / "coming"
        for number in range(self.written, self.written + count):
            kind = list(words)[number % len(words)]
            chance = random.Random(number)
            # Some words are of another kind, so that models err and figures differ.
            kinds = [kind if chance.random() < _PURE else chance.choice(list(words)) for _ in range(4)]
            text = [*(chance.choice(words[each]) for each in kinds), str(number * 37 % 1009)]
            (coming / kind).mkdir(parents=True, exist_ok=True)
            (coming / kind / f"{number:04}.txt").write_text(" ".join(text), encoding="utf-8")
        coming.rename(self.folder / f"{self.written:04}")
        self.written += count


HAPPENINGS: tuple[tuple[str, Callable[[World], None]], ...] = (
    ("50 files come", lambda world: world.files(50)),
    ("30 labels", World.labels),
    ("40 files come", World.files),
    ("30 labels", World.labels),
    ("30 texts of another kind come", World.strangers),
    ("30 labels", World.labels),
    ("40 files come", World.files),
    ("30 labels", World.labels),
    ("nothing", World.nothing),
    ("30 labels", World.labels),
    ("40 files come", World.files),
    ("30 labels", World.labels),
)
