from __future__ import annotations

import dataclasses

from goldloop.training.events import Evaluated, Note, StepLogged
from goldloop.training.live import Live
from goldloop.training.throughput import Throughput

SPEED = Throughput(
    samples_per_second=1234.5,
    tokens_per_second=45678.0,
    padded_tokens_per_second=48000.0,
    useful_token_share=0.951,
    step_p50=0.02,
    step_p95=0.03,
    data_wait_share=0.012,
    peak_memory_bytes=1_500_000_000,
    steps=10,
    samples=320,
    seconds=0.2,
    warmup_steps=0,
    warmup_seconds=0.0,
)


def step(number: int = 10, **fields) -> StepLogged:
    chosen = {"total": 40, "epoch": 2, "loss": 0.5, "learning_rate": 4.2e-5, "samples_per_second": 87.65}
    return StepLogged(step=number, **{**chosen, **fields})


def test_before_the_first_loss_there_is_nothing_to_tell():
    live = Live()
    live.hear(Note("x"))
    live.hear(Evaluated(step=0, epoch=1, metrics={"accuracy": 0.1}, best=True))
    assert live.figures() == []


def test_a_step_tells_how_it_learns_and_how_fast():
    live = Live(epochs=5)
    live.hear(step())
    assert live.figures() == ["epoch 2 of 5", "loss 0.5000", "learning rate 4.2e-5", "87.7 samples/s"]


def test_the_last_figures_of_speed_are_told():
    live = Live()
    live.hear(step(speed=SPEED))
    assert live.figures()[3:] == [
        "1,234 samples/s",
        "45,678 tokens/s (95% useful)",
        "data wait 1%",
        "memory 1.5 GB",
    ]


def test_images_have_no_tokens():
    live = Live()
    live.hear(step(speed=dataclasses.replace(SPEED, tokens_per_second=None, useful_token_share=None)))
    assert not [figure for figure in live.figures() if "tokens" in figure]


def test_the_last_validation_figure_stands_beside_the_best():
    live = Live(metric="f1")
    live.hear(step())
    live.hear(Evaluated(step=10, epoch=1, metrics={"accuracy": 0.9, "f1": 0.75}, best=True))
    live.hear(Evaluated(step=20, epoch=2, metrics={"accuracy": 0.9, "f1": 0.5}, best=False))
    assert "validation f1 0.5000 (best 0.7500)" in live.figures()


def test_a_metric_that_is_not_there_gives_way_to_the_first():
    live = Live(metric="f1")
    live.hear(step())
    live.hear(Evaluated(step=10, epoch=1, metrics={"accuracy": 0.9}, best=True))
    assert "validation accuracy 0.9000 (best 0.9000)" in live.figures()
