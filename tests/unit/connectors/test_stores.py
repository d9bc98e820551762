"""The same files in every kind of store give the same items, by real servers and drivers."""

from __future__ import annotations

import asyncio
import io
import secrets
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from goldloop.connectors import connectors
from goldloop.connectors._locations import locate
from goldloop.connectors.base import Found, Kept, NothingKnown
from goldloop.errors import ItemError, SourceError
from goldloop.records import Item, Quarantined


def _png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


CONTENT = {
    "a.png": _png(1),
    "b/c.png": _png(2),
    "b/notes.txt": b"hello",
    "b/deep/d.png": _png(3),
    "x.exe": b"MZ",
}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def s3_server():
    """In a process of its own: drivers keep connections open, which a thread would leave behind."""
    port = _free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(30)


@pytest.fixture
def s3(s3_server, monkeypatch):
    import boto3
    import fsspec

    for name, value in {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "hush-hush",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    # As an option it is part of what the driver knows a connection by: other tests have servers of their own.
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": s3_server})
    client = boto3.client("s3", endpoint_url=s3_server)
    bucket = f"photos-{secrets.token_hex(4)}"
    client.create_bucket(Bucket=bucket)

    def put(name: str, content: bytes) -> None:
        client.put_object(Bucket=bucket, Key=f"in/{name}", Body=content)

    yield f"s3://{bucket}/in", put
    client.close()


@pytest.fixture
def gcs(monkeypatch):
    import fsspec
    from gcp_storage_emulator.server import create_server

    port = _free_port()
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="photos")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    # The driver's gRPC side, for buckets with folders, is not emulated.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    options = {"token": "anon", "endpoint_url": f"http://127.0.0.1:{port}"}
    monkeypatch.setitem(fsspec.config.conf, "gs", options)
    system = fsspec.filesystem("gs")

    def put(name: str, content: bytes) -> None:
        system.pipe_file(f"photos/in/{name}", content)

    yield "gs://photos/in", put
    server.stop()


