"""Requests kept as new items: only where the sender agrees and the recipe wants some, and behind the answer.

A request agrees by the header `X-Goldloop-Keep: yes`. What it asked about is then put into a queue in memory,
which costs it microseconds; a thread writes it down, as long as the day's quota lasts:

<folder>/NAME/<day>/<key>.text or .image    the content as it came; the day is UTC's, the key its SHA-256

The quota of a day is the number of its files, so that it holds over restarts and between servers of one
workspace. The job that takes the files into the catalog, as any source's, is hinted at now and then.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from goldloop import durable
from goldloop.errors import GoldloopError
from goldloop.records import content_key
from goldloop.serving.batching import Result
from goldloop.serving.config import Sampling
from goldloop.serving.hosted import Served
from goldloop.serving.label_studio_backend import Hint
from goldloop.serving.metrics import Metrics

HEADER = "X-Goldloop-Keep"
AGREES = "yes"
JOB = "pull"
_LOG = logging.getLogger(__name__)
_MOST_WAITING = 256
_EVERY = 300.0
"""Seconds between two jobs, at least."""


@dataclass(frozen=True)
class _Offer:
    name: str
    content: bytes | str
    sampling: Sampling


class Samples:
    """Takes requests down.

    Args:
        folder: where.
        hint: told now and then that there is something to take into the catalog.
        metrics: what is counted.
        every: seconds between two hints, at least.
    """

    def __init__(self, folder: Path, hint: Hint, metrics: Metrics, *, every: float = _EVERY) -> None:
        self._folder = folder
        self._hint = hint
        self._metrics = metrics
        self._every = every
        self._offers: queue.Queue[_Offer | None] = queue.Queue(_MOST_WAITING)
        self._chance = random.Random()  # noqa: S311
        self._fresh: set[str] = set()
        self._hinted = float("-inf")
        self._counts: dict[Path, int] = {}
        self._thread = threading.Thread(target=self._run, name="goldloop-samples", daemon=True)
        self._thread.start()

    def offer(
        self,
        headers: Mapping[str, str],
        served: Served,
        contents: Sequence[bytes | str],
        results: Sequence[Result],
    ) -> None:
        """Take what a request asked about, if it may be kept; returns at once, and never raises.

        What could not be answered is left out, as is what comes while too much waits to be written.
        """
        sampling = served.config.sample
        if sampling is None or headers.get(HEADER, "").strip().lower() != AGREES:
            return
        for content, result in zip(contents, results, strict=True):
            if isinstance(result, GoldloopError) or self._chance.random() >= sampling.share:
                continue
            try:
                self._offers.put_nowait(_Offer(served.name, content, sampling))
            except queue.Full:
                self._count(served.name, "missed")

    def close(self) -> None:
        """Write down what waits, and have it taken into the catalog, by the next server at the latest."""
        if self._thread.is_alive():
            self._offers.put(None)
            self._thread.join()

    def _run(self) -> None:
        while True:
            wait = self._hinted + self._every - time.monotonic() if self._fresh else None
            try:
                offer = self._offers.get(timeout=None if wait is None else max(wait, 0.0))
            except queue.Empty:
                self._tell()
                continue
            if offer is None:
                self._tell()
                return
            try:
                self._keep(offer)
            except OSError:
                # The request was answered long ago; the next may find room.
                self._count(offer.name, "failed")
                _LOG.exception("a request cannot be kept")

    def _keep(self, offer: _Offer) -> None:
        is_text = isinstance(offer.content, str)
        content = offer.content.encode() if isinstance(offer.content, str) else offer.content
        day = self._folder / offer.name / datetime.now(UTC).date().isoformat()
        path = day / f"{content_key(content)}.{'text' if is_text else 'image'}"
        if path.exists():
            return
        if day not in self._counts:
            day.mkdir(parents=True, exist_ok=True)
            self._counts = {other: count for other, count in self._counts.items() if other.name == day.name}
        # Counted anew where it may be the last: another server may write here too.
        if day not in self._counts or self._counts[day] + 1 >= offer.sampling.per_day:
            self._counts[day] = sum(1 for each in day.iterdir() if not each.name.startswith("."))
        if self._counts[day] >= offer.sampling.per_day:
            self._count(offer.name, "over-quota")
            return
        durable.replace(path, content)
        self._counts[day] += 1
        self._count(offer.name, "kept")
        self._fresh.add(offer.name)
        if time.monotonic() - self._hinted >= self._every:
            self._tell()

    def _tell(self) -> None:
        for name in sorted(self._fresh):
            self._hint(JOB, name)
        self._fresh.clear()
        self._hinted = time.monotonic()

    def _count(self, name: str, outcome: str) -> None:
        self._metrics.samples.labels(name, outcome).inc()
