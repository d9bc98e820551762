"""A registered model leaves as others read it: transformers, onnxruntime, the Hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from goldloop import loop, wiring
from goldloop.errors import ModelError
from goldloop.exporting import export_model
from goldloop.inference import Predictor
from goldloop.settings import Settings
from goldloop.workspace import Workspace


@pytest.fixture(scope="module")
def workspace(notes, tmp_path_factory) -> Workspace:
    """One with a registered model, `notes/1`."""
    folder = tmp_path_factory.mktemp("exporting")
    workspace = Workspace(folder / "state", Settings())
    recipe = notes.recipe(
        folder, notes.rows(40), dataset={"duplicates": {"texts": "off"}}, training={"epochs": 4}
    )
    loop.pull(recipe, workspace)
    loop.commit(recipe, workspace)
    loop.train(recipe, workspace)
    return workspace


def test_a_folder_is_loaded_by_transformers_alone_and_by_goldloop(workspace, tmp_path):
    import transformers

    done = export_model("notes/latest", tmp_path / "out", workspace=workspace)

    assert {"model.safetensors", "config.json", "README.md", "goldloop.json"} <= set(done.files)
    assert not list(tmp_path.glob(".out*"))
    card = (done.folder / "README.md").read_text()
    assert card.startswith("---\n")
    assert "pipeline_tag: text-classification" in card
    texts = ["soup and bread", "rain and wind, number 3"]
    network = transformers.AutoModelForSequenceClassification.from_pretrained(done.folder)
    words = transformers.AutoTokenizer.from_pretrained(done.folder)
    with torch.no_grad():
        logits = network(**words(texts, padding=True, return_tensors="pt")).logits
    predictions = Predictor.load(done.folder).predict(texts)
    assert [network.config.id2label[best] for best in logits.argmax(-1).tolist()] == [
        prediction.target for prediction in predictions
    ]
    # Again into the same folder, which is its own.
    assert export_model("notes/latest", tmp_path / "out", workspace=workspace) == done


def test_onnx_comes_with_all_but_the_weights(workspace, tmp_path):
    done = export_model("notes/latest", tmp_path / "out", form="onnx", workspace=workspace)
    assert done.check.difference <= 1e-4
    assert 2 <= done.check.items <= 8
    assert {"model.onnx", "onnx.json", "README.md", "tokenizer.json"} <= set(done.files)
    assert not {"model.safetensors", "goldloop.json"} & set(done.files)
    assert json.loads((done.folder / "onnx.json").read_text())["model"] == "notes/1"


def test_a_folder_of_somebody_else_stays_as_it_is(workspace, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ModelError, match="holds something else"):
        export_model("notes/latest", tmp_path, workspace=workspace)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("repository", "said"),
    [("team/notes", "HF_HUB_OFFLINE"), ("notes", "USER/NAME")],
    ids=["offline", "name"],
)
def test_what_cannot_be_sent_is_refused_before_anything_is_written(
    workspace, tmp_path, monkeypatch, repository, said
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=said):
        export_model("notes/latest", tmp_path / "out", push=repository, workspace=workspace)
    assert not list(tmp_path.iterdir())


def test_a_hub_that_refuses_leaves_the_folder(workspace, tmp_path, monkeypatch):
    from huggingface_hub import HfApi

    def refuse(self, *args, **kwargs):
        raise OSError("401 Unauthorized")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "create_repo", refuse)
    with pytest.raises(ModelError, match="does not take the model"):
        export_model("notes/latest", tmp_path / "out", push="team/notes", workspace=workspace)
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_a_promoted_model_takes_its_card_along(workspace, tmp_path):
    loop.promote("notes/latest", workspace=workspace)
    source = wiring.registry(workspace).download(wiring.registry(workspace).find("notes"))
    done = export_model("notes", tmp_path / "out", workspace=workspace)
    assert (done.folder / "README.md").read_bytes() == (Path(source) / "README.md").read_bytes()
