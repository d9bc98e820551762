"""The one way to MLflow: opened on first use, quiet on the terminal, its failures as goldloop's errors.

With an address of a database (SQLite in the workspace, by default) files stay where they are on this
machine; with that of a server they are sent to it.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from goldloop.errors import ModelError

RUN_TAG = "goldloop.run"
"""On MLflow's runs and model versions: goldloop's run id."""

_NOISY = ("mlflow.store", "mlflow.tracking", "alembic")

_SETTINGS = {
    # Nobody is told what is done here.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A server that is down is noticed in seconds, not in minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""What MLflow finds in its environment where the user has not said otherwise."""


class Connection:
    """MLflow at an address.

    Args:
        uri: of a server or a database.
        root: a folder of this machine for what is kept beside a local database, and for what is fetched.
    """

    def __init__(self, uri: str, root: Path) -> None:
        self.uri = uri
        self.root = root.absolute()

    @property
    def remote(self) -> bool:
        """Whether files must be sent to where the address is."""
        return urlsplit(self.uri).scheme in ("http", "https")

    @property
    def place(self) -> str:
        """The address as it may be shown: without a password."""
        parts = urlsplit(self.uri)
        secret = parts.netloc.rpartition("@")[0]
        return self.uri.replace(f"{secret}@", "***@", 1) if secret else self.uri

    @cached_property
    def client(self) -> Any:
        """An `MlflowClient`; the database is made on first use, which takes some seconds."""
        with self.failures(), _quiet():
            from mlflow.tracking import MlflowClient

            self._make_database()
            return MlflowClient(self.uri, self.uri)

    def experiment(self, name: str) -> str:
        """The id of the experiment of a recipe; made if need be."""
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            files = None if self.remote else (self.root / "artifacts" / name).as_uri()
            try:
                return str(self.client.create_experiment(name, artifact_location=files))
            except MlflowException:
                # Another process was quicker, or MLflow has something against the name and says it again.
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def run(self, name: str, run: str) -> Any:
        """MLflow's run of a run of goldloop's; made if need be."""
        experiment = self.experiment(name)
        found = self.client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{run}'", max_results=1)
        if found:
            return found[0]
        return self.client.create_run(experiment, tags={RUN_TAG: run}, run_name=run)

    @contextmanager
    def failures(self) -> Iterator[None]:
        """What fails in MLflow fails as a ModelError that says where."""
        with _quiet():
            from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            said = str(error).strip() or type(error).__name__
            raise ModelError(
                "MLflow cannot be reached, or refuses",
                where=self.place,
                found=said.splitlines()[0].replace(self.uri, self.place)[:300],
                remedy="Check MLFLOW_TRACKING_URI, and that what it names is up and can be written to",
            ) from error

    def _make_database(self) -> None:
        """Make a new SQLite database aside: a process killed in between leaves none that is half made."""
        path = _sqlite_path(self.uri)
        if path is None or path.exists():
            return
        from mlflow.store.tracking import sqlalchemy_store

        make_store: Any = sqlalchemy_store.SqlAlchemyStore
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.unlink(missing_ok=True)
        try:
            store: Any = make_store(f"sqlite:///{aside}", (self.root / "artifacts").as_uri())
            store.engine.dispose()
            # Of two processes that make one at once, the first one's stays.
            with suppress(FileExistsError):
                path.hardlink_to(aside)
        finally:
            aside.unlink(missing_ok=True)


def _sqlite_path(uri: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)) if uri.startswith(prefix) and uri != prefix else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Import and open MLflow without its notes on what it does."""
    from sqlalchemy.exc import SADeprecationWarning

    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The ``noload`` loader", category=SADeprecationWarning)
        import mlflow.tracking  # noqa: F401  # it sets its loggers up, so it comes before their levels

        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.WARNING)
        yield
