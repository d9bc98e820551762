from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from goldloop.errors import RecipeError
from goldloop.recipe import load, parse

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def _fields(**changes):
    return {
        "name": "pets",
        "sources": [{"kind": "files", "url": "photos"}],
        "task": {"kind": "image-classification", "classes": ["cat", "dog"]},
        "training": {"checkpoint": "somewhere/something"},
    } | changes


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "pets.yaml"
    path.write_text(yaml.safe_dump(_fields()))
    return path


def test_there_are_recipes_to_check():
    assert len(CONFIGS) >= 4


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_that_we_ship_is_valid(path):
    assert load(path).name == path.stem


def test_an_override_changes_one_field(recipe):
    loaded = load(recipe, ["training.epochs=3", "sources.0.limit=7", "labeling.select.strategy=uncertainty"])
    assert loaded.training.epochs == 3
    assert loaded.sources[0].limit == 7
    assert loaded.labeling.select.strategy.kind == "uncertainty"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "form a.b=c"),
        ("training.epoch=3", "did you mean 'epochs'"),
        ("sources.4.limit=1", "number below 1"),
        ("name.first=x", "no fields of its own"),
        ("training.epochs=[", "not YAML"),
    ],
)
def test_a_wrong_override_is_refused(recipe, override, message):
    with pytest.raises(RecipeError, match=message):
        load(recipe, [override])


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        ({"trainnig": {}}, "trainnig", "did you mean 'training'"),
        ({"training": {"checkpoint": "x", "epoch": 3}}, "training.epoch", "did you mean 'epochs'"),
        ({"training": {"checkpoint": "x", "epochs": "many"}}, "training.epochs", "found 'many'"),
        ({"training": {}}, "training.checkpoint", "needed"),
        ({"sources": [{"kind": "files", "urll": "x"}]}, "sources.0", "did you mean 'url'"),
        ({"sources": [{"kind": "file", "url": "x"}]}, "sources.0", "Did you mean 'files'"),
        ({"sources": []}, "sources", "at least 1"),
        ({"task": {"kind": "image-clasification", "classes": ["a", "b"]}}, "task", "image-classification"),
        ({"task": {"kind": "image-classification", "classes": ["a", "a"]}}, "task", "a"),
        (
            {"gates": [{"kind": "at-least", "metric": "accuracy", "valeu": 1}]},
            "gates.0",
            "did you mean 'value'",
        ),
        ({"name": "Pets & co"}, "name", "Pets & co"),
        ({"dataset": {"split": {"train": 0.9, "validation": 0.2, "test": 0.1}}}, "dataset.split", "not to 1"),
        ({"training": {"checkpoint": {"from-config": {}}}}, "training.checkpoint", "model_type"),
    ],
)
def test_a_mistake_names_the_field_and_what_was_meant(changes, place, message):
    with pytest.raises(RecipeError) as caught:
        parse(_fields(**changes))
    assert place in str(caught.value)
    assert message in str(caught.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(RecipeError) as caught:
        parse(_fields(trainnig={}, labelling={}))
    assert "training" in str(caught.value)
    assert "labeling" in str(caught.value)


def test_a_missing_recipe_says_how_to_make_one(tmp_path):
    with pytest.raises(RecipeError, match="goldloop init"):
        load(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", "{a: [", "\x00"])
def test_what_is_no_recipe_is_refused(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"odd\.yaml"):
        load(path)


def test_yaml_tags_that_would_run_code_are_refused(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text("name: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(RecipeError, match="not YAML"):
        load(path)


def test_the_digest_is_of_what_the_recipe_says_and_not_of_how_it_is_written(recipe, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(_fields(labeling={"annotators_per_item": 1}), sort_keys=True, indent=8))
    assert load(other).digest() == load(recipe).digest()
    assert load(other).digest() != load(recipe, ["labeling.annotators_per_item=2"]).digest()


def test_a_resolved_recipe_reads_back_as_itself(recipe):
    loaded = load(recipe)
    assert parse(loaded.model_dump(mode="json", by_alias=True)) == loaded
