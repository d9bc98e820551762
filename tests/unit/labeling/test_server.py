import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from goldloop.errors import LabelStudioDenied, LabelStudioUnreachable
from goldloop.labeling.environment import located
from goldloop.labeling.server import EmbeddedServer, _listening, connect
from goldloop.settings import Settings


@pytest.fixture
def server(tmp_path: Path) -> EmbeddedServer:
    return EmbeddedServer(tmp_path / "label-studio", tmp_path / "cache", tmp_path / "media")


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_where_nothing_was_started_nothing_runs_and_nothing_is_written(server: EmbeddedServer) -> None:
    status = server.status()
    assert (status.running, status.pid, status.url) == (False, None, None)
    assert server.access() is None
    assert server.down() is False
    assert not server.folder.exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": "x"}', "\x00"])
def test_a_broken_record_counts_as_none(server: EmbeddedServer, content: str) -> None:
    server.folder.mkdir()
    (server.folder / "server.json").write_text(content)
    assert server.access() is None
    assert server.down() is False


def test_a_process_that_only_has_the_number_of_ours_is_left_alone(
    server: EmbeddedServer, stranger: subprocess.Popen[bytes]
) -> None:
    server.folder.mkdir()
    record = {"pid": stranger.pid, "start": "0" * 32, "port": 8080}
    (server.folder / "server.json").write_text(json.dumps(record))
    assert server.access() is None
    assert not server.status().running
    assert server.down() is False
    assert stranger.poll() is None


def test_a_busy_port_is_avoided_and_a_free_one_kept() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        busy = other.getsockname()[1]
        with _listening(busy) as listener:
            host, port = listener.getsockname()
            assert host == "127.0.0.1"
            assert port != busy
    with _listening(busy) as listener:
        assert listener.getsockname()[1] == busy


def test_a_server_that_ends_while_it_starts_is_told_with_the_end_of_its_log(server: EmbeddedServer) -> None:
    # A Python without Label Studio in it.
    environment = located(server.cache)
    environment.python.parent.mkdir(parents=True)
    environment.python.symlink_to(sys.executable)
    environment.template.touch()
    with pytest.raises(LabelStudioUnreachable, match="No module named 'label_studio'") as caught:
        server.up()
    assert caught.value.where == server.folder / "server.log"
    assert not server.status().running
    assert server.down() is False


def test_a_server_elsewhere_goes_before_the_embedded_one(tmp_path: Path) -> None:
    elsewhere = Settings(label_studio_url="http://127.0.0.1:9", label_studio_api_key=None)
    with pytest.raises(LabelStudioDenied, match="no token"):
        connect(elsewhere, tmp_path, tmp_path, tmp_path)


def test_without_any_server_there_is_no_access(tmp_path: Path) -> None:
    nowhere = Settings(label_studio_url=None, label_studio_api_key=None)
    assert connect(nowhere, tmp_path, tmp_path, tmp_path) is None
