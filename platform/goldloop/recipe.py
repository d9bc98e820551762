"""The one schema of a YAML recipe: it composes the configuration that each section keeps for itself.

Typos are refused with the nearest known name; `a.b=c` overrides any field from the command line. Below
`loop.py` nothing sees a whole recipe: each function takes its own section.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from goldloop.cleaning.config import CleaningConfig
from goldloop.connectors import connectors
from goldloop.connectors.base import ConnectorConfig
from goldloop.dataset.config import DatasetConfig
from goldloop.errors import GoldloopError, RecipeError
from goldloop.evaluation.gates import gates
from goldloop.evaluation.gates.base import GateConfig
from goldloop.labeling.config import LabelingConfig
from goldloop.monitoring.config import DriftConfig
from goldloop.plugins import PluginConfig, Plugins
from goldloop.rounds.config import WatchConfig
from goldloop.serving.config import ServingConfig
from goldloop.tasks import tasks
from goldloop.tasks.base import TaskConfig
from goldloop.training.config import TrainingConfig
from goldloop.training.search import PREFIX, Space, TuningConfig


class _PluginMistake(ValueError):
    """A plugin's own validation error, with the schema that it was held against."""

    def __init__(self, schema: type[BaseModel], error: ValidationError) -> None:
        self.schema = schema
        self.error = error
        super().__init__(str(error))


def _of(family: Plugins[Any]) -> PlainValidator:
    """Validate a plugin's configuration: its `kind` chooses the schema."""

    def validate(value: Any) -> PluginConfig:
        try:
            return family.config(value)
        except ValidationError as error:
            raise _PluginMistake(family.get(value["kind"]).Config, error) from error
        except GoldloopError as error:
            raise ValueError(str(error)) from error

    return PlainValidator(validate)


_AS_ITSELF = PlainSerializer(lambda config: config.model_dump(mode="json", by_alias=True))

SourceField = Annotated[SerializeAsAny[ConnectorConfig], _of(connectors), _AS_ITSELF]
TaskField = Annotated[SerializeAsAny[TaskConfig], _of(tasks), _AS_ITSELF]
GateField = Annotated[SerializeAsAny[GateConfig], _of(gates), _AS_ITSELF]


class Recipe(BaseModel):
    """All that one loop is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """Names the project, the versions and the model: lower case letters, digits and hyphens."""
    sources: Annotated[tuple[SourceField, ...], Field(min_length=1)]
    task: TaskField
    cleaning: CleaningConfig = CleaningConfig()
    labeling: LabelingConfig = LabelingConfig()
    dataset: DatasetConfig = DatasetConfig()
    training: TrainingConfig | None = None
    tuning: TuningConfig | None = None
    gates: tuple[GateField, ...] = ()
    serving: ServingConfig = ServingConfig()
    drift: DriftConfig = DriftConfig()
    watch: WatchConfig = WatchConfig()

    @model_validator(mode="after")
    def _tells_near_duplicates(self) -> Recipe:
        alone = self.labeling.select.near_duplicates == "one"
        if alone and self.dataset.duplicates.of(tasks.get(self.task.kind).modality) is None:
            raise ValueError("`labeling.select.near_duplicates: one` needs `dataset.duplicates` to be on")
        return self

    def digest(self) -> str:
        """SHA-256 of the resolved recipe, in hex; the same for any way of writing the same recipe."""
        return digest_of(self.model_dump(mode="json", by_alias=True))


def digest_of(value: Any) -> str:
    """SHA-256, in hex, of a JSON value in canonical form."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def load(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: a YAML file.
        overrides: `a.b=c`, with `c` in YAML: `training.epochs=3`, `sources.0.limit=100`.

    Raises:
        RecipeError: names each field that is wrong, what was found and the nearest known name.
    """
    return parse(read(Path(path), overrides), where=str(path))


def read(path: Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of a recipe's file, some of them set, as they are written: what `parse` takes.

    Raises:
        RecipeError: no such file, no YAML, or an override that leads nowhere.
    """
    data = _read(path)
    for override in overrides:
        place, value = assignment(override)
        _set(data, place, value, override)
    return data


