"""Differences between versions, held against a plain comparison of all their rows."""

from __future__ import annotations

import base64
import io
import json
import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from PIL import Image
from typer.testing import CliRunner

import goldloop
from goldloop.cli.app import app
from goldloop.dataset import version as versions
from goldloop.dataset.difference import KINDS, difference
from goldloop.dataset.difference_page import overlaid, page, pieces
from goldloop.dataset.manifest import Manifest
from goldloop.errors import VersionError
from goldloop.records import Outcome, content_key
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

from .conftest import CLASSES, Material, label_of


def rows(version):
    """Key -> split and label, of all rows."""
    task = tasks.create(version.task)
    return {
        row["key"]: (split, task.from_row(row)) for split in version.counts for row in version.dataset(split)
    }


def compared(before, after):
    """What `difference` must find, the slow way."""
    old, new = rows(before), rows(after)
    both = old.keys() & new.keys()
    return {
        "added": new.keys() - old.keys(),
        "removed": old.keys() - new.keys(),
        "relabelled": {key for key in both if old[key][1] != new[key][1]},
        "moved": {key for key in both if old[key][0] != new[key][0]},
    }


def keys(found):
    return {kind: {change.key for change in found.changes[kind]} for kind in KINDS}


def relabel(material: Material, number: int, target) -> None:
    material.labels[number] = replace(material.labels[number], target=target)


def drop(material: Material, number: int) -> None:
    key = material.labels.pop(number).key
    material.outcomes = [
        replace(each, outcome="open") if each.subject == key else each for each in material.outcomes
    ]


def add(material: Material, text: str) -> str:
    key = content_key(text.encode())
    model = next(iter(material.items.values()))
    material.items[key] = replace(model, key=key, group=key, uri=f"table.csv#{text}", text=text)
    material.labels.append(label_of(key, CLASSES[0]))
    material.outcomes.append(Outcome(subject=key, outcome="labelled"))
    return key


@pytest.fixture
def changed(make_texts):
    """Material, the version before and the one after a change of every kind but a move."""
    material = make_texts()
    before = material.commit()
    relabel(material, 0, CLASSES[1])
    drop(material, 9)
    add(material, "one more")
    return material, before, material.commit(message="after")


def test_items_that_were_placed_anew_have_moved(make_texts):
    material = make_texts()
    before = material.commit()
    split = material.config.split.model_copy(update={"seed": 1})
    material.config = material.config.model_copy(update={"split": split})
    found = difference(before, material.commit())
    assert found.counts["moved"] == sum(count for _, _, count in found.moves) > 0
    assert keys(found)["moved"] == {change.key for change in found.changes["moved"]}
    assert all(change.before.split != change.after.split for change in found.changes["moved"])


def test_each_kind_of_change_is_told_of_with_both_sides(changed):
    material, before, after = changed
    found = difference(before, after)
    assert dict(found.counts) == {**dict.fromkeys(KINDS, 1), "moved": 0}
    assert keys(found) == compared(before, after)
    (relabelled,) = found.changes["relabelled"]
    assert (relabelled.key, relabelled.before.target, relabelled.after.target) == (
        material.labels[0].key,
        CLASSES[0],
        CLASSES[1],
    )
    assert found.answers == ((CLASSES[0], CLASSES[1], 1),)
    (added,), (removed,) = found.changes["added"], found.changes["removed"]
    assert added.before is None
    assert added.after.uri == "table.csv#one more"
    assert removed.after is None
    assert removed.before.annotators == ("ann-1", "ann-2")
    assert found.classes.counts[CLASSES[1]][1] - found.classes.counts[CLASSES[1]][0] == 1
    assert sum(now - was for was, now in found.rows.values()) == 0


def test_of_a_long_history_any_two_versions_compare_as_their_rows_do(make_texts):
    material, chance, made = make_texts(count=200), random.Random(5), []
    for turn in range(9):
        made.append(material.commit())
        for _ in range(chance.choice([1, 3, 70])):
            act = chance.randrange(3)
            if act == 0:
                add(material, f"text {turn} {chance.random()}")
            else:
                number = chance.randrange(len(material.labels))
                (relabel, drop)[act - 1](material, number, *([chance.choice(CLASSES)] * (act == 1)))
    shared = [{part.sha256 for part in Manifest.load(version.folder).ledger} for version in made]
    assert any(one & other for one, other in pairwise(shared))
    for before in made:
        for after in made:
            found = difference(before, after, limit=None)
            assert keys(found) == compared(before, after)
            assert dict(found.counts) == {kind: len(each) for kind, each in keys(found).items()}


