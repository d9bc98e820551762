"""Do the gates refuse what they should, and does `goldloop blame` find out why? See README.md.

.venv/bin/python benchmarks/gates/run.py [--seeds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import torch
from packaged import minilm_or

from goldloop import loop, wiring
from goldloop.attribution import blame
from goldloop.evaluation.gates.base import Verdict
from goldloop.recipe import Recipe, parse
from goldloop.settings import Settings
from goldloop.training.record import commit, hardware
from goldloop.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
NAME = "banking"
PACKAGES = ("goldloop", "torch", "transformers", "accelerate", "mlflow")
WRONG = 0.05

Row = tuple[str, str, str]
"""Text, label and split."""


def main() -> None:
    """Do the seeds that are missing, print the tables and write them to the results."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--questions", type=int, default=2000, help="that the champion learns from")
    parser.add_argument("--judges", type=int, help="so many test questions; by default all")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--checkpoint", help="by default MiniLM; or JSON of a `from-config`")
    parser.add_argument("--date", help="go on with the results of this day")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    day = arguments.date or f"{datetime.now(UTC):%Y-%m-%d}"
    file = arguments.out / f"{day}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    for seed in range(arguments.seeds):
        if any(line["seed"] == seed for line in lines):
            continue
        with tempfile.TemporaryDirectory(prefix="goldloop-gates-") as folder:
            line = Trial(arguments, Path(folder), seed).go()
        lines.append(line)
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
        file.with_suffix(".md").write_text(report(arguments, day, lines), encoding="utf-8")
    print(report(arguments, day, lines))


class Trial:
    """One champion and its two challengers.

    Args:
        arguments: of the command.
        folder: where.
        seed: what is drawn: the questions, and which labels are wrong.
    """

    def __init__(self, arguments: argparse.Namespace, folder: Path, seed: int) -> None:
        self.arguments, self.folder, self.seed = arguments, folder, seed
        self.workspace = Workspace(folder / "home", Settings())
        self.chance = random.Random(seed)
        known = _questions(arguments.data / "banking77" / "train.csv")
        self.chance.shuffle(known)
        judges = _questions(arguments.data / "banking77" / "test.csv")
        self.judges = [(*pair, "test") for pair in judges[: arguments.judges]]
        self.classes = sorted({label for _, label in known})
        held = arguments.questions // 10
        self.validation = [(*pair, "validation") for pair in known[:held]]
        self.first = [(*pair, "train") for pair in known[held : held + arguments.questions]]
        self.more = [(*pair, "train") for pair in known[held + arguments.questions :]]

    def go(self) -> dict[str, Any]:
        """Train them all; what was said of them."""
        champion = self._model([*self.validation, *self.first], {})
        wrong = self._model([*self.validation, *self._flipped(self.first)], {"weight_decay": 0.02})
        found = blame(wrong["model"], champion["model"], workspace=self.workspace)
        misread, taken_for = self._mistaken(champion["recall"])
        larger = [*self.first, *self.more[: 2 * len(self.first)]]
        misled = [(text, taken_for if label == misread else label, split) for text, label, split in larger]
        uneven = self._model([*self.validation, *misled], {})
        self.workspace.engine.dispose()
        return {
            "seed": self.seed,
            "champion": champion,
            "wrong": wrong,
            "blame": found.facts(),
            "headline": found.headline(),
            "misread": misread,
            "taken_for": taken_for,
            "uneven": uneven,
        }

    def _model(self, rows: Sequence[Row], training: dict[str, Any]) -> dict[str, Any]:
        recipe = self._recipe(rows, training)
        loop.pull(recipe, self.workspace)
        version_ = loop.commit(recipe, self.workspace)
        run = loop.train(recipe, self.workspace)
        entry = wiring.registry(self.workspace).of_run(NAME, run.id)
        promotion = loop.promote(entry.ref, workspace=self.workspace)
        report = loop.evaluate(entry.ref, workspace=self.workspace)
        figure = report.metrics["accuracy"]
        return {
            "model": entry.ref,
            "version": version_.ref,
            "accuracy": [figure.value, figure.low, figure.high],
            "recall": {label: figures["recall"] for label, figures in report.per_class.items()},
            "promoted": promotion.promoted,
            "verdicts": [_told(verdict) for verdict in promotion.verdicts],
        }

    def _recipe(self, rows: Sequence[Row], training: dict[str, Any]) -> Recipe:
        table = self.folder / "questions.csv"
        with table.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(["text", "category", "split"])
            writer.writerows([*rows, *self.judges])
        source = {"kind": "table", "url": str(table), "text": "text", "metadata": ["split"]}
        label = {"from": "category", "use": "imported"}
        return parse(
            {
                "name": NAME,
                "sources": [{**source, "label": label}],
                "task": {"kind": "text-classification", "classes": self.classes},
                "dataset": {"split": {"policy": {"kind": "predefined", "leaks": "keep-out"}}},
                "training": {
                    "checkpoint": minilm_or(self.arguments.checkpoint), "max_length": 64,
                    "epochs": self.arguments.epochs, "batch_size": 32, "learning_rate": 3.0e-4,
                    "early_stopping": None, "seed": self.seed, **training,
                },
                "gates": [
                    {"kind": "no-worse-than-champion", "metric": "accuracy"},
                    {"kind": "no-worse-on-slices"},
                ],
            }
        )  # fmt: skip

    def _flipped(self, rows: Sequence[Row]) -> list[Row]:
        """One of twenty labels is another one, drawn by lot."""
        wrong = set(self.chance.sample(range(len(rows)), round(WRONG * len(rows))))
        return [
            (text, self._other(label) if number in wrong else label, split)
            for number, (text, label, split) in enumerate(rows)
        ]

    def _other(self, label: str) -> str:
        return self.chance.choice([each for each in self.classes if each != label])

    def _mistaken(self, recall: Mapping[str, float]) -> tuple[str, str]:
        """An intent that the champion reads well, and the one that somebody takes it for, by lot."""
        misread = self.chance.choice(well_read(recall))
        return misread, self._other(misread)


