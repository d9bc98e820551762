"""A compiled network learns what it learns otherwise, and nothing is compiled after the first step."""

from __future__ import annotations

import contextlib

import pytest
import torch
from safetensors.torch import load_file
from torch._inductor.utils import fresh_cache

from goldloop.errors import TrainingError
from goldloop.tasks import tasks
from goldloop.training.compiling import lay_out_alike, repeated_layers
from goldloop.training.data import PreparedSplit
from goldloop.training.device import make_accelerator
from goldloop.training.engine import Engine
from goldloop.training.run import StepLogged, train

SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 400}
DROPOUT = {"model_type": "bert", "num_hidden_layers": 2, **SIZES}
BERT = {**DROPOUT, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
DEBERTA = {**BERT, "model_type": "deberta-v2"}
GPT2 = {
    "model_type": "gpt2", "vocab_size": 320, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 160,
    "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
}  # fmt: skip
RESNET = {
    "model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1],
    "layer_type": "basic",
}  # fmt: skip
# Eighteen examples in batches of four and three.
FIELDS = {"batch_size": 4, "epochs": 3, "evaluate_every": 7, "augment": False}


class Stop(Exception):
    pass


@pytest.fixture
def traced():
    """Networks are traced as they are to be compiled, but no kernels are written, which takes long."""
    with torch.compiler.set_stance("default", force_backend="aot_eager"):
        yield
    torch._dynamo.reset()


@pytest.fixture
def fit(tmp_path, cache):
    def fit(chosen, name, stop_at=None, **fields):
        heard = []

        def hear(event):
            heard.append(event)
            if len(heard) == stop_at:
                raise Stop

        config = chosen.config(**{**FIELDS, **fields})
        folder = tmp_path / name
        with contextlib.suppress(Stop):
            run = train(chosen.task, config, chosen.splits(), folder, cache, {}, hear, checkpoint_seconds=0.0)
            return run, [event.loss for event in heard if isinstance(event, StepLogged)]
        return None, []

    return fit


def engine(chosen, cache, **fields) -> Engine:
    config = chosen.config(**{**FIELDS, **fields})
    texts = chosen.task.training_texts(chosen.rows)
    torch.manual_seed(0)
    model = chosen.task.model(config.checkpoint_argument(), texts=texts, settings=config.model_settings())
    chosen.task.pack(model)
    data = PreparedSplit.prepare(chosen.task, model, chosen.rows, cache)
    return Engine(chosen.task, model, config, data, make_accelerator(config))


def assert_as_good(compiled, plain):
    run, losses = compiled
    assert run.throughput.recompiles == 0
    assert run.throughput.compile_seconds > 0
    assert run.spent["compile"] >= run.throughput.compile_seconds
    assert losses == pytest.approx(plain[1], rel=1e-4)
    weights = [load_file(one.model / "model.safetensors") for one in (run, plain[0])]
    for name, value in weights[1].items():
        # A key's bias has no gradient but rounding (softmax cancels it), which AdamW makes large.
        if not name.endswith("key.bias"):
            torch.testing.assert_close(weights[0][name], value, rtol=1e-2, atol=1e-3)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("kind", "network", "fields"),
    [("text-classification", BERT, {}), ("image-classification", RESNET, {"image_size": 32})],
    ids=["bert", "resnet"],
)
def test_kernels_of_a_compiled_network_learn_the_same(kind, network, fields, make_material, fit):
    chosen = make_material(kind, network)
    plain = fit(chosen, "plain", compile=False, **fields)
    assert plain[0].throughput.recompiles is None
    assert_as_good(fit(chosen, "compiled", compile=True, **fields), plain)
    torch._dynamo.reset()


@pytest.mark.parametrize("scope", [True, "regional"])
@pytest.mark.parametrize(
    ("kind", "network", "fields"),
    [
        ("text-classification", BERT, {}),
        ("token-classification", BERT, {"max_length": 32}),
        ("text-generation", GPT2, {"batch_size": 2}),
        ("image-classification", RESNET, {"image_size": 32}),
    ],
    ids=["bert", "bert-tokens", "gpt2", "resnet"],
)
def test_nothing_is_compiled_after_the_first_step(kind, network, fields, scope, make_material, fit, traced):
    chosen = make_material(kind, network)
    plain = fit(chosen, "plain", compile=False, **fields)
    assert_as_good(fit(chosen, "compiled", compile=scope, **fields), plain)


