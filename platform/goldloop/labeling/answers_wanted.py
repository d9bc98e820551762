"""How many people are asked about each item: most about as many, some about more.

Label Studio makes all tasks of a project alike; those that more people are to answer are changed afterwards,
one by one. What was set is noted with the recipe's stages, so that a later push changes only what is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from goldloop.catalog import server_side, stages
from goldloop.catalog.server_side import Place
from goldloop.labeling.config import LabelingConfig
from goldloop.progress import Progress
from goldloop.records import Item

if TYPE_CHECKING:
    from goldloop.labeling.client import LabelStudioClient

_STAGE = "overlap"
_SAVE_EVERY = 50


def share_of(purpose: str, key: str) -> float:
    """A number in [0, 1) that depends on purpose and content alone: what is below a share is of it."""
    digest = hashlib.sha256(f"{purpose}:{key}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def is_control(config: LabelingConfig, item: Item) -> bool:
    """Whether an item's known answer is there to measure annotators by; they are not told."""
    known = item.label_use == "truth" and item.label is not None
    return known and config.controls is not None and share_of("control", item.key) < config.controls.share


def is_blind(config: LabelingConfig, key: str) -> bool:
    """Whether nobody is shown a suggestion on an item."""
    return share_of("blind", key) < config.blind


def wanted(config: LabelingConfig, item: Item) -> int:
    """How many people are asked about an item."""
    numbers = [config.annotators_per_item]
    if config.overlap is not None and share_of("overlap", item.key) < config.overlap.share:
        numbers.append(config.overlap.annotators)
    if config.controls is not None and is_control(config, item):
        numbers.append(config.controls.annotators)
    return max(numbers)


def apply(
    engine: Engine,
    place: Place,
    client: LabelStudioClient,
    config: LabelingConfig,
    items: Iterable[Item],
    progress: Progress,
) -> int:
    """Ask as many people about each of these items' tasks as the recipe says; returns how many were changed.

    Killed at any moment and called again, it goes on.
    """
    before = noted(engine, place)
    if config.overlap is None and config.controls is None and not before:
        return 0
    with engine.connect() as connection:
        live = server_side.tasks_of(connection, place)
    asked = {
        str(live[item.key]): wanted(config, item)
        for item in items
        if item.key in live and wanted(config, item) != config.annotators_per_item
    }
    there = {str(task) for task in live.values()}
    done = {task: people for task, people in before.items() if task in there}
    # What was asked of more people and is not any more is made like all others.
    new = {
        task: asked.get(task, config.annotators_per_item)
        for task in sorted(asked.keys() | done.keys(), key=int)
        if asked.get(task) != done.get(task)
    }
    if not new:
        return 0
    with progress.track("overlap", len(new)) as advance:
        for number, (task, people) in enumerate(new.items(), start=1):
            client.set_overlap(int(task), people)
            if task in asked:
                done[task] = people
            else:
                done.pop(task, None)
            if number % _SAVE_EVERY == 0:
                _note(engine, place, done)
            advance(1)
    _note(engine, place, done)
    return len(new)


def take_back(engine: Engine, place: Place, client: LabelStudioClient, overlap: int) -> None:
    """Make all tasks alike, before their number changes: Label Studio would change these alone.

    What is taken back here is set again by the next push.
    """
    with engine.connect() as connection:
        there = set(server_side.tasks_of(connection, place).values())
    for task in noted(engine, place):
        if int(task) in there:
            client.set_overlap(int(task), overlap)
    _note(engine, place, {})


def noted(engine: Engine, place: Place) -> dict[str, int]:
    """Task id -> how many people it was opened for, where that differs from the others."""
    with engine.connect() as connection:
        result = stages.result_of(connection, place.recipe, _STAGE) or {}
    found: Mapping[str, int] = result.get(place.server, {})
    return dict(found)


def _note(engine: Engine, place: Place, done: Mapping[str, int]) -> None:
    with engine.begin() as connection:
        before = stages.result_of(connection, place.recipe, _STAGE) or {}
        stages.finish(connection, place.recipe, _STAGE, place.server, {**before, place.server: dict(done)})
