from __future__ import annotations

import threading

import datasets
import pytest
import torch

from goldloop.errors import TrainingError
from goldloop.training import preparation
from goldloop.training.data import undecoded
from goldloop.training.preparation import prepared_rows


def model_of(material):
    return material.task.model({"from-config": material.network}, texts=["a b c"] * 4)


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_rows_come_in_the_order_of_their_positions(kind, request, monkeypatch):
    material = request.getfixturevalue(kind)
    monkeypatch.setattr(preparation, "_IMAGES", 2)
    monkeypatch.setattr(preparation, "_TEXTS", 2)
    rows = undecoded(material.task, material.rows)
    model = model_of(material)
    positions = [5, 0, 1, 2, 8, 3]
    found = list(prepared_rows(material.task, model, rows, positions))
    assert [row["label"] for row in found] == [rows["label"][place] for place in positions]
    assert all("key" not in row for row in found)
    name = "pixel_values" if kind == "images" else "input_ids"
    alone = [next(prepared_rows(material.task, model, rows, [place]))[name] for place in positions]
    assert all(
        torch.equal(torch.as_tensor(one[name]), torch.as_tensor(other))
        for one, other in zip(found, alone, strict=True)
    )


def test_an_image_file_that_is_gone_is_named(images, tmp_path):
    rows = list(undecoded(images.task, images.rows))
    rows[1]["image"] = {"bytes": None, "path": str(tmp_path / "gone.png")}
    split = undecoded(images.task, datasets.Dataset.from_list(rows, features=images.rows.features))
    with pytest.raises(TrainingError, match=rows[1]["key"]):
        list(prepared_rows(images.task, model_of(images), split, range(4)))


def test_closing_ends_its_threads(images, monkeypatch):
    monkeypatch.setattr(preparation, "_IMAGES", 1)
    rows = undecoded(images.task, images.rows)
    before = threading.active_count()
    found = prepared_rows(images.task, model_of(images), rows, range(len(rows)))
    next(found)
    found.close()
    assert threading.active_count() == before
