from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from goldloop.registry.tracking import Tracking
from goldloop.training.events import Evaluated, Note, StepLogged
from goldloop.training.record import Run
from goldloop.training.throughput import Throughput

FACTS = {
    "version": "mail@abc",
    "recipe": {
        "name": "mail",
        "task": {"kind": "text-classification", "classes": ["a", "b"]},
        "training": {"checkpoint": {"from-config": {"model_type": "bert"}}, "epochs": 3},
        "gates": [],
    },
}
SPEED = Throughput(
    samples_per_second=52.0,
    tokens_per_second=900.0,
    padded_tokens_per_second=1000.0,
    useful_token_share=0.9,
    step_p50=0.1,
    step_p95=0.2,
    data_wait_share=0.25,
    peak_memory_bytes=2000,
    steps=5,
    samples=40,
    seconds=0.8,
    warmup_steps=0,
    warmup_seconds=0.0,
)
EVENTS = [
    StepLogged(step=5, total=10, epoch=1, loss=1.5, learning_rate=0.1, samples_per_second=50.0),
    Evaluated(step=5, epoch=1, metrics={"accuracy": 0.5}, best=True),
    Note("something to know"),
    StepLogged(step=10, total=10, epoch=2, loss=0.5, learning_rate=0.05, samples_per_second=60.0),
    Evaluated(step=10, epoch=2, metrics={"accuracy": 0.75}, best=True),
]


class Heard:
    """What a terminal would have shown."""

    def __init__(self):
        self.lines, self.done = [], 0

    def say(self, text):
        self.lines.append(text)

    def advance(self, done):
        self.done += done

    @contextmanager
    def track(self, what, total=None):
        yield self.advance


@pytest.fixture
def tracking(uri, tmp_path):
    return Tracking(uri, tmp_path / "mlflow")


@pytest.fixture
def client(uri):
    return MlflowClient(uri, uri)


@pytest.fixture
def finished(tmp_path) -> Run:
    """A run as training leaves it behind."""
    folder = tmp_path / "run"
    folder.mkdir()
    lines = [json.dumps(asdict(event)) for event in EVENTS if not isinstance(event, Note)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "run.json").write_text("{}")
    (folder / "report.html").write_text("<!doctype html>")
    throughput = Throughput(
        samples_per_second=55.0,
        tokens_per_second=None,
        padded_tokens_per_second=None,
        useful_token_share=None,
        step_p50=0.1,
        step_p95=0.2,
        data_wait_share=0.0,
        peak_memory_bytes=1000,
        steps=10,
        samples=100,
        seconds=2.0,
        warmup_steps=1,
        warmup_seconds=0.1,
    )
    return Run(
        id="run-a",
        folder=folder,
        metric="accuracy",
        value=0.75,
        metrics={"accuracy": 0.75},
        chosen="best",
        throughput=throughput,
        seconds=3.0,
        epochs=2,
        steps=10,
    )


def runs(client, name="mail"):
    return client.search_runs([client.get_experiment_by_name(name).experiment_id])


def history(client, run, name):
    return [(past.step, past.value) for past in client.get_metric_history(run.info.run_id, name)]


def tell(record, events=EVENTS):
    heard = Heard()
    listen = record.listen(heard, heard.advance)
    for event in events:
        listen(event)
    return heard


def test_a_run_has_its_parameters_history_figures_and_files(tracking, client, finished):
    with tracking.run("mail", "run-a", FACTS) as record:
        tell(record)
        record.finish(finished)
    (run,) = runs(client)
    assert run.info.status == "FINISHED"
    assert run.data.tags["goldloop.run"] == "run-a"
    assert run.data.params["training.checkpoint.from-config.model_type"] == "bert"
    assert run.data.params["version"] == "mail@abc"
    assert history(client, run, "train/loss") == [(5, 1.5), (10, 0.5)]
    assert history(client, run, "validation/accuracy") == [(5, 0.5), (10, 0.75)]
    assert run.data.metrics["best/accuracy"] == 0.75
    assert run.data.metrics["throughput/samples_per_second"] == 55.0
    assert "throughput/tokens_per_second" not in run.data.metrics
    files = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert files == ["metrics.jsonl", "report.html", "run.json"]


