from __future__ import annotations

import fsspec
import pytest

from goldloop.connectors import connectors
from goldloop.errors import RecipeError, SourceError
from goldloop.records import Item, Quarantined, content_key

CONLL = "Ada\tB-person\nwrites\tO\n\nin\tO\nLondon\tB-place\n\nno tag here\n"


def dataset(url, form, **fields):
    return connectors.create({"kind": "dataset", "url": str(url), "format": form, **fields})


def test_items_have_the_answers_as_labels_and_the_split_as_metadata(tmp_path):
    (tmp_path / "train.conll").write_text(CONLL)
    first, second, bad = dataset(tmp_path, "conll").items()
    assert isinstance(first, Item)
    assert (first.text, first.label_use, first.metadata) == ("Ada writes", "imported", {"split": "train"})
    assert first.key == content_key(b"Ada writes")
    assert first.uri == f"{tmp_path}/train.conll#line-1"
    assert second.label == [{"label": "place", "start": 3, "end": 9, "text": "London"}]
    assert isinstance(bad, Quarantined)
    assert bad.uri == f"{tmp_path}/train.conll#line-7"


def test_an_image_without_an_answer_is_an_item_without_a_label(tmp_path):
    from PIL import Image

    for name in ("one", "two"):
        Image.new("RGB", (4, 4), len(name)).save(tmp_path / f"{name}.png")
    (tmp_path / "data.csv").write_text("image,label,group\none.png,cat,g\ntwo.png,,\ngone.png,dog,\n")
    form = {"kind": "csv"}
    one, two, gone = dataset(tmp_path, form, task="image-classification", label={"use": "truth"}).items()
    assert (one.label, one.label_use, one.group) == ("cat", "truth", "g")
    assert (two.label, two.label_use) == (None, None)
    assert one.content == (tmp_path / "one.png").read_bytes()
    assert "the image is missing" in gone.reason


def test_a_store_elsewhere_is_read_and_named_by_its_own_address():
    system = fsspec.filesystem("memory")
    system.makedirs("/bucket/words", exist_ok=True)
    system.pipe_file("/bucket/words/train.conll", CONLL.encode())
    found = list(dataset("memory://bucket/words", "conll").items())
    assert [entry.uri for entry in found] == [
        f"memory:///bucket/words/train.conll#line-{line}" for line in (1, 4, 7)
    ]
    assert dataset("memory://bucket/words", "conll").fingerprint()


def test_the_fingerprint_changes_with_a_file(tmp_path):
    (tmp_path / "train.conll").write_text(CONLL)
    before = dataset(tmp_path, "conll").fingerprint()
    (tmp_path / "test.conll").write_text(CONLL)
    assert dataset(tmp_path, "conll").fingerprint() != before


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"form": "conl"}, RecipeError, "Did you mean 'conll'"),
        ({"form": {"kind": "conll", "tags": 3}}, RecipeError, "tags"),
        ({"form": "conll", "task": "object-detection"}, SourceError, "cannot hold object-detection"),
        ({"form": "csv"}, SourceError, "several task types"),
        ({"form": "coco", "task": "object-detection"}, SourceError, "no COCO"),
    ],
)
def test_what_cannot_be_is_an_error(tmp_path, fields, error, said):
    (tmp_path / "train.conll").write_text(CONLL)
    form = fields.pop("form")
    with pytest.raises(error, match=said):
        list(dataset(tmp_path, form, **fields).items())
    fields["form"] = form
