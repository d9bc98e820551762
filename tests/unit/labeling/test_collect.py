"""Collecting from the tables of a real release, without its server; tests/e2e has that."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from goldloop.catalog import collection, server_side
from goldloop.catalog.ledger import entries, write_lines
from goldloop.catalog.server_side import Place, Sent
from goldloop.errors import IdentityError, LabelStudioUnreachable, LedgerError
from goldloop.labeling.collect import Collector
from goldloop.labeling.database import Database
from goldloop.progress import Silent
from goldloop.records import Outcome
from goldloop.settings import Settings
from goldloop.workspace import Workspace

PLACE = Place("texts", "embedded")


def _module() -> ModuleType:
    path = Path(__file__).with_name("label_studio_file.py")
    spec = importlib.util.spec_from_file_location("label_studio_file", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _module()
pytestmark = pytest.mark.skipif(not made.template().exists(), reason="no Label Studio has ever run here")


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """Six tasks, of which three have an answer."""
    file = made.LabelStudioFile(tmp_path / "label_studio.sqlite3")
    for number in range(1, 7):
        file.task(number, f"k{number}")
    for number in (1, 2, 3):
        file.annotation(10 + number, number, "yes")
    return file


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A catalog that knows these tasks."""
    workspace = Workspace(tmp_path / "home", Settings())
    with workspace.engine.begin() as connection:
        server_side.note_tasks(connection, PLACE, {f"k{number}": number for number in range(1, 7)})
    yield workspace
    workspace.engine.dispose()


class Counting(Database):
    """Tells which tasks it was asked for."""

    fetched: list[int]

    def changed(self, project: Any, since: str | None, after: int) -> Iterator[tuple[int, Iterator[Any]]]:
        """As the database does."""
        self.fetched = []
        for last, page in super().changed(project, since, after):
            tasks = list(page)
            self.fetched += [task.task_id for task in tasks]
            yield last, iter(tasks)


@pytest.fixture
def reader(file: Any) -> Counting:
    return Counting(file.path, b"key")


def collector(workspace: Workspace, reader: Database, need: int = 1) -> Collector:
    return Collector(workspace.engine, PLACE, reader, made.PROJECT, need, Silent())


def collect(workspace: Workspace, reader: Database, since: str | None = None, need: int = 1) -> str | None:
    """One collection to its end."""
    latest = reader.project_totals(made.PROJECT).latest_update
    work = collector(workspace, reader, need)
    until = work.fetch(since, latest)
    work.close(anew=False)
    with workspace.engine.begin() as connection:
        collection.end(connection, PLACE)
    return until


def held(workspace: Workspace) -> dict[int, Any]:
    with workspace.engine.connect() as connection:
        return {act.id: act for act in server_side.annotations_of(connection, PLACE.recipe)}


def outcomes(workspace: Workspace) -> dict[str, str]:
    with workspace.engine.connect() as connection:
        return {each.subject: each.outcome for each in entries(connection, PLACE.recipe, "collect")}


def test_the_first_collection_brings_everything(workspace, reader):
    collect(workspace, reader)
    assert sorted(held(workspace)) == [11, 12, 13]
    assert held(workspace)[11].annotator.startswith("annotator-")
    assert held(workspace)[11].results == tuple(made.result("yes"))
    assert outcomes(workspace) == {"1": "labelled", "2": "labelled", "3": "labelled"} | dict.fromkeys(
        "456", "open"
    )


def test_the_next_one_fetches_what_has_changed_and_nothing_else(workspace, reader, file):
    until = collect(workspace, reader)
    file.edit(12, "no")
    file.annotation(14, 4, "no", was_cancelled=1)
    collect(workspace, reader, until)
    # Task 3 was the last one to change before, and lies in the overlap.
    assert reader.fetched == [2, 3, 4]
    assert held(workspace)[12].results == tuple(made.result("no"))
    assert outcomes(workspace)["4"] == "skipped"


def test_ground_truth_marked_after_the_collection_comes(workspace, reader, file):
    until = collect(workspace, reader)
    assert not held(workspace)[11].ground_truth
    file.execute("UPDATE task_completion SET ground_truth = 1 WHERE id = 11")
    file.edit(11, "yes")
    collect(workspace, reader, until)
    assert held(workspace)[11].ground_truth


def test_an_answer_deleted_with_a_trace_goes(workspace, reader, file):
    until = collect(workspace, reader)
    file.edit(12, "no")
    file.execute("DELETE FROM task_completion WHERE id = 12")
    collect(workspace, reader, until)
    assert sorted(held(workspace)) == [11, 13]
    assert outcomes(workspace)["2"] == "open"


