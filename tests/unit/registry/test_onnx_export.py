"""ONNX files answer as the models they were made of, by onnxruntime; what cannot be written is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import onnx
import onnxruntime
import pytest
import torch

from goldloop.errors import ModelError
from goldloop.inference import Predictor
from goldloop.registry import onnx_export
from goldloop.tasks import tasks

KINDS = ("text-classification", "image-classification")


def _predictor(kind: str) -> tuple[Predictor, list[bytes | str]]:
    torch.manual_seed(0)
    task = tasks.create(tasks.get(kind).example_config())
    contents = [example.content or example.item.text for example in task.examples()]
    model = task.example_model()
    with torch.no_grad():
        # Fresh heads say nearly 0 to everything, which any file would.
        for value in model.network.parameters():
            value.mul_(3)
    return Predictor(task, model, {}, device="cpu"), contents


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_answers_as_the_model_does(kind: str, tmp_path: Path):
    predictor, contents = _predictor(kind)

    check = onnx_export.export(predictor, contents[:8], tmp_path, "mail/1")

    assert check.difference <= check.tolerance == 1e-4
    onnx.checker.check_model(tmp_path / "model.onnx")
    facts = json.loads((tmp_path / "onnx.json").read_text())
    assert facts["classes"] == list(predictor.task.classes)
    assert facts["check"]["items"] == 8
    # Other items than it was checked with, in a batch of another size.
    others = contents[8:13]
    rows = predictor.task.prepare(predictor.model, [{predictor.task.modality: each} for each in others])
    batch = predictor.task.normalize(predictor.task.batch(rows, predictor.model), predictor.model)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert {each.name for each in session.get_inputs()} == set(facts["inputs"])
    given = {name: tensor.numpy() for name, tensor in batch.inputs.items()}
    (logits,) = session.run([facts["output"]], given)
    assert numpy.ptp(logits) > 0.01
    said = [predictor.task.classes[best] for best in logits.argmax(1)]
    assert said == [prediction.target for prediction in predictor.predict(others)]


def test_answers_that_are_no_classes_are_refused(tmp_path: Path):
    predictor, contents = _predictor("object-detection")
    with pytest.raises(ModelError, match="answers are classes") as refused:
        onnx_export.export(predictor, contents[:2], tmp_path, "cells/1")
    assert "folder" in refused.value.remedy
    assert not list(tmp_path.iterdir())


def test_a_network_that_onnx_has_no_word_for_is_refused(tmp_path: Path, monkeypatch):
    predictor, contents = _predictor("text-classification")
    forward = predictor.model.network.forward

    def odd(**inputs):
        # What comes next depends on what is computed.
        found = forward(**inputs)
        if found.logits.sum().item() > 0:
            return found
        return found

    monkeypatch.setattr(predictor.model.network, "forward", odd)
    with pytest.raises(ModelError, match="cannot be written as ONNX"):
        onnx_export.export(predictor, contents[:4], tmp_path, "mail/1")


def test_a_file_that_answers_otherwise_is_refused(tmp_path: Path, monkeypatch):
    predictor, contents = _predictor("text-classification")
    forward = predictor.model.network.forward

    def two_faced(**inputs):
        found = forward(**inputs)
        if torch.compiler.is_exporting():
            found.logits = found.logits + 0.01
        return found

    monkeypatch.setattr(predictor.model.network, "forward", two_faced)
    with pytest.raises(ModelError, match="answers otherwise"):
        onnx_export.export(predictor, contents[:4], tmp_path, "mail/1")


def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch):
    predictor, contents = _predictor("text-classification")
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(ModelError, match=r"goldloop\[onnx\]"):
        onnx_export.export(predictor, contents[:2], tmp_path, "mail/1")
