from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from goldloop.errors import GoldloopError, ItemError, ModelError
from goldloop.inference import Predictor, answer, save_model
from goldloop.tasks import tasks

KINDS = ["image-classification", "text-classification"]
TASKS = {kind: tasks.create(tasks.get(kind).example_config()) for kind in KINDS}


def contents(task) -> list[bytes | str]:
    return [example.content or example.item.text for example in task.examples()]


@pytest.fixture(scope="module", params=KINDS)
def saved(request, tmp_path_factory):
    """A task and the folder of a model of it, which tests only read."""
    torch.manual_seed(0)
    task = TASKS[request.param]
    folder = tmp_path_factory.mktemp(request.param) / "model"
    save_model(folder, task, task.example_model(), {"run": "abc", "version": "tiny@1"})
    return task, folder


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved[1], tmp_path / "copy"))


def test_a_saved_model_answers_as_before(tmp_path):
    for kind, task in TASKS.items():
        model = task.example_model()
        before = Predictor(task, model, {}).predict(contents(task))
        save_model(tmp_path / kind, task, model, {"run": "abc"})
        loaded = Predictor.load(tmp_path / kind)
        assert loaded.predict(contents(task)) == before
        assert loaded.facts == {"run": "abc"}
        assert loaded.task.classes == task.classes
        assert loaded.model.settings == model.settings


def test_order_and_answers_do_not_depend_on_the_batch_size(saved):
    task, folder = saved
    predictor = Predictor.load(folder)
    one_by_one = predictor.predict(contents(task), batch_size=1)
    for size in (4, 7, 100):
        together = predictor.predict(contents(task), batch_size=size)
        assert [each.target for each in together] == [each.target for each in one_by_one]
        assert [each.confidence for each in together] == pytest.approx(
            [each.confidence for each in one_by_one], abs=1e-5
        )


def test_the_order_of_questions_is_the_order_of_answers(saved):
    task, folder = saved
    predictor = Predictor.load(folder)
    asked = contents(task)
    forward, backward = predictor.predict(asked), predictor.predict(asked[::-1])
    assert [each.confidence for each in forward] == pytest.approx(
        [each.confidence for each in backward[::-1]], abs=1e-5
    )


def test_threads_get_the_same_answers(saved):
    task, folder = saved
    predictor = Predictor.load(folder)
    expected = [each.target for each in predictor.predict(contents(task))]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: predictor.predict(contents(task)), range(24)))
    assert all([each.target for each in answers] == expected for answers in found)


def test_what_cannot_be_read_fails_alone(saved):
    task, folder = saved
    wrong: bytes | str = b"no image" if task.modality == "image" else b"bytes are no text"
    asked = contents(task)[:3]
    results = Predictor.load(folder).predict_each([asked[0], wrong, asked[1], 5, asked[2]])
    assert [isinstance(result, GoldloopError) for result in results] == [False, True, False, True, False]
    assert "item 1" in str(results[1])
    good = Predictor.load(folder).predict(asked)
    assert [results[place].target for place in (0, 2, 4)] == [each.target for each in good]


def test_predict_names_the_place_of_what_it_cannot_read(saved):
    task, folder = saved
    with pytest.raises(ItemError, match="item 33"):
        Predictor.load(folder).predict([*contents(task) * 3, None][-34:], batch_size=1)


def test_nothing_asked_is_nothing_answered(saved):
    assert Predictor.load(saved[1]).predict([]) == []


def test_training_scores_by_the_path_that_answers(saved):
    task, folder = saved
    predictor = Predictor.load(folder)
    rows = [{task.modality: content} for content in contents(task)]
    batch = task.batch(task.prepare(predictor.model, rows), predictor.model)
    direct = answer(task, predictor.model, batch, predictor.device)
    asked = predictor.predict(contents(task), batch_size=len(rows))
    assert [each.target for each in direct] == [each.target for each in asked]
    assert all(
        not parameter.requires_grad or parameter.grad is None
        for parameter in predictor.model.network.parameters()
    )


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no model of goldloop's"):
        Predictor.load(tmp_path)
    (tmp_path / "goldloop.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        Predictor.load(tmp_path)
    (tmp_path / "goldloop.json").write_text("[]")
    with pytest.raises(ModelError, match="another form"):
        Predictor.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "no-such-task"}, "no-such-task"),
        ({"classes": ["a"]}, "at least 2 classes"),
        ({"classes": ["x", "y", "z"]}, "other classes"),
    ],
)
def test_a_task_that_was_tampered_with_is_refused(copy, change, message):
    file = copy / "goldloop.json"
    content = json.loads(file.read_text())
    content["task"].update(change)
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=message):
        Predictor.load(copy)


def test_a_changed_or_missing_file_is_refused(copy):
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match="not what was saved"):
        Predictor.load(copy)
    weights.unlink()
    with pytest.raises(ModelError, match="missing"):
        Predictor.load(copy)


def test_files_of_others_beside_the_model_do_no_harm(copy):
    (copy / "README.md").write_text("a card")
    assert Predictor.load(copy)


def test_a_model_has_safetensors_and_no_pickle_and_no_path(saved, tmp_path):
    found = {path.suffix for path in saved[1].iterdir()}
    assert ".safetensors" in found
    assert found <= {".safetensors", ".json", ".txt"}
    assert all(str(saved[1].parent) not in path.read_text() for path in saved[1].glob("*.json"))


def test_saving_replaces_the_whole_and_leaves_nothing_beside(tmp_path):
    task = TASKS["image-classification"]
    save_model(tmp_path / "model", task, task.example_model(), {"run": "one"})
    (tmp_path / "model" / "old").touch()
    save_model(tmp_path / "model", task, task.example_model(), {"run": "two"})
    assert Predictor.load(tmp_path / "model").facts == {"run": "two"}
    assert not (tmp_path / "model" / "old").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_training_and_inference_need_neither_label_studio_nor_mlflow():
    code = (
        "import sys\n"
        "for name in ('label_studio_sdk', 'mlflow'):\n    sys.modules[name] = None\n"
        "import goldloop.inference, goldloop.training.run"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