def test_what_two_versions_share_is_not_read(make_texts):
    material = make_texts(count=200)
    before = material.commit()
    key = add(material, "one more")
    after = material.commit()
    shared = {part.sha256 for part in Manifest.load(before.folder).parts()}
    spoilt = [part for parts in Manifest.load(after.folder).shards.values() for part in parts]
    spoilt = [part for part in spoilt if part.sha256 in shared]
    assert spoilt
    for part in spoilt:
        (after.folder / part.path).write_bytes(b"no Parquet")
    assert keys(difference(before, after)) == {kind: {key} if kind == "added" else set() for kind in KINDS}


def test_only_so_many_items_are_told_of_and_all_are_counted(make_texts):
    material = make_texts()
    before = material.commit()
    for number in range(40):
        relabel(material, number, CLASSES[(number + 1) % 3])
    found = difference(before, material.commit(), limit=7)
    assert found.counts["relabelled"] == 40
    assert len(found.changes["relabelled"]) == 7
    assert sum(count for *_, count in found.answers) == 40


def test_a_renamed_class_is_no_other_label(make_texts):
    material = make_texts()
    before = material.commit()
    config = {"kind": "text-classification", "classes": ["aye", "no", "1", "2"], "renamed": {"yes": "aye"}}
    material.task = tasks.create(config)
    material.labels = [replace(each, target=material.task.present(each.target)) for each in material.labels]
    found = difference(before, material.commit())
    assert found.classes.renamed == (("yes", "aye"),)
    assert found.classes.added == ("2",)
    assert not found.classes.removed
    assert not found.classes.counts
    assert not any(found.counts.values())
    back = difference(versions.find(material.versions, "signs"), before)
    assert back.classes.removed == ("2",)
    assert not any(back.counts.values())


def test_versions_of_other_names_compare_by_the_names_of_classes(make_texts):
    one = make_texts()
    other = make_texts()
    other.name = "marks"
    other.task = tasks.create({"kind": "text-classification", "classes": list(reversed(CLASSES))})
    relabel(other, 3, CLASSES[1])
    found = difference(one.commit(), other.commit())
    assert {kind: count for kind, count in found.counts.items() if count} == {"relabelled": 1}
    assert keys(found)["relabelled"] == {other.labels[3].key}


def test_other_kinds_of_task_are_refused(make_texts, make_images):
    with pytest.raises(VersionError, match="text-classification and image-classification"):
        difference(make_texts().commit(), make_images("two").commit())


def test_one_version_is_compared_with_its_parent_and_tags_name_them(changed):
    material, before, after = changed
    workspace = Workspace(material.root)
    goldloop.tag(f"signs@{before.digest}", "v1", workspace=workspace)
    found = goldloop.diff("signs", workspace=workspace)
    assert (found.before, found.after) == (before.ref, after.ref)
    assert goldloop.diff("signs@v1", "signs@latest", workspace=workspace) == found
    with pytest.raises(VersionError, match="no version is before this one"):
        goldloop.diff("signs@v1", workspace=workspace)


class Reader(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def examples(root, kind, targets):
    """The examples of a task, committed as they are, and again with what `targets` makes of their labels."""
    task = tasks.create(tasks.get(kind).example_config())
    material = Material(root, task, Workspace(root).media, {}, [], [])
    for example in task.examples():
        if example.content is not None:
            material.media.put(example.item, example.content)
        material.items[example.item.key] = example.item
        material.labels.append(label_of(example.item.key, example.target))
        material.outcomes.append(Outcome(subject=example.item.key, outcome="labelled"))
    material.commit()
    material.labels = [replace(each, target=targets(each.target)) for each in material.labels]
    material.commit()
    return material


def test_the_page_shows_boxes_in_the_pictures_before_and_after(tmp_path):
    material = examples(tmp_path, "object-detection", lambda boxes: boxes[:-1])
    workspace = Workspace(material.root)
    found = goldloop.diff("signs", page=tmp_path / "new" / "diff.html", workspace=workspace)
    shown = (tmp_path / "new" / "diff.html").read_text()
    assert found.counts["relabelled"] > 1
    pictures = [each["src"] for tag, each in Reader(shown).tags if tag == "img"]
    assert len(pictures) == 3 * found.counts["relabelled"]
    assert all(each.startswith("data:image/jpeg;base64,") for each in pictures)
    assert len(set(pictures)) == len(pictures)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]*", "", shown))


