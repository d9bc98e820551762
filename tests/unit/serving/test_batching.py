"""What shares a pass, who waits, who is sent away, and that every request gets its own answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

from goldloop.errors import GoldloopError, ItemError
from goldloop.records import Prediction
from goldloop.serving.batching import Lane
from goldloop.serving.config import ServingConfig
from goldloop.serving.metrics import Metrics
from goldloop.serving.refusals import Refused


class Echo:
    """A model that says each text back; a text that begins with `!` cannot be read."""

    def __init__(self, name: str = "echo", gate: threading.Event | None = None, **settings: Any) -> None:
        self.name = name
        self.config = ServingConfig(**{"max_wait_milliseconds": 200, **settings})
        self.gate = gate
        self.passes: list[list[Any]] = []

    def prepare(self, contents: Sequence[bytes | str]) -> list[dict[str, Any] | GoldloopError]:
        return [
            ItemError("unreadable", where=text)
            if text.startswith("!")
            else {"input_ids": text.split(), "text": text}
            for text in map(str, contents)
        ]

    def answer(self, rows: Sequence[Any]) -> list[Prediction[Any]]:
        self.passes.append(
            [row["text"] if "text" in row else tuple(row["pixel_values"].shape) for row in rows]
        )
        if self.gate is not None:
            self.gate.wait(30)
        if any(row.get("text") == "fail" for row in rows):
            raise RuntimeError("out of memory")
        return [Prediction(target=row.get("text", "image"), confidence=1.0) for row in rows]


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane(Metrics())
    yield lane
    lane.close()


def _run(ask: Callable[[], Any]) -> Any:
    async def timed() -> Any:
        async with asyncio.timeout(60):
            return await ask()

    return asyncio.run(timed())


def _said(results: Sequence[Any]) -> list[Any]:
    return [result.target for result in results]


def test_answers_come_in_the_order_of_the_question_and_what_cannot_be_read_fails_alone(lane):
    texts = ["a b c", "!bad", "a", "a b", "a b c d"]
    results = _run(lambda: lane.ask(Echo(), texts))
    assert isinstance(results[1], ItemError)
    assert _said([results[0], *results[2:]]) == [texts[0], *texts[2:]]


def test_requests_of_one_moment_share_passes_sorted_by_length(lane):
    gate, model = threading.Event(), Echo(max_batch=4)
    model.gate = gate

    async def ask() -> list[Any]:
        first = asyncio.create_task(lane.ask(model, ["first"]))
        while not model.passes:
            await asyncio.sleep(0.01)
        # These wait together while the first pass is under way.
        texts = ["a " * length for length in (9, 1, 8, 2, 9, 1, 8, 2)]
        others = [asyncio.create_task(lane.ask(model, [text])) for text in texts]
        while lane.waiting < len(texts):
            await asyncio.sleep(0.01)
        gate.set()
        return [_said(await each) for each in (first, *others)]

    answers = _run(ask)
    assert len(answers) == 9
    lengths = [[len(text.split()) for text in each] for each in model.passes[1:]]
    # The oldest goes first, and with it what is most like it.
    assert sorted(lengths[0]) == [8, 8, 9, 9]
    assert sorted(lengths[1]) == [1, 1, 2, 2]


def test_a_pass_keeps_to_its_tokens_and_one_that_is_longer_goes_alone(lane):
    model = Echo(max_batch=10, max_batch_tokens=6)
    texts = ["a a a", "a a", "a a a", "a a a a a a a a"]
    assert _said(_run(lambda: lane.ask(model, texts))) == texts
    assert sorted(len(each) for each in model.passes) == [1, 1, 2]
    assert all(len(each) * max(len(text.split()) for text in each) <= 8 for each in model.passes)


def test_images_share_a_pass_with_those_of_their_shape_only(lane):
    model = Echo()
    rows = [{"pixel_values": torch.zeros(3, side, side)} for side in (4, 8, 4, 8, 4)]
    assert len(_run(lambda: lane.ask(model, rows))) == 5
    assert model.passes == [[(3, 4, 4)] * 3, [(3, 8, 8)] * 2]


def test_models_never_share_a_pass(lane):
    one, other = Echo("one"), Echo("other")

    async def ask() -> Any:
        return await asyncio.gather(lane.ask(one, ["a", "b"]), lane.ask(other, ["c", "d"]))

    first, second = _run(ask)
    assert (_said(first), _said(second)) == (["a", "b"], ["c", "d"])
    assert all(text in ("a", "b") for each in one.passes for text in each)
    assert all(text in ("c", "d") for each in other.passes for text in each)


def test_who_comes_when_too_many_wait_is_told_when_to_come_again(lane):
    model = Echo(gate=threading.Event(), max_waiting=2)

    async def ask() -> Refused:
        first = asyncio.create_task(lane.ask(model, ["first"]))
        while not model.passes:
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(lane.ask(model, ["a", "b"]))
        while lane.waiting < 2:
            await asyncio.sleep(0.01)
        with pytest.raises(Refused) as refused:
            await lane.ask(model, ["c"])
        model.gate.set()
        assert _said(await first) + _said(await waiting) == ["first", "a", "b"]
        return refused.value

    error = _run(ask)
    assert error.status == 429
    assert error.retry_after > 0


def test_one_request_larger_than_the_queue_is_taken_when_nothing_waits(lane):
    texts = [str(number) for number in range(20)]
    assert _said(_run(lambda: lane.ask(Echo(max_waiting=3), texts))) == texts


def test_what_was_given_up_is_not_computed(lane):
    model = Echo(gate=threading.Event())

    async def ask() -> None:
        first = asyncio.create_task(lane.ask(model, ["first"]))
        while not model.passes:
            await asyncio.sleep(0.01)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await lane.ask(model, ["given up"])
        model.gate.set()
        await first
        assert _said(await lane.ask(model, ["later"])) == ["later"]

    _run(ask)
    assert model.passes == [["first"], ["later"]]


def test_a_model_that_fails_fails_its_pass_and_the_lane_goes_on(lane):
    model = Echo()
    (failed,) = _run(lambda: lane.ask(model, ["fail"]))
    assert isinstance(failed, Refused)
    assert failed.status == 500
    assert _said(_run(lambda: lane.ask(model, ["well"]))) == ["well"]


def test_a_closed_lane_refuses(lane):
    lane.close()
    with pytest.raises(Refused, match="stopping"):
        _run(lambda: lane.ask(Echo(), ["a"]))