def test_an_answer_deleted_without_a_trace_shows_in_the_totals(workspace, reader, file):
    until = collect(workspace, reader)
    file.execute("DELETE FROM task_completion WHERE id = 11")
    totals = reader.project_totals(made.PROJECT)
    work = collector(workspace, reader)
    work.fetch(until, totals.latest_update)
    assert work.check(totals) == (3, 2)
    work.fetch(None, totals.latest_update)
    assert work.check(totals) is None
    assert sorted(held(workspace)) == [12, 13]


def test_a_time_to_come_is_not_taken_for_the_last_change(workspace, reader, file):
    # Some of Label Studio's own actions write the local time as if it were UTC.
    file.execute("UPDATE task SET updated_at = '2999-01-01 00:00:00.000000' WHERE id = 6")
    until = collect(workspace, reader)
    assert until is not None
    assert until < "2999"


def test_a_collection_that_was_cut_off_goes_on_where_it_was(workspace, file, monkeypatch):
    monkeypatch.setattr("goldloop.labeling.database.PAGE", 2)
    monkeypatch.setattr("goldloop.labeling.collect._TRIES", 1)

    class Dying(Counting):
        def changed(self, project: Any, since: str | None, after: int) -> Iterator[tuple[int, Any]]:
            for number, page in enumerate(super().changed(project, since, after)):
                if number == 2:
                    raise LabelStudioUnreachable("killed")
                yield page

    dying = Dying(file.path, b"key")
    with pytest.raises(LabelStudioUnreachable):
        collect(workspace, dying)
    assert dying.fetched == [1, 2, 3, 4, 5, 6]
    assert sorted(held(workspace)) == [11, 12, 13]
    file.edit(11, "no")

    asked: list[tuple[str | None, int]] = []

    class Whole(Counting):
        def changed(self, project: Any, since: str | None, after: int) -> Iterator[tuple[int, Any]]:
            asked.append((since, after))
            return super().changed(project, since, after)

    collect(workspace, Whole(file.path, b"key"))
    assert asked[0] == (None, 4)
    assert asked[1][0] is not None
    assert held(workspace)[11].results == tuple(made.result("no"))
    assert len(outcomes(workspace)) == 6


def test_another_items_content_is_refused_and_the_catalog_keeps_what_it_had(workspace, reader, file):
    until = collect(workspace, reader)
    file.edit(11, "no")
    file.execute("UPDATE task SET data = json_set(data, '$.key', 'k2') WHERE id = 1")
    with pytest.raises(IdentityError, match="task 1"):
        collect(workspace, reader, until)
    assert held(workspace)[11].results == tuple(made.result("yes"))


def test_a_task_that_the_server_never_lists_unbalances_the_books(workspace, reader):
    with workspace.engine.begin() as connection:
        server_side.note_tasks(connection, PLACE, {"k9": 9})
    with pytest.raises(LedgerError, match="does not list"):
        collect(workspace, reader)


def test_a_deleted_task_leaves_the_books_and_takes_its_answers_with_it(workspace, reader):
    until = collect(workspace, reader)
    with workspace.engine.begin() as connection:
        server_side.mark_deleted(connection, PLACE, ["k1"])
    collect(workspace, reader, until)
    assert sorted(held(workspace)) == [12, 13]
    assert "1" not in outcomes(workspace)


def test_lines_of_what_was_forgotten_leave_the_books_of_the_next_collection(workspace, reader):
    until = collect(workspace, reader)
    with workspace.engine.begin() as connection:
        write_lines(connection, PLACE.recipe, "collect", [Outcome(subject="88", outcome="forgotten")])
    collect(workspace, reader, until)
    assert "88" not in outcomes(workspace)
    assert len(outcomes(workspace)) == 6


def test_more_annotators_per_item_rewrite_the_books_from_the_catalog(workspace, reader):
    collect(workspace, reader)
    collector(workspace, reader, need=2).close(anew=True)
    assert set(outcomes(workspace).values()) == {"open"}


def test_tasks_of_others_are_left_alone(workspace, reader, file):
    file.task(99, "")
    file.annotation(199, 99, "yes")
    collect(workspace, reader)
    assert 199 not in held(workspace)


def test_a_batch_in_doubt_is_told_with_what_each_task_has(reader, file):
    file.execute("UPDATE task SET total_annotations = 1 WHERE id = 1")
    found = reader.find_batch(made.PROJECT, "one")
    # A counter that a killed server never wrote does not vouch for an annotation.
    assert (found[1], found[2]) == (Sent("k1", 1, 0), Sent("k2", 0, 0))
    assert reader.worked_on(made.PROJECT, [1, 4]) == {1}


def test_a_task_counts_as_whole_only_with_all_that_was_sent():
    sent = Sent("k", 2, 1)
    assert Sent("k", 3, 1).has_all_of(sent)
    assert not replace(sent, annotations=1).has_all_of(sent)
    assert not replace(sent, predictions=0).has_all_of(sent)
