"""What a simulated annotator does when the server fails; the rest is in tests/e2e/test_simulate.py."""

import random
import threading
from typing import Any

import httpx
import pytest

from goldloop.errors import LabelStudioError
from goldloop.labeling.simulate import Persona, SimulatedAnnotator

PERSONA = Persona(name="simulated-annotator-1", error_rate=0.5, seed=3)
ANSWERED = [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["yes"]}}]


class FailingServer:
    """One open task; the first submissions fail, after having been stored or before."""

    def __init__(self, failures: int, stored: bool) -> None:
        self.failures = failures
        self.stored = stored
        self.made: list[dict[str, Any]] = []
        self.others: list[int] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/annotations/") and request.method == "POST":
            return self._submit()
        if path.endswith("/annotations/"):
            return httpx.Response(200, json=self.made)
        if path == "/api/tasks/":
            mine = "not_contains" not in str(request.url)
            task = {"id": 5, "data": {"key": "a"}, "is_labeled": False, "total_predictions": 0}
            task |= {"annotators": self.others, "overlap": 1}
            return httpx.Response(200, json={"tasks": [task], "total": len(self.made) if mine else 1})
        raise AssertionError(path)

    def _submit(self) -> httpx.Response:
        failing = self.failures > 0
        self.failures -= 1
        if self.stored or not failing:
            self.made.append({"id": len(self.made), "completed_by": 0})
        if failing:
            return httpx.Response(500, json={"detail": "database is locked"})
        return httpx.Response(201, json={})


def annotator(server: FailingServer) -> SimulatedAnnotator:
    transport = httpx.MockTransport(server)
    return SimulatedAnnotator("http://127.0.0.1:1", PERSONA, lambda *_: ANSWERED, transport)


@pytest.mark.parametrize("stored", [True, False])
def test_a_failed_submission_is_looked_for_before_it_is_made_again(stored: bool) -> None:
    server = FailingServer(1, stored)
    assert annotator(server).work(1, None, threading.Event(), lambda name, made: None) == 1
    assert len(server.made) == 1


def test_a_task_that_has_its_answers_is_left_alone_whatever_its_flag_says() -> None:
    server = FailingServer(0, stored=True)
    server.others = [7]
    assert annotator(server).work(1, None, threading.Event(), lambda name, made: None) == 0
    assert not server.made


def test_a_refused_submission_is_not_made_again() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(400, json={"detail": "no such label"})
        return FailingServer(0, stored=False)(request)

    worker = SimulatedAnnotator(
        "http://127.0.0.1:1", PERSONA, lambda *_: ANSWERED, httpx.MockTransport(refuse)
    )
    with pytest.raises(LabelStudioError, match="no such label"):
        worker.work(1, None, threading.Event(), lambda name, made: None)


def test_a_server_that_counts_less_than_was_made_is_an_error() -> None:
    class Forgetful(FailingServer):
        def _submit(self) -> httpx.Response:
            return httpx.Response(201, json={})

    with pytest.raises(LabelStudioError, match="does not have all"):
        annotator(Forgetful(0, stored=False)).work(1, None, threading.Event(), lambda name, made: None)


def test_an_annotator_errs_on_the_same_items_whatever_their_order() -> None:
    def errs(keys: list[str]) -> dict[str, bool]:
        return {key: PERSONA.chance(key).random() < PERSONA.error_rate for key in keys}

    keys = [f"{number:064x}" for number in range(200)]
    shuffled = random.Random(0).sample(keys, len(keys))
    assert errs(keys) == errs(shuffled)
    assert 60 < sum(errs(keys).values()) < 140
