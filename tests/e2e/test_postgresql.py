"""The catalog on PostgreSQL: the same stages, and a lock that holds across machines."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from goldloop import loop
from goldloop.errors import WorkspaceBusy
from goldloop.recipe import parse
from goldloop.settings import Settings
from goldloop.workspace import Workspace

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
pytestmark = pytest.mark.skipif(not BINARIES, reason="no PostgreSQL on this machine")


def _user() -> dict[str, object]:
    """PostgreSQL does not run as root; its package makes a user that it does run as."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("postgres")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True, **_user()).strip())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    binary = BINARIES[-1]
    initialise = [binary / "initdb", "-D", folder / "data", "-U", "goldloop", "-A", "trust", "-E", "UTF8"]
    subprocess.run(initialise, check=True, capture_output=True, cwd=folder, **_user())
    options = ["-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([binary / "postgres", *options], stderr=log, cwd=folder, **_user())
    for _ in range(200):
        if (
            subprocess.run(
                [binary / "pg_isready", "-h", "127.0.0.1", "-p", str(port)], capture_output=True
            ).returncode
            == 0
        ):
            break
        time.sleep(0.1)
    yield f"postgresql+psycopg://goldloop@127.0.0.1:{port}/postgres"
    process.send_signal(signal.SIGINT)  # its fast shutdown: does not wait for clients
    process.wait(timeout=60)
    shutil.rmtree(folder)


@contextmanager
def _workspace(folder: Path, database: str) -> Iterator[Workspace]:
    workspace = Workspace(folder, Settings(GOLDLOOP_CATALOG_URL=SecretStr(database)))
    yield workspace
    workspace.engine.dispose()


def test_a_pull_is_the_same_as_on_sqlite(tmp_path, database):
    (tmp_path / "texts").mkdir()
    for number in range(20):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"text {number % 15} \N{PILE OF POO}")
    recipe = parse(
        {
            "name": "notes",
            "sources": [{"kind": "files", "url": str(tmp_path / "texts")}],
            "task": {"kind": "text-classification", "classes": ["a", "b"]},
        }
    )
    here = Workspace(tmp_path / "two", Settings())
    with _workspace(tmp_path / "one", database) as there:
        assert loop.pull(recipe, there) == loop.pull(recipe, here)
        (tmp_path / "texts" / "0.txt").write_text("another text")
        assert loop.pull(recipe, there) == loop.pull(recipe, here)
    assert not (tmp_path / "one" / "catalog.db").exists()


def test_two_workspaces_with_one_catalog_do_not_work_on_one_recipe_at_once(tmp_path, database):
    with (
        _workspace(tmp_path / "one", database) as one,
        _workspace(tmp_path / "other", database) as other,
    ):
        with one.lock("notes"), pytest.raises(WorkspaceBusy, match="notes"), other.lock("notes"):
            pass
        with other.lock("notes"):
            pass
