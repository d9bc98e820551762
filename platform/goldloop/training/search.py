"""What a recipe says under `tuning:`: which settings of `training:` to try, and how."""

from __future__ import annotations

import difflib
import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from goldloop.training.config import TrainingConfig

PREFIX = "training."
_LONGEST_GRID = 100_000


class Range(BaseModel):
    """All values from `low` to `high`, both included; whole numbers where the setting is one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: int | float
    high: int | float
    log: bool = False
    """Draw evenly between orders of magnitude."""
    step: int | float | None = Field(default=None, gt=0)
    """Only `low`, `low + step` and so on."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low must be below high (found low {self.low:g}, high {self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range begins above 0 (found low {self.low:g})")
        if self.log and self.step is not None:
            raise ValueError("a logarithmic range has no step")
        return self

    def __str__(self) -> str:
        step = f" in steps of {self.step:g}" if self.step is not None else ""
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else step}"

    def values(self) -> list[int | float]:
        """Every value of a range that has steps."""
        if self.step is None:
            raise ValueError("a range without a step cannot be listed")
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return [round(self.low + number * self.step, 12) for number in range(count)]


Choices = tuple[Any, ...]
Values = Range | Choices


class TuningConfig(BaseModel):
    """A search for better settings of `training:`, judged on the validation split alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: int = Field(default=20, ge=1)
    """Runs in all; more of them later go on where the search stood."""
    space: dict[str, Range | Choices] | None = None
    """Field of `training:` -> `{low: 1e-5, high: 1e-3, log: true}` or a list of values; None: see
    `default_space`."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """`tpe` learns from the trials before; `grid` tries every combination."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """Which trials are stopped early; `median`: those below the middle of the others so far."""
    timeout: float | None = Field(default=None, gt=0)
    """Minutes of training in all after which no other trial begins."""

    @field_validator("space", mode="before")
    @classmethod
    def _ranges_and_choices(cls, space: Any) -> Any:
        if not isinstance(space, Mapping):
            return space
        if not space:
            raise ValueError(
                "the space is empty; leave it out for a usual one, or name a field of `training:`"
            )
        return {name: _values(name, value) for name, value in space.items()}

    @model_validator(mode="after")
    def _grid_can_be_counted(self) -> TuningConfig:
        if self.sampler != "grid":
            return self
        if self.space is None:
            raise ValueError("a grid needs a space: lists of values, or ranges with a step")
        for name, values in self.space.items():
            if isinstance(values, Range) and values.step is None:
                raise ValueError(f"a grid needs a list of values or a step for {name}")
        if math.prod(len(each) for each in _listed(self.space).values()) > _LONGEST_GRID:
            raise ValueError(f"the grid has more than {_LONGEST_GRID} combinations")
        return self


def default_space(training: TrainingConfig) -> dict[str, Values]:
    """What is tried where the recipe does not say: learning rate, weight decay and warm-up."""
    rate = training.learning_rate
    low, high = (1e-5, 1e-3) if rate == "auto" else (rate / 10, rate * 10)
    return {
        "training.learning_rate": Range(low=low, high=high, log=True),
        "training.weight_decay": Range(low=min(1e-4, training.weight_decay or 1e-4), high=0.3, log=True),
        "training.warmup": Range(low=0.0, high=max(0.3, training.warmup)),
    }


def with_settings(training: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `training:` section with some of them set, by names such as `training.lora.rank`."""
    changed: dict[str, Any] = json.loads(json.dumps(training))
    for name, value in settings.items():
        *parents, last = name.removeprefix(PREFIX).split(".")
        target = changed
        for part in parents:
            if not isinstance(target.get(part), dict):
                target[part] = {}
            target = target[part]
        target[last] = value
    return changed


