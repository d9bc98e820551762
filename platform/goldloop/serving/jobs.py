"""Work that webhooks and kept requests lead to: written down first, and done once it can be.

A job is a file, `KIND-NAME.json`; it is gone once the work is done. However many hints come, there is one job
of a kind for a recipe; one that comes while it is being done has it done once more. A server that is killed
finds its jobs again when it starts.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from goldloop import durable
from goldloop.serving.metrics import Metrics

_LOG = logging.getLogger(__name__)
_PAUSES = (1.0, 5.0, 15.0, 60.0)


@dataclass(frozen=True)
class Job:
    """Work to do: `collect`, `run` or `pull`, for the recipe of a name; `mark` differs with each hint."""

    kind: str
    name: str
    mark: str


Perform = Callable[[Job], bool]
"""Does a job; whether it succeeded."""


class Jobs:
    """The jobs in a folder, and the thread that does them, one after the other.

    Args:
        folder: where they are written down.
        perform: does one.
        metrics: what is counted.
        settle: seconds to wait for further hints before a job is done.
    """

    def __init__(self, folder: Path, perform: Perform, metrics: Metrics, *, settle: float = 2.0) -> None:
        self._folder = folder
        self._perform = perform
        self._metrics = metrics
        self._settle = settle
        self._failures: dict[str, int] = {}
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._writing = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="goldloop-jobs", daemon=True)
        self._thread.start()

    def hint(self, kind: str, name: str) -> None:
        """Write a job down; returns once it cannot be lost."""
        content = {"kind": kind, "name": name, "mark": secrets.token_hex(8)}
        with self._writing:
            durable.replace(self._folder / f"{kind}-{name}.json", json.dumps(content).encode())
        self._wake.set()

    def close(self) -> None:
        """Begin no more; one that is being done is waited for."""
        self._closed.set()
        self._wake.set()
        self._thread.join()

    def waiting(self) -> list[Path]:
        """The files of jobs that are not done."""
        return sorted(self._folder.glob("*-*.json"))

    def _run(self) -> None:
        while not self._closed.is_set():
            pause: float | None = None
            self._wake.clear()
            for path in self.waiting():
                if self._closed.wait(self._settle):
                    return
                failed = not self._done(path)
                self._failures[path.name] = self._failures.get(path.name, 0) + 1 if failed else 0
                if failed:
                    pause = _PAUSES[min(self._failures[path.name], len(_PAUSES)) - 1]
            if not self.waiting() or pause is not None:
                self._wake.wait(pause)

    def _done(self, path: Path) -> bool:
        job = _read(path)
        if job is None:
            return True
        began = time.monotonic()
        succeeded = self._perform(job)
        self._metrics.jobs.labels(job.kind, "done" if succeeded else "failed").inc()
        _LOG.info("%s %s: %.1f s", job.kind, job.name, time.monotonic() - began)
        with self._writing:
            if succeeded and _read(path) == job:
                path.unlink()
        return succeeded


def _read(path: Path) -> Job | None:
    """A job; what is none is taken away."""
    try:
        return Job(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        _LOG.exception("%s is no job", path)
        path.unlink()
        return None
