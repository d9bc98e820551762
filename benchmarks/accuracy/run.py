"""Does goldloop's engine learn as much as a plain loop? Five data sets, three seeds, the same recipe.

    .venv/bin/python benchmarks/accuracy/run.py [--case banking77] [--seeds 3] [--threads 4]

Both arms start from the same weights, see every training example equally often, and are scored on the test
split by the task's own figure, their last weights each. What was found is appended to a file of JSON lines at
once; started again, the command does what is missing, then writes the table.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import datasets
import plain
import torch
import yaml
from packaged import folder_of
from table import write_table

from goldloop import loop
from goldloop.inference import Predictor
from goldloop.recipe import Recipe, load
from goldloop.settings import Settings
from goldloop.tasks import tasks
from goldloop.tasks.base import Task
from goldloop.training import run as engine
from goldloop.training.config import TrainingConfig
from goldloop.training.record import commit, hardware, packages
from goldloop.workspace import Workspace

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ARMS = ("goldloop", "plain")
_NEVER = 10**9


def main() -> None:
    """Do what is missing, print a table and write it to the results."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    cases = yaml.safe_load((HERE / "cases.yaml").read_text(encoding="utf-8"))
    chosen = arguments.case or list(cases)
    if unknown := set(chosen) - set(cases):
        raise SystemExit(f"no case {', '.join(sorted(unknown))}; there are: {', '.join(cases)}")
    day = arguments.date or f"{datetime.now(UTC):%Y-%m-%d}"
    file = arguments.out / f"{day}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (
        [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    )
    began = time.monotonic()
    # Seed by seed, so that what there is no time for is missing of all cases alike.
    for seed, name in ((seed, name) for seed in range(arguments.seeds) for name in chosen):
        minutes = (time.monotonic() - began) / 60
        if arguments.minutes is not None and minutes >= arguments.minutes:
            print(f"{minutes:.0f} minutes are over: the same command goes on with what is missing")
            break
        lines += _pair(name, cases[name], seed, arguments, lines, file)
    text = write_table(file.with_suffix(".md"), cases, lines)
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", help="only this one; may be given again")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--epochs", type=int, help="fewer than the case says, to try it")
    parser.add_argument("--minutes", type=float, help="begin nothing more after that")
    parser.add_argument("--date", help="go on with the results of this day")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def _pair(
    name: str,
    case: Mapping[str, Any],
    seed: int,
    arguments: argparse.Namespace,
    lines: list[Any],
    file: Path,
) -> list[dict[str, Any]]:
    """Train what is missing of one seed of a case; the new lines."""
    known = {(line["case"], line["arm"], line["seed"]) for line in lines}
    # Forth and back, so that what wears on the machine wears on both.
    asked = [arm for arm in (ARMS if seed % 2 == 0 else ARMS[::-1]) if (name, arm, seed) not in known]
    if not asked:
        return []
    found = []
    with tempfile.TemporaryDirectory(prefix="goldloop-accuracy-") as folder:
        recipe = _recipe(case, arguments)
        task, splits = _splits(recipe, Path(folder), case.get("examples"))
        for arm in asked:
            config = recipe.training.model_copy(update={"seed": seed})
            began = time.perf_counter()
            figures = _trained(arm, task, config, splits, Path(folder) / f"{arm}-{seed}")
            line = {
                "case": name,
                "arm": arm,
                "seed": seed,
                "metric": task.metric,
                "value": figures[task.metric],
                "figures": figures,
                "seconds": time.perf_counter() - began,
                "items": {split: len(rows) for split, rows in splits.items()},
                "training": config.model_dump(mode="json", by_alias=True, exclude={"checkpoint"}),
                "packages": packages(),
                "hardware": hardware(torch.device("cuda" if torch.cuda.is_available() else "cpu"), 1),
                "commit": commit(),
            }
            with file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")
            found.append(line)
            print(
                f"{name} {arm} seed {seed}: {task.metric} {line['value']:.4f}, {line['seconds']:.0f} s",
                flush=True,
            )
    return found


def _recipe(case: Mapping[str, Any], arguments: argparse.Namespace) -> Recipe:
    settings = dict(case["training"])
    if arguments.epochs:
        settings["epochs"] = arguments.epochs
    if "checkpoint" in settings:
        settings["checkpoint"] = str(folder_of(settings["checkpoint"]))
    # Both arms keep their last weights: there is nothing to choose and nothing to stop at.
    settings |= {"early_stopping": None, "evaluate_every": _NEVER}
    changes = [f"training.{name}={json.dumps(value)}" for name, value in settings.items()]
    source = [f"sources.0.url={arguments.data.absolute() / case['source']}", "sources.0.label.use=imported"]
    return load(ROOT / "configs" / f"{case['recipe']}.yaml", [*source, *changes])


def _splits(
    recipe: Recipe, folder: Path, examples: int | None
) -> tuple[Task[Any], dict[str, datasets.Dataset]]:
    """The data set as a version with splits, the first training examples of it, and the task."""
    workspace = Workspace(folder / "state", Settings())
    try:
        loop.pull(recipe, workspace)
        version = loop.commit(recipe, workspace)
        rows = {split: version.dataset(split) for split in ("train", "test")}
    finally:
        workspace.engine.dispose()
    if examples is not None:
        # Rows are in the order of their keys, which are digests: the first are as good as drawn by lot.
        rows["train"] = rows["train"].select(range(min(examples, len(rows["train"]))))
    return tasks.create(version.task), rows


def _trained(
    arm: str, task: Task[Any], config: TrainingConfig, splits: Mapping[str, datasets.Dataset], folder: Path
) -> dict[str, float]:
    """The figures on the test split."""
    if arm == "goldloop":
        done = engine.train(
            task,
            config,
            {"train": splits["train"]},
            folder,
            folder.parent / "cache",
            {},
            checkpoint_seconds=_NEVER,
        )
        model = Predictor.load(done.model).model
    else:
        # The same start as goldloop's: its head is drawn from the same seed.
        from accelerate.utils import set_seed

        set_seed(config.seed)
        texts = task.training_texts(splits["train"])
        model = task.model(config.checkpoint_argument(), texts=texts, settings=config.model_settings())
        plain.train(task, model, config, splits["train"])
    return plain.score(task, model, splits["test"], config.batch_size)


if __name__ == "__main__":
    main()
