"""Dynamic batching: what many requests ask at the same time is answered by few passes of a network.

    request --ask--> waiting --choose--> one pass of at most `max_batch` examples --> each request its answers

A device has one lane: one thread that makes one pass after the other, for all models there, so that they
never compete for its cores. The oldest example that waits always goes, and with it those of its own model
whose inputs have its shape and are most like it in length. An idle lane waits a little for company, but only
for as many as shared the last pass: a lone client is answered at once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from goldloop.errors import GoldloopError
from goldloop.records import Prediction
from goldloop.serving.config import ServingConfig
from goldloop.serving.metrics import Metrics
from goldloop.serving.refusals import Refused

Result = Prediction[Any] | GoldloopError
Row = Mapping[str, Any]
_SMOOTHING = 0.2
_LOG = logging.getLogger(__name__)


class Answerer(Protocol):
    """What a lane asks of a model."""

    @property
    def name(self) -> str:
        """The recipe's."""

    @property
    def config(self) -> ServingConfig:
        """How large a pass may be."""

    def prepare(self, contents: Sequence[bytes | str]) -> list[Row | GoldloopError]:
        """Each content as the network's input, or why it cannot be."""

    def answer(self, rows: Sequence[Row]) -> list[Prediction[Any]]:
        """A prediction for each prepared row, in order."""


@dataclass(eq=False, slots=True)
class _Request:
    """Several examples that are answered together, and where to."""

    model: Answerer
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    results: list[Result | None]
    missing: int
    given_up: bool = False


@dataclass(eq=False, slots=True)
class _Waiting:
    """One example that waits; a text is prepared, together with others, by the lane."""

    request: _Request
    place: int
    since: float
    text: str | None = None
    row: Row = field(default_factory=dict)
    length: int = 0
    shape: tuple[Any, ...] = ()

    def prepared(self, row: Row) -> None:
        """Take the network's input: of a text its length in tokens counts, of an image its arrays' shapes."""
        self.text, self.row = None, row
        if "input_ids" in row and "pixel_values" not in row:
            self.length = len(row["input_ids"])
        else:
            self.shape = tuple(
                (name, tuple(value.shape)) for name, value in sorted(row.items()) if hasattr(value, "shape")
            )


