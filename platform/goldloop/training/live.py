"""How a run stands in a few words: what is shown while it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from goldloop.training.events import Evaluated, Event, StepLogged


@dataclass(slots=True)
class Live:
    """Keeps the last of what a run tells.

    Attributes:
        metric: the figure of the validation split to show; None: the first of them.
        epochs: how many the run has at most.
    """

    metric: str | None = None
    epochs: int | None = None
    _step: StepLogged | None = None
    _scored: float | None = None
    _best: float | None = None
    _named: str = ""

    def hear(self, event: Event) -> None:
        """Something has happened."""
        if isinstance(event, StepLogged):
            self._step = event
        elif isinstance(event, Evaluated) and event.metrics:
            self._named = next(
                (name for name in event.metrics if name == self.metric), next(iter(event.metrics))
            )
            self._scored = event.metrics[self._named]
            if event.best:
                self._best = self._scored

    def figures(self) -> list[str]:
        """A few words for each figure, the most wanted first; empty before the first loss was read."""
        step = self._step
        if step is None:
            return []
        of = f" of {self.epochs}" if self.epochs is not None else ""
        figures = [f"epoch {step.epoch}{of}", f"loss {step.loss:.4f}"]
        if self._scored is not None:
            best = f" (best {self._best:.4f})" if self._best is not None else ""
            figures.append(f"validation {self._named} {self._scored:.4f}{best}")
        figures.append(f"learning rate {_scientific(step.learning_rate)}")
        return figures + _speed(step)


def _speed(step: StepLogged) -> list[str]:
    speed = step.speed
    if speed is None:
        return [f"{_rate(step.samples_per_second)} samples/s"]
    figures = [f"{_rate(speed.samples_per_second)} samples/s"]
    if speed.tokens_per_second is not None:
        useful = speed.useful_token_share
        share = f" ({useful:.0%} useful)" if useful is not None else ""
        figures.append(f"{_rate(speed.tokens_per_second)} tokens/s{share}")
    figures.append(f"data wait {speed.data_wait_share:.0%}")
    if speed.model_flops_utilization is not None:
        figures.append(f"{speed.model_flops_utilization:.0%} of the device")
    if speed.recompiles:
        figures.append(f"recompiled {speed.recompiles} times")
    if speed.syncs_per_step:
        figures.append(f"{speed.syncs_per_step:.0f} waits a step")
    figures.append(f"memory {speed.peak_memory_bytes / 1e9:.1f} GB")
    return figures


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"
