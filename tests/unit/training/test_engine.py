from __future__ import annotations

import math
import threading
from contextlib import closing

import pytest
import torch

from goldloop.errors import TrainingError
from goldloop.training.data import PreparedSplit
from goldloop.training.device import make_accelerator
from goldloop.training.engine import Engine
from goldloop.training.optimizers import make_optimizer
from goldloop.training.schedules import learning_rate_share


def engine(material, cache, **fields) -> Engine:
    from accelerate.utils import set_seed

    config = material.config(**fields)
    accelerator = make_accelerator(config)
    set_seed(config.seed)
    texts = ["a b"] * 3
    model = material.task.model(config.checkpoint_argument(), texts=texts, settings=config.model_settings())
    data = PreparedSplit.prepare(material.task, model, material.rows, cache)
    return Engine(material.task, model, config, data, accelerator)


def trained(material, cache, **fields):
    one = engine(material, cache, **fields)
    losses = [step.loss.item() for step in one.steps()]
    return losses, {name: value.clone() for name, value in one.model.network.state_dict().items()}


def test_it_takes_every_item_once_an_epoch(images, cache):
    one = engine(images, cache, epochs=3, batch_size=4)
    epochs: dict[int, list[str]] = {}
    for step in one.steps():
        epochs.setdefault(step.epoch, []).extend(step.keys)
    assert sorted(epochs) == [1, 2, 3]
    for keys in epochs.values():
        assert sorted(keys) == sorted(images.rows["key"])
    assert one.done == one.total == 15


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulation_changes_nothing_but_rounding(images, cache, parts):
    whole, whole_weights = trained(images, cache, augment=False, epochs=3)
    losses, weights = trained(images, cache, augment=False, epochs=3, gradient_accumulation=parts)
    assert losses == pytest.approx(whole, rel=1e-4)
    for name, value in whole_weights.items():
        # A key's bias has no gradient but rounding (softmax cancels it), which AdamW makes large.
        if not name.endswith("key.bias"):
            torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-4)


def test_a_batch_smaller_than_its_parts_loses_no_example(images, cache):
    rows = images.rows.select(range(5))
    few = type(images)(images.task, rows, images.network)
    whole, _ = trained(few, cache, augment=False, batch_size=4, epochs=2)
    parts, _ = trained(few, cache, augment=False, batch_size=4, epochs=2, gradient_accumulation=4)
    assert parts == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_texts_with_more_or_fewer_tokens_add_up(spans, cache, parts):
    still = {"augment": False, "epochs": 2, "max_length": 16, "packing": False}
    whole, _ = trained(spans, cache, **still)
    losses, _ = trained(spans, cache, **still, gradient_accumulation=parts)
    assert losses == pytest.approx(whole, rel=1e-4)


def test_the_same_seed_gives_the_same_bits(texts, cache):
    _, first = trained(texts, cache)
    _, second = trained(texts, cache)
    _, other = trained(texts, cache, seed=1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_learning_rate_of_each_step_is_the_scheduled_one(images, cache):
    one = engine(images, cache, epochs=4, warmup=0.5)
    rates = [step.learning_rate for step in one.steps()]
    assert rates == [5e-3 * learning_rate_share(done, one.total, one.config) for done in range(one.total)]
    assert rates[:6] == pytest.approx([5e-3 * n / 6 for n in range(1, 7)])
    assert rates[6] == pytest.approx(5e-3)
    assert rates[-1] < rates[6]


def test_schedules_end_where_they_should(images):
    constant = images.config(schedule="constant", learning_rate=1.0)
    linear = images.config(schedule="linear", learning_rate=1.0)
    cosine = images.config(schedule="cosine", learning_rate=1.0)
    assert learning_rate_share(99, 100, constant) == 1.0
    assert learning_rate_share(50, 100, linear) == 0.5
    assert learning_rate_share(50, 100, cosine) == pytest.approx(0.5)
    assert learning_rate_share(99, 100, cosine) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.99)))


def test_biases_and_norms_do_not_decay(images):
    model = images.task.model({"from-config": images.network})
    decaying, still = make_optimizer(model.network, images.config(weight_decay=0.1), 1e-3).param_groups
    assert (decaying["weight_decay"], still["weight_decay"]) == (0.1, 0.0)
    assert all(parameter.ndim >= 2 for parameter in decaying["params"])
    assert all(parameter.ndim == 1 for parameter in still["params"])
    total = len(list(model.network.parameters()))
    assert len(decaying["params"]) + len(still["params"]) == total


def test_bf16_trains_with_weights_in_float32(texts, cache):
    losses, weights = trained(texts, cache, precision="bf16", epochs=6)
    assert losses[-1] < losses[0]
    assert all(value.dtype == torch.float32 for value in weights.values() if value.is_floating_point())


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes in fp16")
def test_a_precision_that_the_machine_has_not_is_refused(images):
    with pytest.raises(TrainingError, match=r"training\.precision.*found fp16"):
        make_accelerator(images.config(precision="fp16"))


def test_the_prefetch_thread_ends_with_the_loop(images, cache):
    one = engine(images, cache, epochs=50)
    with closing(one.steps()) as steps:
        next(steps)
        assert any(thread.name.startswith("prefetch") for thread in threading.enumerate())
    assert not any(thread.name.startswith("prefetch") for thread in threading.enumerate())
