"""`learning_rate: auto`: a learning rate from a short run in which it rises until the loss does.

    rate    1e-6 ───────────────▶ 10, each step a factor more
    loss    high, then falling, low, then rising: the run ends once it is far above its lowest
                          ▲ the middle of the longest fall is the rate to train with

As L. N. Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), tells it; where in the fall to
stand is fastai's `valley`. The network, the optimizer and every random generator are then put back to the
bit, so a run finds the same rate however often it is begun.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from goldloop.durable import replace
from goldloop.errors import TrainingError
from goldloop.progress import Progress
from goldloop.training.config import FALLBACK
from goldloop.training.record import check_identity
from goldloop.training.snapshot import undisturbed

if TYPE_CHECKING:
    from goldloop.training.engine import Engine

FILE = "learning_rate.json"
_LOWEST, _HIGHEST = 1e-6, 10.0
_FEWEST, _MOST = 40, 100
_SMOOTHING = 0.9
_TOO_HIGH = 4.0
_SHORTEST_FALL, _LEAST_FALL = 5, 0.02
"""Steps, and share of the loss: what falls less is noise."""


@dataclass(frozen=True, slots=True)
class RangeTest:
    """What was found.

    Attributes:
        learning_rate: to train with.
        rates: of each step, rising.
        losses: after each, smoothed.
        falls: whether the loss fell at any rate; else the learning rate is a usual one.
    """

    learning_rate: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    falls: bool

    def note(self) -> str:
        """What to know about it."""
        if self.falls:
            return f"learning rate {self.learning_rate:.2e}, found in {len(self.rates)} steps of a rising one"
        return (
            f"the loss falls at no learning rate that was tried: it is {self.learning_rate:.2e}, a usual one"
        )


def steps_of(total: int) -> int:
    """How many steps the search takes at most, for a run of so many."""
    return min(max(total, _FEWEST), _MOST)


def learning_rate(engine: Engine, folder: Path, identity: str, progress: Progress) -> RangeTest:
    """Find the learning rate of a run, once; every process must call it, and gets the same.

    Args:
        engine: at the start of the run, or anywhere else if it was found before.
        folder: the run's; what is found is kept in `learning_rate.json`.
        identity: digest of what the run is started with.
        progress: told how far it is.

    Raises:
        TrainingError: what was found before cannot be read, or is another run's.
    """
    from accelerate.utils import broadcast_object_list

    main = engine.accelerator.is_main_process
    found = [_read(folder / FILE, identity) if main else None]
    if engine.accelerator.num_processes > 1:
        broadcast_object_list(found)
    test = found[0]
    if test is None and engine.done:
        raise TrainingError(
            "the learning rate that was found is not there any more",
            where=folder / FILE,
            remedy="Remove the run's folder to train again",
        )
    if test is None:
        test = _search(engine, progress)
        if main:
            _write(folder / FILE, identity, test)
    engine.learning_rate = test.learning_rate
    return test


def _search(engine: Engine, progress: Progress) -> RangeTest:
    steps = steps_of(engine.total)
    growth = (_HIGHEST / _LOWEST) ** (1 / (steps - 1))
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    with _undone(engine), progress.track("learning rate", steps) as advance:
        taken = engine.taken(lambda done: _LOWEST * growth**done, steps, first_epoch=engine.config.epochs)
        with closing(taken):
            for step in taken:
                loss = float(engine.accelerator.reduce(step.loss, reduction="sum"))
                mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
                smoothed = mean / (1 - _SMOOTHING ** (len(losses) + 1))
                if not math.isfinite(smoothed) or smoothed > _TOO_HIGH * min(losses, default=math.inf):
                    break
                rates.append(step.learning_rate)
                losses.append(smoothed)
                advance(1)
    chosen = middle_of_fall(losses)
    rate = FALLBACK if chosen is None else float(f"{rates[chosen]:.3g}")
    return RangeTest(rate, tuple(rates), tuple(losses), chosen is not None)


def middle_of_fall(losses: Sequence[float]) -> int | None:
    """The place in the middle of the longest fall, which may be interrupted; None where there is none."""
    length = [1] * len(losses)
    for place, loss in enumerate(losses):
        before = [length[other] for other in range(place) if losses[other] > loss]
        length[place] = max(before, default=0) + 1
    longest = max(length, default=0)
    if longest < _SHORTEST_FALL:
        return None
    end = length.index(longest)
    start = end - longest + 1
    if losses[start] - losses[end] < _LEAST_FALL * abs(losses[start]):
        return None
    return (start + end) // 2


@contextmanager
def _undone(engine: Engine) -> Iterator[None]:
    """Leave the engine as it is, to the bit, whatever it does within."""
    scaler = engine.accelerator.scaler
    scale = None if scaler is None else scaler.state_dict()
    optimizer = engine.optimizer.optimizer
    learning = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    live = [parameter.detach() for parameter in learning]
    held = [tensor.clone() for tensor in live]
    try:
        with undisturbed(engine):
            yield
    finally:
        for tensor, value in zip(live, held, strict=True):
            tensor.copy_(value)
        optimizer.state.clear()
        engine.resume({**engine.position(), "done": 0})
        if engine.average is not None:
            engine.average.follow()
        if scaler is not None and scale is not None:
            scaler.load_state_dict(scale)


def _read(file: Path, identity: str) -> RangeTest | None:
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        check_identity(content.pop("identity"), identity, file)
        return RangeTest(**{**content, "rates": tuple(content["rates"]), "losses": tuple(content["losses"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            "the learning rate that was found cannot be read",
            where=file,
            found=f"{type(error).__name__}: {error}",
            remedy="Remove the run's folder to train again",
        ) from error


def _write(file: Path, identity: str, test: RangeTest) -> None:
    replace(file, (json.dumps({"identity": identity, **asdict(test)}) + "\n").encode())
