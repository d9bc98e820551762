"""No step waits for the device: counted for every kind of task, as a machine without a GPU sees it."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import pytest
import torch

from goldloop.tasks import tasks
from goldloop.training.data import PreparedSplit
from goldloop.training.device import make_accelerator
from goldloop.training.engine import Engine
from goldloop.training.syncs import Syncs, counted

CPU = torch.device("cpu")
HERE = Path(__file__).name

# What is not ours, and why it waits.
BY_LIBRARY = {
    # Objects are matched with answers, and proposals chosen by their scores: how many is known afterwards.
    "torchvision": {"instance-segmentation", "keypoints", "object-detection"},
    # Is any token of a padded batch padding? Packed batches are not asked.
    "transformers": {"text-generation"},
    # It looks at losses that come from the network itself.
    "accelerate": {"object-detection"},
}
OURS = {
    # Which objects have left a varied picture: once a batch, and the matching waits in any case.
    "goldloop/tasks/_detectors.py": {"instance-segmentation", "keypoints", "object-detection"},
}


def watched(kind, cache, make, **fields):
    """The waits of one step of a kind's own small network on its examples."""
    chosen = make(kind, dict(tasks.get(kind).small_network))
    task, config = chosen.task, chosen.config(batch_size=4, epochs=4, **fields)
    texts = task.training_texts(chosen.rows)
    model = task.model(config.checkpoint_argument(), texts=texts, settings=config.model_settings())
    task.pack(model)
    data = PreparedSplit.prepare(task, model, chosen.rows, cache)
    engine = Engine(task, model, config, data, make_accelerator(config))
    for _ in islice(engine.steps(), 3):
        pass
    assert engine.syncs is not None
    return engine.syncs


@pytest.mark.parametrize("kind", tasks.names())
def test_a_step_waits_for_the_device_only_where_a_library_must(kind, cache, make_material):
    for place in watched(kind, cache, make_material):
        package = place.partition("/")[0]
        allowed = OURS.get(place.partition(":")[0], set()) if package == "goldloop" else BY_LIBRARY[package]
        assert kind in allowed, f"{kind} waits at {place}"


def test_there_are_kinds_that_wait_and_kinds_that_do_not():
    waiting = set().union(*BY_LIBRARY.values(), *OURS.values())
    assert waiting < set(tasks.names())
    assert len(set(tasks.names()) - waiting) >= 8


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).all()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.where(x > 0),
        lambda x: x.masked_select(x > 0),
        lambda x: x.unique(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: x.tolist(),
        lambda x: x.numpy(),
        lambda x: torch.ones(3).repeat_interleave(x.long()),
        lambda x: torch.equal(x, x),
    ],
)
def test_what_would_wait_on_a_gpu_is_counted_where_it_is_asked(wait):
    syncs = Syncs()
    values = torch.arange(3.0)
    with counted(syncs, CPU):
        wait(values)
    assert syncs.total() == 1
    assert re.fullmatch(rf".*{HERE}:\d+", next(iter(syncs)))


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.to(CPU),
        lambda x: x.sum() + x.max(),
        lambda x: torch.where(x > 0, x, 0.0),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: torch.nn.utils.clip_grad_norm_([torch.nn.Parameter(x)], 1.0),
        lambda x: torch.ones(3).repeat_interleave(torch.ones(3).long(), output_size=3),
        lambda x: torch.isfinite(x) & (x > 0),
    ],
)
def test_what_stays_on_the_device_is_not(work):
    syncs = Syncs()
    with counted(syncs, CPU):
        work(torch.arange(3.0))
    assert not syncs


def test_a_backward_pass_is_seen_too():
    class Waits(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x * 2

        @staticmethod
        def backward(context, gradient):
            return gradient * gradient.sum().item()

    syncs = Syncs()
    x = torch.ones(3, requires_grad=True)
    with counted(syncs, CPU):
        Waits.apply(x).sum().backward()
    assert syncs.total() == 1


if torch.cuda.is_available():

    def test_a_gpu_says_itself_where_it_is_waited_for():
        syncs = Syncs()
        values = torch.arange(3.0, device="cuda")
        with counted(syncs, values.device):
            values.sum().item()
            values * 2
        assert syncs.total() == 1
