"""Commits that settle only what is new make the very versions that commits of everything make."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from goldloop import loop
from goldloop.catalog import reopened, server_side
from goldloop.catalog.content import items_of
from goldloop.catalog.ledger import entries
from goldloop.catalog.tables import annotations as annotation_table
from goldloop.dataset.answers import read_answers
from goldloop.dataset.certificate import figures, verify
from goldloop.dataset.ledger import Ledger
from goldloop.dataset.manifest import Manifest
from goldloop.dataset.version import Version
from goldloop.holders.remembered import Remembered
from goldloop.progress import Silent
from goldloop.recipe import Recipe, parse
from goldloop.records import Annotation, Reopened, content_key
from goldloop.settings import Settings
from goldloop.workspace import Workspace

CLASSES = ["yes", "no", "perhaps"]
PLACE = server_side.Place("requests", "embedded")
AT = "2026-01-01T00:00:00Z"
WORDS = [f"{first}{second}" for first in "bdfglmnprst" for second in ("ada", "ebo", "ine", "olu", "uva")]


class Heard(Silent):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@dataclass
class Project:
    """Texts, and what two people say of them."""

    random: random.Random
    texts: dict[int, tuple[str, str]] = field(default_factory=dict)
    answers: dict[tuple[int, str], str] = field(default_factory=dict)
    sent: set[int] = field(default_factory=set)
    again: dict[int, str] = field(default_factory=dict)
    next: int = 0

    def add(self, text: str | None = None, customer: str = "") -> None:
        drawn = " ".join(self.random.choices(WORDS, k=12)) + f" {self.next}"
        self.texts[self.next] = (drawn if text is None else text, customer)
        self.answer(self.next)
        self.next += 1

    def answer(self, number: int) -> None:
        target = self.random.choice(CLASSES)
        for name in ("annotator-1", "annotator-2"):
            differs = self.random.random() < 0.1
            self.answers[number, name] = self.random.choice(CLASSES) if differs else target

    def step(self) -> None:
        """Some change or other."""
        draw, known = self.random.random(), sorted(self.texts)
        number = self.random.choice(known)
        if draw < 0.3:
            self.answer(number)
        elif draw < 0.4:
            self.answers.pop((number, "annotator-2"), None)
        elif draw < 0.55:
            self.add()
        elif draw < 0.65:
            self.add(self.texts[number][0].upper() + "!")
        elif draw < 0.75:
            self.add(customer=self.random.choice(["Ada", "Bo"]))
        elif draw < 0.85:
            del self.texts[number]
        elif draw < 0.92:
            # Not among others: those may be in another split already, which is refused.
            self.texts[number] = (self.texts[number][0], self.random.choice(["", f"moved {number}"]))
        elif number in self.sent:
            self.again[number] = self.random.choice(CLASSES)
        elif (number, "annotator-1") in self.answers:
            self.sent.add(number)

    def write(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text", "customer"])
            writer.writerows([number, *told] for number, told in sorted(self.texts.items()))

    def acts(self, keys: dict[int, str]) -> Iterator[Annotation]:
        given = [(number, name, target, 0) for (number, name), target in sorted(self.answers.items())]
        given += [(number, "annotator-3", target, 1) for number, target in sorted(self.again.items())]
        for number, name, target, later in given:
            if number in keys:
                yield Annotation(
                    id=10 * number + int(name[-1]),
                    task_id=number,
                    key=keys[number],
                    annotator=name,
                    results=({"type": "choices", "from_name": "label", "to_name": "text",
                              "value": {"choices": [target]}},),
                    cancelled=False,
                    created_at=AT,
                    updated_at=f"2026-01-0{1 + later}T00:00:00Z",
                    lead_time=1.0,
                    shown_model=None,
                )  # fmt: skip


def recipe_of(path: Path, **dataset: Any) -> Recipe:
    source = {"kind": "table", "url": str(path), "text": "text", "id": "id", "group": "customer"}
    return parse(
        {
            "name": "requests",
            "sources": [source],
            "task": {"kind": "text-classification", "classes": CLASSES},
            "dataset": dataset,
        }
    )


def collected(workspace: Workspace, recipe: Recipe, project: Project) -> None:
    """Have the catalog know what a pull and a collection would have found."""
    loop.pull(recipe, workspace)
    keys = {number: content_key(text.encode()) for number, (text, _) in project.texts.items()}
    with workspace.engine.begin() as connection:
        there = {item.key for item in items_of(connection, "requests", ("current", "gone"))}
        acts = list(project.acts({number: key for number, key in keys.items() if key in there}))
        connection.execute(delete(annotation_table).where(*PLACE.where(annotation_table)))
        server_side.note_annotations(connection, PLACE, acts)
        sent = [number for number in sorted(project.sent) if number in keys]
        reopened.ask(connection, PLACE, [asked(keys[number], number) for number in sent])


def asked(key: str, number: int) -> reopened.Request:
    known = frozenset((10 * number + who, AT) for who in (1, 2))
    return reopened.Request(Reopened(key=key, reason="doubtful", given="yes", known=known), number, 2, "open")


def told(workspace: Workspace, version: Version) -> dict[str, Any]:
    """All that a version says, but for how its rows lie in files."""
    ledger = Ledger([version.folder / part.path for part in Manifest.load(version.folder).ledger])
    certificate = figures(version.folder)
    with workspace.engine.connect() as connection:
        books = entries(connection, "requests", "commit")
    return {
        "digest": version.digest,
        "rows": {split: version.dataset(split).to_list() for split in version.counts},
        "lines": [(line.key, line.outcome, line.reason, line.split, line.held) for line in ledger.lines()],
        "answers": list(read_answers(version.folder)),
        "books": sorted((each.subject, each.outcome, each.reason) for each in books),
        "certificate": {name: certificate[name] for name in ("rows", "annotators", "ledger", "reviewed")},
        "agreement": [certificate["agreement"][name] for name in ("mean", "items")],
        "counts": (version.counts, version.class_counts, version.policies, version.duplicates),
    }


@pytest.mark.parametrize("policy", ["group", "stratified"])
@pytest.mark.parametrize("seed", range(2))
def test_a_commit_of_what_is_new_is_that_of_everything(tmp_path, seed, policy):
    project = Project(random.Random(seed))
    for _ in range(220):
        project.add()
    recipe = recipe_of(tmp_path / "texts.csv", split={"policy": policy})
    one, other = (Workspace(tmp_path / name, Settings()) for name in ("one", "other"))
    anew = []
    for step in range(16):
        if step:
            for _ in range(project.random.randint(0, 3)):
                project.step()
        project.write(tmp_path / "texts.csv")
        versions = []
        for workspace in (one, other):
            collected(workspace, recipe, project)
            heard = Heard()
            if workspace is other:
                (workspace.cache / "settled" / "requests.arrow").unlink(missing_ok=True)
            versions.append(loop.commit(recipe, workspace, heard))
            anew.append((workspace is one, any("settled anew" in line for line in heard.lines)))
        assert verify(versions[0].folder) == []
        assert told(one, versions[0]) == told(other, versions[1])
    assert sum(is_one and by_changes for is_one, by_changes in anew) >= 8
    assert not any(by_changes for is_one, by_changes in anew if not is_one)


def test_what_bears_on_all_answers_is_carried_and_says_of_which_version_it_is(tmp_path):
    project = Project(random.Random(5))
    for _ in range(100):
        project.add()
    recipe = recipe_of(tmp_path / "texts.csv")
    workspace = Workspace(tmp_path / "state", Settings())
    project.write(tmp_path / "texts.csv")
    collected(workspace, recipe, project)
    first = loop.commit(recipe, workspace)
    project.answers[7, "annotator-1"] = project.answers[7, "annotator-2"] = "perhaps"
    project.answers[8, "annotator-1"] = project.answers[8, "annotator-2"] = "perhaps"
    collected(workspace, recipe, project)
    second = loop.commit(recipe, workspace)
    before, after = (figures(version.folder)["agreement"] for version in (first, second))
    assert second.digest != first.digest
    assert after["as_of"] == first.digest
    assert after["alpha"] == before["alpha"]
    assert f"as of `{first.digest[:12]}`" in (second.folder / "README.md").read_text()
    # More than five in a hundred are more than a few: all of it is computed anew.
    for number in range(10, 30):
        project.answers[number, "annotator-1"] = project.answers[number, "annotator-2"] = "perhaps"
    collected(workspace, recipe, project)
    third = figures(loop.commit(recipe, workspace).folder)["agreement"]
    assert "as_of" not in third
    assert third["alpha"] != before["alpha"]


def test_nothing_is_taken_as_settled_once_anything_is_asked_otherwise(tmp_path):
    project = Project(random.Random(6))
    for _ in range(60):
        project.add()
    project.write(tmp_path / "texts.csv")
    workspace = Workspace(tmp_path / "state", Settings())
    collected(workspace, recipe_of(tmp_path / "texts.csv"), project)
    loop.commit(recipe_of(tmp_path / "texts.csv"), workspace)
    again, other, temporal = Heard(), Heard(), Heard()
    loop.commit(recipe_of(tmp_path / "texts.csv"), workspace, again)
    loop.commit(recipe_of(tmp_path / "texts.csv", consensus="unanimous"), workspace, other)
    weighed = recipe_of(tmp_path / "texts.csv", consensus="dawid-skene")
    loop.commit(weighed, workspace)
    loop.commit(weighed, workspace, temporal)
    assert [any("settled anew" in line for line in each.lines) for each in (again, other, temporal)] == [
        True,
        False,
        False,
    ]


def test_a_version_that_broke_is_made_whole_by_a_commit_of_nothing_new(tmp_path):
    project = Project(random.Random(7))
    for _ in range(60):
        project.add()
    recipe = recipe_of(tmp_path / "texts.csv")
    project.write(tmp_path / "texts.csv")
    workspace = Workspace(tmp_path / "state", Settings())
    collected(workspace, recipe, project)
    version = loop.commit(recipe, workspace)
    shard = next(version.folder.glob("data/train-*.parquet"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    assert verify(version.folder) != []
    assert loop.commit(recipe, workspace) == version
    assert verify(version.folder) == []


def test_what_was_settled_for_another_version_than_the_last_counts_for_nothing(tmp_path):
    """As after a kill between the version and its memory."""
    project = Project(random.Random(9))
    for _ in range(100):
        project.add()
    recipe = recipe_of(tmp_path / "texts.csv")
    project.write(tmp_path / "texts.csv")
    one, other = (Workspace(tmp_path / name, Settings()) for name in ("one", "other"))
    path = one.cache / "settled" / "requests.arrow"
    for number in range(3):
        for name in ("annotator-1", "annotator-2"):
            project.answers[number, name] = "yes"
            project.answers[50 + number, name] = "no"
        for workspace in (one, other):
            collected(workspace, recipe, project)
        kept = path.read_bytes() if path.exists() else None
        heard = Heard()
        version = loop.commit(recipe, one, heard)
        assert any("settled anew" in line for line in heard.lines) == (number == 1)
        (other.cache / "settled" / "requests.arrow").unlink(missing_ok=True)
        assert told(one, version) == told(other, loop.commit(recipe, other))
        if number == 1 and kept is not None:
            path.write_bytes(kept)


def test_what_is_forgotten_is_not_remembered_either(tmp_path):
    project = Project(random.Random(10))
    for _ in range(30):
        project.add()
    recipe = recipe_of(tmp_path / "texts.csv")
    project.write(tmp_path / "texts.csv")
    workspace = Workspace(tmp_path / "state", Settings())
    collected(workspace, recipe, project)
    loop.commit(recipe, workspace)
    key, other = (content_key(text.encode()) for text in (project.texts[3][0], "another"))
    memory = Remembered(workspace)
    assert len(memory.find(key)) == 1
    assert memory.find(other) == memory.erase(other, Silent()) == []
    memory.erase(key, Silent())
    assert memory.find(key) == list((workspace.cache / "settled").iterdir()) == []


def test_a_remembered_settlement_that_cannot_be_read_is_none(tmp_path):
    project = Project(random.Random(8))
    for _ in range(60):
        project.add()
    recipe = recipe_of(tmp_path / "texts.csv")
    project.write(tmp_path / "texts.csv")
    workspace = Workspace(tmp_path / "state", Settings())
    collected(workspace, recipe, project)
    version = loop.commit(recipe, workspace)
    path = workspace.cache / "settled" / "requests.arrow"
    path.write_bytes(path.read_bytes()[:-200])
    heard = Heard()
    assert loop.commit(recipe, workspace, heard) == version
    assert not any("settled anew" in line for line in heard.lines)
    assert json.loads((version.folder / "goldloop" / "version.json").read_text())["digest"] == version.digest
