"""How many requests a second does a model answer, and how soon, beside what people use today?

    flock /tmp/quiet.lock .venv/bin/python benchmarks/serving/run.py --soak-minutes 10

See README.md. Each measurement is appended to a file of JSON lines at once; started again, the command makes
what is missing, then writes the table.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import httpx
import numpy
import torch
from load import pack
from packaged import minilm_or
from servers import ARMS, Made, Server, class_of, requests_of, serving
from table import write_table

from goldloop import loop, wiring
from goldloop.recipe import parse
from goldloop.settings import Settings
from goldloop.training.record import commit, hardware
from goldloop.workspace import Workspace

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAME = "banking"
LABELLED = 1000


def main() -> None:
    """Measure what is missing, and write the table."""
    arguments = _arguments()
    file = arguments.out / f"{arguments.date or f'{datetime.now(UTC):%Y-%m-%d}'}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    bench = Bench(arguments, file, [json.loads(line) for line in kept])
    if not arguments.report_only:
        bench.measure()
    print(write_table(file.with_suffix(".md"), bench.lines, sys.argv[1:]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--warm-up", type=float, default=4)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--soak-minutes", type=float, default=0)
    parser.add_argument("--swap-seconds", type=float, default=45, help="of load while champions change")
    parser.add_argument("--threads", type=int, help="OMP_NUM_THREADS of every server; by default unset")
    parser.add_argument("--checkpoint", help="by default MiniLM; or JSON of a `from-config`")
    parser.add_argument("--labelled", type=int, default=LABELLED, help="texts that are trained on")
    parser.add_argument("--report-only", action="store_true")
    parser.add_argument("--date", help="go on with the results of this day")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "goldloop-serving")
    return parser.parse_args()


class Bench:
    """All measurements of one day."""

    def __init__(self, arguments: argparse.Namespace, file: Path, lines: list[dict[str, Any]]) -> None:
        self.arguments = arguments
        self.file = file
        self.lines = lines
        self.work = arguments.work.absolute()
        self.work.mkdir(parents=True, exist_ok=True)
        with (arguments.data / "banking77" / "test.csv").open(newline="", encoding="utf-8") as asked:
            self.texts = [row["text"] for row in csv.DictReader(asked)]

    def measure(self) -> None:
        """Make what is missing: arms in turns, then the soak, then the change of champions."""
        made = make(self.arguments, self.work)
        for repeat in range(self.arguments.repeats):
            arms = self.arguments.arms if repeat % 2 == 0 else self.arguments.arms[::-1]
            for arm in arms:
                missing = [
                    clients
                    for clients in self.arguments.clients
                    if not self._has(arm=arm, clients=clients, repeat=repeat)
                ]
                if missing:
                    self._turn(arm, made, missing, repeat)
        if self.arguments.soak_minutes and not self._has(kind="soak", minutes=self.arguments.soak_minutes):
            with self._serving("goldloop", made) as server:
                self._soak(server, made)
        if self.arguments.swap_seconds and not self._has(kind="swap"):
            with self._serving("goldloop", made) as server:
                self._swap(server, made)

    def _turn(self, arm: str, made: Made, missing: Sequence[int], repeat: int) -> None:
        with self._serving(arm, made) as server:
            self._check(arm, server, made)
            for clients in missing:
                found = self._load(server, arm, made, clients, self.arguments.seconds)
                self._add(kind="load", arm=arm, clients=clients, repeat=repeat, **summary(found))

    def _serving(self, arm: str, made: Made) -> Any:
        return serving(arm, made, self.arguments.threads, self.work / f"{arm}.log")

    def _check(self, arm: str, server: Server, made: Made) -> None:
        """Hold that an arm names the classes that goldloop's own model names, before it is timed."""
        from goldloop.inference import Predictor

        predictor = Predictor.load(made.models[0], "cpu")
        texts = self.texts[:20]
        expected = [prediction.target for prediction in predictor.predict(texts)]
        raw = [request.partition(b"\r\n\r\n") for request in requests_of(arm, made, texts)]
        with httpx.Client(trust_env=False, timeout=60) as client:
            headers = {"Content-Type": "application/json"}
            answers = [
                client.post(f"{server.url}{head.split()[1].decode()}", content=body, headers=headers).json()
                for head, _, body in raw
            ]
        if [class_of(arm, answer) for answer in answers] != expected:
            raise SystemExit(f"{arm} does not answer as the model does")

    def _load(self, server: Server, arm: str, made: Made, clients: int, seconds: float) -> dict[str, Any]:
        requests = self.work / f"{arm}.bin"
        requests.write_bytes(pack(requests_of(arm, made, self.texts)))
        asked = [server.port, requests, clients, self.arguments.warm_up, seconds]
        command = [sys.executable, str(HERE / "load.py"), "127.0.0.1", *map(str, asked)]
        return dict(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))

    def _soak(self, server: Server, made: Made) -> None:
        seconds = 60 * self.arguments.soak_minutes
        clients = max(self.arguments.clients)
        with sampled(server) as samples:
            found = self._load(server, "goldloop", made, clients, seconds)
        kept = [(at, memory) for at, memory in samples if at >= samples[-1][0] / 5]
        slope = float(numpy.polyfit(*zip(*kept, strict=True), 1)[0]) * 60 if len(kept) > 2 else None
        self._add(
            kind="soak",
            minutes=self.arguments.soak_minutes,
            clients=clients,
            memory_first=kept[0][1],
            memory_last=kept[-1][1],
            memory_most=max(memory for _, memory in samples),
            growth_per_minute=slope,
            **summary(found),
        )

    def _swap(self, server: Server, made: Made) -> None:
        """Promote one model and the other in turns while clients ask."""
        seconds, clients = self.arguments.swap_seconds, max(self.arguments.clients)
        stop, swaps = threading.Event(), []

        def swap() -> None:
            from mlflow import MlflowClient

            registry = MlflowClient(f"sqlite:///{made.home / 'mlflow.db'}")
            number = 2
            while not stop.wait(seconds / 5):
                registry.set_registered_model_alias(made.name, "champion", str(number))
                swaps.append(number)
                number = 3 - number

        changing = threading.Thread(target=swap)
        changing.start()
        found = self._load(server, "goldloop", made, clients, seconds)
        stop.set()
        changing.join()
        self._add(kind="swap", clients=clients, swaps=len(swaps), models=found["models"], **summary(found))

    def _has(self, **place: Any) -> bool:
        return any(place.items() <= line.items() for line in self.lines)

    def _add(self, **found: Any) -> None:
        line = {**found, "machine": machine()}
        self.lines.append(line)
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
        told = ("kind", "arm", "clients", "requests_per_second", "p99", "errors", "growth_per_minute")
        print({name: line[name] for name in told if name in line}, flush=True)


