"""Doubtful labels of a version, by embeddings and by folds that are trained; and all findings in one page."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import goldloop.training.run as training_run
from goldloop import loop
from goldloop.assessment import quality_
from goldloop.errors import TrainingError, VersionError
from goldloop.records import content_key
from goldloop.suspicion import suspects
from goldloop.tasks import tasks

TRAINING = {"epochs": 20}


@pytest.fixture
def spoiled(notes) -> tuple[list[tuple[str, str]], set[str]]:
    """Texts about two things, of which four have the other's label; and those four."""
    rows = notes.rows(60)
    flipped = {text for text, _ in random.Random(0).sample(rows, 4)}
    other = {"food": "weather", "weather": "food"}
    return [(text, other[name] if text in flipped else name) for text, name in rows], flipped


@pytest.fixture
def committed(notes, spoiled, tmp_path, workspace):
    rows, flipped = spoiled
    recipe = notes.recipe(tmp_path, rows, training=TRAINING)
    loop.pull(recipe, workspace)
    version = loop.commit(recipe, workspace)
    return recipe, version, flipped


def _texts(version) -> dict[str, str]:
    return {row["key"]: row["text"] for split in version.counts for row in version.dataset(split)}


def test_folds_that_are_trained_find_planted_flips_and_go_on_where_they_were_killed(
    committed, workspace, monkeypatch
):
    recipe, version, flipped = committed
    real, trained = training_run.train, []

    def dies(*arguments, **options):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(arguments[3].name)
        return real(*arguments, **options)

    monkeypatch.setattr(training_run, "train", dies)
    with pytest.raises(KeyboardInterrupt):
        suspects(recipe, workspace, folds=3)
    monkeypatch.setattr(training_run, "train", lambda *a, **o: trained.append(a[3].name) or real(*a, **o))

    found = suspects(recipe, workspace, folds=3)

    assert trained == ["fold-0", "fold-1", "fold-2"]
    texts = _texts(version)
    assert len(found.items) == len(texts) == 120
    # A network as small as this one may believe one of the four; by chance not even one would be there.
    doubted = {texts[suspect.key] for suspect in found.items[:6]}
    assert len(doubted & flipped) >= 3
    assert found.way == "training"
    assert found.value > 0.85
    assert "bert, trained for each fold" in found.model
    page = Path(found.page).read_text()
    assert all(text in page for text in doubted & flipped)
    left = {path.name for path in Path(found.page).parent.iterdir()}
    assert left == {"suspects.json", "suspects.html"}
    # By name, with the recipe's own settings unknown, nothing can judge; a recipe finds what is there.
    assert suspects(recipe, workspace, folds=3) == found
    assert len(trained) == 3
    with pytest.raises(TrainingError, match="which model"):
        suspects("notes", workspace)


def test_embeddings_are_computed_once_and_find_planted_flips(
    notes, spoiled, tmp_path, workspace, unlearned_checkpoint, monkeypatch
):
    rows, flipped = spoiled
    recipe = notes.recipe(tmp_path, rows, training={**TRAINING, "checkpoint": str(unlearned_checkpoint)})
    loop.pull(recipe, workspace)
    version = loop.commit(recipe, workspace)
    texts = _texts(version)

    found = suspects(recipe, workspace)

    assert found.way == "embeddings"
    assert {texts[suspect.key] for suspect in found.items[:6]} >= flipped
    assert str(unlearned_checkpoint.parent) not in json.dumps(found.facts()["model"])
    task = tasks.get("text-classification")
    monkeypatch.setattr(task, "prepare", lambda *_: pytest.fail("nothing is left to embed"))
    again = suspects(recipe, workspace, folds=3)
    assert again.folds == 3
    assert {texts[suspect.key] for suspect in again.items[:6]} >= flipped


def test_a_version_of_few_items_and_answers_without_classes_say_what_is_missing(notes, tmp_path, workspace):
    recipe = notes.recipe(tmp_path, notes.rows(1))
    loop.pull(recipe, workspace)
    loop.commit(recipe, workspace)
    with pytest.raises(VersionError, match="too few items"):
        suspects(recipe, workspace)


def test_all_findings_stand_in_one_page_and_in_json(committed, workspace):
    recipe, version, _ = committed

    found = quality_(recipe, workspace, folds=3)

    kinds = [finding.kind for finding in found.findings]
    assert sorted(kinds) == [
        "agreement",
        "conflicts",
        "imbalance",
        "outliers",
        "shortcuts",
        "suspects",
        "sway",
    ]
    by_kind = {finding.kind: finding for finding in found.findings}
    assert kinds[0] == "suspects"
    assert by_kind["suspects"].state == "act"
    assert by_kind["imbalance"].state == "fine"
    assert by_kind["agreement"].state == "unknown"
    page = found.page.read_text()
    for finding in found.findings:
        assert finding.title in page
    assert json.loads(found.page.with_suffix(".json").read_text())["version"] == version.ref
    assert "<script" not in page
    # Known by name alone, what needs no model is told all the same.
    by_name = {finding.kind: finding for finding in quality_("notes", workspace).findings}
    assert by_name["suspects"].state == "unknown"
    assert by_name["imbalance"] == by_kind["imbalance"]


def test_near_duplicates_with_two_labels_are_shown_together_and_are_among_the_suspects(
    notes, tmp_path, workspace
):
    pair = [
        "Please bring the soup, the bread and the cheese to table nine",
        "please bring the soup the bread and the cheese to table nine!!",
    ]
    rows = [*notes.rows(30), *zip(pair, notes.words, strict=True)]
    recipe = notes.recipe(tmp_path, rows, training=TRAINING)
    loop.pull(recipe, workspace)
    loop.commit(recipe, workspace)
    keys = {content_key(text.encode()) for text in pair}

    found = suspects(recipe, workspace, folds=3)
    assert keys <= {suspect.key for suspect in found.flagged}
    assert all("a near-duplicate" in each.reason for each in found.items if each.key in keys)

    looked = {finding.kind: finding for finding in quality_(recipe, workspace, folds=3).findings}
    assert looked["conflicts"].state == "act"
    assert {example.key for example in looked["conflicts"].examples} == keys
    page = Path(quality_(recipe, workspace, folds=3).page).read_text()
    assert all(key in page for key in keys)
