"""Model folders, reports and verdicts small enough to register by the dozen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from goldloop.evaluation.gates.base import Verdict
from goldloop.evaluation.report import Report, evaluate
from goldloop.inference import save_model
from goldloop.records import Prediction
from goldloop.registry.models import Registry
from goldloop.tasks import tasks


@pytest.fixture
def passed() -> Verdict:
    """A gate that lets a model through."""
    return Verdict(gate="at-least accuracy 0.5", passed=True, figure=0.9, explanation="0.900 reaches 0.5")


@pytest.fixture
def refused() -> Verdict:
    """A gate that does not."""
    return Verdict(gate="at-least accuracy 0.95", passed=False, figure=0.9, explanation="0.050 below 0.95")


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, made once; each test has a copy."""
    root = tmp_path_factory.mktemp("mlflow")
    Registry(f"sqlite:///{root / 'empty.db'}", root / "files").models()
    return root / "empty.db"


@pytest.fixture
def uri(database: Path, tmp_path: Path) -> str:
    """An MLflow of the test's own."""
    copy = tmp_path / "mlflow.db"
    copy.write_bytes(database.read_bytes())
    return f"sqlite:///{copy}"


@pytest.fixture
def registry(uri: str, tmp_path: Path) -> Registry:
    return Registry(uri, tmp_path / "mlflow")


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model folder."""

    torch.manual_seed(0)
    task = tasks.create(tasks.get("text-classification").example_config())
    folder = tmp_path_factory.mktemp("saved") / "model"
    recipe = {"training": {"checkpoint": "some-team/some-encoder"}}
    save_model(folder, task, task.example_model(), {"recipe": recipe})
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A model folder of a run of this name."""
    import shutil

    def make(run: str) -> Path:
        place = tmp_path / "runs" / run / "model"
        shutil.copytree(saved, place)
        return place

    return make


@pytest.fixture
def register(registry: Registry, folder: Callable[[str], Path]) -> Callable[[str], object]:
    """Register the model of a run."""

    def make(run: str, name: str = "mail"):
        return registry.register(
            name, folder(run), run=run, version="mail@abc", metric="accuracy", value=0.875
        )

    return make


@pytest.fixture(scope="session")
def report() -> Report:
    """Nine of ten right."""
    task = tasks.create(tasks.get("text-classification").example_config())
    rows = [{"key": f"{n:02}", "text": f"{n}", "label": n % 3, "shown_models": []} for n in range(30)]

    def predict(contents):
        numbers = [int(content) for content in contents]
        return [
            Prediction(target=task.classes[(number + (number % 10 == 0)) % 3], confidence=0.9)
            for number in numbers
        ]

    names = {"name": "mail", "model": "mail/1", "version": "mail@0123456789abcdef", "split": "test"}
    return evaluate(task, rows, predict, **names)


@pytest.fixture(autouse=True)
def _quiet_loggers(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """MLflow says nothing below a warning, whatever a test does."""
    yield
    said = [entry for entry in caplog.get_records("call") if entry.name.startswith(("mlflow", "alembic"))]
    assert not [entry for entry in said if entry.levelno < logging.WARNING]
