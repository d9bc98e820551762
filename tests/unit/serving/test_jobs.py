"""Work that webhooks lead to is done once for many hints, again after a failure, and after a kill."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from goldloop.serving import jobs as room
from goldloop.serving.jobs import Job, Jobs
from goldloop.serving.metrics import Metrics


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(room, "_PAUSES", (0.01,))


def _until(what) -> None:
    waited = threading.Event()
    for _ in range(3000):
        if what():
            return
        waited.wait(0.01)
    raise AssertionError("it never came")


def test_many_hints_are_one_job_and_one_that_comes_meanwhile_is_another(tmp_path: Path):
    began, go_on, done = threading.Event(), threading.Event(), []

    def perform(job: Job) -> bool:
        done.append(job)
        began.set()
        assert go_on.wait(60)
        return True

    jobs = Jobs(tmp_path, perform, Metrics(), settle=0.05)
    for _ in range(20):
        jobs.hint("collect", "pets")
    assert began.wait(60)
    jobs.hint("collect", "pets")
    go_on.set()
    _until(lambda: not jobs.waiting())
    jobs.close()
    assert [(job.kind, job.name) for job in done] == [("collect", "pets")] * 2


def test_what_fails_is_tried_again(tmp_path: Path):
    outcomes = [False, False, True]
    metrics = Metrics()
    jobs = Jobs(tmp_path, lambda job: outcomes.pop(0), metrics, settle=0)
    jobs.hint("collect", "pets")
    _until(lambda: not jobs.waiting())
    jobs.close()
    assert outcomes == []
    assert b'goldloop_jobs_total{job="collect",outcome="failed"} 2.0' in metrics.text()


def test_a_job_outlives_the_server_that_took_it_down(tmp_path: Path):
    never = threading.Event()
    first = Jobs(tmp_path, lambda job: never.is_set(), Metrics(), settle=0)
    first.hint("collect", "pets")
    first.close()
    assert [path.name for path in first.waiting()] == ["collect-pets.json"]
    done: list[str] = []
    second = Jobs(tmp_path, lambda job: not done.append(job.name), Metrics(), settle=0)
    _until(lambda: done and not second.waiting())
    second.close()
    assert done == ["pets"]


def test_a_file_that_is_no_job_is_taken_away(tmp_path: Path):
    (tmp_path / "collect-pets.json").write_text("{")
    jobs = Jobs(tmp_path, lambda job: True, Metrics(), settle=0)
    _until(lambda: not jobs.waiting())
    jobs.close()
