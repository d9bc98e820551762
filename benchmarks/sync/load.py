"""The load, the same for every way of sending it: short texts, a prediction and two annotations each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text">'
    '<Choice value="yes"/><Choice value="no"/></Choices></View>'
)
MODEL = "benchmark/1"
BATCH = 1_000
"""Tasks in a request, of every way that sends many in one."""
AT_ONCE = {"sqlite": 1, "postgresql": 2}
"""Imports that goldloop sends a server at a time: SQLite loses what such imports bring."""


def text(number: int) -> str:
    """About 200 characters that are no other task's."""
    return f"Request {number} of a customer who writes in to ask about an order. " * 3


def results(choice: str) -> list[dict[str, Any]]:
    """One answer."""
    return [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}]


def requests(count: int) -> Iterator[list[dict[str, Any]]]:
    """Tasks as the import wants them, in batches."""
    for start in range(0, count, BATCH):
        yield [
            {
                "data": {"text": text(number)},
                "annotations": [
                    {"result": results(choice), "ground_truth": False} for choice in ("yes", "no")
                ],
                "predictions": [{"result": results("yes"), "model_version": MODEL, "score": 0.5}],
            }
            for number in range(start, min(start + BATCH, count))
        ]


def write_recipe(folder: Path, count: int, imports: int = 1, repeat: int = 0) -> Path:
    """A recipe whose source has these texts, and of which so many imports are sent at a time.

    Args:
        folder: where it is written.
        count: how many texts.
        imports: at a time.
        repeat: recipes of different numbers have a project each.
    """
    name = f"sync-{count}" + (f"-{repeat}" if repeat else "")
    folder.mkdir(parents=True, exist_ok=True)
    rows = folder / f"rows-{count}.jsonl"
    with rows.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps({"id": number, "text": text(number)}) + "\n")
    recipe = folder / f"{name}.yaml"
    recipe.write_text(
        f"name: {name}\n"
        f"sources: [{{kind: table, url: {rows}, text: text}}]\n"
        "task: {kind: text-classification, classes: ['yes', 'no']}\n"
        f"labeling: {{annotators_per_item: 1, parallel_imports: {imports}}}\n",
        encoding="utf-8",
    )
    return recipe
