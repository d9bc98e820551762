from __future__ import annotations

import copy

import pytest
import torch
from pydantic import ValidationError

from goldloop.errors import TrainingError
from goldloop.training.optimizers import MuonWithAdamW, make_optimizer

NAMES = ["adamw", "adam", "nadam", "radam", "sgd", "adafactor", "muon"]
DEEP = {"num_hidden_layers": 3}


def network(material, **fields) -> torch.nn.Module:
    torch.manual_seed(0)
    return material.task.model({"from-config": {**material.network, **fields}}, texts=["a b"] * 3).network


def shares(model: torch.nn.Module, config) -> dict[str, float]:
    """What each parameter's learning rate is of the step's."""
    optimizer = make_optimizer(model, config, 1e-3)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        names[id(parameter)]: group["share"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert found.keys() == set(names.values()), "each parameter is in one group"
    return found


def test_every_optimizer_that_a_recipe_may_name_is_tested(images):
    field = type(images.config()).model_fields["optimizer"]
    assert list(field.annotation.__args__) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_optimizer_lowers_a_loss(name, texts):
    model = network(texts).eval()
    rates = {"sgd": 0.1, "adafactor": 0.1}
    optimizer = make_optimizer(model, texts.config(optimizer=name), rates.get(name, 1e-2))
    ids, labels = torch.arange(4, 12).view(4, 2), torch.tensor([0, 1, 2, 0])

    def loss():
        return torch.nn.functional.cross_entropy(model(input_ids=ids).logits, labels)

    before = loss().item()
    for _ in range(40):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.5 * before


def test_the_rate_of_each_layer_of_bert_is_its_share(texts):
    found = shares(network(texts, **DEEP), texts.config(layer_decay=0.5, head_factor=3.0))
    assert found["bert.embeddings.word_embeddings.weight"] == 0.5**4
    assert found["bert.encoder.layer.0.attention.self.query.weight"] == 0.5**3
    assert found["bert.encoder.layer.0.output.LayerNorm.bias"] == 0.5**3
    assert found["bert.encoder.layer.2.output.dense.weight"] == 0.5
    assert found["bert.pooler.dense.weight"] == found["classifier.bias"] == 3.0


def test_the_rate_of_each_layer_of_a_vision_transformer_is_its_share(images):
    found = shares(network(images, **DEEP), images.config(layer_decay=0.5))
    assert found["vit.embeddings.cls_token"] == 0.5**4
    assert {share for name, share in found.items() if name.startswith("vit.layers.1.")} == {0.5**2}
    assert found["vit.layernorm.weight"] == found["classifier.weight"] == 1.0


def test_the_rate_of_each_stage_of_a_resnet_is_its_share(convolutions):
    found = shares(network(convolutions), convolutions.config(layer_decay=0.5, head_factor=10.0))
    assert found["resnet.embedder.embedder.convolution.weight"] == 0.5**5
    for stage in range(4):
        inside = {
            share for name, share in found.items() if name.startswith(f"resnet.encoder.stages.{stage}.")
        }
        assert inside == {0.5 ** (4 - stage)}
    assert found["classifier.1.weight"] == 10.0


def test_arguments_go_to_the_optimizer_that_has_them(texts):
    model = network(texts)
    adam = make_optimizer(model, texts.config(optimizer="adam", betas=[0.8, 0.9]), 1e-3)
    assert {group["betas"] for group in adam.param_groups} == {(0.8, 0.9)}
    assert {
        group["momentum"] for group in make_optimizer(model, texts.config(optimizer="sgd"), 1).param_groups
    } == {0.9}
    muon = make_optimizer(model, texts.config(optimizer="muon", momentum=0.8), 1e-3)
    assert {group["momentum"] for group in muon.param_groups if group["matrices"]} == {0.8}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"optimizer": "sgd", "betas": [0.9, 0.99]},
            "optimizer sgd has no betas; adamw, adam, nadam, radam have",
        ),
        ({"momentum": 0.9}, "optimizer adamw has no momentum; sgd, muon have"),
        ({"optimizer": "sgd", "momentum": 1.0}, "less than 1"),
        ({"layer_decay": 1.5}, "less than or equal to 1"),
        ({"head_factor": 0}, "greater than 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(texts, fields, said):
    with pytest.raises(ValidationError, match=said):
        texts.config(**fields)


def test_muon_trains_the_matrices_of_layers_and_adamw_all_else(texts):
    model = network(texts)
    optimizer = make_optimizer(model, texts.config(optimizer="muon"), 1e-3)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    matrices = {
        names[id(parameter)]
        for group in optimizer.param_groups
        if group["matrices"]
        for parameter in group["params"]
    }
    inside = {name for name in names.values() if name.startswith("bert.encoder.layer.0.")}
    assert matrices == {name for name in inside if name.endswith("weight") and "LayerNorm" not in name}


def test_muon_and_adamw_together_do_what_each_does_alone():
    torch.manual_seed(0)
    matrix, bias = torch.nn.Parameter(torch.randn(4, 3)), torch.nn.Parameter(torch.randn(3))
    alone = copy.deepcopy([matrix, bias])
    groups = [
        {"params": [matrix], "weight_decay": 0.1, "share": 1.0, "matrices": True},
        {"params": [bias], "weight_decay": 0.0, "share": 1.0, "matrices": False},
    ]
    both = MuonWithAdamW(groups, 1e-2, 0.9)
    muon = torch.optim.Muon([alone[0]], 1e-2, 0.1, 0.9, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW([alone[1]], 1e-2, weight_decay=0.0, fused=True)
    for step in range(4):
        if step == 2:
            both.load_state_dict(copy.deepcopy(both.state_dict()))
        for parameter, other in zip([matrix, bias], alone, strict=True):
            parameter.grad = other.grad = torch.randn_like(parameter)
        for optimizer in (both, muon, adamw):
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 / (step + 1)
            optimizer.step()
    assert torch.equal(matrix, alone[0])
    assert torch.equal(bias, alone[1])
    assert {"momentum_buffer", "exp_avg"} <= {name for kept in both.state.values() for name in kept}


def test_muon_is_refused_where_there_are_no_matrices(convolutions):
    with pytest.raises(TrainingError, match=r"training\.optimizer: Muon .*Use `optimizer: adamw`"):
        make_optimizer(network(convolutions), convolutions.config(optimizer="muon"), 1e-3)
