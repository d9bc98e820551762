"""Classes that are renamed, merged and split: in real recipes, and over versions."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import goldloop
from goldloop.changed_recipe import write
from goldloop.cli.app import app
from goldloop.dataset import version as versions
from goldloop.dataset.division import told_apart
from goldloop.dataset.migrations import MIGRATIONS, migrations
from goldloop.errors import AnnotationError, RecipeError, VersionError
from goldloop.recipe import load
from goldloop.records import Annotation
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

CONFIGS = Path(__file__).parents[3] / "configs"
WITH_CLASSES = sorted(path.name for path in CONFIGS.glob("*.yaml") if getattr(load(path).task, "classes", ()))
RECIPE = """\
# What this is about.
name: signs
sources: [{kind: files, url: texts}]
task: {kind: text-classification, classes: ["yes", "no", "1"]}   # names that are no texts elsewhere
"""


@pytest.fixture
def home(make_texts, monkeypatch):
    """A recipe's file with a committed version of it, and the workspace."""
    material = make_texts()
    path = material.root / "signs.yaml"
    material.commit()
    path.write_text(RECIPE)
    monkeypatch.setenv("GOLDLOOP_HOME", str(material.root))
    return material, path, Workspace(material.root)


def commit_again(material, path):
    material.task = tasks.create(load(path).task)
    material.labels = [replace(each, target=material.task.present(each.target)) for each in material.labels]
    return material.commit()


def comments(path):
    return [line.partition("#")[2] for line in path.read_text().splitlines() if "#" in line]


@pytest.mark.parametrize("name", [name for name in WITH_CLASSES if name != "poses.yaml"])
def test_in_a_real_recipe_all_else_stays_with_its_comments(tmp_path, name):
    path, workspace = tmp_path / name, Workspace(tmp_path / "state")
    shutil.copy(CONFIGS / name, path)
    before, said = load(path), comments(path)
    first, *others = before.task.classes
    assert goldloop.rename_class(path, first, "renamed: it", workspace=workspace).comments_kept
    assert load(path).task.classes == ("renamed: it", *others)
    assert goldloop.split_class(path, others[-1], ["part #1", "part 2"], workspace=workspace).comments_kept
    assert load(path).task.classes == ("renamed: it", *others[:-1], "part #1", "part 2")
    assert goldloop.merge_classes(path, ["renamed: it", "part 2"], "both", workspace=workspace).comments_kept
    after = load(path)
    assert after.task.classes == ("both", *others[:-1], "part #1")
    assert after.task.present_name(first) == "both"
    assert after.task.divided == {others[-1]: ("part #1", "both")}
    changed = {"classes", "renamed", "divided"}
    assert after.task.model_dump(exclude=changed) == before.task.model_dump(exclude=changed)
    assert after.model_copy(update={"task": before.task}) == before
    kept = comments(path)
    assert [line for line in kept if line in said] == said
    assert [each.act for each in migrations(workspace.versions / before.name)] == ["rename", "split", "merge"]


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("poses.yaml", "", "keypoints of 'person'"),
        ("signs.yaml", "class_weights: {'%s': 5}", "class_weights. names"),
    ],
)
def test_a_class_that_another_field_names_is_refused(tmp_path, name, change, said):
    path = tmp_path / name
    text = (CONFIGS / name).read_text()
    first = load(CONFIGS / name).task.classes[0]
    path.write_text(text.replace("training:\n", f"training:\n  {change % first}\n") if change else text)
    written = path.read_text()
    with pytest.raises(RecipeError, match=said):
        goldloop.rename_class(path, first, "another", workspace=Workspace(tmp_path / "state"))
    assert path.read_text() == written


def test_there_are_recipes_with_classes():
    assert len(WITH_CLASSES) > 7
    assert "banking.yaml" in WITH_CLASSES


