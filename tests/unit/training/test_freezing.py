from __future__ import annotations

import pytest
import torch

from goldloop.errors import TrainingError
from goldloop.training.engine import Engine
from goldloop.training.freezing import how_layers_learn

DEEP = {"num_hidden_layers": 3}


def deep(material):
    return type(material)(material.task, material.rows, {**material.network, **DEEP})


def learning(one: Engine) -> set[str]:
    return {name for name, parameter in one.model.network.named_parameters() if parameter.requires_grad}


def test_frozen_layers_stay_and_have_no_gradients_and_no_moments(texts, make_engine):
    one = make_engine(deep(texts), freeze={"layers": 2})
    before = {name: value.clone() for name, value in one.model.network.state_dict().items()}
    for _ in one.steps():
        pass
    moved = {
        name for name, value in one.model.network.named_parameters() if not torch.equal(before[name], value)
    }
    frozen = ("bert.embeddings.", "bert.encoder.layer.0.")
    assert moved == {name for name in before if not name.startswith(frozen)}
    named = {id(parameter): name for name, parameter in one.model.network.named_parameters()}
    assert {named[id(parameter)] for parameter in one.optimizer.optimizer.state} == moved


def test_running_means_of_frozen_layers_stay(convolutions, make_engine):
    one = make_engine(convolutions, freeze={"layers": 3}, image_size=32)
    before = {name: value.clone() for name, value in one.model.network.state_dict().items()}
    for _ in one.steps():
        pass
    moved = {
        name for name, value in one.model.network.named_buffers() if not torch.equal(before[name], value)
    }
    frozen = ("resnet.embedder.", "resnet.encoder.stages.0.", "resnet.encoder.stages.1.")
    assert moved == {name for name, _ in one.model.network.named_buffers() if not name.startswith(frozen)}


def test_only_the_head_learns_where_all_else_is_frozen(images, make_engine):
    one = make_engine(deep(images), freeze={})
    assert learning(one) == {
        "vit.layernorm.weight",
        "vit.layernorm.bias",
        "classifier.weight",
        "classifier.bias",
    }


def test_layers_begin_to_learn_one_after_the_other_from_the_head_down(texts, make_engine):
    # Three steps are an epoch.
    one = make_engine(deep(texts), epochs=6, freeze={"thaw_every": 1})
    lowest = []
    for _ in one.steps():
        names = learning(one)
        parts = ("bert.embeddings", *(f"bert.encoder.layer.{number}" for number in range(3)), "bert.pooler")
        lowest.append(next(part for part in parts if any(name.startswith(part) for name in names)))
    layers = [f"bert.encoder.layer.{number}" for number in (2, 1, 0)]
    assert lowest[::3] == ["bert.pooler", *layers, "bert.embeddings", "bert.embeddings"]
    assert lowest[::3] == lowest[1::3] == lowest[2::3]


def test_what_thaws_has_moments_from_then_on_only(texts, make_engine):
    one = make_engine(deep(texts), epochs=3, freeze={"thaw_every": 1})
    for _ in one.steps():
        pass
    steps = {
        name: int(one.optimizer.optimizer.state[parameter]["step"])
        for name, parameter in one.model.network.named_parameters()
        if parameter in one.optimizer.optimizer.state
    }
    assert steps["classifier.weight"] == 9
    assert steps["bert.encoder.layer.2.output.dense.weight"] == 6
    assert steps["bert.encoder.layer.1.output.dense.weight"] == 3
    assert not any(name.startswith("bert.encoder.layer.0") for name in steps)


def test_adapters_of_lower_layers_can_be_frozen_too(texts, make_engine):
    one = make_engine(deep(texts), lora={"rank": 2}, freeze={"layers": 3})
    names = learning(one)
    assert any(".layer.2." in name and "lora_" in name for name in names)
    assert not any(".layer.0." in name or ".layer.1." in name or "embeddings" in name for name in names)
    assert "adapted.classifier.weight" in names


def test_more_layers_than_there_are_is_an_error_that_counts_them(texts, make_engine):
    said = r"training\.freeze\.layers.*found 9.*at most 4: input to bert\.encoder\.layer\.2"
    with pytest.raises(TrainingError, match=said):
        make_engine(deep(texts), freeze={"layers": 9})


def test_nothing_left_to_learn_is_an_error(answers, make_engine):
    with pytest.raises(TrainingError, match=r"nothing is left to learn.*Freeze fewer layers"):
        make_engine(answers, lora={"rank": 2}, freeze={})


def test_how_layers_learn_is_told_together_where_they_learn_alike(texts, make_engine):
    material = deep(texts)
    plain = make_engine(material).how_layers_learn()
    assert [(one.layers, one.share, one.begins) for one in plain] == [("input to head", 1.0, 0.0)]
    frozen = make_engine(material, freeze={"layers": 2}, head_factor=2.0).how_layers_learn()
    assert [(one.layers, one.share, one.begins) for one in frozen] == [
        ("input to bert.encoder.layer.0", 1.0, None),
        ("bert.encoder.layer.1 to bert.encoder.layer.2", 1.0, 0.0),
        ("head", 2.0, 0.0),
    ]
    assert [one.parameters > 0 for one in frozen] == [False, True, True]
    thawing = make_engine(material, freeze={"layers": 2, "thaw_every": 0.4}, layer_decay=0.5)
    assert [(one.share, one.begins) for one in thawing.how_layers_learn()] == [
        (0.5**4, pytest.approx(2 / 3)),
        (0.5**3, pytest.approx(1 / 3)),
        (0.5**2, 0.0),
        (0.5, 0.0),
        (1.0, 0.0),
    ]


def test_counts_are_of_what_learns(texts, make_engine):
    one = make_engine(deep(texts), freeze={"layers": 2})
    told = how_layers_learn(one.model.network, one.config, one.freezing, one.model.network.parameters())
    assert sum(layer.parameters for layer in told) == sum(
        parameter.numel() for parameter in one.model.network.parameters() if parameter.requires_grad
    )
