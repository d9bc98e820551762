from __future__ import annotations

import pytest
import torch

from goldloop.training.throughput import Meter


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meter(clock: Clock) -> Meter:
    return Meter(torch.device("cpu"), clock)


def test_figures_are_those_of_the_timed_steps(meter: Meter, clock: Clock):
    meter.resume()
    for seconds in (1.0, 2.0, 3.0, 2.0):
        clock.now += seconds
        meter.step(10, 60, 80, 0.5)
    found = meter.summary()
    assert found.samples_per_second == 40 / 8
    assert found.tokens_per_second == 240 / 8
    assert found.padded_tokens_per_second == 320 / 8
    assert found.useful_token_share == 0.75
    assert found.step_p50 == 2.0
    assert found.step_p95 == pytest.approx(2.85)
    assert found.data_wait_share == 2 / 8
    assert (found.steps, found.samples, found.seconds) == (4, 40, 8.0)
    assert found.peak_memory_bytes > 1_000_000


def test_time_between_pause_and_resume_does_not_count(meter: Meter, clock: Clock):
    meter.resume()
    clock.now += 1
    meter.step(5, 0, 0, 0.0)
    meter.pause()
    clock.now += 100
    meter.resume()
    clock.now += 1
    meter.step(5, 0, 0, 0.0)
    found = meter.summary()
    assert found.seconds == 2
    assert found.tokens_per_second is None
    assert found.useful_token_share is None


def test_recent_figures_are_those_since_the_last_time(meter: Meter, clock: Clock):
    assert meter.recent() is None
    meter.resume()
    for seconds in (1.0, 3.0):
        clock.now += seconds
        meter.step(10, 30, 40, 1.0)
    first = meter.recent()
    assert (first.steps, first.samples_per_second, first.tokens_per_second) == (2, 5, 15)
    assert first.data_wait_share == 0.5
    assert meter.recent() is None
    clock.now += 0.5
    meter.step(10, 40, 40, 0.0)
    second = meter.recent(processes=2)
    assert (second.steps, second.samples, second.samples_per_second) == (1, 20, 40)
    assert (second.useful_token_share, second.data_wait_share) == (1, 0)
    assert meter.summary().steps == 3


def test_a_step_while_paused_is_a_mistake(meter: Meter):
    with pytest.raises(RuntimeError, match="resume"):
        meter.step(1, 0, 0, 0.0)


def test_the_first_steps_are_warm_up(meter: Meter, clock: Clock):
    meter.resume()
    for number in range(600):
        clock.now += 10.0 if number < 5 else 1.0
        meter.step(1, 0, 0, 0.0)
    found = meter.summary()
    assert (found.warmup_steps, found.warmup_seconds) == (5, 50.0)
    assert (found.steps, found.samples_per_second) == (595, 1.0)


def test_processes_are_added_up(meter: Meter, clock: Clock):
    meter.resume()
    clock.now += 2
    meter.step(4, 8, 16, 0.0)
    found = meter.summary(lambda values: [3 * value for value in values])
    assert (found.samples_per_second, found.tokens_per_second, found.samples) == (6.0, 12.0, 12)


def test_no_steps_have_no_figures(meter: Meter):
    assert meter.summary() is None
