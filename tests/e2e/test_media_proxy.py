"""Images of a bucket in Label Studio's own front end, by addresses that are signed for a second."""

from __future__ import annotations

import io
import os
import random
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx
import pytest
from PIL import Image

from goldloop import loop, wiring, workbench
from goldloop.catalog.content import items_of
from goldloop.catalog.server_side import tasks_of
from goldloop.errors import LabelStudioError
from goldloop.recipe import load

PICTURE = (
    "[...document.querySelectorAll('img')]"
    ".find(image => image.src.startsWith('blob:') && image.naturalWidth > 1)"
)
IMAGES = int(os.environ.get("GOLDLOOP_TEST_IMAGES", "30"))
OPENED = int(os.environ.get("GOLDLOOP_TEST_OPENED", "12"))
"""How many there are, and how many of them the editor opens: to try a thousand by hand, set both."""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class _Expiring(BaseHTTPRequestHandler):
    """A bucket's front that holds signed addresses to their time to the second, which moto does not do."""

    protocol_version = "HTTP/1.1"
    moto = ""
    given: list[str] = []

    def log_message(self, *_):
        pass

    def _pass(self, method: str) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query))
        if "X-Amz-Expires" in query:
            made = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
            expires = made + int(query["X-Amz-Expires"])
        else:
            expires = float(query.get("Expires", "inf"))
        if time.time() > expires + 1:
            # The time of a signature is in whole seconds.
            self._answer(403, b"Request has expired", {})
            return
        if expires != float("inf"):
            self.given.append(self.path)
        length = int(self.headers.get("content-length") or 0)
        kept = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        answer = httpx.request(
            method,
            self.moto + self.path,
            headers=kept,
            content=self.rfile.read(length),
            trust_env=False,
            timeout=120,
        )
        told = {
            name: answer.headers[name]
            for name in ("content-type", "etag", "last-modified")
            if name in answer.headers
        }
        self._answer(answer.status_code, answer.content, told, answer.headers.get("content-length"))

    def _answer(self, status: int, body: bytes, headers: dict[str, str], length: str | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        self._pass("GET")

    def do_HEAD(self):
        self._pass("HEAD")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory) -> Iterator[tuple[str, str]]:
    """A bucket with images, behind a front that knows the time: its address, and the front's."""
    import boto3

    port = _free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.1)
    _Expiring.moto = f"http://127.0.0.1:{port}"
    front = ThreadingHTTPServer(("127.0.0.1", 0), _Expiring)
    thread = threading.Thread(target=front.serve_forever)
    thread.start()
    name = f"photos-{secrets.token_hex(4)}"
    client = boto3.client(
        "s3",
        endpoint_url=_Expiring.moto,
        aws_access_key_id="somebody",
        aws_secret_access_key="hush-hush",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=name)
    for number in range(IMAGES):
        buffer = io.BytesIO()
        exif = Image.Exif()
        # Every tenth is turned: it is shown by its upright copy.
        exif[0x0112] = 6 if number % 10 == 3 else 1
        noise = random.Random(number).randbytes(90 * 60 * 3)
        Image.frombytes("RGB", (90, 60), noise).save(buffer, format="JPEG", exif=exif)
        client.put_object(Bucket=name, Key=f"in/{number:04d}.jpg", Body=buffer.getvalue())
    client.close()
    yield f"s3://{name}/in", f"http://127.0.0.1:{front.server_address[1]}"
    front.shutdown()
    thread.join()
    front.server_close()
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def proxy(bucket, server, workspace, tmp_path_factory) -> Iterator[tuple[Path, str]]:
    """`goldloop media` in a process of its own: its recipe, and where it answers."""
    url, front = bucket
    port = _free_port()
    path = tmp_path_factory.mktemp("recipes") / "bucket.yaml"
    path.write_text(
        f"name: bucket-{secrets.token_hex(3)}\nsources: [{{kind: files, url: '{url}'}}]\n"
        "task: {kind: image-classification, classes: [cat, dog]}\n"
        f"labeling: {{media: {{proxy: 'http://127.0.0.1:{port}', signed_for: 1}}}}\n"
    )
    variables = {
        "GOLDLOOP_HOME": str(workspace.root),
        "FSSPEC_S3_ENDPOINT_URL": front,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "hush-hush",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    import fsspec

    fsspec.config.set_conf_env(fsspec.config.conf)
    command = [sys.executable, "-m", "goldloop", "media", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "media: images of bucket-" in process.stderr.readline()
    yield path, f"http://127.0.0.1:{port}"
    process.terminate()
    assert process.wait(60) in (0, -signal.SIGTERM)
    process.stderr.close()
    fsspec.config.conf.pop("s3", None)
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="module")
def pushed(proxy, workspace, server):
    """Its tasks: the recipe, the session, and task id by key."""
    recipe = load(proxy[0])
    loop.pull(recipe, workspace)
    server.up()
    assert loop.push(recipe, workspace).created == IMAGES
    session = wiring.session(recipe, workspace)
    with workspace.engine.connect() as connection:
        live = tasks_of(connection, session.place)
        items = {item.key: item for item in items_of(connection, recipe.name)}
    return recipe, session, live, items


def test_tasks_carry_stable_addresses_and_nothing_signed_is_stored_anywhere(pushed, workspace, server):
    recipe, session, live, _ = pushed
    for key, task in live.items():
        data = session.client._api.get(f"/api/tasks/{task}/", {"resolve_uri": "false"})["data"]
        assert data["image"] == f"s3://{recipe.name}/{key}"
        break
    database = server.folder / "data" / "label_studio.sqlite3"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        stored = connection.execute("SELECT data FROM task WHERE project_id = ?", (session.project.id,))
        texts = [row[0] for row in stored]
    connection.close()
    assert len(texts) == IMAGES
    assert not any("Signature" in text or "X-Amz" in text for text in texts)
    kept = [*workspace.root.glob("catalog.db*"), *(workspace.root / "audit").rglob("*")]
    assert kept
    secret = workspace.media_keys.of(recipe.name).secret.encode()
    for path in kept:
        if path.is_file():
            # Read by another process: one that closes a file of SQLite's gives up its own locks on it.
            content = subprocess.run(["cat", path], capture_output=True, check=True).stdout
            assert b"Signature=" not in content
            assert secret not in content


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
def test_images_open_in_the_editor_long_after_any_signature_of_before_has_ended(
    pushed, page, server, tmp_path
):
    _, session, live, items = pushed
    turned = [key for key in live if items[key].width == 60][: max(OPENED // 10, 1)]
    straight = [key for key in live if items[key].width == 90][: OPENED - len(turned)]
    _Expiring.given.clear()
    address = server.access().url
    for key in (*straight, *turned):
        size = _opened(page, f"{address}/projects/{session.project.id}/data?task={live[key]}")
        assert size == (items[key].width, items[key].height)
    page.screenshot(path=str(tmp_path / "image.png"))
    # Those that are turned come upright from the proxy, all others from the bucket itself.
    assert len(_Expiring.given) >= len(straight)


def _opened(page, address: str) -> tuple[int, int]:
    """The size of the image that a task shows; a slow machine may need a second look, signed anew."""
    from playwright.sync_api import TimeoutError as TooSlow

    for attempt in range(3):
        page.goto(address)
        with suppress(TooSlow):
            # In one go: the editor draws anew, and the picture may be gone a moment later.
            shown = f"(found => found && [found.naturalWidth, found.naturalHeight])({PICTURE})"
            return tuple(page.wait_for_function(shown, timeout=60_000 * (attempt + 1)).json_value())
    raise AssertionError(f"no image at {address}")


def _signed(session, task: int) -> str:
    """Where Label Studio sends the browser of somebody who may see a task."""
    shown = session.client._api.get(f"/api/tasks/{task}/")["data"]["image"]
    answer = session.client._http.get(
        urljoin(session.client.url, shown), headers=session.client._authorization()
    )
    assert answer.status_code == 303
    return answer.headers["location"]


def test_an_address_of_the_bucket_ends_with_its_second_and_is_signed_anew(pushed):
    _, session, live, items = pushed
    key = next(key for key in live if items[key].width == 90)
    with httpx.Client(trust_env=False, timeout=120) as browser:
        sent_on = browser.get(_signed(session, live[key]))
        assert sent_on.status_code == 307
        assert sent_on.headers["cache-control"] == "no-store"
        time.sleep(3)
        assert browser.get(sent_on.headers["location"]).status_code == 403
        again = browser.get(_signed(session, live[key])).headers["location"]
        assert again != sent_on.headers["location"]


def test_a_stranger_gets_no_address_and_an_address_without_a_signature_opens_nothing(pushed, proxy):
    _, session, live, _ = pushed
    key = next(iter(live))
    shown = session.client._api.get(f"/api/tasks/{live[key]}/")["data"]["image"]
    with httpx.Client(trust_env=False, timeout=120) as stranger:
        asked = stranger.get(urljoin(session.client.url, shown))
        assert asked.status_code in (302, 401, 403)
        assert "Signature" not in asked.headers.get("location", "")
        assert stranger.get(f"{proxy[1]}/{session.place.recipe}/{key}").status_code == 403


def test_a_revoked_key_closes_all_that_was_signed_and_label_studio_signs_with_the_new_one(pushed, workspace):
    recipe, session, live, items = pushed
    task = next(live[key] for key in live if items[key].width == 90)
    before = _signed(session, task)
    with httpx.Client(trust_env=False, timeout=120) as browser:
        assert browser.get(before).status_code == 307
        workbench.revoke(recipe, workspace=workspace)
        assert browser.get(before).status_code == 403
        assert browser.get(_signed(session, task)).status_code == 307


def test_a_push_says_so_when_the_proxy_does_not_run(workspace, server, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    path = tmp_path / "lonely.yaml"
    path.write_text(
        f"name: lonely\nsources: [{{kind: files, url: '{tmp_path}/a.png'}}]\n"
        "task: {kind: image-classification, classes: [cat, dog]}\n"
        f"labeling: {{media: {{proxy: 'http://127.0.0.1:{_free_port()}'}}}}\n"
    )
    server.up()
    recipe = load(path)
    loop.pull(recipe, workspace)
    with pytest.raises(LabelStudioError, match=r"cannot use the media proxy.*goldloop media"):
        loop.push(recipe, workspace)