class Lane:
    """The one thread that computes on a device.

    Args:
        metrics: what is counted.
        begin: called once in that thread, before anything is computed.
    """

    def __init__(self, metrics: Metrics, begin: Callable[[], None] = lambda: None) -> None:
        self._metrics = metrics
        self._begin = begin
        self._waiting: list[_Waiting] = []
        self._changed = threading.Condition()
        self._closed = False
        self._last = 1
        self._rate = 0.0
        self._thread = threading.Thread(target=self._run, name="goldloop-lane", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many examples wait."""
        return len(self._waiting)

    async def ask(self, model: Answerer, asked: Sequence[str | Row | GoldloopError]) -> list[Result]:
        """An answer for each example, in order.

        Args:
            model: which answers.
            asked: texts, or images as `prepare` made them; what could not be prepared keeps its error.

        Raises:
            Refused: too many wait already, or the lane is closed.
        """
        loop = asyncio.get_running_loop()
        results: list[Result | None] = [each if isinstance(each, GoldloopError) else None for each in asked]
        request = _Request(model, loop, loop.create_future(), results, results.count(None))
        if request.missing:
            self._add(_examples(request, asked), model.config)
            try:
                await request.done
            finally:
                request.given_up = True
        return [result for result in results if result is not None]

    def close(self) -> None:
        """End the thread; what waits is refused."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _add(self, added: Sequence[_Waiting], config: ServingConfig) -> None:
        with self._changed:
            if self._closed:
                raise Refused("the server is stopping", status=503, retry_after=5)
            waiting = len(self._waiting)
            if waiting and waiting + len(added) > config.max_waiting:
                raise Refused(
                    "the server has as much to do as it can take",
                    status=429,
                    retry_after=waiting / self._rate if self._rate else 1.0,
                    found=f"{waiting} examples that wait, and {len(added)} more",
                    expected=f"at most {config.max_waiting}",
                    remedy="Ask again after the seconds of Retry-After, or run more replicas",
                )
            self._waiting.extend(added)
            self._metrics.waiting.set(len(self._waiting))
            self._changed.notify()

    def _run(self) -> None:
        self._begin()
        while batch := self._next():
            self._answer(batch)
        stopping = Refused("the server is stopping", status=503, retry_after=5)
        with self._changed:
            left, self._waiting = self._waiting, []
        _give(left, [stopping] * len(left))

    def _next(self) -> list[_Waiting]:
        """The examples of the next pass, once there are some; none when the lane is closed."""
        with self._changed:
            while not self._closed:
                self._waiting = [each for each in self._waiting if not each.request.given_up]
                patience = self._patience()
                if self._waiting and patience <= 0:
                    self._prepare()
                    if batch := choose(self._waiting):
                        self._leave(batch)
                        return batch
                else:
                    self._changed.wait(patience if self._waiting else None)
            return []

    def _prepare(self) -> None:
        """Prepare the texts that wait, all of a model's together; what cannot be is answered with its error.

        Called, and left, with the lock held; who comes meanwhile need not wait for it.
        """
        fresh: dict[Answerer, list[_Waiting]] = {}
        for each in self._waiting:
            if each.text is not None:
                fresh.setdefault(each.request.model, []).append(each)
        if not fresh:
            return
        self._changed.release()
        failed: list[_Waiting] = []
        errors: list[Result] = []
        try:
            for model, examples in fresh.items():
                for each, row in zip(examples, _prepared(model, examples), strict=True):
                    if isinstance(row, GoldloopError):
                        failed.append(each)
                        errors.append(row)
                    else:
                        each.prepared(row)
        finally:
            self._changed.acquire()
        self._leave(failed)
        _give(failed, errors)

    def _leave(self, examples: Sequence[_Waiting]) -> None:
        gone = set(map(id, examples))
        self._waiting = [each for each in self._waiting if id(each) not in gone]
        self._metrics.waiting.set(len(self._waiting))

    def _patience(self) -> float:
        """How many seconds to wait for company still."""
        if not self._waiting:
            return 0.0
        oldest = self._waiting[0]
        config = oldest.request.model.config
        if len(self._waiting) >= min(self._last, config.max_batch):
            return 0.0
        return oldest.since + config.max_wait_milliseconds / 1000 - time.monotonic()

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        model = batch[0].request.model
        began = time.perf_counter()
        results: Sequence[Result]
        try:
            results = model.answer([each.row for each in batch])
        except Exception as error:
            # The lane must go on for the others.
            results = [_failed(model, error)] * len(batch)
        seconds = time.perf_counter() - began
        self._last = len(batch)
        rate = len(batch) / max(seconds, 1e-6)
        self._rate = rate if not self._rate else self._rate + _SMOOTHING * (rate - self._rate)
        _give(batch, results)
        self._metrics.batch_items.labels(model.name).observe(len(batch))
        self._metrics.batch_seconds.labels(model.name).observe(seconds)


def choose(waiting: Sequence[_Waiting]) -> list[_Waiting]:
    """The oldest, and those of its model and shape that are most like it in length and fit into one pass."""
    waiting = [each for each in waiting if each.text is None]
    if not waiting:
        return []
    oldest = waiting[0]
    config = oldest.request.model.config
    alike = [
        each for each in waiting if each.request.model is oldest.request.model and each.shape == oldest.shape
    ]
    alike.sort(key=lambda each: abs(each.length - oldest.length))
    chosen: list[_Waiting] = []
    longest = 0
    for each in alike[: config.max_batch]:
        longest = max(longest, each.length)
        if chosen and longest * (len(chosen) + 1) > config.max_batch_tokens:
            break
        chosen.append(each)
    return chosen


def _examples(request: _Request, asked: Sequence[str | Row | GoldloopError]) -> list[_Waiting]:
    now = time.monotonic()
    examples = []
    for place, each in enumerate(asked):
        if isinstance(each, str):
            examples.append(_Waiting(request, place, now, each))
        elif not isinstance(each, GoldloopError):
            examples.append(_Waiting(request, place, now))
            examples[-1].prepared(each)
    return examples


def _prepared(model: Answerer, examples: Sequence[_Waiting]) -> Sequence[Row | GoldloopError]:
    try:
        return model.prepare([each.text or "" for each in examples])
    except Exception as error:
        return [_failed(model, error)] * len(examples)


def _failed(model: Answerer, error: Exception) -> Refused:
    """What a request is told when a model fails, as its libraries do (out of memory, say)."""
    _LOG.error("%s fails", model.name, exc_info=error)
    return Refused("the model failed", status=500, where=model.name, found=type(error).__name__)


def _give(batch: Sequence[_Waiting], results: Sequence[Result]) -> None:
    """Hand out results; a request that now has all of its own goes on."""
    finished: dict[asyncio.AbstractEventLoop, list[_Request]] = {}
    for each, result in zip(batch, results, strict=True):
        request = each.request
        request.results[each.place] = result
        request.missing -= 1
        if not request.missing:
            finished.setdefault(request.loop, []).append(request)
    for loop, requests in finished.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_finish, requests)


def _finish(requests: Sequence[_Request]) -> None:
    for request in requests:
        if not request.done.done():
            request.done.set_result(None)
