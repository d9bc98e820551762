"""One real Label Studio for the whole session, in a workspace of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from goldloop.labeling.access import Access
from goldloop.labeling.server import EmbeddedServer
from goldloop.settings import Settings
from goldloop.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parent))

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is end to end."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("e2e")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Workspace:
    """A workspace for all end-to-end tests; each uses recipes with names of its own."""
    return Workspace(tmp_path_factory.mktemp("workspace"), Settings())


@pytest.fixture(scope="session")
def server(workspace: Workspace) -> Iterator[EmbeddedServer]:
    """Its embedded Label Studio, running."""
    media = workspace.media.root.parent
    server = EmbeddedServer(workspace.label_studio, workspace.environment.cache, media)
    server.up()
    yield server
    server.down()


@pytest.fixture
def label_studio(server: EmbeddedServer) -> Access:
    """How to reach it; started again if a test stopped it."""
    return server.up()


@pytest.fixture(scope="module")
def page(server: EmbeddedServer) -> Iterator[Any]:
    """A page of a real browser, logged in."""
    from playwright.sync_api import sync_playwright

    access, chromium = server.up(), shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(f"{access.url}/user/login")
        page.fill("input[name=email]", server.login.username)
        page.fill("input[name=password]", server.login.password.get_secret_value())
        page.click("button[type=submit]")
        page.wait_for_load_state("networkidle")
        yield page
        browser.close()


def _user() -> dict[str, object]:
    """PostgreSQL does not run as root; its package makes a user that it does run as."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("postgres")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """The URL of a real PostgreSQL."""
    if not BINARIES:
        pytest.skip("no PostgreSQL on this machine")
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
