"""Ids, keys, time-outs and errors of requests."""

from __future__ import annotations

import base64
import json
import stat
import threading
from pathlib import Path

import pytest

from goldloop.errors import ServingError
from goldloop.serving.keys import ApiKeys, key_in


def test_a_key_is_shown_once_and_kept_as_a_digest_only_its_holder_can_match(tmp_path: Path):
    keys = ApiKeys(tmp_path / "serving" / "api-keys.json")
    assert keys.known() == ()
    key = keys.new("label studio")
    other = keys.new("other")
    kept = keys.path.read_text()
    assert key not in kept
    assert key.removeprefix("goldloop-") not in kept
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    assert (keys.holder(key), keys.holder(other), keys.holder(key + "x")) == ("label studio", "other", None)
    with pytest.raises(ServingError, match="has a key already"):
        keys.new("other")
    # Another process's change is seen.
    ApiKeys(keys.path).remove("other")
    assert keys.holder(other) is None
    with pytest.raises(ServingError, match="no key has this name"):
        keys.remove("other")


def test_a_file_that_holds_no_keys_opens_nothing(tmp_path: Path):
    file = tmp_path / "keys.json"
    file.write_text('[{"name": "a"}]')
    with pytest.raises(ServingError, match="cannot be read"):
        ApiKeys(file).holder("a")


@pytest.mark.parametrize(
    ("authorization", "header", "key"),
    [
        ("Bearer abc", None, "abc"),
        ("bearer  abc ", None, "abc"),
        (f"Basic {base64.b64encode(b'user:a:b').decode()}", None, "a:b"),
        ("Basic !", None, None),
        ("Digest abc", None, None),
        (None, "abc", "abc"),
        (None, None, None),
    ],
)
def test_where_a_request_may_carry_its_key(authorization, header, key):
    assert key_in(authorization, header) == key


def test_with_keys_only_probes_are_answered_without_one(serving, tmp_path: Path):
    keys = ApiKeys(tmp_path / "keys.json")
    key = keys.new("someone")
    with serving("text-classification", keys=keys) as client:
        for path in ("/health", "/ready"):
            assert client.get(path).status_code == 200
        for path in ("/model", "/metrics", "/docs", "/label-studio/pets/health"):
            refused = client.get(path)
            assert refused.status_code == 401
            assert "Bearer" in refused.headers["www-authenticate"]
            assert client.get(path, headers={"X-API-Key": key}).status_code == 200
        wrong = client.post("/predict", json={"text": "a"}, headers={"Authorization": "Bearer no"})
        right = client.post("/predict", json={"text": "a"}, headers={"Authorization": f"Bearer {key}"})
        basic = client.post("/predict", json={"text": "a"}, auth=("goldloop", key))
    assert wrong.status_code == 401
    assert "opens nothing" in wrong.json()["problem"]
    assert right.json() == basic.json()


def test_a_request_keeps_the_id_that_it_brings_if_that_is_one(serving):
    with serving("text-classification") as client:
        given = client.get("/health", headers={"X-Request-ID": "trace-1.a"})
        forged = client.get("/health", headers={"X-Request-ID": "a b\x7f"})
        again = client.get("/health")
    assert given.headers["x-request-id"] == "trace-1.a"
    assert len(forged.headers["x-request-id"]) == len(again.headers["x-request-id"]) == 32
    assert forged.headers["x-request-id"] != again.headers["x-request-id"]


def test_a_request_that_takes_too_long_is_given_up(serving, monkeypatch):
    with serving("text-classification", timeout_seconds=0.2) as client:
        held, served = threading.Event(), client.models.find(None)
        answer = served.predictor.answer_prepared
        served.predictor.answer_prepared = lambda rows: held.wait(30) and answer(rows)
        late = client.post("/predict", json={"text": "a"})
        held.set()
        assert late.status_code == 503
        assert late.headers["retry-after"] == "1"
        assert client.post("/predict", json={"text": "a"}).status_code == 200


def test_a_fault_of_the_server_is_told_with_the_id_to_look_for(serving, caplog):
    with serving("text-classification") as client:
        client.models.find(None).predictor.facts = None
        failed = client.post("/predict", json={"text": "a"})
        assert client.get("/health").status_code == 200
    assert failed.status_code == 500
    assert failed.json()["request"] in caplog.text


def test_unknown_paths_are_told_like_all_errors_and_are_one_series(serving):
    with serving("text-classification") as client:
        missing = client.get("/nothing/here")
        wrong = client.get("/predict")
        figures = client.get("/metrics").text
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert {"error", "where", "found", "expected", "remedy", "request"} <= missing.json().keys()
    assert 'path="unknown",status="404"' in figures
    assert "nothing/here" not in figures


def test_errors_are_json_whatever_is_in_them(serving):
    with serving("text-classification") as client:
        refused = client.post("/predict", json={"texts": "\N{PILE OF POO}"})
    assert json.loads(refused.content)["expected"].startswith("JSON")
