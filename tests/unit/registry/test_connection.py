from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings

import pytest

from goldloop.errors import ModelError
from goldloop.registry.connection import Connection

MAKE = """
import sys
from pathlib import Path
from goldloop.registry.models import Registry
root = Path(sys.argv[1])
print(Registry(f"sqlite:///{root / 'mlflow.db'}", root / "mlflow").models())
"""
KILLED_WHILE_MAKING = """
import os, signal, sys
import mlflow.store.db.utils as utils
def upgrade(engine):
    os.kill(os.getpid(), signal.SIGKILL)
utils._upgrade_db = upgrade
"""


def test_the_first_use_says_nothing_and_writes_only_where_it_should(tmp_path):
    place, elsewhere = tmp_path / "workspace", tmp_path / "elsewhere"
    place.mkdir()
    elsewhere.mkdir()
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", MAKE, str(place)],
            cwd=elsewhere,
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == ("[]\n", "")
    assert list(elsewhere.iterdir()) == []
    assert [path.name for path in place.iterdir()] == ["mlflow.db"]


def test_a_process_killed_while_it_makes_the_database_leaves_none_that_is_half_made(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_MAKING + MAKE, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "mlflow.db").exists()
    done = subprocess.run(
        [sys.executable, "-c", MAKE, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_mlflow_tells_nobody_of_its_use(uri, tmp_path):
    assert Connection(uri, tmp_path).client is not None
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("https://ada:secret@host/mlflow", "https://***@host/mlflow"),
        ("postgresql://ada:secret@host:5432/db", "postgresql://***@host:5432/db"),
        ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
    ],
)
def test_an_address_is_shown_without_its_password(tmp_path, uri, place):
    assert Connection(uri, tmp_path).place == place


def test_what_is_no_database_is_an_error_without_the_password(tmp_path):
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is no database" * 100)
    with pytest.raises(ModelError, match=r"MLflow cannot be reached.*MLFLOW_TRACKING_URI"):
        Connection(f"sqlite:///{broken}", tmp_path).client  # noqa: B018


def test_an_experiment_that_was_deleted_comes_back(uri, tmp_path):
    connection = Connection(uri, tmp_path)
    made = connection.experiment("mail")
    connection.client.delete_experiment(made)
    assert connection.experiment("mail") == made
    assert connection.client.get_experiment(made).lifecycle_stage == "active"


def test_files_of_runs_stay_in_the_workspace(uri, tmp_path):
    connection = Connection(uri, tmp_path / "mlflow")
    run = connection.run("mail", "run-a")
    assert run.info.artifact_uri.startswith((tmp_path / "mlflow").as_uri())
    assert connection.run("mail", "run-a").info.run_id == run.info.run_id


def test_opening_leaves_the_callers_warnings_as_they_were(uri, tmp_path):
    before = list(warnings.filters)
    assert Connection(uri, tmp_path).client is not None
    assert list(warnings.filters) == before


def test_asking_the_registry_does_not_load_torch(tmp_path):
    code = MAKE + "\nassert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=True)
