"""A plan says what a pull then does, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

from goldloop import loop
from goldloop.catalog.content import item_states
from goldloop.cleaning.report import summary
from goldloop.planning import plan
from goldloop.recipe import Recipe, parse
from goldloop.workspace import Workspace


def _recipe(tmp_path: Path, **fields) -> Recipe:
    (tmp_path / "notes").mkdir(exist_ok=True)
    table = tmp_path / "table.jsonl"
    if not table.exists():
        table.write_text("".join(json.dumps({"text": f"row {number}"}) + "\n" for number in range(3)))
    return parse(
        {
            "name": "notes",
            "sources": [
                {"kind": "files", "url": str(tmp_path / "notes")},
                {"kind": "table", "url": str(table), "text": "text"},
            ],
            "task": {"kind": "text-classification", "classes": ["a", "b"]},
        }
        | fields
    )


def _write(tmp_path: Path, **texts: str) -> None:
    (tmp_path / "notes").mkdir(exist_ok=True)
    for name, text in texts.items():
        (tmp_path / "notes" / f"{name}.txt").write_text(text)


def _state(workspace: Workspace) -> dict[str, bytes]:
    with workspace.engine.connect() as connection:
        return {
            table: repr(connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1, 2, 3").all())
            for table in ("addresses", "arrivals", "arrived", "parts", "items", "ledger", "stages")
        }


def _checked(recipe: Recipe, workspace: Workspace, **options):
    """The plan, held against the pull that follows it."""
    before = _state(workspace)
    files = sorted(path.name for path in workspace.root.rglob("*") if "catalog" not in path.name)
    planned = plan(recipe, workspace, **options)
    assert _state(workspace) == before
    assert sorted(path.name for path in workspace.root.rglob("*") if "catalog" not in path.name) == files
    books = loop.pull(recipe, workspace, **options)
    assert sum(each.total for each in planned.sources) == books.total
    kept = {"new", "changed", "moved", "returned", "unchanged"}
    counts = {"pulled": 0}
    for each in planned.sources:
        for kind, count in each.found.items():
            outcome = "pulled" if kind in kept else kind
            counts[outcome] = counts.get(outcome, 0) + count
    assert {kind: count for kind, count in counts.items() if count} == books.outcomes
    return planned


def test_each_address_is_told_for_what_it_is(tmp_path, workspace):
    _write(tmp_path, a="one", b="two", c="three", d="four", e="same")
    recipe = _recipe(tmp_path)
    first = _checked(recipe, workspace)
    assert first.sources[0].found == {"new": 5}
    assert first.sources[1].found == {"new": 3}
    assert first.new_tasks == 8
    (tmp_path / "notes" / "b.txt").rename(tmp_path / "notes" / "moved.txt")
    (tmp_path / "notes" / "d.txt").unlink()
    _write(tmp_path, a="another", f="same", g="   ", h="brand new")
    files, table = _checked(recipe, workspace).sources
    assert files.found == {
        "changed": 1, "moved": 1, "unchanged": 2, "duplicate": 1, "quarantined": 1, "new": 1,
    }  # fmt: skip
    assert (files.gone, files.annotated, files.read) == (2, 0, True)
    assert (table.found, table.read) == ({"unchanged": 3}, False)
    _write(tmp_path, d="four")
    assert _checked(recipe, workspace).sources[0].found["returned"] == 1


def test_a_source_that_leaves_the_recipe_takes_its_items_along(tmp_path, workspace):
    _write(tmp_path, a="one")
    loop.pull(_recipe(tmp_path), workspace)
    fewer = _recipe(tmp_path, sources=[{"kind": "files", "url": str(tmp_path / "notes")}])
    planned = _checked(fewer, workspace)
    assert [(each.source, each.gone, each.total) for each in planned.sources] == [
        ("0:files", 0, 1),
        ("1:table", 3, 0),
    ]
    with workspace.engine.connect() as connection:
        assert sorted(item_states(connection, "notes").values()) == ["current", "gone", "gone", "gone"]


def test_what_cleaning_leaves_out_is_told_with_its_reason_and_shown(tmp_path, workspace):
    _write(tmp_path, a="one", b="write to ann@example.org today")
    recipe = _recipe(tmp_path, cleaning={"texts": {"min_characters": 4}, "scrub": ["email"]})
    planned = _checked(recipe, workspace)
    assert planned.sources[0].found == {"dropped": 1, "new": 1}
    ((subject, reason),) = planned.dropped.items()
    assert subject.endswith("a.txt")
    assert reason == "too short (found 3 characters, expected at least 4)"
    with workspace.engine.connect() as connection:
        found = summary(connection, "notes")
    assert (found.dropped, found.scrubbed, found.texts) == ({"too short": 1}, {"email": 1}, 1)
    page = (workspace.root / "reports" / "notes" / "cleaning.html").read_text()
    assert "Too short" in page
    assert ">one<" in page
    assert "ann@" not in page
    loop.pull(_recipe(tmp_path, cleaning={"texts": {"min_characters": 2}}), workspace)
    assert not list((workspace.root / "reports" / "notes" / "examples").iterdir())


def test_a_full_plan_reads_all_and_finds_the_same(tmp_path, workspace):
    _write(tmp_path, a="one", b="two")
    loop.pull(_recipe(tmp_path), workspace)
    planned = _checked(_recipe(tmp_path), workspace, full=True)
    assert [(each.read, dict(each.found)) for each in planned.sources] == [
        (True, {"unchanged": 2}), (True, {"unchanged": 3}),
    ]  # fmt: skip


def test_no_more_tasks_are_planned_than_may_be_open(tmp_path, workspace):
    recipe = _recipe(tmp_path, labeling={"select": {"batch": 2}})
    _write(tmp_path, a="one")
    planned = plan(recipe, workspace)
    assert (planned.new_tasks, planned.waiting) == (2, 2)


def test_what_is_imported_needs_no_task(tmp_path, workspace):
    (tmp_path / "table.jsonl").write_text('{"text": "x", "l": "a"}\n{"text": "y"}\n')
    label = {"from": "l", "use": "imported"}
    source = {"kind": "table", "url": str(tmp_path / "table.jsonl"), "text": "text", "label": label}
    recipe = _recipe(tmp_path, sources=[source])
    assert plan(recipe, workspace).new_tasks == 1
    loop.pull(recipe, workspace)
    assert plan(recipe, workspace).new_tasks == 1
