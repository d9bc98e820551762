"""One real Label Studio for the whole session, in a workspace of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
