from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from goldloop.tasks import tasks
from goldloop.training.ceiling import PRECISIONS, ceiling, copy_rate, product_rate
from goldloop.training.cost import Cost, training_cost
from goldloop.training.data import PreparedSplit
from goldloop.training.device import make_accelerator
from goldloop.training.engine import Engine

CPU = torch.device("cpu")
LAYERS, WIDTH, INNER = 2, 32, 64
BERT = {
    "model_type": "bert",
    "vocab_size": 400,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": INNER,
}
# Each group of these convolutions sees one channel of sixteen.
GROUPED = {"model_type": "convnext", "hidden_sizes": [16, 16], "depths": [1, 1], "num_stages": 2}
RESNET = {
    "model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1],
    "layer_type": "basic",
}  # fmt: skip


def engine(chosen, cache, change=lambda network: None, **fields) -> Engine:
    config = chosen.config(**fields)
    texts = chosen.task.training_texts(chosen.rows)
    model = chosen.task.model(config.checkpoint_argument(), texts=texts, settings=config.model_settings())
    change(model.network)
    data = PreparedSplit.prepare(chosen.task, model, chosen.rows, cache)
    return Engine(chosen.task, model, config, data, make_accelerator(config))


def linear_weights(network) -> int:
    return sum(
        module.weight.numel()
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) and "encoder" in name
    )


def test_a_token_costs_six_operations_a_weight_and_attention_as_much_as_it_sees(make_material, cache):
    one = engine(make_material("text-classification", BERT), cache)
    lengths = one.data.tokens.astype(float)
    expected = (
        6 * linear_weights(one.model.network) + 12 * LAYERS * WIDTH * (lengths**2).sum() / lengths.sum()
    )

    cost = training_cost(one)

    assert cost.per_example is None
    # Pooler and classifier see one token of each text.
    assert cost.per_token == pytest.approx(expected, rel=0.05)
    assert cost.per_token > expected
    assert cost.of(3, 100) == 100 * cost.per_token


def test_packing_does_not_change_what_a_token_costs(make_material, cache):
    one = engine(make_material("text-classification", BERT), cache)
    padded = training_cost(one)
    assert one.task.pack(one.model) is None
    assert training_cost(one) == padded


def test_an_image_costs_three_forward_passes_but_for_the_gradient_of_the_image(make_material, cache):
    one = engine(make_material("image-classification", RESNET), cache, image_size=32)
    network = one.model.network.eval()
    with torch.no_grad(), FlopCounterMode(display=False, depth=9) as counter:
        network(torch.zeros(1, 3, 32, 32))
    first = sum(
        sum(ops.values())
        for name, ops in counter.get_flop_counts().items()
        if name.endswith("embedder.embedder.convolution")
    )

    assert first > 0
    assert training_cost(one).per_example == 3 * counter.get_total_flops() - first


def test_convolutions_in_groups_cost_what_their_groups_do(make_material, cache):
    one = engine(make_material("image-classification", GROUPED), cache, image_size=32)
    network = one.model.network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, 32, 32))

    assert 2.5 * counter.get_total_flops() < training_cost(one).per_example < 3 * counter.get_total_flops()


def test_frozen_layers_cost_less(make_material, cache):
    chosen = make_material("text-classification", BERT)
    whole = training_cost(engine(chosen, cache))
    head = training_cost(engine(chosen, cache, lambda network: network.base_model.requires_grad_(False)))
    last = training_cost(
        engine(chosen, cache, lambda network: network.base_model.embeddings.requires_grad_(False))
    )

    assert head.per_token == pytest.approx(whole.per_token / 3, rel=0.05)
    # The first layer's input has no gradient, its weights have.
    assert 0.8 * whole.per_token < last.per_token < whole.per_token


def test_counting_changes_neither_weights_nor_means_nor_random_numbers(make_material, cache):
    one = engine(make_material("image-classification", RESNET), cache, image_size=32)
    before = {name: value.clone() for name, value in one.model.network.state_dict().items()}
    state, drawn = torch.get_rng_state(), one.generator.get_state()

    training_cost(one)

    assert any(name.endswith("running_mean") for name in before)
    assert all(torch.equal(before[name], value) for name, value in one.model.network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.generator.get_state(), drawn)
    assert all(parameter.grad is None for parameter in one.model.network.parameters())


@pytest.mark.parametrize("kind", tasks.names())
def test_every_kind_of_task_can_be_counted(kind, make_material, cache):
    chosen = make_material(kind, dict(tasks.get(kind).small_network))
    cost = training_cost(engine(chosen, cache))

    assert (cost.per_example is None) == (chosen.task.modality == "text")
    assert cost.of(2, 2) > 0


def test_one_image_can_be_counted(make_material, cache):
    chosen = make_material("image-classification", RESNET)
    one = type(chosen)(chosen.task, chosen.rows.select([0]), chosen.network)
    assert training_cost(engine(one, cache, image_size=32)).per_example > 0


def test_what_is_not_known_costs_nothing():
    assert Cost(per_example=2.0).of(3, 100) == 6.0
    assert Cost(per_token=2.0).of(3, 100) == 200.0


def test_the_ceiling_is_measured_once():
    first = ceiling(CPU, "no")
    assert first > 0
    assert ceiling(CPU, "no") == first
    assert set(PRECISIONS) == {"no", "bf16", "fp16"}


def test_rates_are_measured_on_the_device():
    assert product_rate(CPU, torch.float32, 0.0) > 0
    assert copy_rate(CPU, 0.0) > 0
