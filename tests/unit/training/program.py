"""Trains a tiny model in a process of its own, and kills itself where it is told to."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
from pathlib import Path

from accelerate import PartialState

from goldloop.training.run import train


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["images", "texts", "answers"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--kill-at", type=int, default=0, help="SIGKILL at the n-th event")
    parser.add_argument("--kill-in", type=int, default=0, help="SIGKILL as the n-th folder is renamed")
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--no-augmentation", action="store_true")
    arguments = parser.parse_args()
    count = {"event": 0, "rename": 0}

    def reach(what: str, limit: int) -> None:
        count[what] += 1
        if count[what] == limit:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(name: str, details: tuple[object, ...]) -> None:
        if name == "os.rename" and "checkpoints" in str(details[0]):
            reach("rename", arguments.kill_in)

    sys.addaudithook(audit)
    tiny = material(arguments.kind)
    answers = arguments.kind == "answers"
    config = tiny.config(
        batch_size=2 if answers else 8,
        epochs=8,
        evaluate_every=7,
        learning_rate=1e-2,
        augment=not arguments.no_augmentation,
        gradient_accumulation=arguments.parts,
        lora={"rank": 4, "alpha": 8} if answers else None,
    )
    train(
        tiny.task,
        config,
        tiny.splits(),
        arguments.folder,
        arguments.cache,
        {},
        lambda event: reach("event", arguments.kill_at),
        checkpoint_seconds=0.0,
    )
    PartialState().destroy_process_group()


def material(kind: str):
    spec = importlib.util.spec_from_file_location("material", Path(__file__).with_name("conftest.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["material"] = module
    spec.loader.exec_module(module)
    if kind == "images":
        return module.material("image-classification", module.VIT)
    if kind == "answers":
        return module.material("text-generation", module.GPT2)
    return module.material("text-classification", module.BERT)


if __name__ == "__main__":
    main()
