"""What all arms start from: one network with one set of weights, saved once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import datasets
import torch
from cases import Case
from packaged import folder_of

from goldloop.inference import save_model
from goldloop.tasks import tasks
from goldloop.tasks.base import Task

# Attention without padding has no dropout in its kernels, so no arm has any there.
_ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")


def task_of(rows: datasets.Dataset) -> Task[Any]:
    """The classification task of these rows."""
    kind = "text-classification" if "text" in rows.column_names else "image-classification"
    return tasks.create({"kind": kind, "classes": list(rows.features["label"].names)})


def save_start(case: Case, rows: datasets.Dataset, folder: Path) -> Path:
    """Save the network and processor that every arm of a case loads; returns their folder."""
    if not folder.is_dir():
        torch.manual_seed(case.seed)
        task = task_of(rows)
        checkpoint: Any = (
            folder_of(case.model) if isinstance(case.model, str) else {"from-config": case.model}
        )
        texts = rows["text"][:] if "text" in rows.column_names else ()
        model = task.model(checkpoint, texts=texts, settings=case.settings)
        config: Any = model.network.config
        for name in _ATTENTION_DROPOUTS:
            if hasattr(config, name):
                setattr(config, name, 0.0)
        save_model(folder, task, model, {})
    return folder
