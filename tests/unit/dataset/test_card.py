"""The card, and what it is for: anyone's `datasets` opens the folder, without goldloop."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from huggingface_hub import DatasetCard

from goldloop.dataset.config import DatasetConfig, Split

PROGRAM = """
import json, sys
sys.modules["goldloop"] = None  # makes every import of it fail
import datasets
loaded = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])
first = loaded["train"][0]
print(json.dumps({
    "rows": {split: len(rows) for split, rows in loaded.items()},
    "classes": loaded["train"].features["label"].names,
    "labels": [loaded["train"].features["label"].int2str(row) for row in loaded["train"]["label"]],
    "keys": list(loaded["train"]["key"]),
    "size": first["image"].size if "image" in first else None,
    "text": first.get("text"),
}))
"""


def load(folder, cache) -> dict:
    """What plain `datasets` makes of a folder, in an interpreter that cannot import goldloop."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, str(folder), str(cache)],
        capture_output=True,
        text=True,
        check=False,
        env={"HF_HOME": str(cache), "HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_images_load_without_goldloop(make_images, tmp_path):
    material = make_images()
    version = material.commit()
    loaded = load(version.folder, tmp_path / "cache")
    assert loaded["rows"] == dict(version.counts)
    assert loaded["classes"] == ["circle", "square", "triangle"]
    assert loaded["size"] == [48, 48]
    expected = {label.key: label.target for label in material.labels}
    assert loaded["labels"] == [expected[key] for key in loaded["keys"]]


def test_texts_load_without_goldloop_to_the_character(make_texts, tmp_path):
    material = make_texts()
    version = material.commit()
    loaded = load(version.folder, tmp_path / "cache")
    assert loaded["rows"] == dict(version.counts)
    assert loaded["classes"] == ["yes", "no", "1"]
    assert loaded["text"] == material.items[loaded["keys"][0]].text


def test_a_version_with_one_split_loads_without_goldloop(make_texts, tmp_path):
    everything = DatasetConfig(split=Split(train=1.0, validation=0.0, test=0.0))
    version = make_texts().commit(config=everything)
    assert load(version.folder, tmp_path / "cache")["rows"] == {"train": 58}


@pytest.mark.parametrize(
    "names", [["null", "~", "a: b"], ["#x", "- y", '"z"'], ["é\N{CAT FACE}", "|", "{{ x }}"]]
)
def test_class_names_that_mean_something_to_yaml_or_markdown_survive(make_texts, tmp_path, names):
    version = make_texts(classes=names).commit()
    assert load(version.folder, tmp_path / "cache")["classes"] == names


def test_the_card_tells_the_facts(make_texts):
    material = make_texts()
    material.labels[0] = replace(
        material.labels[0], provenance="human-over-prediction", shown_models=("signs/1",)
    )
    version = material.commit(message="--- first | *try* {{ version }}\nand more")
    text = (version.folder / "README.md").read_text(encoding="utf-8")
    card = DatasetCard(text)
    assert card.data.task_categories == ["text-classification"]
    assert [each["split"] for each in card.data.configs[0]["data_files"]] == ["train", "validation", "test"]
    assert f"# {version.ref}" in text
    assert version.digest in text
    assert "--- first \\| \\*try\\* \\{\\{ version \\}\\} and more" in text
    for split, count in version.counts.items():
        assert f"| {split} | {count} |" in text
    for number, name in enumerate(version.classes):
        counts = " | ".join(str(version.class_counts[split][name]) for split in version.counts)
        assert f"| {number} | {name} | {counts} |" in text
    assert "| human-over-prediction | 1 |" in text
    assert "| open | 2 |" in text
    assert "100.0%" in text


def test_without_two_answers_the_card_says_that_agreement_is_unknown(make_texts):
    material = make_texts()
    material.labels = [replace(label, annotators=("x",), agreement=None) for label in material.labels]
    assert "nothing is known of their agreement" in (material.commit().folder / "README.md").read_text()


def test_the_card_tells_sources_suggestions_and_what_its_own_figures_say_against_it(make_texts):
    material = make_texts()
    material.labels = [
        replace(label, target="yes", provenance="human-over-prediction", shown_models=("signs/1",))
        if place < 40
        else label
        for place, label in enumerate(material.labels)
    ]
    books = {"pull 0:table": {"pulled": 60, "quarantined": 2}, "push": {"pushed": 60}}
    agreement = {"mean": 0.6, "items": 50, "alpha": 0.31}
    card = (material.commit(balances=books, agreement=agreement).folder / "README.md").read_text()
    assert "| 0:table | 60 pulled, 2 quarantined |" in card
    assert "push" not in card.partition("## Where it came from")[2].partition("##")[0]
    assert "| signs/1 | 40 |" in card
    limits = card.partition("## Known limits")[2].partition("## How to load it")[0]
    assert "- 8 of 58 labels rest on one answer" in limits
    assert "Krippendorff's alpha is 0.310" in limits
    assert "40 labels were given with a model's suggestion in sight" in limits
    assert "2 open" in limits
    assert "Rare, so little is learned or measured of it: 'no' (6), '1' (6)" in limits


def test_without_anything_against_it_the_card_says_so(make_texts):
    material = make_texts(classes=("yes", "no"))
    material.items = {label.key: material.items[label.key] for label in material.labels}
    material.outcomes = [outcome for outcome in material.outcomes if outcome.outcome == "labelled"]
    card = (
        material.commit(agreement={"mean": 1.0, "items": 58, "alpha": 1.0}).folder / "README.md"
    ).read_text()
    assert "The figures that goldloop keeps show none." in card
