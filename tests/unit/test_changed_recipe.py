from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.changed_recipe import write
from goldloop.errors import RecipeError
from goldloop.recipe import load

RECIPE = """\
# What this is about.
name: notes
sources: [{kind: files, url: texts}]
task: {kind: text-classification, classes: [good, bad]}

# How it learns.
training:
  checkpoint: x/y   # any
  epochs: 3         # few
  augment: true
  lora: null
  early_stopping: {patience: 5}
  learning_rate: 1.0e-3

gates: []
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "notes.yaml"
    path.write_text(RECIPE)
    return path


def test_comments_and_order_stay(source, tmp_path):
    target = tmp_path / "new" / "better.yaml"
    overrides = ["training.epochs=7", "training.batch_size=64", "training.early_stopping.minimum_rise=0.1"]
    assert write(source, target, overrides, "Found.")
    expected = RECIPE.replace("epochs: 3 ", "epochs: 7 ").replace("training:", "# Found.\ntraining:")
    expected = expected.replace("{patience: 5}", "{patience: 5, minimum_rise: 0.1}")
    expected = expected.replace("learning_rate: 1.0e-3\n", "learning_rate: 1.0e-3\n  batch_size: 64\n")
    assert target.read_text() == expected


def test_a_recipe_may_be_changed_in_its_place_but_no_other_file(source, tmp_path):
    write(source, source, ["training.epochs=9"], "Found.")
    assert load(source).training.epochs == 9
    (tmp_path / "other.yaml").write_text("precious")
    with pytest.raises(RecipeError, match="there already"):
        write(source, tmp_path / "other.yaml", ["training.epochs=9"], "Found.")
    assert (tmp_path / "other.yaml").read_text() == "precious"
    with pytest.raises(RecipeError, match="epochs"):
        write(source, tmp_path / "wrong.yaml", ["training.epochs=0"], "Found.")
    assert not (tmp_path / "wrong.yaml").exists()


def test_what_cannot_be_set_in_its_place_is_written_anew(tmp_path):
    source = tmp_path / "notes.yaml"
    source.write_text(RECIPE.replace("early_stopping: {patience: 5}", "early_stopping:\n    patience: 5"))
    overrides = ["training.early_stopping={patience: 2}"]
    assert not write(source, tmp_path / "better.yaml", overrides, "Found.")
    text = (tmp_path / "better.yaml").read_text()
    assert "notes.yaml" in text
    assert "Found." in text
    assert load(tmp_path / "better.yaml") == load(source, overrides)


FIELDS = {
    "training.epochs": st.integers(1, 99),
    "training.batch_size": st.integers(1, 99),
    "training.learning_rate": st.floats(1e-9, 1e9),
    "training.augment.mixup": st.floats(0, 1),
    "training.lora.rank": st.integers(1, 9),
    "training.early_stopping.patience": st.integers(1, 9),
    "training.optimizer": st.sampled_from(["sgd", "nadam"]),
    "training.image_size": st.sampled_from([None, 32]),
}


@given(st.fixed_dictionaries({}, optional=FIELDS))
@settings(deadline=None, max_examples=40)
def test_the_new_recipe_is_the_old_one_with_its_overrides(tmp_path_factory, chosen):
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "notes.yaml").write_text(RECIPE)
    overrides = [f"{name}={'null' if value is None else value}" for name, value in chosen.items()]
    kept = write(folder / "notes.yaml", folder / "new.yaml", overrides, "Found.")
    assert load(folder / "new.yaml") == load(folder / "notes.yaml", overrides)
    assert kept == bool(chosen)
