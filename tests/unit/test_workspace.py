from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys

import pytest
from sqlalchemy import inspect

from goldloop.catalog.migrations import HEAD, upgrade
from goldloop.catalog.tables import metadata
from goldloop.errors import WorkspaceBusy, WorkspaceError
from goldloop.settings import Settings
from goldloop.workspace import Workspace


def _holder(workspace: Workspace) -> subprocess.Popen[str]:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom goldloop.workspace import Workspace\n"
        "with Workspace(Path(sys.argv[1])).lock('pets'):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(workspace.root)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_nearest_workspace_upwards_is_opened(tmp_path, monkeypatch):
    (tmp_path / ".goldloop").mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert Workspace.open(Settings()).root == tmp_path / ".goldloop"


def test_the_environment_names_another(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLDLOOP_HOME", str(tmp_path / "elsewhere"))
    assert Workspace.open().root == tmp_path / "elsewhere"


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="GOLDLOOP_HOME"):
        Workspace(tmp_path / "file" / "state", Settings())


def test_the_lock_is_held_against_another_process_and_freed_by_its_death(workspace):
    process = _holder(workspace)
    try:
        with pytest.raises(WorkspaceBusy, match="pets"), workspace.lock("pets"):
            pass
        with workspace.lock("other"):
            pass
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    with workspace.lock("pets"):
        pass


def test_the_lock_is_reentrant_in_one_process(workspace):
    with workspace.lock("pets"), workspace.lock("pets"):
        pass


def test_identity_and_pseudonym_key_are_made_once_and_private(workspace):
    again = Workspace(workspace.root, Settings())
    assert workspace.identity == again.identity
    assert workspace.pseudonym_key == again.pseudonym_key
    assert len(workspace.pseudonym_key) == 32
    assert stat.S_IMODE((workspace.root / "pseudonym-key").stat().st_mode) == 0o600


def test_the_migrations_make_what_the_tables_say(workspace):
    upgrade(workspace.engine)
    inspector = inspect(workspace.engine)
    for table in metadata.tables.values():
        columns = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name)}
        assert columns == {column.name: bool(column.nullable) for column in table.columns}
        assert inspector.get_pk_constraint(table.name)["constrained_columns"] == [
            column.name for column in table.primary_key
        ]


def test_head_is_the_newest_migration():
    from pathlib import Path

    import goldloop.catalog.migrations as migrations

    newest = max(path.name for path in (Path(migrations.__file__).parent / "versions").glob("0*.py"))
    assert newest.startswith(HEAD)


def test_the_catalog_writes_ahead(workspace):
    with workspace.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_catalog_that_cannot_be_opened_does_not_tell_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLDLOOP_CATALOG_URL", "postgresql+psycopg://me:hush@127.0.0.1:1/none")
    with pytest.raises(WorkspaceError, match="cannot be opened") as caught:
        _ = Workspace(tmp_path / "state").engine
    assert "hush" not in str(caught.value)


def test_only_our_own_variables_are_read(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("CACHE", "/somewhere")
    monkeypatch.delenv("GOLDLOOP_HOME", raising=False)
    assert Settings().home is None
    assert str(Settings().cache) != "/somewhere"