def test_a_renamed_class_keeps_its_id_and_an_old_version_loads(home):
    material, path, workspace = home
    old = versions.load(material.versions, "signs")
    count = sum(counts["yes"] for counts in old.class_counts.values())
    done = goldloop.rename_class(path, "yes", "aye", workspace=workspace)
    assert done.rows == {"yes": count}
    assert done.by.startswith("actor-")
    assert migrations(material.versions / "signs") == [done]
    entries = goldloop.classes(path, workspace)
    assert [(entry.id, entry.name, entry.former) for entry in entries] == [
        (0, "aye", ("yes",)), (1, "no", ()), (2, "1", ()),
    ]  # fmt: skip
    assert entries[0].count == count
    new = commit_again(material, path)
    assert new.classes == ("aye", "no", "1")
    assert versions.load(material.versions, "signs", old.digest) == old
    assert old.classes == ("yes", "no", "1")
    assert goldloop.verify(f"signs@{old.digest}", workspace=workspace) == []
    assert goldloop.diff("signs", workspace=workspace).classes.renamed == (("yes", "aye"),)
    goldloop.rename_class(path, "aye", "yes", workspace=workspace)
    assert load(path).task.renamed == {"aye": "yes"}
    assert commit_again(material, path).digest == old.digest


def test_merged_classes_keep_their_ids_and_count_for_one(home):
    material, path, workspace = home
    goldloop.merge_classes(path, ["yes", "1"], "positive", workspace=workspace)
    new = commit_again(material, path)
    assert new.classes == ("yes", "no", "1", "positive")
    entries = {entry.name: entry for entry in goldloop.classes(path, workspace)}
    assert set(entries["positive"].former) == {"yes", "1"}
    assert entries["positive"].count + entries["no"].count == len(material.labels)
    assert entries["yes"].count == 0
    assert entries["yes"].state == "merged into positive"
    with pytest.raises(RecipeError, match="another meaning"):
        goldloop.rename_class(path, "positive", "yes", workspace=workspace)


def test_items_of_a_split_class_are_to_be_labelled_again_and_a_merge_undoes_it(home):
    _, path, workspace = home
    goldloop.rename_class(path, "yes", "aye", workspace=workspace)
    goldloop.split_class(path, "aye", ["surely", "perhaps"], workspace=workspace)
    config = load(path).task
    assert config.classes == ("surely", "perhaps", "no", "1")
    task = tasks.create(config)
    for former in ("yes", "aye"):
        with pytest.raises(AnnotationError, match=r"was divided.*surely, perhaps"):
            task.known_class(former)
    goldloop.merge_classes(path, ["surely", "perhaps"], "aye", workspace=workspace)
    config = load(path).task
    assert config.classes == ("aye", "no", "1")
    assert not config.divided
    assert tasks.create(config).known_class("perhaps") == "aye"


@pytest.mark.parametrize(
    "kind", ["text-classification", "image-multilabel", "object-detection", "token-classification"]
)
def test_answers_count_for_the_part_that_a_file_says_an_item_is(tmp_path, kind):
    config = tasks.get(kind).example_config()
    old = config["classes"][0]
    path, workspace = tmp_path / "one.yaml", Workspace(tmp_path / "state")
    path.write_text(json.dumps({"name": "one", "sources": [{"kind": "files", "url": "x"}], "task": config}))
    before = tasks.create(config)
    given = [each for each in before.examples() if old in before.classes_in(each.target)]
    first, *rest = given
    assert rest
    table = tmp_path / "parts.csv"
    table.write_text("key,class\n" + "".join(f"{each.item.key},right\n" for each in rest))
    done = goldloop.split_class(path, old, ["left", "right"], by=table, workspace=workspace)
    assert done.items == {each.item.key: "right" for each in rest}
    acts = [
        Annotation(
            id=number, task_id=number, key=each.item.key, annotator="ann",
            results=tuple(before.encode(each.target, each.item)), cancelled=False,
            created_at="2026-01-01T00:00:00Z", updated_at="2026-01-01T00:00:00Z",
        )
        for number, each in enumerate(given)
    ]  # fmt: skip
    after = tasks.create(load(path).task)
    told = list(told_apart(workspace.versions / "one", acts))
    with pytest.raises(AnnotationError, match="was divided"):
        after.decode(told[0].results, first.item)
    for each, act in zip(rest, told[1:], strict=True):
        names = sorted("right" if name == old else name for name in before.classes_in(each.target))
        assert sorted(after.classes_in(after.decode(act.results, each.item))) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key;class\n", "columns are missing"),
        ("key,class\nabc,a\n", "line 2: this is no content key"),
        (f"key,class\n{'a' * 64},c\n", "line 2: the class is none of the parts"),
        (f"key,class\n{'a' * 64},a\n{'a' * 64},b\n", "line 3: an item is told of twice"),
    ],
)
def test_a_file_that_tells_items_apart_is_checked(home, text, said):
    _, path, workspace = home
    table = path.with_name("parts.csv")
    table.write_text(text)
    with pytest.raises(RecipeError, match=said):
        goldloop.split_class(path, "no", ["a", "b"], by=table, workspace=workspace)
    assert path.read_text() == RECIPE