@pytest.fixture
def sftp(tmp_path, monkeypatch):
    import asyncssh
    import fsspec

    root = tmp_path / "served"
    root.mkdir()
    host_key, user_key = (
        asyncssh.generate_private_key("ssh-ed25519"),
        asyncssh.generate_private_key("ssh-ed25519"),
    )
    user_key.write_private_key(str(tmp_path / "user"))
    (tmp_path / "allowed").write_bytes(user_key.export_public_key())
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    connections = []

    class _Server(asyncssh.SSHServer):
        def connection_made(self, connection):
            connections.append(connection)

    async def serve():
        return await asyncssh.listen(
            "127.0.0.1", 0, server_factory=_Server,
            server_host_keys=[host_key], authorized_client_keys=str(tmp_path / "allowed"),
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root).encode()),
        )  # fmt: skip

    server = asyncio.run_coroutine_threadsafe(serve(), loop).result(30)
    port = server.get_port()
    known = host_key.export_public_key().decode().strip()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {known}\n")
    options = {
        "username": "somebody",
        "client_keys": [str(tmp_path / "user")],
        "known_hosts": str(tmp_path / "known_hosts"),
    }
    monkeypatch.setitem(fsspec.config.conf, "sftp", options)

    def put(name: str, content: bytes) -> None:
        path = root / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    yield f"sftp://127.0.0.1:{port}/in", put

    async def close():
        server.close()
        for connection in connections:
            connection.close()
            await connection.wait_closed()
        await server.wait_closed()

    asyncio.run_coroutine_threadsafe(close(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def local(tmp_path):
    def put(name: str, content: bytes) -> None:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return str(tmp_path / "in"), put


class _Handler(SimpleHTTPRequestHandler):
    """Files of a folder, with an ETag; `fails` says how often an address fails first."""

    fails: dict[str, int] = {}
    asked: list[str] = []

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.asked.append(f"GET {self.path}")
        left = self.fails.get(self.path, 0)
        if left:
            self.fails[self.path] = left - 1
            self.send_error(503)
            return
        super().do_GET()

    def end_headers(self):
        path = Path(self.translate_path(self.path))
        if path.is_file():
            self.send_header("ETag", f'"{hash(path.read_bytes())}"')
        super().end_headers()


@pytest.fixture
def web(tmp_path):
    (tmp_path / "web").mkdir()
    _Handler.fails, _Handler.asked = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(tmp_path / "web")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", tmp_path / "web"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["local", "s3", "gcs", "sftp"])
def store(request):
    url, put = request.getfixturevalue(request.param)
    for name, content in CONTENT.items():
        put(name, content)
    return url, put


def _read(known=None, **section) -> list[Found | Kept]:
    return list(connectors.create({"kind": "files", **section}).read(known or NothingKnown()))


def _names(found: list[Found | Kept], url: str) -> list[str]:
    uris = [each.part if isinstance(each, Kept) else each.entry.uri for each in found]
    return [uri.partition(url.partition("://")[2] or url)[2].lstrip("/") for uri in uris]


def test_every_file_is_found_in_the_order_of_its_path(store):
    url, _ = store
    found = _read(url=url)
    assert _names(found, url) == sorted(CONTENT)
    contents = {each.entry.uri.rpartition("/")[2]: each.entry for each in found}
    assert contents["c.png"].content == CONTENT["b/c.png"]
    assert contents["notes.txt"].text == "hello"
    assert "not a kind of file" in contents["x.exe"].reason
    assert all(each.mark for each in found)


def test_globs_filters_and_groups_are_the_same_everywhere(store):
    url, _ = store
    assert _names(_read(url=f"{url}/**/*.png"), url) == ["a.png", "b/c.png", "b/deep/d.png"]
    assert _names(_read(url=f"{url}/b/*.png"), url) == ["b/c.png"]
    assert _names(_read(url=f"{url}/*/deep/[c-e].png"), url) == ["b/deep/d.png"]
    found = _read(url=url, filter="parent == 'b' or size < 3", group="stem")
    assert _names(found, url) == ["b/c.png", "b/notes.txt", "x.exe"]
    assert found[0].entry.group == "c"


def test_a_mark_tells_when_a_file_changes_and_is_the_same_until_then(store):
    url, put = store
    before = {each.entry.uri: each.mark for each in _read(url=url)}
    connector = connectors.create({"kind": "files", "url": url})
    fingerprint = connector.fingerprint()
    assert {each.entry.uri: each.mark for each in _read(url=url)} == before
    assert connector.fingerprint() == fingerprint
    # Of another size: some stores tell times in whole seconds.
    put("a.png", _png(99) + b"behind the end")
    put("e.png", _png(98))
    after = {each.entry.uri: each.mark for each in _read(url=url)}
    assert len(after) == len(before) + 1
    assert [uri.rpartition("/")[2] for uri in before if after[uri] != before[uri]] == ["a.png"]
    assert connector.fingerprint() != fingerprint


def _zip(names=CONTENT) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, CONTENT[name])
    return buffer.getvalue()


def _tar(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in CONTENT.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"), [("in.zip", _zip()), ("in.tar", _tar("w")), ("in.tar.gz", _tar("w:gz"))]
)
def test_an_archive_is_read_like_a_folder_and_told_by_both_addresses(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    found = _read(url=str(tmp_path / name))
    protocol = "zip" if name.endswith("zip") else "tar"
    assert [each.entry.uri for each in found] == [
        f"{protocol}://{member}::{tmp_path / name}" for member in sorted(CONTENT)
    ]
    assert sum(isinstance(each.entry, Item) for each in found) == 4
    assert all(each.mark for each in found)


def test_an_archive_in_a_bucket_and_several_by_a_glob_are_read_through(s3, tmp_path):
    url, put = s3
    put("one.zip", _zip(["a.png"]))
    put("two.zip", _zip(["b/c.png", "b/notes.txt"]))
    assert [each.entry.uri for each in _read(url=f"zip://*.png::{url}/one.zip")] == [
        f"zip://a.png::{url}/one.zip"
    ]
    several = [each.entry.uri for each in _read(url=f"zip://**/*.png::{url}/*.zip")]
    assert several == [f"zip://a.png::{url}/one.zip", f"zip://b/c.png::{url}/two.zip"]


def test_an_archive_that_is_replaced_is_read_anew(tmp_path):
    (tmp_path / "in.zip").write_bytes(_zip(["a.png"]))
    assert len(_read(url=str(tmp_path / "in.zip"))) == 1
    (tmp_path / "in.zip").write_bytes(_zip(["b/c.png", "b/notes.txt"]))
    assert len(_read(url=str(tmp_path / "in.zip"))) == 2


@pytest.mark.parametrize("content", [b"PK and no more", _zip()[:40]], ids=["no archive", "cut off"])
def test_a_broken_archive_is_an_error_of_the_source(tmp_path, content):
    (tmp_path / "in.zip").write_bytes(content)
    with pytest.raises(SourceError, match=r"in\.zip.*cannot be read"):
        _read(url=str(tmp_path / "in.zip"))


def test_a_listing_names_files_by_address_and_beside_it_each_once(web):
    url, folder = web
    for name in ("a.png", "no-extension"):
        (folder / name).write_bytes(_png(len(name)))
    lines = [
        "# photos",
        f"{url}/a.png?token=hush",
        "no-extension",
        "",
        "no-extension",
        "missing.png",
        "file:///etc/x",
    ]
    (folder / "listing.txt").write_text("\n".join(lines))
    found = [each.entry for each in _read(listing=f"{url}/listing.txt")]
    assert [entry.uri for entry in found] == [
        f"{url}/a.png", f"{url}/no-extension", f"{url}/missing.png", "file:///etc/x",
    ]  # fmt: skip
    assert [isinstance(entry, Item) for entry in found] == [True, True, False, False]
    assert "of this machine" in found[3].reason
    assert not any("hush" in str(entry) for entry in found)


def test_what_a_listing_names_is_not_fetched_again_while_its_etag_is_the_same(web):
    url, folder = web
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(_png(ord(name[0])))
    (folder / "listing.txt").write_text("a.png\nb.png\n")
    before = {each.entry.uri: each.mark for each in _read(listing=f"{url}/listing.txt")}

    class _Before:
        bookmark = None

        def unchanged(self, marks, *, many=False):
            return {uri for uri, mark in marks.items() if before[uri] == mark}

    (folder / "b.png").write_bytes(_png(9))
    _Handler.asked.clear()
    again = _read(_Before(), listing=f"{url}/listing.txt")
    assert [type(each) for each in again] == [Kept, Found]
    assert "GET /a.png" not in _Handler.asked
    assert connectors.create({"kind": "files", "listing": f"{url}/listing.txt"}).fingerprint() is None


def test_a_server_that_fails_for_a_moment_is_asked_again_and_one_that_goes_on_leaves_no_mark(
    web, monkeypatch
):
    monkeypatch.setattr("goldloop.connectors._locations._PAUSES", (0.01, 0.01))
    url, folder = web
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(_png(1))
    (folder / "listing.txt").write_text("a.png\nb.png\n")
    _Handler.fails = {"/a.png": 2, "/b.png": 100}
    one, other = _read(listing=f"{url}/listing.txt")
    assert isinstance(one.entry, Item)
    assert isinstance(other.entry, Quarantined)
    assert "503" in other.entry.reason
    assert other.mark is None


def test_a_link_to_a_file_is_that_file_and_a_broken_one_is_quarantined(tmp_path):
    (tmp_path / "elsewhere.png").write_bytes(_png(1))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").symlink_to(tmp_path / "elsewhere.png")
    (tmp_path / "in" / "b.png").symlink_to(tmp_path / "nowhere.png")
    one, other = _read(url=str(tmp_path / "in"))
    assert isinstance(one.entry, Item)
    assert "broken link" in other.entry.reason
    (tmp_path / "elsewhere.png").write_bytes(_png(2) + b"more")
    assert _read(url=str(tmp_path / "in"))[0].mark != one.mark


def test_a_bucket_signs_addresses_of_what_is_still_the_same_alone(s3):
    import httpx

    url, put = s3
    put("a.png", CONTENT["a.png"])
    (found,) = _read(url=f"{url}/a.png")
    location = locate(f"{url}/a.png")
    address = location.signed(location.path, 60, found.mark)
    assert httpx.get(address, trust_env=False).content == CONTENT["a.png"]
    put("a.png", _png(99))
    assert location.signed(location.path, 60, found.mark) is None
    assert location.signed(f"{location.path}x", 60, found.mark) is None


def test_a_store_that_signs_nothing_says_so_and_its_files_come_in_pieces(store):
    url, _ = store
    location = locate(f"{url}/b/c.png")
    found = next(each for each in _read(url=url) if each.entry.uri.endswith("b/c.png"))
    assert b"".join(location.pieces(location.path)) == CONTENT["b/c.png"]
    if not url.startswith("s3"):
        assert location.signed(location.path, 60, found.mark) is None
    with pytest.raises(ItemError):
        list(location.pieces(f"{location.path}x"))
