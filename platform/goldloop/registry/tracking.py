"""Runs in MLflow: what a run was made from, how it goes, what came of it.

A run of goldloop's is one run of MLflow's, found by its tag, however often it was stopped and goes on.
Training does not wait for MLflow, nor does it end with it: while MLflow is away the run's own
`metrics.jsonl` holds everything, and what MLflow lacks of it is added when the run is finished.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.errors import ModelError
from goldloop.progress import Advance, Progress
from goldloop.registry.connection import Connection
from goldloop.training.events import Evaluated, Event, Note

if TYPE_CHECKING:
    from goldloop.training.run import Run

_SECONDS_BETWEEN_BATCHES = 5.0
_METRICS_PER_BATCH = 500
_LONGEST_VALUE = 500
_FILES = ("run.json", "metrics.jsonl", "report.html", "profile.json")
_NO_CURVES = frozenset(
    {"steps", "samples", "seconds", "warmup_steps", "warmup_seconds", "ceiling_flops_per_second"}
)
"""Of what is measured of the last steps: how many these were, and what is the same for all steps."""


class Tracking:
    """Where runs are tracked.

    Args:
        uri: of an MLflow server or database.
        root: a folder of this machine for what is kept beside a local database.
    """

    def __init__(self, uri: str, root: Path) -> None:
        self._connection = Connection(uri, root)

    @contextmanager
    def run(self, name: str, run: str, facts: Mapping[str, Any]) -> Iterator[Record]:
        """Track a run for as long as this lasts; one that is finished already stays as it is.

        Args:
            name: the recipe's name; MLflow's experiment.
            run: goldloop's run id.
            facts: what it is made from: `version`, and `recipe` with its `task` and `training`.

        Raises:
            ModelError: MLflow cannot be reached.
        """
        connection = self._connection
        with connection.failures():
            found = connection.run(name, run)
            record = Record(connection, found)
            if not record.finished:
                connection.client.update_run(found.info.run_id, status="RUNNING")
                _add_parameters(connection.client, found, facts)
        try:
            yield record
        except BaseException as error:
            record.end("FAILED" if isinstance(error, Exception) else "KILLED")
            raise

    def versions(self, name: str) -> set[str]:
        """The versions that runs of a recipe train on or have trained on, unfinished ones too.

        Raises:
            ModelError: MLflow cannot be reached.
        """
        connection = self._connection
        with connection.failures():
            experiment = connection.client.get_experiment_by_name(name)
            if experiment is None:
                return set()
            found: set[str] = set()
            token = None
            while True:
                page = connection.client.search_runs([experiment.experiment_id], page_token=token)
                found |= {run.data.params["version"] for run in page if "version" in run.data.params}
                token = page.token
                if not token:
                    return found


class Record:
    """One run as MLflow has it.

    Args:
        connection: where MLflow is.
        run: MLflow's run.
    """

    def __init__(self, connection: Connection, run: Any) -> None:
        self._connection = connection
        self._id = run.info.run_id
        self._waiting: list[tuple[str, float, int]] = []
        self._sent_at = time.monotonic()
        self._away = False
        self.finished = run.info.status == "FINISHED"

    def listen(self, progress: Progress, advance: Advance = lambda done: None) -> Callable[[Event], None]:
        """What to call as the run goes on: shows it, and hands it to MLflow in batches.

        Args:
            progress: is told of evaluations and notes.
            advance: is told of steps done.
        """
        done = 0

        def heard(event: Event) -> None:
            nonlocal done
            if isinstance(event, Note):
                progress.say(f"train: {event.text}")
                return
            if isinstance(event, Evaluated):
                shown = ", ".join(f"{name} {value:.4f}" for name, value in event.metrics.items())
                progress.say(f"train: epoch {event.epoch}, step {event.step}, validation {shown}")
            advance(max(event.step - done, 0))
            done = max(done, event.step)
            self._take(_metrics(asdict(event)), progress)

        return heard

    def finish(self, run: Run) -> None:
        """Add a finished run's figures and files; again, it changes nothing.

        Raises:
            ModelError: MLflow cannot be reached.
        """
        if self.finished:
            return
        client = self._connection.client
        with self._connection.failures():
            self._waiting.clear()
            self._send(self._lacking(run.folder / "metrics.jsonl"))
            self._send(self._unsent(_figures(run)))
            for file in _FILES:
                if (run.folder / file).exists():
                    client.log_artifact(self._id, str(run.folder / file))
            client.set_terminated(self._id, "FINISHED")
        self.finished = True

    def end(self, status: str) -> None:
        """Mark a run that did not come to its end; whoever goes on with it takes the mark away."""
        if not self.finished:
            with suppress(ModelError), self._connection.failures():
                self._connection.client.set_terminated(self._id, status)

    def _take(self, metrics: list[tuple[str, float, int]], progress: Progress) -> None:
        self._waiting += metrics
        if self.finished or self._away or time.monotonic() - self._sent_at < _SECONDS_BETWEEN_BATCHES:
            return
        try:
            with self._connection.failures():
                self._send(self._waiting)
        except ModelError as error:
            self._away = True
            progress.say(f"train: goes on untracked: {error}")
        self._waiting = []
        self._sent_at = time.monotonic()

    def _lacking(self, file: Path) -> list[tuple[str, float, int]]:
        """What the run wrote down and MLflow does not have."""
        if not file.exists():
            return []
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return self._unsent([metric for line in lines for metric in _metrics(line)])

    def _unsent(self, metrics: list[tuple[str, float, int]]) -> list[tuple[str, float, int]]:
        client = self._connection.client
        names = {name for name, _, _ in metrics}
        sent = {(name, past.step) for name in names for past in client.get_metric_history(self._id, name)}
        return [metric for metric in metrics if (metric[0], metric[2]) not in sent]

    def _send(self, metrics: list[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for start in range(0, len(metrics), _METRICS_PER_BATCH):
            batch = metrics[start : start + _METRICS_PER_BATCH]
            entries = [Metric(name, value, now, step) for name, value, step in batch]
            self._connection.client.log_batch(self._id, metrics=entries)


def _metrics(event: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """Name, value and step of what an event measured; from the event or its line in `metrics.jsonl`."""
    if "metrics" in event:
        return [(f"validation/{name}", value, event["step"]) for name, value in event["metrics"].items()]
    step = event["step"]
    names = [name for name in ("loss", "learning_rate", "samples_per_second") if name in event]
    speed = event.get("speed") or {}
    return [(f"train/{name}", event[name], step) for name in names] + [
        (f"speed/{name}", float(value), step)
        for name, value in speed.items()
        if value is not None and name not in _NO_CURVES
    ]


def _figures(run: Run) -> list[tuple[str, float, int]]:
    figures = {f"best/{name}": value for name, value in run.metrics.items()}
    if run.throughput is not None:
        speed = asdict(run.throughput)
        figures |= {f"throughput/{name}": value for name, value in speed.items() if value is not None}
    figures["seconds"] = run.seconds
    return [(name, float(value), run.steps) for name, value in figures.items()]


def _add_parameters(client: Any, run: Any, facts: Mapping[str, Any]) -> None:
    """Only what the run's id stands for: MLflow keeps parameters for good."""
    from mlflow.entities import Param

    recipe = facts.get("recipe", {})
    chosen = {name: recipe[name] for name in ("task", "training") if recipe.get(name) is not None}
    flat = {"version": facts.get("version"), **dict(_flat(chosen))}
    wanted = {
        name: str(value)[:_LONGEST_VALUE] for name, value in flat.items() if name not in run.data.params
    }
    entries = [Param(name, value) for name, value in wanted.items()]
    for start in range(0, len(entries), 100):
        client.log_batch(run.info.run_id, params=entries[start : start + 100])


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