def test_a_detector_is_compiled_up_to_where_it_computes_its_loss(make_material, cache, traced):
    chosen = make_material("object-detection", dict(tasks.get("object-detection").small_network))
    one = engine(chosen, cache, image_size=64)
    one.compilation.begin("whole")
    compiled = [
        name for name, module in one.network.named_modules() if module._compiled_call_impl is not None
    ]
    assert compiled == ["detector.backbone"]
    assert len([step.loss.item() for step in one.steps()]) == one.total
    assert one.compilation.recompiles == 0


def test_compiling_changes_neither_weights_nor_means_nor_random_numbers(make_material, cache, traced):
    one = engine(make_material("image-classification", RESNET), cache, image_size=32, augment=True)
    before = {name: value.clone() for name, value in one.model.network.state_dict().items()}
    state, drawn = torch.get_rng_state(), one.generator.get_state()

    one.compilation.begin("whole")

    assert one.forward is not one.network
    assert all(torch.equal(before[name], value) for name, value in one.model.network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.generator.get_state(), drawn)
    assert all(parameter.grad is None for parameter in one.model.network.parameters())


@pytest.mark.parametrize("stop_at", [3, 7])
def test_a_compiled_run_that_was_stopped_goes_on_to_the_same_bytes(stop_at, make_material, fit, traced):
    chosen = make_material("text-classification", DROPOUT)
    undisturbed, _ = fit(chosen, "undisturbed", compile=True)
    assert fit(chosen, "stopped", stop_at, compile=True) == (None, [])
    again, _ = fit(chosen, "stopped", compile=True)

    weights = [(run.model / "model.safetensors").read_bytes() for run in (undisturbed, again)]
    assert weights[0] == weights[1]


def test_what_was_compiled_can_be_left(make_material, cache, traced):
    one = engine(make_material("text-classification", BERT), cache)
    one.compilation.begin("regional")
    layers = list(one.network.bert.encoder.layer)
    assert all(layer._compiled_call_impl is not None for layer in layers)
    assert one.compilation.recompiles == 0

    one.compilation.stop()

    assert all(layer._compiled_call_impl is None for layer in layers)
    assert one.forward is one.network
    assert one.compilation.recompiles is None


def test_without_a_compiler_it_is_said_what_to_do(make_material, fit, monkeypatch):
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/nowhere/c++",))
    with (
        fresh_cache(),
        pytest.raises(TrainingError, match=r"training\.compile.*cannot be compiled.*C\+\+ compiler"),
    ):
        fit(make_material("text-classification", BERT), "run", compile=True)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("kind", "network", "fields"),
    [
        ("text-classification", BERT, {}),
        ("text-preference", BERT, {}),
        # Texts of two windows are there.
        ("token-classification", BERT, {"max_length": 16}),
        ("text-generation", GPT2, {"batch_size": 2, "max_length": 32}),
    ],
)
@pytest.mark.parametrize("parts", [1, 2])
def test_all_batches_of_packed_texts_can_have_one_shape(kind, network, fields, parts, make_material, cache):
    one = engine(make_material(kind, network), cache, gradient_accumulation=parts, **fields)
    lay_out_alike(one)

    shapes = set()
    for epoch in range(one.config.epochs):
        for positions in one.data.epoch(one.config.batch_size, one.config.seed, epoch):
            for own in torch.tensor(positions).tensor_split(parts):
                batch = one.data.batch(own.tolist())
                inputs = one.task.training_inputs(batch)
                shapes.add(
                    (
                        inputs["input_ids"].shape,
                        *(inputs["segments"][name].shape for name in ("bounds", "starts")),
                    )
                )
                assert inputs["segments"]["runs"] == []
    assert len(shapes) == 1


def test_texts_that_cannot_be_packed_have_many_shapes(make_material, cache):
    one = engine(make_material("text-classification", DEBERTA), cache)
    assert not one.compilation.static
    lay_out_alike(one)
    assert one.model.packed_shape is None


def test_layers_are_found_that_stand_one_behind_the_other():
    linear = torch.nn.Linear
    inner = torch.nn.ModuleList([torch.nn.Sequential(torch.nn.ModuleList([linear(1, 1)])) for _ in range(3)])
    network = torch.nn.ModuleDict(
        {"layers": inner, "head": torch.nn.ModuleList([linear(1, 1)]), "more": linear(1, 1)}
    )
    assert repeated_layers(network) == list(inner)
    assert repeated_layers(linear(1, 1)) == []


def test_an_engine_and_what_it_holds_go_with_the_last_name_of_it(make_material, cache):
    """In a circle they would stay until some later collection, and prepared data could not be dropped."""
    import weakref

    one = engine(make_material("text-classification", BERT), cache)
    left = weakref.ref(one), weakref.ref(one.data)
    del one
    assert [each() for each in left] == [None, None]
