"""What a push does when a server loses, fails and doubles: a server in memory that does so at will."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from goldloop.catalog import server_side
from goldloop.catalog.server_side import Place, Sent
from goldloop.errors import LabelStudioError, LabelStudioLostWrites, LabelStudioUnreachable
from goldloop.labeling import push as module
from goldloop.labeling.push import Push, reconcile
from goldloop.labeling.values import Project, TaskData
from goldloop.progress import Silent
from goldloop.records import Item, content_key
from goldloop.settings import Settings
from goldloop.workspace import Workspace

PLACE = Place("texts", "embedded")
PROJECT = Project(id=7, title="seven", label_config="<View/>", model_version=None, address="")


class Server:
    """Keeps tasks; plays client and reader.

    Args:
        most: an import of more tasks loses their annotations, as it takes long enough to be disturbed.
        faults: what befalls one import after the other: `before` or `after` it was done, or `twice`.
    """

    def __init__(self, most: int = 1_000, faults: tuple[str, ...] = ()) -> None:
        self.most = most
        self.faults = list(faults)
        self.tasks: dict[int, tuple[str, Sent]] = {}
        self.people: set[int] = set()
        self.imports: list[int] = []
        self.reader = self

    def check_tasks(self, project: Project, tasks: list[TaskData]) -> None:
        """They have no pre-annotations."""

    def import_tasks(self, project: Project, tasks: list[TaskData], batch: str) -> dict[str, int]:
        self.imports.append(len(tasks))
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "before":
            raise LabelStudioUnreachable("it went away")
        lost = len(tasks) > self.most
        made = self._make(tasks, batch, bare=lost or fault == "lost, then killed")
        if fault == "twice":
            self._make(tasks, batch)
        if fault in ("after", "lost, then killed"):
            raise LabelStudioUnreachable("the answer was lost")
        if lost:
            self.delete_tasks(project, made.values())
            raise LabelStudioLostWrites("kept less")
        return made

    def _make(self, tasks: list[TaskData], batch: str, *, bare: bool = False) -> dict[str, int]:
        made = {}
        for task in tasks:
            number = max(self.tasks, default=0) + 1
            self.tasks[number] = (batch, Sent(task.key, 0 if bare else len(task.annotations)))
            made[task.key] = number
        return made

    def check(self) -> None:
        """It is back."""

    def find_batch(self, project: Project, batch: str) -> dict[int, Sent]:
        return {number: sent for number, (name, sent) in self.tasks.items() if name == batch}

    def worked_on(self, project: Project, task_ids: list[int]) -> set[int]:
        return self.people & set(task_ids)

    def task_keys(self, project: Project) -> Iterator[tuple[int, str]]:
        return ((number, sent.key) for number, (_, sent) in sorted(self.tasks.items()))

    def count_tasks(self, project: Project) -> int:
        return len(self.tasks)

    def delete_tasks(self, project: Project, task_ids: Any) -> None:
        for number in task_ids:
            del self.tasks[number]

    def whole(self) -> bool:
        """Whether each item has one task with its annotation."""
        keys = [sent.key for _, sent in self.tasks.values()]
        return len(set(keys)) == len(keys) and all(sent.annotations for _, sent in self.tasks.values())


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(tmp_path / "home", Settings())
    yield workspace
    workspace.engine.dispose()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SETTLE_SECONDS", (0.0,))


def items(count: int) -> Iterator[Item]:
    for number in range(count):
        key = content_key(str(number).encode())
        yield Item(key=key, modality="text", uri="", group=key, source="0:table", media_type="text/plain")


def make(chunk: Any) -> list[TaskData]:
    return [TaskData(key=item.key, data={}, annotations=([],)) for item in chunk]


def push(workspace: Workspace, server: Any, count: int, given: Any = None, parallel: int = 1) -> int:
    work = Push(workspace.engine, PLACE, server, PROJECT, workspace.root / "writer.lock", parallel)
    return work.run(given or items(count), count, make, Silent())


def noted(workspace: Workspace) -> dict[str, int]:
    with workspace.engine.connect() as connection:
        assert server_side.batches_in_doubt(connection, PLACE) == {}
        return server_side.tasks_of(connection, PLACE)


def agree(workspace: Workspace, server: Server, count: int) -> None:
    assert server.whole()
    assert noted(workspace) == {sent.key: number for number, (_, sent) in server.tasks.items()}
    assert len(server.tasks) == count


def test_the_batch_that_is_sent_and_the_next_are_all_that_is_in_memory(workspace, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 10)
    server, ahead = Server(), []

    def watched() -> Iterator[Item]:
        for number, item in enumerate(items(35)):
            ahead.append(number - sum(server.imports))
            yield item

    assert push(workspace, server, 35, watched()) == 35
    assert server.imports == [10, 10, 10, 5]
    assert max(ahead) < 20
    agree(workspace, server, 35)


def test_the_next_batch_is_made_while_one_is_sent(workspace, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 10)
    server, second = Server(), threading.Event()

    def watched() -> Iterator[Item]:
        for number, item in enumerate(items(20)):
            if number == 19:
                second.set()
            yield item

    def import_tasks(*arguments: Any) -> dict[str, int]:
        assert second.wait(30)
        return Server.import_tasks(server, *arguments)

    monkeypatch.setattr(server, "import_tasks", import_tasks)
    assert push(workspace, server, 20, watched()) == 20
    agree(workspace, server, 20)


def test_a_server_that_takes_several_imports_is_sent_them_at_the_same_time(workspace, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 10)
    server, together, one = Server(), threading.Barrier(3, timeout=30), threading.Lock()

    def import_tasks(*arguments: Any) -> dict[str, int]:
        together.wait()
        with one:
            return Server.import_tasks(server, *arguments)

    monkeypatch.setattr(server, "import_tasks", import_tasks)
    assert push(workspace, server, 60, parallel=3) == 60
    agree(workspace, server, 60)


def test_a_fault_of_one_import_leaves_those_beside_it_whole(workspace, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 10)
    server, one = Server(faults=("", "after", "", "before", "twice")), threading.Lock()

    def import_tasks(*arguments: Any) -> dict[str, int]:
        with one:
            return Server.import_tasks(server, *arguments)

    monkeypatch.setattr(server, "import_tasks", import_tasks)
    assert push(workspace, server, 80, parallel=4) == 80
    assert reconcile(workspace.engine, PLACE, server, PROJECT).live == 80
    agree(workspace, server, 80)


def test_what_was_sent_before_an_item_that_fails_is_noted(workspace, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 10)
    server = Server()

    def broken() -> Iterator[Item]:
        yield from items(15)
        raise LabelStudioError("an image that cannot be sent")

    with pytest.raises(LabelStudioError, match="cannot be sent"):
        push(workspace, server, 20, broken())
    agree(workspace, server, 10)


def test_what_was_lost_is_sent_again_in_smaller_parts(workspace):
    server = Server(most=120)
    assert push(workspace, server, 400) == 400
    assert server.imports == [400, 200, 100, 100, 200, 100, 100]
    agree(workspace, server, 400)


def test_a_server_that_loses_every_time_is_an_error_and_nothing_of_it_stays(workspace):
    server = Server(most=0)
    with pytest.raises(LabelStudioLostWrites):
        push(workspace, server, 4)
    assert server.tasks == {}
    assert noted(workspace) == {}


@pytest.mark.parametrize("fault", ["before", "after", "lost, then killed", "twice"])
def test_every_fault_of_an_import_ends_in_one_whole_task_for_each_item(workspace, fault):
    server = Server(faults=(fault,))
    assert push(workspace, server, 6) == 6
    agree(workspace, server, 6)


def test_a_push_that_was_killed_is_settled_task_by_task(workspace):
    server = Server()
    keys = [item.key for item in items(4)]
    with workspace.engine.begin() as connection:
        server_side.open_batch(connection, PLACE, "b", [Sent(key, 1) for key in keys])
    server.tasks = {1: ("b", Sent(keys[0], 1)), 2: ("b", Sent(keys[1], 0)), 3: ("b", Sent(keys[0], 1))}
    state = reconcile(workspace.engine, PLACE, server, PROJECT)
    assert state.live == 1
    assert noted(workspace) == {keys[0]: 1}
    assert set(server.tasks) == {1}


def test_a_doubled_task_that_people_have_worked_on_is_left_for_them_to_choose(workspace):
    server = Server(faults=("twice",))
    server.people = {4}
    with pytest.raises(LabelStudioError, match="tasks 4"):
        push(workspace, server, 3)
    assert len(server.tasks) == 6


def test_a_journal_of_an_earlier_release_is_understood(workspace):
    from goldloop.catalog.content import upsert
    from goldloop.catalog.tables import batches

    with workspace.engine.begin() as connection:
        upsert(connection, batches, [PLACE.row(batch="b", keys=["k"], state="sending")])
        assert server_side.batches_in_doubt(connection, PLACE) == {"b": [Sent("k", 0, 0)]}