def test_what_the_meter_measures_becomes_curves(tracking, client, finished):
    """From the events while the run goes on, and from its file where MLflow was away."""
    told = [replace(event, speed=SPEED) for event in EVENTS if isinstance(event, StepLogged)]
    (finished.folder / "metrics.jsonl").write_text(
        "".join(json.dumps(asdict(event)) + "\n" for event in told)
    )
    with tracking.run("mail", "run-a", FACTS) as record:
        tell(record, told[:1])
        record.finish(finished)
    (run,) = runs(client)
    curves = {
        "samples_per_second": 52.0,
        "tokens_per_second": 900.0,
        "padded_tokens_per_second": 1000.0,
        "useful_token_share": 0.9,
        "data_wait_share": 0.25,
        "peak_memory_bytes": 2000.0,
    }
    for name, value in curves.items():
        assert history(client, run, f"speed/{name}") == [(5, value), (10, value)]
    assert history(client, run, "train/learning_rate") == [(5, 0.1), (10, 0.05)]
    assert not [name for name in run.data.metrics if name.startswith("speed/warmup")]
    assert "speed/steps" not in run.data.metrics


def test_the_page_of_a_run_can_be_fetched_from_mlflow(tracking, client, finished, tmp_path):
    with tracking.run("mail", "run-a", FACTS) as record:
        record.finish(finished)
    fetched = client.download_artifacts(runs(client)[0].info.run_id, "report.html", str(tmp_path))
    assert Path(fetched).read_text() == "<!doctype html>"


def test_the_terminal_hears_of_evaluations_notes_and_steps(tracking):
    with tracking.run("mail", "run-a", FACTS) as record:
        heard = tell(record)
    assert heard.lines == [
        "train: epoch 1, step 5, validation accuracy 0.5000",
        "train: something to know",
        "train: epoch 2, step 10, validation accuracy 0.7500",
    ]
    assert heard.done == 10


def test_a_run_that_was_stopped_goes_on_in_the_same_run_without_doubles(
    tracking, client, finished, monkeypatch
):
    monkeypatch.setattr("goldloop.registry.tracking._SECONDS_BETWEEN_BATCHES", 0)

    def interrupted():
        with tracking.run("mail", "run-a", FACTS) as record:
            tell(record, EVENTS[:2])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (stopped,) = runs(client)
    assert stopped.info.status == "KILLED"
    assert history(client, stopped, "train/loss") == [(5, 1.5)]
    with tracking.run("mail", "run-a", FACTS) as record:
        assert runs(client)[0].info.status == "RUNNING"
        tell(record, EVENTS[3:])
        record.finish(finished)
    (run,) = runs(client)
    assert run.info.run_id == stopped.info.run_id
    assert run.info.status == "FINISHED"
    assert history(client, run, "train/loss") == [(5, 1.5), (10, 0.5)]


def test_a_finished_run_is_left_as_it_is(tracking, client, finished):
    for _ in range(2):
        with tracking.run("mail", "run-a", FACTS) as record:
            tell(record)
            record.finish(finished)
    (run,) = runs(client)
    assert history(client, run, "train/loss") == [(5, 1.5), (10, 0.5)]
    assert history(client, run, "best/accuracy") == [(10, 0.75)]


def test_an_error_marks_the_run_as_failed(tracking, client):
    with pytest.raises(ValueError, match="broken"), tracking.run("mail", "run-a", FACTS):
        raise ValueError("broken")
    assert runs(client)[0].info.status == "FAILED"


def test_training_goes_on_while_mlflow_is_away_and_nothing_is_lost(tracking, client, finished, monkeypatch):
    monkeypatch.setattr("goldloop.registry.tracking._SECONDS_BETWEEN_BATCHES", 0)
    whole = MlflowClient.log_batch

    def away(*arguments, **named):
        if "metrics" in named:
            raise MlflowException("connection refused")
        return whole(*arguments, **named)

    with tracking.run("mail", "run-a", FACTS) as record:
        monkeypatch.setattr(MlflowClient, "log_batch", away)
        heard = tell(record)
        assert sum("goes on untracked" in line for line in heard.lines) == 1
        monkeypatch.setattr(MlflowClient, "log_batch", whole)
        record.finish(finished)
    assert history(client, runs(client)[0], "train/loss") == [(5, 1.5), (10, 0.5)]


def test_a_recipe_whose_other_sections_changed_is_the_same_run(tracking, client):
    with tracking.run("mail", "run-a", FACTS):
        pass
    changed = {**FACTS, "recipe": {**FACTS["recipe"], "gates": [{"kind": "at-least"}]}}
    with tracking.run("mail", "run-a", changed):
        pass
    assert len(runs(client)) == 1


def test_a_parameter_longer_than_mlflow_takes_is_cut(tracking, client):
    task = {"classes": ["a class with a long name"] * 1000}
    with tracking.run("mail", "run-a", {"recipe": {"task": task}}):
        pass
    assert len(runs(client)[0].data.params["task.classes"]) == 500