def well_read(recall: Mapping[str, float]) -> list[str]:
    """The third of the intents that a model reads best, the best first."""
    best = sorted(recall, key=lambda label: (-recall[label], label))
    return best[: max(round(len(best) / 3), 1)]


def _told(verdict: Verdict) -> dict[str, Any]:
    return {
        "gate": verdict.gate,
        "passed": verdict.passed,
        "explanation": verdict.explanation,
        "examples": len(verdict.examples),
    }


def _questions(file: Path) -> list[tuple[str, str]]:
    with file.open(newline="", encoding="utf-8") as rows:
        return [(row["text"], row["category"]) for row in csv.DictReader(rows)]


def report(arguments: argparse.Namespace, day: str, lines: Sequence[dict[str, Any]]) -> str:
    """The tables."""
    made = hardware(torch.device("cpu"), 1)
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    first = [line["blame"]["causes"][0]["factor"] for line in lines]
    told = [
        f"# Gates and blame, {day}",
        "",
        f"`benchmarks/gates/run.py --seeds {len(lines)} --questions {arguments.questions} --epochs "
        f"{arguments.epochs}` at {(commit() or 'unknown')[:7]}; {made['cpus']} "
        f"CPU cores ({made['machine']}), {made['threads']} threads; Python {made['python']}; {packages}.",
        "",
        f"banking77, MiniLM, {arguments.questions:,} questions of the champion, {arguments.epochs} epochs, "
        f"judged by {arguments.judges or 'all 3,080'} of its own test questions.",
        "",
        f"## {WRONG:.0%} of the labels wrong by lot",
        "",
        f"Refused in {sum(not line['wrong']['promoted'] for line in lines)} of {len(lines)}; blame puts the "
        f"labels first in {first.count('labels')} of {len(lines)}.",
        "",
        "| seed | champion | challenger | verdict | labels give back | settings | another seed |",
        "| ---: | ---: | ---: | --- | ---: | ---: | ---: |",
        *(_wrong_row(line) for line in lines),
        "",
        "## Three times the questions, and every question of one intent taken for another",
        "",
        f"Refused in {sum(not line['uneven']['promoted'] for line in lines)} of {len(lines)}; that intent is "
        f"named in {sum(_named(line) for line in lines)} of {len(lines)}.",
        "",
        "| seed | the intent | taken for | champion | challenger | against the champion | on its slices |",
        "| ---: | --- | --- | ---: | ---: | --- | --- |",
        *(_uneven_row(line) for line in lines),
    ]
    return "\n".join(told) + "\n"


def _wrong_row(line: dict[str, Any]) -> str:
    gains = {cause["factor"]: cause for cause in line["blame"]["causes"]}
    refused = [each["explanation"] for each in line["wrong"]["verdicts"] if not each["passed"]]
    shown = " | ".join(_gain(gains[factor]) for factor in ("labels", "settings", "seed"))
    return (
        f"| {line['seed']} | {line['champion']['accuracy'][0]:.3f} | {line['wrong']['accuracy'][0]:.3f} "
        f"| {'; '.join(refused) or 'let through'} | {shown} |"
    )


def _gain(cause: dict[str, Any]) -> str:
    return f"{cause['gain']:+.3f} ({cause['low']:+.3f} to {cause['high']:+.3f})"


def _uneven_row(line: dict[str, Any]) -> str:
    champion, uneven = line["champion"], line["uneven"]
    said = [
        f"{'passed' if verdict['passed'] else 'refused'}: {verdict['explanation']}"
        for verdict in uneven["verdicts"]
    ]
    figures = [f"{model['accuracy'][0]:.3f}" for model in (champion, uneven)]
    told = [str(line["seed"]), line["misread"], line["taken_for"], *figures, *said]
    return f"| {' | '.join(told)} |"


def _named(line: dict[str, Any]) -> bool:
    """Whether a refusal names the intent that is misread."""
    refused = [verdict["explanation"] for verdict in line["uneven"]["verdicts"] if not verdict["passed"]]
    return any(f"class {line['misread']!r}" in explanation for explanation in refused)


if __name__ == "__main__":
    main()