def test_a_dry_run_counts_and_changes_nothing(home):
    material, path, workspace = home
    goldloop.rename_class(path, "yes", "aye", dry_run=True, workspace=workspace)
    goldloop.merge_classes(path, ["yes", "no"], "no", dry_run=True, workspace=workspace)
    done = goldloop.split_class(path, "no", ["a", "b"], dry_run=True, workspace=workspace)
    latest = versions.load(material.versions, "signs")
    assert done.rows == {"no": sum(counts["no"] for counts in latest.class_counts.values())}
    assert path.read_text() == RECIPE
    assert not (material.versions / "signs" / MIGRATIONS).exists()


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda path: goldloop.rename_class(path, "ye", "aye"), "Did you mean 'yes'"),
        (lambda path: goldloop.rename_class(path, "yes", "no"), "classes merge"),
        (lambda path: goldloop.rename_class(path, "yes", " no"), "blank"),
        (lambda path: goldloop.merge_classes(path, ["yes"], "yes"), "two classes"),
        (lambda path: goldloop.merge_classes(path, ["yes"], "aye"), "two classes"),
        (lambda path: goldloop.merge_classes(path, ["yes", "no", "1"], "all"), "at least"),
        (lambda path: goldloop.split_class(path, "yes", ["yes", "perhaps"]), "two others"),
        (lambda path: goldloop.split_class(path, "yes", ["perhaps"]), "two others"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(home, act, said):
    material, path, _ = home
    with pytest.raises(RecipeError, match=said):
        act(path)
    assert path.read_text() == RECIPE
    assert not (material.versions / "signs" / MIGRATIONS).exists()


def test_a_broken_record_is_named(home):
    material, path, workspace = home
    goldloop.rename_class(path, "yes", "aye", workspace=workspace)
    file = material.versions / "signs" / MIGRATIONS
    file.write_text(file.read_text() + "{}\n")
    with pytest.raises(VersionError, match=r"classes\.jsonl, line 2"):
        migrations(material.versions / "signs")


NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=2, unique=True)


@given(NAMES, NAMES)
@settings(deadline=None, max_examples=60)
def test_of_a_list_of_lines_those_that_stay_keep_their_comments(tmp_path_factory, old, new):
    folder = tmp_path_factory.mktemp("recipe")
    lines = "".join(f"    - {name}   # of {name}\n" for name in old)
    (folder / "one.yaml").write_text(
        "name: one\nsources: [{kind: files, url: texts}]\ntask:\n  classes:\n"
        f"{lines}  kind: text-classification\n"
    )
    assert write(folder / "one.yaml", folder / "two.yaml", [f"task.classes={json.dumps(new)}"], "Changed.")
    assert load(folder / "two.yaml").task.classes == tuple(new)
    if old == new:
        assert lines in (folder / "two.yaml").read_text()


def test_the_commands_list_and_change(home):
    _, path, _ = home
    run = CliRunner().invoke
    tried = run(app, ["classes", "rename", str(path), "yes", "aye", "--dry-run"])
    assert tried.exit_code == 0, tried.output
    assert "not changed" in tried.output
    assert path.read_text() == RECIPE
    done = run(app, ["classes", "merge", str(path), "yes", "1", "--into", "positive", "--json"])
    assert json.loads(done.stdout)["new"] == ["positive"]
    listed = run(app, ["classes", str(path), "--json"])
    assert [(entry["id"], entry["name"]) for entry in json.loads(listed.stdout)] == [
        (0, "yes"), (1, "no"), (2, "1"), (3, "positive"),
    ]  # fmt: skip
    assert "merged into positive" in run(app, ["classes", str(path)]).output
    split = run(app, ["classes", "split", str(path), "no", "--into", "never", "--into", "not yet"])
    assert split.exit_code == 0, split.output
    assert "labelled again" in split.output
    assert "rename" in run(app, ["classes", "--help"]).output
