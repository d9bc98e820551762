"""How long each stage of the loop takes, on real parts, in one run.

    .venv/bin/python benchmarks/loop/run.py [--items 1200] [--annotated 450] [--out benchmarks/loop/results]

A fresh workspace in a temporary folder, with a Label Studio of its own that is stopped at the end: the
handwritten digits of the quickstart are pulled, pushed, annotated by two simulated annotators through Label
Studio's HTTP API, collected, committed, trained on, judged, and pre-annotated; then all of it once more with
nothing to do. Rates are per second of the stage's own time, the models' loading included.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from goldloop import loop, workbench
from goldloop.examples.digits import DIGITS, write_digits
from goldloop.recipe import load
from goldloop.settings import Settings
from goldloop.simulation import simulate
from goldloop.workspace import Workspace

ROOT = Path(__file__).parents[2]
PACKAGES = ("goldloop", "torch", "transformers", "accelerate", "datasets", "label-studio-sdk", "mlflow")


def main() -> None:
    """Measure, print a table and write it to the results."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--items", type=int, default=1200)
    parser.add_argument("--annotated", type=int, default=450)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="goldloop-benchmark-") as folder:
        rows = _measure(Path(folder), arguments.items, arguments.annotated)
    text = _report(rows, arguments.items, arguments.annotated)
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{datetime.now(UTC):%Y-%m-%d}.md").write_text(text, encoding="utf-8")


def _measure(folder: Path, items: int, annotated: int) -> list[tuple[str, float, int, str]]:
    data = write_digits(folder / "digits", per_class=items // len(DIGITS))
    recipe = load(ROOT / "configs" / "digits.yaml", [f"sources.0.url={data}"])
    workspace = Workspace(folder / "state", Settings())
    rows: list[tuple[str, float, int, str]] = []

    def timed(stage: str, work: Callable[[], Any], count: Callable[[Any], int], unit: str) -> Any:
        began = time.perf_counter()
        result = work()
        rows.append((stage, time.perf_counter() - began, count(result), unit))
        return result

    timed("up (installed)", lambda: workbench.up(workspace), lambda _: 1, "server")
    try:
        timed("pull", lambda: loop.pull(recipe, workspace), lambda books: books.total, "images")
        timed("push", lambda: loop.push(recipe, workspace), lambda pushed: pushed.created, "tasks")
        timed(
            "2 simulated annotators",
            lambda: simulate(recipe, limit=annotated, workspace=workspace),
            lambda done: sum(done.values()),
            "annotations",
        )
        timed("collect", lambda: loop.collect(recipe, workspace), lambda found: found.balance.total, "tasks")
        made = timed(
            "commit", lambda: loop.commit(recipe, workspace), lambda v: sum(v.counts.values()), "rows"
        )
        run = timed(
            "train",
            lambda: loop.train(recipe, workspace, on=made),
            lambda run: run.epochs * made.counts["train"],
            "samples",
        )
        if run.throughput is not None:
            trained = round(run.throughput.samples_per_second)
            rows.append(("one second of training steps", 1.0, trained, "samples"))
        judged = timed(
            "evaluate",
            lambda: loop.evaluate("digits/latest", workspace=workspace),
            lambda r: len(r.items),
            "items",
        )
        assert judged.items
        timed("promote", lambda: loop.promote("digits/latest", workspace=workspace), lambda _: 1, "model")
        timed("predict", lambda: loop.predict(recipe, workspace), lambda written: written, "pre-annotations")
        timed("run again, nothing to do", lambda: loop.run(recipe, workspace), lambda _: 1, "loop")
    finally:
        workbench.down(workspace)
        workspace.engine.dispose()
    return rows


def _report(rows: list[tuple[str, float, int, str]], items: int, annotated: int) -> str:
    lines = [
        f"# Stages of the loop, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"`benchmarks/loop/run.py --items {items} --annotated {annotated}`; one run, one process.",
        f"{os.cpu_count()} CPU cores ({platform.machine()}), no GPU; Python {platform.python_version()};",
        ", ".join(f"{name} {version(name)}" for name in PACKAGES) + ".",
        "",
        "| stage | seconds | what | per second |",
        "| --- | ---: | ---: | ---: |",
    ]
    for stage, seconds, count, unit in rows:
        rate = f"{count / seconds:.0f}" if count > 1 else ""
        lines.append(f"| {stage} | {seconds:.1f} | {count} {unit} | {rate} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