class Space:
    """What may be drawn for each setting.

    Args:
        values: setting -> range or choices.
        training: the fields of the recipe's `training:`, which the settings are put into.
    """

    def __init__(self, values: Mapping[str, Values], training: Mapping[str, Any]) -> None:
        self.values = dict(values)
        self.training = training

    def mistakes(self) -> Iterator[tuple[str, Any, ValidationError]]:
        """Each setting of which a value is refused by the schema, with that value: one for each setting."""
        for name, values in self.values.items():
            ends = (values.low, values.high) if isinstance(values, Range) else values
            for value in ends:
                try:
                    self.config({name: value})
                except ValidationError as error:
                    yield name, value, error
                    break

    def config(self, settings: Mapping[str, Any]) -> TrainingConfig:
        """The configuration of a run with these settings.

        Raises:
            ValidationError: they do not fit each other.
        """
        return TrainingConfig.model_validate(with_settings(self.training, settings))

    def draw(self, trial: Any) -> dict[str, Any]:
        """Settings for an Optuna trial; for one that has some already, those."""
        return self.settings({name: self._draw(trial, name) for name in self.values})

    def settings(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What an Optuna trial's parameters mean."""
        return {name: _meant(self.values[name], value) for name, value in parameters.items()}

    def _draw(self, trial: Any, name: str) -> Any:
        values = self.values[name]
        if not isinstance(values, Range):
            return trial.suggest_categorical(name, [_text(value) for value in values])
        if self._is_whole(name, values):
            step = int(values.step or 1)
            return trial.suggest_int(name, int(values.low), int(values.high), step=step, log=values.log)
        return trial.suggest_float(name, values.low, values.high, step=values.step, log=values.log)

    def as_parameters(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as Optuna has them: choices as JSON."""
        return {
            name: value if isinstance(self.values[name], Range) else _text(value)
            for name, value in settings.items()
        }

    def standing(self) -> dict[str, Any] | None:
        """The recipe's own settings; None where the space does not hold them."""
        found = {}
        for name, values in self.values.items():
            value: Any = self.training
            for part in name.removeprefix(PREFIX).split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            if not _holds(values, value):
                return None
            found[name] = value
        return found if self.settings(self.as_parameters(found)) == found else None

    def grid(self, seed: int) -> list[dict[str, Any]]:
        """Every combination once, in an order that covers the space evenly if it is broken off."""
        listed = _listed(self.values)
        found = [dict(zip(listed, each, strict=True)) for each in itertools.product(*listed.values())]
        random.Random(seed).shuffle(found)  # noqa: S311
        return found

    def _is_whole(self, name: str, values: Range) -> bool:
        if not (float(values.low).is_integer() and float(values.high).is_integer()):
            return False
        if values.step is not None and not float(values.step).is_integer():
            return False
        try:
            self.config({name: values.low + 0.5})
        except ValidationError:
            return True
        return False


def describe(values: Values) -> str:
    """A range or choices, for people."""
    return str(values) if isinstance(values, Range) else "one of " + ", ".join(map(_text, values))


def _values(name: str, value: Any) -> Any:
    """A range or choices from YAML, where `1e-5` is a text."""
    if isinstance(value, Range):
        return value
    if isinstance(value, Mapping):
        for field in value:
            if field not in Range.model_fields:
                near = difflib.get_close_matches(str(field), Range.model_fields, n=1)
                hint = (
                    f", did you mean {near[0]!r}?" if near else f" (known: {', '.join(Range.model_fields)})"
                )
                raise ValueError(f"{name} has a field that no range has: {field!r}{hint}")
        missing = [field for field in ("low", "high") if field not in value]
        if missing:
            raise ValueError(f"{name} is a range without `{missing[0]}`")
        try:
            return Range.model_validate(value)
        except ValidationError as error:
            raise ValueError(f"{name}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(
            f"{name} needs a range `{{low: ..., high: ...}}` or a list of values (found {value!r})"
        )
    choices = tuple(_number(each) for each in value)
    if len({_text(choice) for choice in choices}) < len(choices):
        raise ValueError(f"{name} lists a value twice")
    return choices


def _number(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _listed(space: Mapping[str, Values]) -> dict[str, list[Any]]:
    return {
        name: values.values() if isinstance(values, Range) else list(values) for name, values in space.items()
    }


def _meant(values: Values, parameter: Any) -> Any:
    if not isinstance(values, Range):
        return json.loads(parameter)
    if isinstance(parameter, int):
        return parameter
    # Four digits can be read and pasted; a fifth decides nothing.
    return min(max(float(f"{parameter:.4g}"), values.low), values.high)


def _holds(values: Values, value: Any) -> bool:
    if not isinstance(values, Range):
        return _text(value) in {_text(choice) for choice in values}
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if values.step is not None and not any(math.isclose(value, each) for each in values.values()):
        return False
    return values.low <= value <= values.high


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
