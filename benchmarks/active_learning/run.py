"""How many labels does each strategy need, through a real Label Studio, and does the label budget hold?

    .venv/bin/python benchmarks/active_learning/run.py [--size small] [--seeds 3] [--cases banking77]

See README.md. Every arm's line is written as soon as it is known; started again on the same day, or with
`--date`, the command does what is missing, then writes the table.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1]))

import arm
import backtest
import cases
import table
import torch

from goldloop import workbench
from goldloop.settings import Settings
from goldloop.training.record import commit, hardware
from goldloop.workspace import Workspace

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGES = ("goldloop", "label-studio-sdk", "scikit-learn", "torch", "transformers")


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        steps: numbers of labels after each round; the last is the reference's.
        strategies: which.
        at, more: where the label budget is held against what came.
        items: so many items to be labelled, and as many that judge; None: all.
        seeds: how many.
    """

    steps: tuple[int, ...]
    strategies: tuple[str, ...]
    at: tuple[int, ...]
    more: tuple[int, ...]
    items: int | None
    seeds: int


SIZES = {
    "full": Size(
        (100, 200, 300, 400, 600, 800, 1000, 1200, 1400, 1600, 1800, 2000),
        tuple(arm.STRATEGIES),
        (400, 800),
        (200, 400, 800),
        None,
        3,
    ),
    "small": Size((60, 120, 180, 240), ("random", "margin"), (120,), (60, 120), 600, 1),
    "tiny": Size((24, 48, 72), ("random", "mix"), (48,), (24,), 100, 1),
}


def main() -> None:
    """Do what is missing, print a table and write it to the results."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    size = SIZES[arguments.size]
    if arguments.strategies:
        size = replace(size, strategies=tuple(arguments.strategies))
    name = arguments.date or f"{datetime.now(UTC):%Y-%m-%d}"
    file = arguments.out / (f"{name}.jsonl" if arguments.size == "full" else f"{name}-{arguments.size}.jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    known = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    lines = [json.loads(line) for line in known]

    def keep(line: dict[str, Any]) -> None:
        lines.append(line)
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    made = facts(" ".join(sys.argv[1:]), arguments.threads)
    measure(arguments, size, lines, keep)
    strategies = SIZES[arguments.size].strategies
    asked = [{"case": case, "strategy": each} for case in cases.NAMES for each in strategies]
    text = table.report(made, lines, asked)
    file.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def measure(
    arguments: argparse.Namespace,
    size: Size,
    lines: Sequence[dict[str, Any]],
    keep: Callable[[dict[str, Any]], None],
) -> None:
    """All arms that have no line yet; random goes first, as it sets the target.

    Args:
        arguments: of the command.
        size: how much.
        lines: what is known; `keep` adds to it.
        keep: takes a line as soon as it is known.
    """
    with _label_studio() as (workspace, folder):
        cache = arguments.scratch or folder / "cache"
        for name in arguments.cases:
            case = cases.read(name, arguments.data, folder / name, cache, size.items)
            # Sets that are smaller than the last step end with as many rounds as they have labels for.
            steps = [step for step in size.steps if step <= len(case.pool)]
            for seed in range(arguments.seeds or size.seeds):
                for strategy in size.strategies:
                    if _line(lines, name, seed, strategy) is None:
                        first = _line(lines, name, seed, "random")
                        target = None if strategy == "random" else (first or {})["target"]
                        line, labels = arm.run(
                            case, strategy, seed, workspace, steps, target, arguments.wrong
                        )
                        if strategy == "random":
                            # Before the arm's own line: who has that has these too.
                            order = sorted(labels, key=lambda key: arm.drawn(seed, key))
                            for test in backtest.backtests(case, order, labels, size.at, size.more, seed):
                                if not any(_is_same(test, known) for known in lines):
                                    keep(test)
                        keep(line)


def _line(lines: Sequence[dict[str, Any]], case: str, seed: int, strategy: str) -> dict[str, Any] | None:
    found = (
        line for line in lines if (line["case"], line["seed"], line.get("strategy")) == (case, seed, strategy)
    )
    return next(found, None)


def _is_same(test: dict[str, Any], line: dict[str, Any]) -> bool:
    return all(line.get(name) == test[name] for name in ("case", "seed", "at", "more"))


@contextmanager
def _label_studio() -> Iterator[tuple[Workspace, Path]]:
    """A workspace with a Label Studio of its own; both go at the end."""
    with tempfile.TemporaryDirectory(prefix="goldloop-active-") as folder:
        workspace = Workspace(Path(folder) / "state", Settings())
        workbench.up(workspace)
        try:
            yield workspace, Path(folder)
        finally:
            workbench.down(workspace)
            workspace.engine.dispose()


def facts(arguments: str, threads: int) -> dict[str, Any]:
    """What was measured with, and on what."""
    return {
        "command": f"benchmarks/active_learning/run.py {arguments}".strip(),
        "hardware": hardware(torch.device("cpu"), 1) | {"threads": threads},
        "packages": {name: version(name) for name in PACKAGES},
        "commit": commit(),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=list(SIZES), default="full")
    parser.add_argument("--cases", nargs="+", choices=cases.NAMES, default=list(cases.NAMES))
    parser.add_argument("--strategies", nargs="+", choices=list(arm.STRATEGIES), help="random comes first")
    parser.add_argument("--scratch", type=Path, help="keep embeddings there")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--wrong", type=float, default=0.0, help="share of answers that are wrong")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--date", help="go on with the results of this day")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
