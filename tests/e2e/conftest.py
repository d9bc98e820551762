"""One real Label Studio for the whole session, in a workspace of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from goldloop.labeling.access import Access
from goldloop.labeling.server import EmbeddedServer
from goldloop.settings import Settings
from goldloop.workspace import Workspace


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
        page.goto(f"{access.url}/user/login")
        page.fill("input[name=email]", server.login.username)
        page.fill("input[name=password]", server.login.password.get_secret_value())
        page.click("button[type=submit]")
        page.wait_for_load_state("networkidle")
        yield page
        browser.close()
