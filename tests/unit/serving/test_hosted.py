"""Which model answers, how it changes under load, and that answers are those of `Predictor`."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from goldloop.errors import ModelError
from goldloop.serving.hosted import Candidate, Models, usable_cores
from goldloop.serving.metrics import Metrics
from goldloop.tasks import tasks

TEXTS = [f"{word} " * length for word in ("billing", "delivery", "other") for length in (1, 3, 9, 30)]


@pytest.mark.parametrize("kind", tasks.names())
def test_answers_are_those_of_the_predictor_whatever_else_is_asked(kind, serving, predictor_of):
    predictor = predictor_of(kind)
    is_text = predictor.task.modality == "text"
    examples = predictor.task.examples()[:6]
    contents = [example.item.text if is_text else example.content for example in examples]
    expected = predictor.predict(contents)

    def ask(content):
        body = {"json": {"text": content}} if is_text else {"files": {"image": content}}
        return client.post("/predict", **body).json()["predictions"][0]

    with serving(kind, max_batch=4, max_wait_milliseconds=20) as client, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, contents))
    for answer, wanted in zip(answers, expected, strict=True):
        assert answer["error"] is None
        assert answer["confidence"] == pytest.approx(wanted.confidence, abs=1e-4)
        assert answer["scores"] == pytest.approx(wanted.scores, abs=1e-4)
        if not isinstance(wanted.target, float | list | dict):
            assert answer["prediction"] == wanted.target


def test_another_champion_answers_without_a_request_that_fails(serving, candidate):
    now = [candidate("text-classification", "pets/1", seed=1)]
    with serving(lambda: now, max_wait_milliseconds=1) as client:
        alone = {"pets/1": client.post("/predict", json={"text": TEXTS[0]}).json()["predictions"]}
        answers, stop = [], threading.Event()

        def load():
            while not stop.is_set():
                response = client.post("/predict", json={"text": TEXTS[0]})
                answers.append((response.status_code, response.json()))

        with ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(load) for _ in range(4)]
            for number in range(2, 5):
                now = [candidate("text-classification", f"pets/{number}", seed=number)]
                assert client.models.refresh() == [f"pets/{number}"]
                while answers[-1][1]["model"] != f"pets/{number}":
                    time.sleep(0.01)
            stop.set()
            for each in clients:
                each.result(60)
        alone["pets/4"] = client.post("/predict", json={"text": TEXTS[0]}).json()["predictions"]
        figures = client.get("/metrics").text
    assert {status for status, _ in answers} == {200}
    assert {answer["model"] for _, answer in answers} == {"pets/1", "pets/2", "pets/3", "pets/4"}
    for _, answer in answers:
        if answer["model"] in alone:
            (said,), (wanted,) = answer["predictions"], alone[answer["model"]]
            assert said["scores"] == pytest.approx(wanted["scores"], abs=1e-5)
    assert alone["pets/1"][0]["scores"] != alone["pets/4"][0]["scores"]
    assert 'goldloop_swaps_total{name="pets",outcome="done"} 4.0' in figures
    assert 'model="pets/1"' not in figures


def test_a_champion_that_cannot_be_loaded_leaves_the_one_before(serving, candidate):
    def broken(device):
        raise ModelError("the model's folder is gone")

    now = [candidate("text-classification")]
    with serving(lambda: now) as client:
        now = [Candidate("pets", "pets/2", broken)]
        assert client.models.refresh() == []
        assert client.post("/predict", json={"text": "a"}).json()["model"] == "pets/1"
        assert 'outcome="failed"} 1.0' in client.get("/metrics").text


def test_nothing_to_answer_with_is_an_error_at_once():
    def broken(device):
        raise ModelError("the model's folder is gone")

    models = Models(lambda: [Candidate("pets", "pets/2", broken)], Metrics(), device="cpu")
    with pytest.raises(ModelError, match="gone"):
        models.refresh()
    models.close()


def test_many_models_answer_under_their_names(serving, candidate):
    both = [candidate("text-classification", "mail/3"), candidate("image-classification", "pets/1")]
    with serving(both) as client:
        assert client.get("/ready").json()["models"] == ["mail/3", "pets/1"]
        mail = client.post("/models/mail/predict", json={"text": "billing"}).json()
        which = client.post("/predict", json={"text": "billing"})
        unknown = client.post("/models/cars/predict", json={"text": "billing"})
        wrong = client.post("/models/pets/predict", json={"text": "billing"})
        assert [each["model"] for each in client.get("/models").json()] == ["mail/3", "pets/1"]
    assert mail["model"] == "mail/3"
    assert (which.status_code, unknown.status_code, wrong.status_code) == (404, 404, 422)
    assert "/models/mail/predict, /models/pets/predict" in which.json()["expected"]


def test_a_model_that_is_no_champion_any_more_answers_no_more(serving, candidate):
    now = [candidate("text-classification", "mail/3"), candidate("text-classification", "pets/1")]
    with serving(lambda: now) as client:
        now = now[:1]
        client.models.refresh()
        assert client.post("/models/pets/predict", json={"text": "a"}).status_code == 404
        assert client.post("/predict", json={"text": "a"}).json()["model"] == "mail/3"


def test_cores_are_counted_as_this_process_may_use_them():
    assert usable_cores() >= 1


def test_readiness_ends_before_the_server_does(serving):
    with serving("text-classification") as client:
        client.app.state.draining = True
        draining = client.get("/ready")
        assert draining.status_code == 503
        assert "retry-after" in draining.headers
        assert client.get("/health").status_code == 200
        assert client.post("/predict", json={"text": "a"}).status_code == 200