def in_yaml(value: Any) -> str:
    """A value on one line, as an override or a recipe holds it."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    # Behind a bare number it marks the end of the document.
    return text.removesuffix("...\n").strip()


def parse(data: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """A recipe from its fields.

    Raises:
        RecipeError: as `load`.
    """
    try:
        recipe = Recipe.model_validate(dict(data))
    except ValidationError as error:
        mistakes = list(_mistakes(Recipe, error))
        raise RecipeError("\n  ".join(mistakes), where=where) from error
    mistakes = list(_mistakes_of_space(recipe))
    if mistakes:
        raise RecipeError("\n  ".join(mistakes), where=where)
    return recipe


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(
            "the recipe cannot be read",
            where=path,
            found=error.strerror,
            remedy="`goldloop init NAME --task KIND` writes one to start from",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError("this is not YAML", where=path, found=" ".join(str(error).split())) from error
    if not isinstance(data, dict):
        raise RecipeError(
            "a recipe is a mapping", where=path, found=type(data).__name__, expected="`name:`, `sources:` ..."
        )
    return data


def assignment(override: str) -> tuple[str, Any]:
    """The field and the value of an override `a.b=c`.

    Raises:
        RecipeError: it is none.
    """
    place, separator, text = override.partition("=")
    if not separator or not place:
        raise RecipeError("an override has the form a.b=c", found=repr(override))
    try:
        return place, yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError("the value of an override is not YAML", where=place, found=repr(text)) from error


def _set(data: dict[str, Any], place: str, value: Any, override: str) -> None:
    *parents, last = place.split(".")
    target: Any = data
    for part in parents:
        target = _descend(target, part, override)
    if isinstance(target, list):
        target[_index(target, last, override)] = value
    else:
        target[last] = value


def _descend(target: Any, part: str, override: str) -> Any:
    if isinstance(target, list):
        return target[_index(target, part, override)]
    if target.get(part) is None or target[part] is True:
        # `augment: true` is an `augment` of which nothing is said.
        target[part] = {}
    if not isinstance(target[part], dict | list):
        raise RecipeError(f"{part!r} has no fields of its own", where=override, found=repr(target[part]))
    return target[part]


def _index(target: list[Any], part: str, override: str) -> int:
    if part.isdecimal() and int(part) < len(target):
        return int(part)
    raise RecipeError(
        "no such entry", where=override, found=repr(part), expected=f"a number below {len(target)}"
    )


def _mistakes(schema: type[BaseModel], error: ValidationError, prefix: str = "") -> Iterator[str]:
    """One line for each thing that is wrong: where, what, found, and the nearest known name."""
    inner = {detail["loc"][0] for detail in error.errors() if len(detail["loc"]) > 1}
    for detail in error.errors():
        if detail["type"] == "too_short" and detail["loc"][0] in inner:
            # A list whose only entries are wrong themselves is no list that is too short.
            continue
        place = [*([prefix] if prefix else []), *(str(part) for part in detail["loc"])]
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, _PluginMistake):
            yield from _mistakes(cause.schema, cause.error, ".".join(place))
        elif detail["type"] == "extra_forbidden":
            yield f"{'.'.join(place)}: unknown field{_nearest(schema, detail['loc'])}"
        elif detail["type"] == "missing":
            yield f"{'.'.join(place)}: this field is needed"
        else:
            message = detail["msg"].removeprefix("Value error, ")
            found = "" if cause is not None else f" (found {detail['input']!r})"
            yield f"{'.'.join(place)}: {message}{found}"


def _mistakes_of_space(recipe: Recipe) -> Iterator[str]:
    """As `_mistakes`, of settings to be tried that `training:` does not have or does not take."""
    if recipe.tuning is None or recipe.tuning.space is None:
        return
    if recipe.training is None:
        yield "tuning: there is no `training:` whose settings could be tried"
        return
    for name in recipe.tuning.space:
        if not name.startswith(PREFIX):
            known = [f"{PREFIX}{field}" for field in TrainingConfig.model_fields]
            near = difflib.get_close_matches(f"{PREFIX}{name}", known, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            yield f"tuning.space.{name}: only fields of `training:` can be tried{hint}"
    fields = recipe.training.model_dump(mode="json", by_alias=True)
    inside = {name: values for name, values in recipe.tuning.space.items() if name.startswith(PREFIX)}
    for _, value, error in Space(inside, fields).mistakes():
        for mistake in _mistakes(TrainingConfig, error, "tuning.space.training"):
            yield (
                mistake
                if "(found" in mistake or "unknown field" in mistake
                else f"{mistake} (found {value!r})"
            )


def _nearest(schema: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """`, did you mean 'epochs'?`, or the known names where none is near."""
    for part in place[:-1]:
        schema = _nested(schema, part) or schema
    known = [field.alias or name for name, field in schema.model_fields.items()]
    near = difflib.get_close_matches(str(place[-1]), known, n=1)
    return f", did you mean {near[0]!r}?" if near else f" (known: {', '.join(known)})"


def _nested(schema: type[BaseModel], part: int | str) -> type[BaseModel] | None:
    """The schema of a field that is itself a model, or a union with one."""
    for name, field in schema.model_fields.items():
        if part in (name, field.alias):
            for candidate in (field.annotation, *get_args(field.annotation)):
                if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                    return candidate
    return None
