"""Real labelled data through Label Studio and back, and through their own format: not a label moves."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from goldloop import exchange, loop
from goldloop.recipe import load
from goldloop.tasks import tasks
from goldloop.tasks._masks import from_counts

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
STREETS = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree",
    "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A data set, the format that it comes in, and what the format must be told."""

    name: str
    format: str
    folder: str
    kind: str
    options: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return DATA / self.folder


CASES = (
    Case("cells", "pascal-voc", "bccd/BCCD", "object-detection"),
    Case(
        "streets",
        "png-masks",
        "camvid",
        "semantic-segmentation",
        (f"classes=[{', '.join(STREETS)}]", "void=[11]"),
    ),
    Case("entities", "conll", "wnut17", "token-classification"),
)


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request):
    if not request.param.path.is_dir():
        pytest.skip(f"{request.param.folder} is not beside the repository")
    return request.param


def committed(case, folder, name, use, workspace, tmp_path, options=()):
    """The version that a data set makes, through Label Studio if its labels are annotations there."""
    done = exchange.import_(
        case.format,
        folder,
        name,
        task=case.kind,
        options=options,
        use=use,
        recipes=tmp_path,
        workspace=workspace,
    )
    recipe = load(done.recipe)
    if use == "annotation":
        loop.push(recipe, workspace)
        loop.collect(recipe, workspace)
    return loop.commit(recipe, workspace)


def test_labels_come_through_label_studio_and_through_their_own_format_as_they_were(
    case, workspace, label_studio, tmp_path
):
    through = committed(
        case, case.path, f"{case.name}-through", "annotation", workspace, tmp_path, case.options
    )
    beside = committed(case, case.path, f"{case.name}-beside", "imported", workspace, tmp_path, case.options)

    assert through.digest == beside.digest
    assert {row["provenance"] for split in through.counts for row in through.dataset(split)} == {"imported"}
    task = tasks.create(through.task)
    rows = {
        row["uri"]: (row, task.from_row(row)) for split in through.counts for row in through.dataset(split)
    }
    assert ORIGINALS[case.name](case.path, rows) > 90

    folder = tmp_path / "exported"
    exchange.export(through.ref, case.format, folder, allow_loss=True, workspace=workspace)
    again = committed(case, folder, f"{case.name}-again", "imported", workspace, tmp_path)
    assert again.digest == through.digest


def check_boxes(folder: Path, rows: dict[str, Any]) -> int:
    """Boxes to 0.01 pixels, by another reading of the XML; returns how many images were compared."""
    for uri, (_, boxes) in rows.items():
        root = ElementTree.parse(folder / "Annotations" / f"{Path(uri).stem}.xml").getroot()
        expected = set()
        for entry in root.iter("object"):
            left, top, right, bottom = (
                float(entry.findtext(f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax")
            )
            expected.add((entry.findtext("name"), left, top, right, bottom))
        found = {
            (box["label"], box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
            for box in boxes
        }
        assert all(box["rotation"] == 0 for box in boxes)
        assert len(found) == len(expected)
        for one, other in zip(sorted(found), sorted(expected), strict=True):
            assert one[0] == other[0]
            assert one[1:] == pytest.approx(other[1:], abs=0.01)
    return len(rows)


def check_masks(folder: Path, rows: dict[str, Any]) -> int:
    """Masks to the pixel."""
    for uri, (_, target) in rows.items():
        original = numpy.asarray(Image.open(folder / "masks" / f"{Path(uri).stem}.png"))
        found = numpy.full(original.shape, 11)
        for mask in target["masks"]:
            pixels = from_counts(mask["counts"], target["width"], target["height"])
            found[pixels] = STREETS.index(mask["label"])
        assert numpy.array_equal(found, original)
    return len(rows)


def check_spans(folder: Path, rows: dict[str, Any]) -> int:
    """Spans to the character: tags made of them again are the tags of the files."""
    sentences: dict[str, list[list[str]]] = {}
    for path in folder.iterdir():
        if path.suffix in (".conll", ".annotated"):
            for block in path.read_text(encoding="utf-8").replace("\r\n", "\n").split("\n\n"):
                lines = [line.split("\t") for line in block.split("\n") if line.strip()]
                tokens = [line[0] for line in lines]
                sentences.setdefault(" ".join(tokens), []).append([line[-1].strip() for line in lines])
    compared = 0
    for row, spans in rows.values():
        assert all(row["text"][span["start"] : span["end"]] == span["text"] for span in spans)
        tags, place = [], 0
        for token in row["text"].split(" "):
            inside = [span for span in spans if span["start"] <= place < span["end"]]
            begins = inside and inside[0]["start"] == place
            tags.append(f"{'B' if begins else 'I'}-{inside[0]['label']}" if inside else "O")
            place += len(token) + 1
        if row["text"] in sentences:
            assert tags in sentences[row["text"]]
            compared += 1
    return compared


ORIGINALS = {"cells": check_boxes, "streets": check_masks, "entities": check_spans}
