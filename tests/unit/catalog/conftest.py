"""Catalogs as older releases left them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine

import goldloop.catalog.migrations as migrations


@pytest.fixture
def catalog_at(tmp_path: Path) -> Callable[[str], Engine]:
    """The catalog of `tmp_path` as a revision made it."""

    def made(revision: str) -> Engine:
        engine = create_engine(f"sqlite:///{tmp_path / 'catalog.db'}")
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.set_main_option("path_separator", "os")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        return engine

    return made
