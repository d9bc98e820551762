from __future__ import annotations

from collections import Counter

import pytest
import torch
import transformers
from transformers import AutoConfig

from goldloop.tasks._layers import Layers, layers_of
from goldloop.tasks._lora import LoraNetwork
from goldloop.tasks._torchvision_detectors import register

TEXTS, IMAGES = "AutoModelForSequenceClassification", "AutoModelForImageClassification"
BOXES = "AutoModelForObjectDetection"

SMALL_TEXT = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
SMALL_DETR = {
    "d_model": 16,
    "encoder_hidden_dim": 16,
    "encoder_in_channels": [16, 16, 16],
    "feat_strides": [8, 16, 32],
    "decoder_in_channels": [16, 16, 16],
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "encoder_attention_heads": 2,
}


def network(head: str, kind: str, **fields) -> torch.nn.Module:
    register()
    with torch.device("meta"):
        return getattr(transformers, head).from_config(AutoConfig.for_model(kind, **fields))


def at(layers: Layers, level: int) -> set[str]:
    """The modules whose parameters are at a level."""
    return {name.rpartition(".")[0] for name, own in layers.levels.items() if own == level}


@pytest.mark.parametrize(
    ("head", "kind", "fields", "names", "first", "last"),
    [
        (
            TEXTS,
            "bert",
            SMALL_TEXT,
            [f"bert.encoder.layer.{number}" for number in range(3)],
            "bert.embeddings.word_embeddings",
            {"bert.pooler.dense", "classifier"},
        ),
        (
            TEXTS,
            "modernbert",
            SMALL_TEXT | {"pad_token_id": 0, "eos_token_id": 1, "cls_token_id": 1, "sep_token_id": 1},
            [f"model.layers.{number}" for number in range(3)],
            "model.embeddings.tok_embeddings",
            {"model.final_norm", "head.dense", "head.norm", "classifier"},
        ),
        (
            TEXTS,
            "deberta-v2",
            SMALL_TEXT | {"relative_attention": True, "norm_rel_ebd": "layer_norm"},
            [f"deberta.encoder.layer.{number}" for number in range(3)],
            "deberta.embeddings.word_embeddings",
            {"deberta.encoder.LayerNorm", "pooler.dense", "classifier"},
        ),
        (
            IMAGES,
            "vit",
            SMALL_TEXT | {"vocab_size": None, "image_size": 16, "patch_size": 8},
            [f"vit.layers.{number}" for number in range(3)],
            "vit.embeddings",
            {"vit.layernorm", "classifier"},
        ),
        (
            IMAGES,
            "resnet",
            {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 2, 1, 1]},
            [f"resnet.encoder.stages.{number}" for number in range(4)],
            "resnet.embedder.embedder.convolution",
            {"classifier.1"},
        ),
        (
            BOXES,
            "torchvision-detector",
            {"architecture": "fcos", "channels": 32},
            [f"detector.backbone.body.layer{number}" for number in range(1, 5)],
            "detector.backbone.body.conv1",
            None,
        ),
    ],
)
def test_layers_are_found_in_their_order(head, kind, fields, names, first, last):
    given = {name: value for name, value in fields.items() if value is not None}
    layers = layers_of(network(head, kind, **given))
    assert layers.names == ("input", *names, "head")
    for level, name in enumerate(names, 1):
        assert {own for of, own in layers.levels.items() if of.startswith(f"{name}.")} == {level}
    assert first in at(layers, 0)
    if last is not None:
        assert at(layers, layers.head) == last


def test_stages_without_anything_before_them_begin_at_the_input():
    kind = {"hidden_sizes": [8] * 4, "num_attention_heads": [1] * 4, "depths": [1] * 4}
    layers = layers_of(network("AutoModelForSemanticSegmentation", "segformer", **kind))
    assert len(layers.names) == 5
    assert all(name.startswith("decode_head") for name in at(layers, layers.head))
    assert all(Counter(layers.levels.values())[level] > 10 for level in range(5))


def test_heads_among_the_layers_of_a_detector_are_heads():
    layers = layers_of(network(BOXES, "rt_detr_v2", **SMALL_DETR))
    head = at(layers, layers.head)
    assert {"model.enc_score_head", "model.decoder.class_embed.0", "model.decoder.class_embed.1"} <= head
    assert not any("decoder.layers" in name or "backbone" in name for name in head)
    assert layers.names[-3:-1] == ("model.decoder.layers.0", "model.decoder.layers.1")


def test_a_decoder_comes_after_its_encoder():
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 2, "num_heads": 2, "vocab_size": 64}
    layers = layers_of(network("AutoModelForSeq2SeqLM", "t5", **sizes))
    assert layers.names[1:-1] == ("encoder.block.0", "encoder.block.1", "decoder.block.0", "decoder.block.1")
    assert at(layers, 0) == {"shared"}
    assert "encoder.final_layer_norm" in at(layers, 2)


def test_a_table_that_layers_look_positions_up_in_is_no_head():
    fields = SMALL_TEXT | {"relative_attention": True}
    layers = layers_of(network(TEXTS, "deberta-v2", **fields))
    assert layers.levels["deberta.encoder.rel_embeddings.weight"] == layers.head - 1


def test_adapters_belong_to_the_layers_that_they_are_in():
    plain = transformers.BertForSequenceClassification(AutoConfig.for_model("bert", **SMALL_TEXT))
    before = layers_of(plain)
    layers = layers_of(LoraNetwork(plain, {"rank": 2}, head=True))
    assert layers.names == before.names
    adapters = {name: level for name, level in layers.levels.items() if ".lora_" in name}
    assert set(adapters.values()) == {1, 2, 3}
    assert layers.levels["adapted.classifier.weight"] == layers.head


def test_a_network_that_tells_no_layers_has_an_input_only():
    layers = layers_of(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh()))
    assert set(layers.levels.values()) == {0}
    assert layers.names == ("input", "head")
