"""What is trained of a vocabulary is what the texts have of it, and nothing is learned otherwise for that."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from goldloop.inference import Predictor
from goldloop.training import vocabulary
from goldloop.training.data import PreparedSplit
from goldloop.training.device import make_accelerator
from goldloop.training.engine import Engine
from goldloop.training.run import train

BERT = {
    "model_type": "bert", "vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 32, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
GPT2 = {
    "model_type": "gpt2", "vocab_size": 320, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 160,
}  # fmt: skip
VIT = {
    "model_type": "vit", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "image_size": 16, "patch_size": 8,
}  # fmt: skip
WORDS = "bert.embeddings.word_embeddings.weight"


@pytest.fixture
def everywhere(monkeypatch):
    """However little it saves."""
    monkeypatch.setattr(vocabulary, "_LEAST_SAVED", 1)


def engine(chosen, cache, **fields) -> Engine:
    config = chosen.config(**fields)
    texts = chosen.task.training_texts(chosen.rows)
    torch.manual_seed(0)
    model = chosen.task.model(config.checkpoint_argument(), texts=texts, settings=config.model_settings())
    data = PreparedSplit.prepare(chosen.task, model, chosen.rows, cache)
    return Engine(chosen.task, model, config, data, make_accelerator(config))


def trained(one):
    losses = [step.loss.item() for step in one.steps()]
    weights = {name: value.clone() for name, value in one.network.state_dict().items()}
    return losses, weights if one.vocabulary is None else one.vocabulary.whole(weights)


@pytest.mark.parametrize("kind", ["text-classification", "token-classification"])
def test_it_learns_the_same_as_with_the_whole_vocabulary(kind, make_material, cache, monkeypatch):
    chosen = make_material(kind, BERT)
    fields = {"epochs": 3, "weight_decay": 0.0}
    one = engine(chosen, cache, **fields)
    assert one.vocabulary is None, "so few tokens are not worth it"
    start = one.network.state_dict()[WORDS].clone()
    losses, weights = trained(one)

    monkeypatch.setattr(vocabulary, "_LEAST_SAVED", 1)
    other = engine(chosen, cache, **fields)
    assert other.vocabulary is not None
    used = len(other.network.state_dict()[WORDS])
    assert used < len(start)
    found, same = trained(other)

    assert found == pytest.approx(losses, rel=1e-5)
    assert same.keys() == weights.keys()
    for name, value in weights.items():
        # A key's bias has no gradient but rounding (softmax cancels it), which AdamW makes large.
        if not name.endswith("key.bias"):
            torch.testing.assert_close(same[name], value, rtol=1e-4, atol=1e-5)
    assert (same[WORDS] != start).any(1).sum() <= used


def test_tokens_that_were_not_trained_are_read_as_the_checkpoint_has_them(make_material, cache, everywhere):
    one = engine(make_material("text-classification", BERT), cache)
    whole = one.vocabulary.whole(one.network.state_dict())[WORDS]
    everything = torch.arange(len(whole))[None]

    with torch.no_grad():
        assert torch.equal(one.network.bert.embeddings.word_embeddings(everything)[0], whole)
    ids = torch.tensor(one.data.rows([0])[0]["input_ids"])
    assert torch.equal(one.network.bert.embeddings.word_embeddings(ids), whole[ids])
    with pytest.raises(IndexError):
        one.network.bert.embeddings.word_embeddings(everything)


def test_a_run_leaves_an_ordinary_model_behind(make_material, tmp_path, cache, everywhere):
    chosen = make_material("text-classification", BERT)
    half = {"train": chosen.split(0, 9), "validation": chosen.rows}
    config = chosen.config(epochs=30, learning_rate=1e-2)

    run = train(chosen.task, config, half, tmp_path / "run", cache, {})

    saved = load_file(run.model / "model.safetensors")[WORDS]
    predictor = Predictor.load(run.model, "cpu")
    assert len(saved) == predictor.model.network.config.vocab_size
    # The texts that it was scored on have tokens that it was not trained on.
    predicted = [one.target for one in predictor.predict(list(chosen.rows["text"]))]
    expected = [chosen.task.from_row(row) for row in chosen.rows]
    right = sum(one == other for one, other in zip(predicted, expected, strict=True))
    assert right / len(expected) == pytest.approx(run.value)


class Stop(Exception):
    pass


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(make_material, tmp_path, cache, everywhere):
    chosen = make_material("text-classification", BERT)
    config = chosen.config(epochs=6)
    heard = []

    def stop(event):
        heard.append(event)
        if len(heard) == 6:
            raise Stop

    def fit(name, on_event=lambda event: None):
        folder = tmp_path / name
        return train(
            chosen.task, config, chosen.splits(), folder, cache, {}, on_event, checkpoint_seconds=0.0
        )

    undisturbed = fit("undisturbed")
    with pytest.raises(Stop):
        fit("stopped", stop)
    again = fit("stopped")
    weights = [(run.model / "model.safetensors").read_bytes() for run in (undisturbed, again)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("kind", "network"),
    [("text-generation", GPT2), ("image-classification", VIT)],
    ids=["the same rows write", "images"],
)
def test_other_networks_stay_as_they_are(kind, network, make_material, cache, everywhere):
    assert engine(make_material(kind, network), cache).vocabulary is None


def test_a_frozen_vocabulary_stays_as_it_is(make_material, cache, everywhere):
    chosen = make_material("text-classification", BERT)
    one = engine(chosen, cache)
    two = engine(chosen, cache)
    two.model.network.requires_grad_(False)
    assert one.vocabulary is not None
    assert vocabulary.compacted(two.model, two.data) is None
