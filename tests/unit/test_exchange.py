"""Data sets in and out: what is imported, exported and imported again is the same version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import goldloop
from goldloop import exchange, loop
from goldloop.catalog.content import items_of
from goldloop.errors import GoldloopError, LossRefused, RecipeError, SourceError, VersionError
from goldloop.formats import formats
from goldloop.settings import Settings
from goldloop.workspace import Workspace

TWO_SPLITS = "text,label\n" + "".join(f"text {number},{'ab'[number % 2]}\n" for number in range(40))


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace", Settings())


@pytest.fixture
def table(tmp_path):
    folder = tmp_path / "table"
    folder.mkdir()
    (folder / "data.csv").write_text(TWO_SPLITS + "no label,\nbroken\n", encoding="utf-8")
    return folder


@pytest.fixture
def version(table, tmp_path, workspace):
    done = goldloop.import_(
        "csv", table, "letters", task="text-classification", recipes=tmp_path, workspace=workspace
    )
    return loop.commit(goldloop.load(done.recipe), workspace)


def test_an_import_writes_a_recipe_that_runs_and_tells_what_it_found(table, tmp_path, workspace):
    done = goldloop.import_(
        "csv", table, "letters", task="text-classification", recipes=tmp_path, workspace=workspace
    )
    assert done.outcomes == {"pulled": 41, "quarantined": 1}
    assert done.classes == {"a": 20, "b": 20}
    ((address, reason),) = done.quarantined.items()
    assert address.endswith("data.csv#line-43")
    assert "the header 2" in reason
    recipe = goldloop.load(done.recipe)
    assert recipe.sources[0].kind == "dataset"
    assert done.recipe.read_text().count("#") > 8
    json.dumps(done.facts())
    with pytest.raises(RecipeError, match="already"):
        goldloop.import_("csv", table, "letters", task="text-classification", recipes=tmp_path)


def test_options_of_the_format_go_into_the_recipe(tmp_path, workspace):
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "data.csv").write_text("sentence,intent\nhi,greet\nbye,leave\n")
    done = goldloop.import_(
        "csv", folder, "words", task="text-classification", options=["text=sentence", "label=intent"],
        recipes=tmp_path, workspace=workspace,
    )  # fmt: skip
    assert done.classes == {"greet": 1, "leave": 1}
    assert goldloop.load(done.recipe).sources[0].format.label == "intent"


def test_the_use_of_the_labels_is_kept(table, tmp_path, workspace):
    done = goldloop.import_(
        "csv",
        table,
        "letters",
        task="text-classification",
        use="truth",
        recipes=tmp_path,
        workspace=workspace,
    )
    assert goldloop.load(done.recipe).sources[0].label.use == "truth"
    with workspace.engine.connect() as connection:
        uses = {item.label_use for item in items_of(connection, "letters")}
    assert uses == {"truth", None}


@pytest.mark.parametrize("form", ["csv", "jsonl", "label-studio"])
def test_an_export_imported_again_is_the_same_version(version, tmp_path, workspace, form):
    done = goldloop.export(version.ref, form, tmp_path / "out", workspace=workspace)
    assert dict(done.counts) == dict(version.counts)
    assert done.losses == ()

    other = Workspace(tmp_path / "other", Settings())
    again = goldloop.import_(
        form,
        tmp_path / "out",
        "letters",
        task="text-classification",
        recipes=tmp_path / "other",
        workspace=other,
    )

    assert loop.commit(goldloop.load(again.recipe), other).digest == version.digest


def test_one_split_alone(version, tmp_path, workspace):
    done = goldloop.export("letters", "csv", tmp_path / "out", split="test", workspace=workspace)
    found = list(formats.create({"kind": "csv"}).read(tmp_path / "out", "text-classification"))
    assert len(found) == version.counts["test"] == done.counts["test"]
    assert {sample.split for sample in found} == {"test"}
    with pytest.raises(VersionError, match="nothing is in the split"):
        goldloop.export("letters", "csv", tmp_path / "none", split="tset", workspace=workspace)


def test_a_loss_is_refused_with_the_list_and_nothing_is_written(tmp_path, workspace):
    folder = tmp_path / "patients"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(folder / f"{number}.png")
    rows = "".join(f"{number}.png,{'ab'[number % 2]},patient {number % 3}\n" for number in range(6))
    (folder / "data.csv").write_text(f"image,label,group\n{rows}")
    done = goldloop.import_(
        "csv", folder, "patients", task="image-classification", recipes=tmp_path, workspace=workspace
    )
    loop.commit(goldloop.load(done.recipe), workspace)
    lost = "group, which keeps samples in one split: 6 of 6 samples"

    with pytest.raises(LossRefused, match="--allow-loss") as refused:
        goldloop.export("patients", "image-folder", tmp_path / "out", workspace=workspace)

    assert refused.value.losses == (lost,)
    assert lost in str(refused.value)
    assert not (tmp_path / "out").exists()
    done = goldloop.export("patients", "image-folder", tmp_path / "out", allow_loss=True, workspace=workspace)
    assert done.losses == (lost,)
    assert len(list((tmp_path / "out").rglob("*.png"))) == 6


def test_what_cannot_be_is_an_error_before_anything_is_written(version, table, tmp_path, workspace):
    with pytest.raises(RecipeError, match="cannot hold text-classification"):
        goldloop.export("letters", "coco", tmp_path / "out", workspace=workspace)
    with pytest.raises(SourceError, match="there already"):
        goldloop.export("letters", "csv", table, workspace=workspace)
    with pytest.raises(GoldloopError, match="Did you mean 'coco'"):
        goldloop.import_("cocoo", table, "x", recipes=tmp_path, workspace=workspace)
    with pytest.raises(SourceError, match="--task"):
        goldloop.import_("csv", table, "x", recipes=tmp_path, workspace=workspace)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "x.yaml").exists()


def test_file_names_are_the_originals_where_no_two_are_alike():
    rows = [
        ("train", {"key": "1" * 64, "uri": "/a/photo.jpg"}),
        ("train", {"key": "2" * 64, "uri": "/b/PHOTO.png"}),
        ("test", {"key": "3" * 64, "uri": "/b/other.name.jpeg"}),
        ("test", {"key": "4" * 64, "uri": "table.csv#7"}),
        ("test", {"key": "5" * 64, "uri": "/b/..jpg"}),
    ]
    names = exchange._names(rows)
    assert names["1" * 64] == f"photo-{'1' * 16}"
    assert names["2" * 64] == f"PHOTO-{'2' * 16}"
    assert names["3" * 64] == "other.name"
    assert names["4" * 64] == f"image-{'4' * 16}"
    assert len({name.casefold() for name in names.values()}) == len(names)
    assert all(Path(name).name == name for name in names.values())


REAL = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
CAMVID = "[Sky,Building,Pole,Road,Pavement,Tree,SignSymbol,Fence,Car,Pedestrian,Bicyclist]"
SETS = [
    ("object-detection", "pascal-voc", "bccd/BCCD", [], ["pascal-voc", "coco", "yolo", "label-studio"]),
    (
        "semantic-segmentation",
        "png-masks",
        "camvid",
        [f"classes={CAMVID}", "void=[11]"],
        ["png-masks", "coco"],
    ),
    ("token-classification", "conll", "wnut17", [], ["conll", "label-studio"]),
]


@pytest.mark.parametrize(("kind", "form", "place", "options", "others"), SETS, ids=[each[2] for each in SETS])
def test_real_data_sets_exported_and_imported_again_are_the_same_version(
    tmp_path, workspace, kind, form, place, options, others
):
    if not REAL.is_dir():
        pytest.skip("there is no ../shared/data")
    done = goldloop.import_(
        form, REAL / place, "real", options=options, recipes=tmp_path, workspace=workspace
    )
    # Near-duplicates of real data are kept in one split, which none of these forms can say.
    apart = ["dataset.duplicates.images=off", "dataset.duplicates.texts=off"]
    version = loop.commit(goldloop.load(done.recipe, apart), workspace)
    for other in others:
        exported = goldloop.export(version.ref, other, tmp_path / other, workspace=workspace)
        assert exported.losses == ()
        second = Workspace(tmp_path / f"{other}-home", Settings())
        again = goldloop.import_(
            other, tmp_path / other, "real", task=kind, recipes=tmp_path / f"{other}-home", workspace=second
        )
        assert again.quarantined == {}
        assert loop.commit(goldloop.load(again.recipe, apart), second).digest == version.digest
