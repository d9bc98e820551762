"""A task type from elsewhere: one file in a folder, found by its entry point, held to the laws, trained."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUEST = Path(__file__).parent / "third_party" / "gauge_reading.py"

TRAINING = """
from pathlib import Path
import datasets
from goldloop.tasks import tasks
from goldloop.inference import Predictor
from goldloop.training.config import TrainingConfig
from goldloop.training.run import train

task = tasks.create({"kind": "gauge-reading", "full": 8})
rows = [
    {"key": each.item.key, "image": {"bytes": each.content, "path": None}, **task.to_row(each.target)}
    for each in task.examples()
]
features = datasets.Features({"key": datasets.Value("string"), **task.features()})
data = datasets.Dataset.from_list(rows, features=features)
config = TrainingConfig.model_validate({
    "checkpoint": {"from-config": {"model_type": "gauge"}},
    "epochs": 200, "batch_size": 4, "learning_rate": 0.01, "early_stopping": None,
})
run = train(task, config, {"train": data, "validation": data}, Path("run"), Path("cache"), {"name": "gauges"})
answers = Predictor.load(run.model).predict([each.content for each in task.examples()])
assert run.value > 0.9, run.value
truth = [each.target for each in task.examples()]
assert task.score([each.target for each in answers], truth)["closeness"] > 0.9
"""


@pytest.fixture
def guest(tmp_path):
    """A folder as `pip install` leaves one: a module, and the entry point that names it."""
    shutil.copy(GUEST, tmp_path / "gauge_reading.py")
    facts = tmp_path / "gauges-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: gauges\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[goldloop.tasks]\ngauge-reading = gauge_reading:GaugeReading\n")
    return tmp_path


def python(guest: Path, *arguments: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(guest), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_a_task_type_from_elsewhere_keeps_every_law(guest):
    suite = "tests/contracts/test_tasks.py"
    said = python(
        guest, "-m", "pytest", "-q", "-p", "no:cacheprovider", suite, "-k", "gauge-reading", folder=ROOT
    )

    assert " passed" in said
    assert " 0 passed" not in said


def test_a_task_type_from_elsewhere_trains(guest):
    python(guest, "-c", TRAINING, folder=guest)
