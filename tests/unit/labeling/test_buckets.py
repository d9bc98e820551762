"""What Label Studio is told of the media proxy, and when."""

from __future__ import annotations

import json

import httpx
import pytest
from pydantic import SecretStr

from goldloop.errors import LabelStudioError
from goldloop.labeling.buckets import Bucket
from goldloop.labeling.client import LabelStudioClient
from goldloop.labeling.values import Project

URL = "http://label-studio.test"
PROJECT = Project(id=7, title="seven", label_config="<View/>", model_version=None, address="a")
BUCKET = Bucket("pets", "http://127.0.0.1:8301", "GL1", "hush-hush")


class _Server:
    """Keeps storages as Label Studio does, without telling their secrets."""

    def __init__(self, refuses: bool = False) -> None:
        self.kept: list[dict[str, object]] = []
        self.asked: list[tuple[str, dict[str, object]]] = []
        self.refuses = refuses

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            assert request.url.params["project"] == "7"
            shown = [{name: each[name] for name in each if not name.startswith("aws_")} for each in self.kept]
            return httpx.Response(200, json=shown)
        body = json.loads(request.content)
        self.asked.append((request.method, body))
        if self.refuses:
            return httpx.Response(400, json={"detail": "Cannot connect to S3 pets"})
        if request.method == "POST":
            self.kept.append({"id": len(self.kept) + 1, **body})
            return httpx.Response(201, json={})
        self.kept[int(str(request.url).rpartition("/")[2]) - 1].update(body)
        return httpx.Response(200, json={})


def _ensure(server: _Server, bucket: Bucket) -> None:
    client = LabelStudioClient(URL, SecretStr("0" * 40), transport=httpx.MockTransport(server), attempts=1)
    client.ensure_bucket(PROJECT, bucket)


def test_it_is_told_once_and_again_when_the_key_or_the_address_is_another():
    server = _Server()
    _ensure(server, BUCKET)
    _ensure(server, BUCKET)
    assert [method for method, _ in server.asked] == ["POST"]
    (kept,) = server.kept
    assert (kept["bucket"], kept["s3_endpoint"], kept["aws_secret_access_key"]) == (
        "pets", "http://127.0.0.1:8301", "hush-hush",
    )  # fmt: skip
    assert kept["presign"] is True
    _ensure(server, Bucket("pets", BUCKET.endpoint, "GL2", "other"))
    _ensure(server, Bucket("pets", "http://media.test", "GL2", "other", presign=False))
    assert [method for method, _ in server.asked] == ["POST", "PATCH", "PATCH"]
    assert len(server.kept) == 1
    assert server.kept[0]["aws_secret_access_key"] == "other"


def test_other_peoples_buckets_are_left_alone():
    server = _Server()
    server.kept.append({"id": 1, "bucket": "theirs", "title": "theirs"})
    _ensure(server, BUCKET)
    assert server.kept[0] == {"id": 1, "bucket": "theirs", "title": "theirs"}


def test_a_proxy_that_cannot_be_reached_is_told_with_the_remedy_and_without_the_secret():
    with pytest.raises(LabelStudioError, match=r"cannot use the media proxy.*goldloop media") as error:
        _ensure(_Server(refuses=True), BUCKET)
    assert "hush-hush" not in str(error.value)
    assert "hush-hush" not in repr(BUCKET)