def make(arguments: argparse.Namespace, work: Path) -> Made:
    """A workspace with two registered models, the first of which is champion; made once."""
    home, state = work / "home", work / "made.json"
    workspace = Workspace(home, Settings())
    if not state.exists():
        source = _labelled(arguments.data / "banking77" / "train.csv", work / "train.csv", arguments.labelled)
        with source.open(newline="", encoding="utf-8") as rows:
            classes = sorted({row["category"] for row in csv.DictReader(rows)})
        entries = []
        for seed in (0, 1):
            recipe = parse(
                {
                    "name": NAME,
                    "sources": [
                        {
                            "kind": "table", "url": str(source), "text": "text",
                            "label": {"from": "category", "use": "imported"},
                        }
                    ],
                    "task": {"kind": "text-classification", "classes": classes},
                    "dataset": {"split": {"train": 0.9, "validation": 0.1, "test": 0.0}},
                    "training": {
                        "checkpoint": minilm_or(arguments.checkpoint), "max_length": 64, "epochs": 1,
                        "seed": seed,
                    },
                }
            )  # fmt: skip
            if not entries:
                loop.pull(recipe, workspace)
                loop.commit(recipe, workspace)
            run = loop.train(recipe, workspace)
            entries.append(wiring.registry(workspace).of_run(NAME, run.id))
        folders = [str(wiring.registry(workspace).download(entry)) for entry in entries]
        state.write_text(json.dumps({"models": folders, "classes": classes}), encoding="utf-8")
    from mlflow import MlflowClient

    MlflowClient(workspace.tracking_uri).set_registered_model_alias(NAME, "champion", "1")
    known = json.loads(state.read_text(encoding="utf-8"))
    return Made(home, NAME, [Path(folder) for folder in known["models"]], known["classes"])


def _labelled(source: Path, file: Path, most: int) -> Path:
    """Every so-manieth question, so that all classes are there."""
    with source.open(newline="", encoding="utf-8") as rows:
        known = list(csv.DictReader(rows))
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["text", "category"])
        writer.writerows((row["text"], row["category"]) for row in known[:: max(len(known) // most, 1)])
    return file


class sampled:  # noqa: N801
    """Within, a server's memory is read now and then: seconds since the start, and bytes."""

    def __init__(self, server: Server, every: float = 5.0) -> None:
        self.server, self.every = server, every
        self.samples: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> list[tuple[float, int]]:
        self._thread.start()
        return self.samples

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while True:
            self.samples.append((time.monotonic() - began, self.server.memory()))
            if self._stop.wait(self.every):
                return


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a load: rates and quantiles."""
    latencies = numpy.array(found["latencies"])
    quantiles = numpy.quantile(latencies, (0.5, 0.99)).tolist() if latencies.size else [None, None]
    return {
        "answers": int(latencies.size),
        "requests_per_second": latencies.size / found["seconds"],
        "p50": quantiles[0],
        "p99": quantiles[1],
        "errors": sum(found["errors"].values()),
        "error_kinds": found["errors"],
        "seconds": found["seconds"],
    }


def machine() -> dict[str, Any]:
    """Hardware and versions."""
    packages = ("goldloop", "torch", "transformers", "fastapi", "uvicorn", "uvloop", "httptools")
    return {
        **hardware(torch.device("cpu"), 1),
        "cores": len(os.sched_getaffinity(0)),
        "packages": {name: installed(name) for name in packages},
        "commit": commit(),
    }


if __name__ == "__main__":
    main()
