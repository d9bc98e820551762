"""What unit tests share: an empty workspace, and a recipe that is trained in seconds."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from goldloop.recipe import Recipe, parse
from goldloop.settings import Settings
from goldloop.tasks import tasks
from goldloop.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "state", Settings())


class Notes:
    """Short texts about food or weather, and recipes that learn to tell them apart."""

    words: Mapping[str, tuple[str, ...]] = {
        "food": ("soup", "bread", "cheese"),
        "weather": ("rain", "snow", "wind"),
    }
    network: Mapping[str, Any] = {
        "model_type": "bert", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": 300,
    }  # fmt: skip

    def rows(self, per_class: int) -> list[tuple[str, str]]:
        """Texts with their classes, each text another; of more rows the first ones are the same."""
        chance = random.Random(0)
        return [
            (f"{chance.choice(words)} and {chance.choice(words)}, number {number}", name)
            for number in range(per_class)
            for name, words in self.words.items()
        ]

    def recipe(self, folder: Path, rows: Iterable[tuple[str, str]], **sections: Any) -> Recipe:
        """The recipe `notes` of a table with these texts and labels, imported.

        Args:
            folder: where the table is written.
            rows: texts with their classes.
            sections: of the recipe; `training` is added to a checkpoint from config and small batches.
        """
        table = folder / "texts.jsonl"
        table.write_text("".join(json.dumps({"text": text, "label": name}) + "\n" for text, name in rows))
        label = {"from": "label", "use": "imported"}
        training = {"checkpoint": {"from-config": self.network}, "batch_size": 8, "learning_rate": 5.0e-3}
        return parse(
            {
                "name": "notes",
                "sources": [{"kind": "table", "url": str(table), "text": "text", "label": label}],
                "task": {"kind": "text-classification", "classes": list(self.words)},
                **sections,
                "training": {**training, **sections.get("training", {})},
            }
        )


@pytest.fixture(scope="session")
def notes() -> Notes:
    return Notes()


@pytest.fixture(scope="session")
def unlearned_checkpoint(notes: Notes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a network that has learned nothing; its embeddings tell words apart all the same."""
    folder = tmp_path_factory.mktemp("checkpoint")
    task = tasks.create({"kind": "text-classification", "classes": ["x", "y"]})
    texts = [f"{word} and" for words in notes.words.values() for word in words]
    model = task.model({"from-config": notes.network}, texts=texts * 20)
    model.network.save_pretrained(folder)
    model.processor.save_pretrained(folder)
    return folder
