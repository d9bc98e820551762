"""Label Studio's ML backend protocol, as its server speaks it, for every task type."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pydantic import SecretStr

from goldloop.labeling.access import Access
from goldloop.serving.keys import ApiKeys
from goldloop.tasks import tasks

TOKEN = "0" * 40


def _ask(client, data, *, number=7, path="/label-studio/pets/predict", config=None, context=None):
    body = {
        "tasks": [{"id": number, "data": each, "project": 1} for each in data],
        "project": "1.1700000000",
        "label_config": config,
        "params": {"login": None, "password": None, "context": context},
    }
    return client.post(path, json=body)


def _inline(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


@pytest.fixture
def label_studio() -> Iterator[tuple[Access, dict[str, bytes], list[tuple[str, str | None]]]]:
    """A server that gives media to who brings its token; what it was asked is noted."""
    media: dict[str, bytes] = {}
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            known = self.path in media and self.headers.get("Authorization") == f"Token {TOKEN}"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(media[self.path] if known else b"")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    yield Access(url, SecretStr(TOKEN), embedded=False), media, asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", tasks.names())
def test_every_task_type_is_answered_in_a_form_that_its_own_decoder_reads(kind, serving):
    with serving(kind) as client:
        task = client.models.find("pets").predictor.task
        examples = task.examples()[:3]
        addresses = [_inline(each.content) if each.content else None for each in examples]
        data = [task.task_data(*pair) for pair in zip((e.item for e in examples), addresses, strict=True)]
        answer = _ask(client, data, config=task.label_config()).json()
    assert len(answer["results"]) == len(examples)
    assert "errors" not in answer
    for example, result in zip(examples, answer["results"], strict=True):
        assert result["model_version"] == "pets/1"
        assert 0 <= result["score"] <= 1
        if result["result"]:
            task.decode(result["result"], example.item)


def test_health_setup_and_versions_name_the_model_at_its_name_and_at_the_root(serving):
    with serving("text-classification") as client:
        for prefix in ("", "/label-studio/pets"):
            assert client.get(f"{prefix}/health").json()["status"] == "UP"
            setup = client.post(f"{prefix}/setup", json={"project": "1.1", "schema": "<View/>"})
            assert setup.json() == {"model_version": "pets/1"}
            assert client.request("GET", f"{prefix}/versions", json={}).json() == {"versions": ["pets/1"]}
        at_root = _ask(client, [{"text": "billing"}], path="/predict").json()
        own_form = client.post("/predict", json={"text": "billing"}).json()
        unknown = client.post("/label-studio/cars/setup", json={})
    assert at_root["results"][0]["result"][0]["value"]["choices"] == [
        own_form["predictions"][0]["prediction"]
    ]
    assert unknown.status_code == 404


def test_names_of_another_projects_interface_are_kept(serving):
    config = (
        '<View><Text name="mail" value="$body"/>'
        '<Choices name="topic" toName="mail"><Choice value="billing"/></Choices></View>'
    )
    with serving("text-classification") as client:
        (result,) = _ask(client, [{"body": "billing", "subject": "b"}], config=config).json()["results"]
    assert (result["result"][0]["from_name"], result["result"][0]["to_name"]) == ("topic", "mail")


def test_a_task_that_cannot_be_read_has_no_prediction_and_an_editor_gets_an_empty_one(serving):
    with serving("text-classification") as client:
        batch = _ask(client, [{"text": "a"}, {"other": "b"}, {"text": "c"}]).json()
        editor = _ask(client, [{"other": "b"}], context={}).json()
        bare = client.post("/label-studio/pets/predict", json={"tasks": "all"})
    assert [isinstance(each, dict) for each in batch["results"]] == [True, False, True]
    assert batch["results"][1] == []
    assert "data.text" in batch["errors"][0]["error"]
    assert editor["results"] == [{"result": [], "score": 0.0, "model_version": "pets/1"}]
    assert bare.status_code == 422


def test_an_image_is_read_from_wherever_its_address_leads(serving, label_studio):
    access, media, asked = label_studio
    bucket = "s3://bucket/a b.png"
    resolved = f"/tasks/7/resolve/?fileuri={base64.urlsafe_b64encode(bucket.encode()).decode()}"
    own = {"f" * 64: b""}
    with serving("image-classification", own=own.get, access=lambda: access) as client:
        content = client.models.find(None).predictor.task.examples()[0].content
        own["f" * 64] = content
        media |= {"/data/local-files/?d=x%2Fy.png": content, "/data/upload/1/z.png": content}
        media |= {resolved: content, "/data/big.png": b"\x89PNG" + bytes(3_000_000)}
        readable = [
            {"image": _inline(content)},
            {"image": "/data/local-files/?d=x%2Fy.png"},
            {"image": "data/upload/1/z.png"},
            {"image": f"{access.url}/data/upload/1/z.png"},
            {"image": bucket},
            {"image": "gone", "key": "f" * 64},
        ]
        answer = _ask(client, readable).json()
        refused = [
            {"image": "http://127.0.0.1:1/secret"},
            {"image": "http://169.254.169.254/latest/meta-data"},
            {"image": "file:///etc/passwd"},
            {"image": "ftp://host/a.png"},
            {"image": "/data/missing.png"},
            {"image": "data:image/png;base64,!"},
            {"image": "/data/big.png"},
            {"image": 3},
        ]
        failed = _ask(client, refused).json()
    assert "errors" not in answer
    regions = [each["result"][0]["value"] for each in answer["results"]]
    assert regions == [regions[0]] * len(readable)
    assert len(failed["errors"]) == len(refused)
    assert {authorization for _, authorization in asked} == {f"Token {TOKEN}"}


def test_without_a_label_studio_only_what_needs_none_is_read(serving):
    with serving("image-classification") as client:
        content = client.models.find(None).predictor.task.examples()[0].content
        answer = _ask(client, [{"image": _inline(content)}, {"image": "/data/upload/1/z.png"}]).json()
    assert isinstance(answer["results"][0], dict)
    assert "LABEL_STUDIO_URL" in answer["errors"][0]["error"]


def test_a_webhook_is_a_hint_that_is_written_down_before_it_is_answered(serving, tmp_path: Path):
    hints: list[tuple[str, str]] = []
    keys = ApiKeys(tmp_path / "keys.json")
    with serving("text-classification", hint=lambda *hint: hints.append(hint), keys=keys) as client:
        for action in ("ANNOTATION_CREATED", "ANNOTATIONS_DELETED", "START_TRAINING", "PROJECT_UPDATED"):
            answer = client.post("/label-studio/pets/webhook", json={"action": action, "project": {"id": 1}})
            assert answer.status_code == 201
        assert hints == [("collect", "pets"), ("collect", "pets"), ("run", "pets")]
        key = keys.new("label studio")
        hints.clear()
        # Label Studio sends its webhooks without a key, and asks for training with one.
        hook = client.post("/label-studio/pets/webhook", json={"action": "ANNOTATION_UPDATED"})
        forged = client.post("/label-studio/pets/webhook", json={"action": "START_TRAINING"})
        asked = client.post("/webhook", json={"action": "START_TRAINING"}, auth=("goldloop", key))
        figures = client.get("/metrics", auth=("goldloop", key)).text
    assert (hook.status_code, forged.status_code, asked.status_code) == (201, 401, 201)
    assert hints == [("collect", "pets"), ("run", "pets")]
    assert 'goldloop_webhooks_total{action="other",name="pets"} 1.0' in figures


def test_no_address_in_a_task_is_told_with_its_secrets(serving, caplog):
    address = "ftp://user:secret@host/a.png?token=secret"
    with serving("image-classification") as client:
        answer = _ask(client, [{"image": address}])
    assert "secret" not in answer.text
    assert "secret" not in caplog.text
    assert json.loads(answer.text)["errors"]
