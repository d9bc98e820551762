"""The proxy as browsers and S3 clients meet it."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from fastapi.testclient import TestClient
from PIL import Image

from goldloop import loop
from goldloop.catalog.content import items_of
from goldloop.proxy.app import create_app
from goldloop.proxy.shelf import Shelf
from goldloop.recipe import parse
from goldloop.settings import Settings
from goldloop.workspace import Workspace

ENDPOINT = "http://127.0.0.1:8301"


def _jpeg(red: int, orientation: int = 1, size: tuple[int, int] = (60, 40)) -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera with a secret place"
    Image.new("RGB", size, (red, 10, 10)).save(buffer, format="JPEG", exif=exif)
    return buffer.getvalue()


CONTENT = {"a.jpg": _jpeg(10), "b.jpg": _jpeg(100), "turned.jpg": _jpeg(200, orientation=6)}


class _Proxy:
    """A recipe that was pulled, and its proxy."""

    def __init__(self, root, recipe: str = "pets", most: int = 1_000_000) -> None:
        self.folder = root / "photos"
        self.folder.mkdir(exist_ok=True)
        for name, content in CONTENT.items():
            (self.folder / name).write_bytes(content)
        self.workspace = Workspace(root / "state", Settings())
        self.recipe = parse(
            {
                "name": recipe,
                "sources": [{"kind": "files", "url": str(self.folder)}],
                "task": {"kind": "image-classification", "classes": ["cat", "dog"]},
                "labeling": {"media": {"proxy": ENDPOINT}},
            }
        )
        loop.pull(self.recipe, self.workspace)
        with self.workspace.engine.connect() as connection:
            self.items = {item.uri.rpartition("/")[2]: item for item in items_of(connection, recipe)}
        self.ahead = timedelta(0)
        shelf = Shelf(self.workspace.engine, self.workspace.media, most)
        app = create_app(
            shelf, self.workspace.media_keys, {recipe: None}, lambda: datetime.now(UTC) + self.ahead
        )
        self.client = TestClient(app, base_url=ENDPOINT)
        self.workspace.media_keys.of(recipe)

    def signed(self, name: str, recipe: str = "pets", method: str = "get_object") -> str:
        key = self.workspace.media_keys.of("pets")
        client = boto3.client(
            "s3",
            endpoint_url=ENDPOINT,
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            region_name="us-east-1",
            config=Config(signature_version="s3v4"),
        )
        named = self.items[name].key if name in self.items else name
        parameters = {"Bucket": recipe, "Key": named}
        url = client.generate_presigned_url(method, Params=parameters, ExpiresIn=60)
        client.close()
        return url


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return _Proxy(tmp_path_factory.mktemp("proxy"))


@pytest.fixture
def proxy(tmp_path):
    return _Proxy(tmp_path)


def test_an_image_comes_as_it_is_with_its_type_and_without_a_right_to_be_more_than_an_image(shared):
    answer = shared.client.get(shared.signed("a.jpg"), headers={"Origin": "http://127.0.0.1:8080"})
    assert answer.status_code == 200
    assert answer.content == CONTENT["a.jpg"]
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"].startswith("private")


def test_an_image_that_its_exif_data_turn_comes_upright_and_without_them(shared):
    answer = shared.client.get(shared.signed("turned.jpg"))
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.size == (40, 60) == (shared.items["turned.jpg"].width, shared.items["turned.jpg"].height)
        assert not image.getexif()
    assert b"secret place" not in answer.content
    # Models are given the original.
    assert shared.workspace.media.read(shared.items["turned.jpg"]) == CONTENT["turned.jpg"]


@pytest.mark.parametrize(
    ("asked", "start", "end"), [("bytes=0-9", 0, 10), ("bytes=100-", 100, None), ("bytes=-20", -20, None)]
)
def test_a_part_is_a_part(shared, asked, start, end):
    answer = shared.client.get(shared.signed("a.jpg"), headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == CONTENT["a.jpg"][start:end]
    total = len(CONTENT["a.jpg"])
    assert re.fullmatch(rf"bytes \d+-\d+/{total}", answer.headers["content-range"])


def test_a_part_behind_the_end_is_refused_and_one_of_another_content_is_the_whole(shared):
    url = shared.signed("a.jpg")
    assert shared.client.get(url, headers={"Range": "bytes=999999-"}).status_code == 416
    other = shared.client.get(url, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, CONTENT["a.jpg"])


def test_what_a_browser_has_is_not_sent_again(shared):
    first = shared.client.get(shared.signed("a.jpg"))
    again = shared.client.get(
        shared.signed("a.jpg"), headers={"If-None-Match": f'"x", {first.headers["etag"]}'}
    )
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    other = shared.client.get(shared.signed("b.jpg"), headers={"If-None-Match": first.headers["etag"]})
    assert (other.status_code, other.content) == (200, CONTENT["b.jpg"])


def test_only_the_catalog_is_served_and_a_stranger_learns_nothing_of_it(shared):
    assert shared.client.get(shared.signed("0" * 64)).status_code == 404
    known = shared.client.get(f"/pets/{shared.items['a.jpg'].key}")
    unknown = shared.client.get(f"/pets/{'0' * 64}")
    elsewhere = shared.client.get(f"/others/{'0' * 64}")
    assert {answer.status_code for answer in (known, unknown, elsewhere)} == {403}
    assert known.content == unknown.content == elsewhere.content
    for path in ("/", "/pets", "/docs", "/openapi.json", "/pets/../pets/a", "/pets/a/b"):
        assert shared.client.get(path).status_code in (403, 404, 405)


@pytest.mark.parametrize("name", ["../catalog.db", "..%2f..%2fcatalog.db", "a.jpg/../../x"])
def test_no_address_leads_out_of_the_catalog(shared, name):
    assert shared.client.get(shared.signed(name)).status_code in (403, 404, 405)


def test_a_recipe_that_is_not_served_is_not_there_even_for_a_key_of_it(shared):
    shared.workspace.media_keys.of("signs")
    assert shared.client.get(shared.signed("a.jpg", recipe="signs")).status_code == 403


def test_an_address_expires_and_a_new_one_opens(shared):
    url = shared.signed("a.jpg")
    try:
        shared.ahead = timedelta(seconds=61)
        late = shared.client.get(url)
        assert late.status_code == 403
        assert "expired" in late.text
        assert late.headers["cache-control"] == "no-store"
    finally:
        shared.ahead = timedelta(0)
    assert shared.client.get(shared.signed("a.jpg")).status_code == 200


def test_an_s3_client_finds_the_bucket_and_reads_from_it(shared):
    key = shared.workspace.media_keys.of("pets")
    answers = []

    client = boto3.client(
        "s3",
        endpoint_url=ENDPOINT,
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", retries={"max_attempts": 0}),
    )

    def over_the_app(request, **_):
        from botocore.awsrequest import AWSResponse

        sent = {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in request.headers.items()
        }
        answer = shared.client.request(request.method, request.url, headers=sent)
        answers.append(answer.status_code)

        class _Raw(io.BytesIO):
            def stream(self, **_):
                yield self.read()

        return AWSResponse(request.url, answer.status_code, dict(answer.headers), _Raw(answer.content))

    client.meta.events.register("before-send.s3", over_the_app)
    client.head_bucket(Bucket="pets")
    assert client.get_object(Bucket="pets", Key=shared.items["b.jpg"].key)["Body"].read() == CONTENT["b.jpg"]
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.get_object(Bucket="others", Key="0")
    client.close()
    assert answers == [200, 200, 403]


def test_a_revoked_key_closes_every_address_at_once(proxy):
    before = proxy.signed("a.jpg")
    assert proxy.client.get(before).status_code == 200
    proxy.workspace.media_keys.renew("pets")
    assert proxy.client.get(before).status_code == 403
    assert proxy.client.get(proxy.signed("a.jpg")).status_code == 200


def test_an_image_that_is_gone_from_the_workspace_is_brought_from_its_source_if_it_is_the_same(proxy):
    item = proxy.items["a.jpg"]
    proxy.workspace.media.path(item).unlink()
    assert proxy.client.get(proxy.signed("a.jpg")).content == CONTENT["a.jpg"]
    assert proxy.workspace.media.read(item) == CONTENT["a.jpg"]
    proxy.workspace.media.path(item).unlink()
    (proxy.folder / "a.jpg").write_bytes(_jpeg(90))
    refused = proxy.client.get(proxy.signed("a.jpg"))
    assert refused.status_code == 503
    assert not proxy.workspace.media.path(item).exists()
    assert list(proxy.workspace.media.root.rglob(".*")) == []


def test_an_image_that_is_too_large_is_refused(tmp_path):
    proxy = _Proxy(tmp_path, most=len(CONTENT["a.jpg"]) - 1)
    refused = proxy.client.get(proxy.signed("a.jpg"))
    assert refused.status_code == 413
    assert "EntityTooLarge" in refused.text


def test_a_text_is_no_image(tmp_path):
    workspace = Workspace(tmp_path / "state", Settings())
    (tmp_path / "a.txt").write_text("hello")
    recipe = parse(
        {
            "name": "pets",
            "sources": [{"kind": "files", "url": str(tmp_path / "a.txt")}],
            "task": {"kind": "text-classification", "classes": ["cat", "dog"]},
        }
    )
    loop.pull(recipe, workspace)
    with workspace.engine.connect() as connection:
        (item,) = items_of(connection, "pets")
    proxy = _Proxy.__new__(_Proxy)
    proxy.workspace, proxy.items = workspace, {"a.txt": item}
    app = create_app(Shelf(workspace.engine, workspace.media, 1000), workspace.media_keys, {"pets": None})
    assert TestClient(app, base_url=ENDPOINT).get(proxy.signed("a.txt")).status_code == 404


def test_nothing_signed_is_kept(shared):
    shared.client.get(shared.signed("a.jpg"))
    kept = [path.read_bytes() for path in shared.workspace.root.rglob("*") if path.is_file()]
    assert kept
    assert not any(b"X-Amz-Signature" in content or b"Signature=" in content for content in kept)
    assert urlsplit(shared.signed("a.jpg")).query
