from __future__ import annotations

import io
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from goldloop.errors import ServingError
from goldloop.records import content_key
from goldloop.serving import app
from goldloop.serving.listen import listen


@pytest.fixture(scope="module")
def images(serving) -> Iterator[TestClient]:
    with serving("image-classification") as client:
        yield client


@pytest.fixture(scope="module")
def texts(serving) -> Iterator[TestClient]:
    with serving("text-classification") as client:
        yield client


def _png(red: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (red, 10, 10)).save(buffer, format="PNG")
    return buffer.getvalue()


def test_memory_that_was_freed_is_given_back_now_and_then(serving, monkeypatch):
    given_back = threading.Event()
    monkeypatch.setattr(app, "_TIDY_SECONDS", 0.01)
    monkeypatch.setattr(app, "return_freed_memory", given_back.set)
    with serving("text-classification"):
        assert given_back.wait(30)


def test_one_image_is_answered(images):
    answer = images.post("/predict", files={"image": ("a.png", _png(9))}).json()
    assert (answer["model"], answer["run"], answer["version"]) == ("pets/1", "abc", "pets@123")
    (said,) = answer["predictions"]
    assert said["prediction"] in ("circle", "square", "triangle")
    assert sum(said["scores"].values()) == pytest.approx(1, abs=1e-4)
    assert said["error"] is None
    assert said["key"] == content_key(_png(9))


def test_many_images_are_answered_in_order(images):
    pictures = [_png(shade) for shade in range(0, 250, 50)]
    together = images.post("/predict", files=[("image", ("x.png", each)) for each in pictures]).json()
    alone = [images.post("/predict", files={"image": each}).json()["predictions"][0] for each in pictures]
    assert len(together["predictions"]) == len(pictures)
    for one, other in zip(together["predictions"], alone, strict=True):
        assert one["prediction"] == other["prediction"]
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-5)


def test_an_image_that_cannot_be_read_fails_alone(images):
    files = [("image", ("good.png", _png(1))), ("image", ("bad.png", b"not an image"))]
    good, bad = images.post("/predict", files=files).json()["predictions"]
    assert good["error"] is None
    assert bad["prediction"] is None
    assert bad["error"]


def test_texts_are_answered_as_json_and_as_a_form(texts):
    one = texts.post("/predict", json={"text": "hello"}).json()["predictions"]
    two = texts.post("/predict", json={"texts": ["hello", "\N{PILE OF POO}\r\n"]}).json()["predictions"]
    form = texts.post("/predict", data={"text": "hello"}).json()["predictions"]
    file = texts.post("/predict", files={"file": "hello".encode("utf-8-sig")}).json()["predictions"]
    assert (len(one), len(two)) == (1, 2)
    assert one[0]["key"] == content_key(b"hello")
    assert one[0]["prediction"] == two[0]["prediction"] == form[0]["prediction"] == file[0]["prediction"]


@pytest.mark.parametrize(
    "request_",
    [
        {"json": {"txt": "a"}},
        {"json": {"texts": []}},
        {"json": {"texts": ["a", 3]}},
        {"content": b'{"text": "\\ud800"}', "headers": {"Content-Type": "application/json"}},
        {"json": ["a"]},
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
        {"content": b"a", "headers": {"Content-Type": "text/plain"}},
        {"files": {"file": b"\xff\xfe"}},
    ],
)
def test_what_is_no_request_is_refused_with_what_was_expected(texts, request_):
    response = texts.post("/predict", **request_)
    assert response.status_code == 422
    told = response.json()
    assert told["problem"] in told["error"]
    assert {"where", "found", "expected", "remedy"} <= told.keys()
    assert told["request"] == response.headers["x-request-id"]


def test_a_text_for_an_image_model_is_refused(images):
    response = images.post("/predict", json={"text": "a"})
    assert response.status_code == 422
    assert "curl -F" in response.json()["error"]


def test_a_request_that_is_too_large_is_refused_whether_it_says_so_or_not(serving):
    def pieces():
        yield b'{"text": "'
        for _ in range(12):
            yield b"x" * 100_000
        yield b'"}'

    with serving("text-classification", max_request_megabytes=1) as client:
        told = client.post("/predict", json={"text": "x" * 1_100_000})
        untold = client.post("/predict", content=pieces(), headers={"Content-Type": "application/json"})
        many = client.post("/predict", json={"texts": ["x"] * 1025})
    for response in (told, untold, many):
        assert response.status_code == 413
        assert response.json()["remedy"].startswith("Send fewer at a time")


def test_health_readiness_model_metrics_and_openapi(images):
    assert images.get("/health").json() == {"status": "UP"}
    assert images.get("/ready").json()["models"] == ["pets/1"]
    assert images.get("/model").json()["version"] == "pets@123"
    images.post("/predict", files={"image": _png(3)})
    figures = images.get("/metrics").text
    assert 'goldloop_items_total{model="pets",outcome="answered"}' in figures
    assert 'goldloop_requests_total{path="/predict",status="200"}' in figures
    assert 'goldloop_model_info{model="pets/1",name="pets"} 1.0' in figures
    document = images.get("/openapi.json").json()
    assert "multipart/form-data" in document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert images.get("/docs").status_code == 200


def test_requests_at_the_same_time_get_their_own_answers(texts):
    words = [f"word number {number}" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda word: texts.post("/predict", json={"text": word}).json(), words))
    alone = [texts.post("/predict", json={"text": word}).json() for word in words]
    for one, other in zip(answers, alone, strict=True):
        assert one["predictions"][0]["confidence"] == pytest.approx(
            other["predictions"][0]["confidence"], abs=1e-6
        )


def test_a_port_that_is_taken_is_a_clear_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServingError, match="--port"):
            listen(None, "127.0.0.1", port, lambda url: None)


def test_the_server_answers_over_the_wire_and_ends_on_sigterm():
    program = (
        "from fastapi import FastAPI\nfrom goldloop.serving.listen import listen\n"
        "app = FastAPI()\n"
        "@app.get('/health')\ndef health(): return {}\n"
        "listen(app, '127.0.0.1', 0, lambda url: print(url, flush=True))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        url = process.stdout.readline().strip()
        assert httpx.get(f"{url}/health", timeout=30, trust_env=False).status_code == 200
        process.terminate()
        assert process.wait(timeout=30) in (0, -15)
