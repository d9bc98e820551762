from __future__ import annotations

import io
import json

import datasets
import pytest
from PIL import Image

from goldloop.connectors import connectors
from goldloop.connectors.base import Found, Kept, NothingKnown
from goldloop.errors import SourceError
from goldloop.records import Item, Quarantined


def _png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


def _read(dataset, known=None, **fields) -> list[Found | Kept]:
    section = {"kind": "huggingface", "dataset": str(dataset), **fields}
    return list(connectors.create(section).read(known or NothingKnown()))


@pytest.fixture
def saved(tmp_path):
    """A dataset of images with classes, as `save_to_disk` leaves it."""
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    rows = {"image": [{"bytes": _png(shade), "path": None} for shade in (1, 2, 3)], "label": [0, 1, -1]}
    made = datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features=features)})
    made.save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def test_images_are_the_bytes_that_they_are_and_class_ids_come_as_names(saved):
    items = [each.entry for each in _read(saved, image="image", label={"from": "label", "use": "truth"})]
    assert [item.content for item in items] == [_png(1), _png(2), _png(3)]
    assert [item.label for item in items] == ["cat", "dog", None]
    assert items[0].uri == f"{saved}/default/train#0"


def test_a_folder_of_data_files_is_read_by_split(tmp_path):
    for split, words in (("train", ["one", "two"]), ("test", ["three"])):
        lines = "".join(json.dumps({"id": f"{split}-{word}", "words": word}) + "\n" for word in words)
        (tmp_path / f"{split}.jsonl").write_text(lines)
    assert [each.entry.text for each in _read(tmp_path, text="words", split="test")] == ["three"]
    found = [each.entry.uri for each in _read(tmp_path, text="words", id="id", filter="words != 'one'")]
    assert found == [f"{tmp_path}/default/train#train-two"]


def test_an_image_folder_is_read_from_its_files(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "a.png").write_bytes(_png(ord(name[0])))
    (tmp_path / "train" / "dog" / "b.png").write_bytes(b"no image")
    found = [
        each.entry for each in _read(tmp_path, image="image", label={"from": "label", "use": "imported"})
    ]
    assert [entry.label for entry in found if isinstance(entry, Item)] == ["cat", "dog"]
    assert sum(isinstance(entry, Quarantined) for entry in found) == 1


def test_shards_are_parts_of_which_only_the_missing_are_read(tmp_path):
    for shard in range(3):
        datasets.Dataset.from_dict({"text": [f"{shard} a", f"{shard} b"]}).to_parquet(
            str(tmp_path / f"train-{shard:05}-of-00003.parquet")
        )
    found = _read(tmp_path, text="text")
    assert [each.entry.uri.rpartition("#")[2] for each in found] == ["0-0", "0-1", "1-0", "1-1", "2-0", "2-1"]
    first = found[0]

    class _Before:
        bookmark = None

        def unchanged(self, asked, *, many=False):
            return [part for part, mark in asked.items() if (part, mark) == (first.part, first.mark)]

    kept, *rest = _read(tmp_path, _Before(), text="text")
    assert kept == Kept(first.part, first.mark, many=True)
    assert [each.entry.text for each in rest] == ["1 a", "1 b", "2 a", "2 b"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text": "wrods"}, r"no column 'wrods'.*Did you mean 'words'"),
        ({"text": "words", "split": "validation"}, "subset"),
    ],
)
def test_what_is_not_there_is_an_error_that_says_so(tmp_path, fields, said):
    (tmp_path / "train.jsonl").write_text('{"words": "one"}\n')
    with pytest.raises(SourceError, match=said):
        _read(tmp_path, **fields)


def test_without_the_hub_the_refusal_is_clear(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    connector = connectors.create({"kind": "huggingface", "dataset": "nobody/nothing", "text": "text"})
    with pytest.raises(SourceError, match=r"HF_HUB_OFFLINE is set.*name the folder of a copy"):
        connector.fingerprint()


def test_a_revision_is_resolved_to_its_commit_and_noted(tmp_path, monkeypatch):
    """The Hub itself is out of reach here: what it answers is given, and the data are a local copy of it."""
    (tmp_path / "train.jsonl").write_text('{"text": "one"}\n')
    kind = connectors.get("huggingface")
    monkeypatch.setattr(kind, "_commit", lambda self: "abc123")
    monkeypatch.setattr(kind, "_dataset", lambda self, commit, address: datasets.load_dataset(
        str(tmp_path), split="train", streaming=True
    ))  # fmt: skip
    (found,) = _read("somebody/notes", text="text")
    assert found.entry.uri == "hf://datasets/somebody/notes/default/train#0"
    assert (found.mark, found.entry.metadata) == ("abc123", {"revision": "abc123"})