def test_the_page_marks_spans_and_obeys_no_text(tmp_path):
    material = examples(tmp_path, "token-classification", lambda spans: spans[1:])
    found = goldloop.diff("signs", page=tmp_path / "diff.html", workspace=Workspace(material.root))
    reader = Reader((tmp_path / "diff.html").read_text())
    before = [span for change in found.changes["relabelled"] for span in change.before.target]
    after = [span for change in found.changes["relabelled"] for span in change.after.target]
    assert len(before) > len(after)
    titles = [each["title"] for tag, each in reader.tags if tag == "mark"]
    assert sorted(titles) == sorted(span["label"] for span in before + after)
    assert "script" not in {tag for tag, _ in reader.tags}


def test_a_text_in_pieces_is_the_text():
    text = "<b>Ada \N{WAVING HAND SIGN}</b> Lovelace met Ada"
    marks = [(3, 6, "person"), (3, 21, "name"), (26, 29, "person")]
    found = list(pieces(text, marks, {"person": "#111111", "name": "#222222"}))
    assert "".join(piece.text for piece in found) == text
    assert [(piece.text, piece.ends) for piece in found if piece.ends] == [
        ("Ada", ("person",)),
        (text[6:21], ("name",)),
        ("Ada", ("person",)),
    ]
    long = list(pieces("x" * 5000, [(4990, 4995, "name")], {"name": "#222222"}, start=4870))
    assert long[0].text == "… "
    assert [piece.text for piece in long if piece.names] == ["xxxxx"]
    assert sum(len(piece.text) for piece in long[1:]) == 600


def test_the_command_tells_of_it_in_a_table_and_as_json(changed, monkeypatch):
    material, before, after = changed
    monkeypatch.setenv("GOLDLOOP_HOME", str(material.root))
    told = CliRunner().invoke(app, ["diff", f"signs@{before.digest[:9]}", "signs"])
    assert told.exit_code == 0, told.output
    for word in ("relabelled", "from class to class", "examples", after.ref, "-> "):
        assert word in told.output
    done = CliRunner().invoke(app, ["diff", "signs", "--json"])
    facts = json.loads(done.stdout)
    assert facts == json.loads(json.dumps(goldloop.diff("signs", workspace=Workspace(material.root)).facts()))
    assert facts["counts"]["relabelled"] == 1


def test_what_differs_between_two_drawings_is_drawn_over_the_picture():
    """Red where only the old one marks, green where only the new one does, amber where both do unalike."""
    plain = Image.new("RGB", (40, 10), (120, 120, 120))
    before, after = plain.copy(), plain.copy()
    before.paste((0, 0, 255), (0, 0, 20, 10))
    after.paste((0, 0, 255), (10, 0, 15, 10))
    after.paste((255, 0, 0), (15, 0, 30, 10))
    shown = overlaid(plain, before, after)
    places = {"gone": 5, "both": 12, "otherwise": 17, "new": 25, "nothing": 35}
    tones = {name: shown.getpixel((x, 5)) for name, x in places.items()}
    assert tones["gone"] == (200, 50, 40)
    assert tones["new"] == (30, 140, 80)
    assert tones["otherwise"] == (225, 160, 20)
    assert tones["both"][0] < tones["nothing"][0]
    assert len(set(tones["nothing"])) == 1


@pytest.mark.parametrize("kind", ["semantic-segmentation", "instance-segmentation", "keypoints"])
def test_masks_and_key_points_are_drawn_before_after_and_over_each_other(make_examples, kind):
    material = make_examples(kind)
    before = material.commit()
    first, second = material.labels[0].target, material.labels[1].target
    fewer = {**first, "objects": first["objects"][:1]} if kind == "instance-segmentation" else second
    relabel(material, 0, fewer)
    after = material.commit()
    found = difference(before, after)
    (change,) = found.changes["relabelled"]
    image = material.media.read(material.items[change.key])
    shown = page(found, tasks.create(before.task), tasks.create(after.task), lambda _: image)
    pictures = [each["src"] for tag, each in Reader(shown).tags if tag == "img"]
    assert len(set(pictures)) == 3
    files = [base64.b64decode(each.partition(",")[2]) for each in pictures]
    sizes = {Image.open(io.BytesIO(file)).size for file in files}
    assert len(sizes) == 1
    assert max(sizes.pop()) > 160, "a stamp is enlarged, so that lines do not cover it"
