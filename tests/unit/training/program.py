"""Trains a tiny model in a process of its own, and kills itself or breaks its disk where it is told to."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import signal
import sys
import threading
from pathlib import Path

import torch

from goldloop.tasks.base import Model, Task
from goldloop.training.device import leave_group
from goldloop.training.run import train


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["images", "texts", "answers"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--kill-at", type=int, default=0, help="SIGKILL at the n-th event")
    parser.add_argument("--kill-in", type=int, default=0, help="SIGKILL as the n-th folder is renamed")
    parser.add_argument("--kill-writing", type=int, default=0, help="SIGKILL as the n-th file is flushed")
    parser.add_argument("--hang", type=int, default=0, help="no file is flushed before the n-th event")
    parser.add_argument("--full-at", type=int, default=0, help="the disk is full from the n-th event on")
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--no-augmentation", action="store_true")
    parser.add_argument("--fields", type=json.loads, default={}, help="of `training:`, as JSON")
    parser.add_argument("--room", type=int, default=0, help="memory suffices for so many examples at once")
    parser.add_argument("--room-of", type=int, default=0, help="in the process of this rank")
    arguments = parser.parse_args()
    count = {"event": 0, "rename": 0, "flush": 0}
    gone_on = threading.Event()

    def reach(what: str, limit: int) -> None:
        count[what] += 1
        if count[what] == limit:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(name: str, details: tuple[object, ...]) -> None:
        if name == "os.rename" and "checkpoints" in str(details[0]):
            reach("rename", arguments.kill_in)
        # Written by name, opened by number: only what is flushed is opened so below a folder set aside.
        if name == "open" and "checkpoints/." in str(details[0]) and details[1] is None:
            reach("flush", arguments.kill_writing)
            if arguments.hang and not gone_on.wait(120):
                os._exit(3)

    def hear(event: object) -> None:
        reach("event", arguments.kill_at)
        if count["event"] == arguments.hang:
            gone_on.set()
        if arguments.full_at and count["event"] == arguments.full_at:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    sys.addaudithook(audit)
    tiny = material(arguments.kind)
    answers = arguments.kind == "answers"
    fields = {
        "batch_size": 2 if answers else 8,
        "epochs": 8,
        "evaluate_every": 7,
        "learning_rate": 1e-2,
        "augment": not arguments.no_augmentation,
        "gradient_accumulation": arguments.parts,
        "lora": {"rank": 4, "alpha": 8} if answers else None,
    }
    config = tiny.config(**{**fields, **arguments.fields})
    if arguments.room and int(os.environ.get("RANK", "0")) == arguments.room_of:
        narrow(tiny.task, arguments.room)
    train(
        tiny.task,
        config,
        tiny.splits(),
        arguments.folder,
        arguments.cache,
        {},
        hear,
        checkpoint_seconds=0.0,
    )
    leave_group()


def narrow(task: Task, room: int) -> None:
    """Let an allocation that no machine can make fail where a network is trained on more examples."""
    made = type(task).model

    def model(self: Task, *arguments: object, **options: object) -> Model:
        found = made(self, *arguments, **options)

        def refuse(network: torch.nn.Module, _: object, inputs: dict[str, torch.Tensor]) -> None:
            if network.training and len(inputs["pixel_values"]) > room:
                torch.empty(2**60)

        found.network.register_forward_pre_hook(refuse, with_kwargs=True)
        return found

    type(task).model = model


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
