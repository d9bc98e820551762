"""What one example costs to train on, in floating-point operations: as every run of goldloop counts it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import datasets
from starting import task_of

from goldloop.inference import Predictor
from goldloop.training.config import TrainingConfig
from goldloop.training.cost import training_cost
from goldloop.training.data import PreparedSplit
from goldloop.training.device import make_accelerator
from goldloop.training.engine import Engine

_IMAGES = 2


def flops_per_example(rows: datasets.Dataset, start: Path) -> float:
    """Mean over the rows; of texts only their real tokens count. All images cost the same."""
    task, model = task_of(rows), Predictor.load(start, "cpu").model
    config = TrainingConfig(checkpoint=str(start), precision="no")
    chosen = rows if task.modality == "text" else rows.select(range(min(_IMAGES, len(rows))))
    with tempfile.TemporaryDirectory() as folder:
        data = PreparedSplit.prepare(task, model, chosen, Path(folder))
        cost = training_cost(Engine(task, model, config, data, make_accelerator(config)))
        tokens = data.tokens
    return cost.of(1, 0.0 if tokens is None else float(tokens.mean()))
