"""Addresses: on this machine, on a web server, with secrets in them, and with awkward names."""

from __future__ import annotations

import io
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from goldloop.connectors import connectors
from goldloop.connectors._content import printable, without_secrets
from goldloop.errors import SourceError
from goldloop.records import Item, Quarantined


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, format="PNG")
    return buffer.getvalue()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path):
    """The address of a web server that serves the temporary folder."""
    (tmp_path / "a.png").write_bytes(_png())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def _read(**section) -> list[Item | Quarantined]:
    return list(connectors.create(section).items())


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:password@host/x.csv?sig=1", "https://host/x.csv"),
        ("https://user:pass@word@host/x", "https://host/x"),
        ("denied: https://host/a b?token=x y", "denied: https://host/a b"),
        ("az://container/x?sv=1", "az://container/x"),
        ("s3://bucket/what?.png", "s3://bucket/what?.png"),
        ("/photos/a@b?c#d.txt", "/photos/a@b?c#d.txt"),
        ("file:///photos/a?b.txt", "file:///photos/a?b.txt"),
        (
            "is it there? s3://bucket/a, or https://host/b?t=1",
            "is it there? s3://bucket/a, or https://host/b",
        ),
    ],
)
def test_secrets_are_taken_from_addresses_and_nothing_else(address, shown):
    assert without_secrets(address) == shown


def test_what_is_no_character_is_escaped():
    assert printable("caf\udce9\0é😀") == "caf\\udce9\\0é😀"


@pytest.mark.parametrize("name", ["photos [2024]", "what?", "a*b", "tag #1", "me@home"])
def test_a_folder_with_signs_of_a_glob_in_its_name_is_that_folder(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "a.txt").write_text("hello")

    (item,) = _read(kind="files", url=str(tmp_path / name))

    assert isinstance(item, Item)
    assert item.uri == str(tmp_path / name / "a.txt")


def test_a_glob_is_still_one(tmp_path):
    for name in ("a1.txt", "a2.txt", "b1.txt"):
        (tmp_path / name).write_text(name)

    found = _read(kind="files", url=str(tmp_path / "a[12].txt"))

    assert len(found) == 2


def test_a_file_whose_name_is_not_utf_8_is_taken_and_its_address_can_be_kept(tmp_path):
    with open(os.fsencode(tmp_path) + b"/caf\xe9.txt", "w") as file:  # noqa: PTH123
        file.write("coffee")
    connector = connectors.create({"kind": "files", "url": str(tmp_path), "group": "folder"})

    (item,) = connector.items()

    assert isinstance(item, Item)
    assert item.uri.encode().endswith(b"/caf\\udce9.txt")
    assert connector.fingerprint() == connector.fingerprint()


def test_a_pipe_among_files_is_quarantined_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "a.txt").write_text("hello")

    one, other = _read(kind="files", url=str(tmp_path))

    assert isinstance(one, Item)
    assert isinstance(other, Quarantined)
    assert "pipe" in other.reason


def test_a_glob_that_fits_nothing_says_where_it_looked(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "photo1.png").write_bytes(_png())

    with pytest.raises(SourceError, match=r"Nothing in .*photos fits"):
        _read(kind="files", url=str(tmp_path / "photos" / "*.jpg"))


def test_a_file_and_a_table_behind_an_address_with_a_query_are_read_and_the_query_is_not_told(web, tmp_path):
    (tmp_path / "t.csv").write_text("text\nhello\n")

    (picture,) = _read(kind="files", url=f"{web}/a.png?token=hush")
    (text,) = _read(kind="table", url=f"{web}/t.csv?token=hush", text="text")

    assert (picture.uri, text.uri) == (f"{web}/a.png", f"{web}/t.csv#0")
    for url, kind in ((f"{web}/none.csv?token=hush", "no file"), (f"{web}/a.png?token=hush", "not a kind")):
        with pytest.raises(SourceError, match=kind) as caught:
            _read(kind="table", url=url, text="text")
        assert "hush" not in str(caught.value)


def test_a_table_of_this_machine_names_images_by_path_and_by_address(web, tmp_path):
    rows = ["image", "a.png", f"{web}/a.png?token=hush", f"{web}/none.png?token=hush"]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")

    beside, elsewhere, missing = _read(kind="table", url=str(tmp_path / "t.csv"), image="image")

    assert isinstance(beside, Item)
    assert isinstance(elsewhere, Item)
    assert beside.key == elsewhere.key
    assert isinstance(missing, Quarantined)
    assert "hush" not in missing.reason


def test_a_table_of_a_web_server_names_images_beside_it_and_none_of_this_machine(web, tmp_path):
    (tmp_path / "deep").mkdir()
    rows = ["image", "../a.png", "/a.png", f"{web}/a.png", f"file://{tmp_path}/a.png"]
    (tmp_path / "deep" / "t.csv").write_text("\n".join(rows) + "\n")

    *beside, of_this_machine = _read(kind="table", url=f"{web}/deep/t.csv", image="image")

    assert [isinstance(entry, Item) for entry in beside] == [True] * 3
    assert isinstance(of_this_machine, Quarantined)
    assert "of this machine" in of_this_machine.reason
