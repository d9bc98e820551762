"""Two real tasks with tiny data, made from their own examples, and tiny networks to train on them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pytest

from goldloop.tasks import tasks
from goldloop.tasks.base import Task
from goldloop.training.config import TrainingConfig

sys.path.insert(0, str(Path(__file__).parent))

VIT = {
    "model_type": "vit",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 16,
    "patch_size": 8,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
BERT = {
    "model_type": "bert",
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}

STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

GPT2 = {
    "model_type": "gpt2",
    "vocab_size": 320,
    "n_embd": 32,
    "n_layer": 1,
    "n_head": 2,
    "n_positions": 160,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}


@dataclass(frozen=True)
class Material:
    """A task, its examples as dataset rows, and settings that learn them."""

    task: Task[Any]
    rows: datasets.Dataset
    network: dict[str, Any]

    def config(self, **fields: Any) -> TrainingConfig:
        chosen = {
            "checkpoint": {"from-config": self.network},
            "batch_size": 8,
            "epochs": 2,
            "learning_rate": 5e-3,
            "precision": "no",
            "early_stopping": None,
            "warmup": 0.0,
            **fields,
        }
        return TrainingConfig.model_validate(chosen)

    def split(self, start: int, stop: int) -> datasets.Dataset:
        return self.rows.select(range(start, stop))

    def splits(self) -> dict[str, datasets.Dataset]:
        return {"train": self.rows, "validation": self.rows.select(range(0, len(self.rows), 2))}


def material(kind: str, network: dict[str, Any]) -> Material:
    task = tasks.create(tasks.get(kind).example_config())
    features = {**task.features(), "key": datasets.Value("string")}
    rows = [
        {
            "key": example.item.key,
            task.modality: {"bytes": example.content, "path": None} if example.content else example.item.text,
            **task.to_row(example.target),
        }
        for example in task.examples()
    ]
    return Material(task, datasets.Dataset.from_list(rows, features=datasets.Features(features)), network)


@pytest.fixture(scope="session")
def make_material() -> Callable[[str, dict[str, Any]], Material]:
    return material


@pytest.fixture(scope="session")
def images() -> Material:
    return material("image-classification", VIT)


@pytest.fixture(scope="session")
def spans() -> Material:
    return material("token-classification", BERT | STILL)


@pytest.fixture(scope="session")
def texts() -> Material:
    return material("text-classification", BERT)


@pytest.fixture(scope="session")
def answers() -> Material:
    return material("text-generation", GPT2)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def convolutions() -> Material:
    return material("image-classification", RESNET)


@pytest.fixture
def make_engine(cache: Path) -> Any:
    """An engine that stands at the start of a run with these settings."""
    from accelerate.utils import set_seed

    from goldloop.training.data import PreparedSplit
    from goldloop.training.device import make_accelerator
    from goldloop.training.engine import Engine

    def make(material: Material, **fields: Any) -> Engine:
        config, task = material.config(**fields), material.task
        accelerator = make_accelerator(config)
        set_seed(config.seed)
        model = task.model(config.checkpoint_argument(), texts=["a b"] * 3, settings=config.model_settings())
        data = PreparedSplit.prepare(task, model, material.rows, cache)
        return Engine(task, model, config, data, accelerator)

    return make
