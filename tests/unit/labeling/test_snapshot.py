"""Snapshots that a server writes while a request waits, or after it."""

from __future__ import annotations

from typing import Any

import pytest

from goldloop.errors import LabelStudioError
from goldloop.labeling import snapshot


class Exports:
    """An `Api` whose snapshot passes through these states, one for each look at it."""

    url = "http://labels.test"

    def __init__(self, *states: str) -> None:
        self.states = list(states)
        self.deleted: list[str] = []

    def call(self, method: str, path: str, **_: Any) -> Any:
        if method == "DELETE":
            self.deleted.append(path)
            return None
        return self.get(path)

    def get(self, _path: str) -> Any:
        return {"id": 3, "status": self.states.pop(0)}

    def stream(self, _path: str, _params: Any) -> Any:
        assert not self.states, "it is read before it is written"
        yield b'[{"id": 1}]'


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_BETWEEN_LOOKS", 0.0)


@pytest.mark.parametrize("states", [["completed"], ["created", "in_progress", "completed"]])
def test_a_snapshot_is_waited_for(states: list[str]) -> None:
    api: Any = Exports(*states)
    assert list(snapshot.snapshot(api, 7)) == [{"id": 1}]
    assert api.deleted == ["/api/projects/7/exports/3"]


def test_a_snapshot_that_could_not_be_written_is_told_and_deleted() -> None:
    api: Any = Exports("in_progress", "failed")
    with pytest.raises(LabelStudioError, match="found failed"):
        list(snapshot.snapshot(api, 7))
    assert api.deleted == ["/api/projects/7/exports/3"]
