"""What is looked at where there is no champion, or too little that could tell."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from goldloop import loop, production
from goldloop.drifting import drift
from goldloop.errors import VersionError
from goldloop.monitoring.drawn import drawn, held_out
from goldloop.recipe import Recipe, parse
from goldloop.records import Item, content_key

NORMAL = ("rain", "snow", "wind", "sun", "storm", "cloud")
STRANGE = ("null", "pointer", "stack", "frame", "kernel", "segment")


def _text(number: int, words: tuple[str, ...] = NORMAL) -> str:
    chance = random.Random(number)
    return " ".join(chance.choices(words, k=6)) + f" {number * 7919 % 10_000}"


def _write(folder: Path, first: int, count: int, words: tuple[str, ...] = NORMAL) -> None:
    for number in range(first, first + count):
        place = folder / ("good" if number % 2 else "bad")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.txt").write_text(_text(number, words))


def _recipe(folder: Path, **settings: object) -> Recipe:
    label = {"from": "folder", "use": "imported"}
    return parse(
        {
            "name": "notes",
            "sources": [{"kind": "files", "url": str(folder), "label": label}],
            "task": {"kind": "text-classification", "classes": ["good", "bad"]},
            "drift": {"min_items": 20, **settings},
        }
    )


def test_without_a_champion_items_are_held_against_the_latest_version(workspace, tmp_path):
    recipe = _recipe(tmp_path / "texts")
    _write(tmp_path / "texts", 0, 80)
    loop.pull(recipe, workspace)
    with pytest.raises(VersionError):
        drift(recipe, workspace)
    version = loop.commit(recipe, workspace)
    found = drift(recipe, workspace)
    assert (found.version, found.champion, found.came) == (version.ref, None, 0)
    assert {shift.state for shift in found.shifts} == {"unknown"}
    assert found.shifts[0].why == "0 recent items, it takes 20"
    _write(tmp_path / "texts", 100, 40)
    loop.pull(recipe, workspace)
    calm = drift(recipe, workspace)
    assert (calm.found, calm.came, calm.seen_by) == ((), 40, "plain features")
    states = {shift.what: shift.state for shift in calm.shifts}
    assert (states["input"], states["confidence"]) == ("none", "unknown")
    _write(tmp_path / "texts", 200, 40, STRANGE)
    loop.pull(recipe, workspace)
    assert {"input", "input-classifier"} <= set(drift(recipe, workspace).found)


def test_only_requests_are_looked_at_where_the_recipe_says_so(workspace, tmp_path):
    recipe = _recipe(tmp_path / "texts", recent="production")
    _write(tmp_path / "texts", 0, 80)
    loop.pull(recipe, workspace)
    loop.commit(recipe, workspace)
    _write(tmp_path / "texts", 200, 40, STRANGE)
    folder = production.folder_of(workspace) / "notes" / "2026-01-31"
    folder.mkdir(parents=True)
    for number in range(300, 330):
        text = _text(number)
        (folder / f"{content_key(text.encode())}.text").write_text(text)
    loop.pull(recipe, workspace)
    found = drift(recipe, workspace)
    assert (found.came, found.found) == (30, ())


def _items(count: int, group: int = 1) -> dict[str, Item]:
    keys = [content_key(str(number).encode()) for number in range(count)]
    return {
        key: Item(
            key=key, modality="text", uri=key, group=str(number // group), source="", media_type="text/plain"
        )
        for number, key in enumerate(keys)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("train", "test", "left", "expected"),
    [
        (80, 20, 0, (20, 0)),
        (80, 20, 100, (20, 20)),
        (8, 2, 990, (2, 198)),
        (0, 0, 50, (0, 50)),
        (50, 0, 0, (0, 0)),
    ],
    ids=["all-labelled", "half-labelled", "hardly-labelled", "none-labelled", "no-test"],
)
def test_the_reference_is_of_labelled_and_open_items_as_the_whole_is(train, test, left, expected):
    items = _items(train + test + left)
    splits = dict(zip(items, ["train"] * train + ["test"] * test + [None] * left, strict=True))
    found = [splits[item.key] for item in held_out(items, splits, 500, 0)]
    assert "train" not in found
    assert (found.count("test"), found.count(None)) == expected


def test_of_a_group_one_item_is_drawn_and_more_items_keep_those_that_were():
    items = _items(60, group=3)
    chosen = drawn(items.values(), 10, 0)
    assert len({item.group for item in chosen}) == len(chosen) == 10
    assert len(drawn(items.values(), 500, 0)) == 20
    assert drawn(list(items.values())[::-1], 10, 0) == chosen
    assert drawn(items.values(), 10, 1) != chosen
