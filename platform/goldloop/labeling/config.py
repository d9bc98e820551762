"""What a recipe says under `labeling:`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

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

from goldloop.errors import GoldloopError
from goldloop.labeling.strategies import strategies
from goldloop.labeling.suggesters import suggesters
from goldloop.plugins import PluginConfig, Plugins


def _checked(family: Plugins[Any], value: Any) -> PluginConfig:
    """A plugin's configuration; what is wrong with it is told in one line."""
    try:
        return family.config(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error
    except GoldloopError as error:
        raise ValueError(str(error)) from error


def _as_written(config: PluginConfig | str) -> Any:
    """As a recipe has it: by its name alone where there is no more to say."""
    if isinstance(config, str):
        return config
    fields = config.model_dump(mode="json", by_alias=True)
    return config.kind if set(fields) == {"kind"} else fields


def _strategy(value: Any) -> PluginConfig:
    return _checked(strategies, {"kind": value} if isinstance(value, str) else value)


StrategyField = Annotated[
    SerializeAsAny[PluginConfig], PlainValidator(_strategy), PlainSerializer(_as_written)
]


class Selection(BaseModel):
    """Which items are sent to annotators, and how many lie open at a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: StrategyField = PluginConfig(kind="random")
    """A strategy's name: `random`; `uncertainty`, `margin` and `entropy` send what the champion is least sure
    of first; `diversity` what is unlike all that was sent; `cluster` what is typical of each kind, for a
    cold start. With more to say of it, `{kind: mix, parts: {uncertainty: 0.7, random: 0.3}}`."""
    batch: int | None = Field(default=None, ge=1)
    """Keep this many tasks open; by default all items are sent at once."""
    near_duplicates: Literal["all", "one"] = "all"
    """`one`: an item that is a near-duplicate, by `dataset.duplicates`, of one that annotators have or whose
    label is known, is not sent; of several new ones one is."""
    seed: int = 0


class MediaProxy(BaseModel):
    """Images by goldloop's own proxy, `goldloop media`, in place of Label Studio's storage."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    proxy: str = Field(pattern=r"^https?://[A-Za-z0-9.-]+(:\d+)?$")
    """Where annotators' browsers and Label Studio reach it: `http://127.0.0.1:8301`. What stands before it
    (for https, say) must leave the header `Host` as it is."""
    direct: bool = True
    """Browsers come to the proxy themselves, by addresses that Label Studio signs for a minute; without it
    Label Studio fetches for them."""
    signed_for: int | None = Field(default=None, ge=1, le=3600)
    """Send browsers on to the image's own bucket (S3, GCS, Azure) by an address signed for so many seconds;
    the bucket must let pages of other sites read (CORS). By default the proxy hands out the bytes."""
    max_megabytes: int = Field(default=64, ge=1)


class Asked(BaseModel):
    """Some items, and how many people are asked about each of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(gt=0, le=1)
    """Of all items, by chance and by content: an item that is among them stays so."""
    annotators: int = Field(ge=1, le=50)


class Worth(BaseModel):
    """How little more labels must be worth for no more to be wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: int = Field(ge=1)
    """So many more."""
    gain: float = Field(gt=0)
    """Of the task's figure; 0.01 is a point."""


class Stop(BaseModel):
    """When no more items are sent to annotators: as soon as one of these holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: int | None = Field(default=None, ge=1)
    """So many tasks have their answers."""
    gain: float | None = Field(default=None, gt=0)
    """The best of the last `models` models is less than this better than the best before, by their figure
    on the validation split."""
    models: int = Field(default=3, ge=1)
    worth: Worth | None = None
    """`{labels: 200, gain: 0.005}`: nine times of ten, 200 more labels would gain less than half a point, by
    the learning curve of the latest version (`goldloop budget`)."""

    @model_validator(mode="after")
    def _says_something(self) -> Stop:
        if self.labels is None and self.gain is None and self.worth is None:
            raise ValueError(
                "say when to stop: `labels: 2000`, `gain: 0.005` or `worth: {labels: 200, gain: 0.005}`"
            )
        return self


def _suggester(value: Any) -> Any:
    return value if value == "champion" else _checked(suggesters, value)


SuggesterField = Annotated[
    SerializeAsAny[PluginConfig] | Literal["champion"],
    PlainValidator(_suggester),
    PlainSerializer(_as_written),
]


class LabelingConfig(BaseModel):
    """How items are annotated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    annotators_per_item: int = Field(default=1, ge=1, le=50)
    """So many answers make a label."""
    annotators: tuple[Annotated[str, Field(pattern=r"^[\w.@+-]{1,60}$")], ...] = ()
    """Names among whom items are dealt: each has a tab in Label Studio with the tasks that are for them. By
    default everybody is offered everything. Holds for tasks made from then on."""
    overlap: Asked | None = None
    """Some items that more people are asked about, to see how far they agree."""
    controls: Asked | None = None
    """Some of the items whose `truth` a source knows, hidden among all others: everybody answers them, and
    `goldloop annotators` holds the answers against the truth."""
    blind: float = Field(default=0, ge=0, lt=1)
    """The share of items on which nobody is shown a suggestion, to measure how far suggestions sway."""
    suggestions: SuggesterField = "champion"
    """Who pre-annotates: goldloop's own champion, `{kind: openai, url: ..., model: ...}` or
    `{kind: huggingface, checkpoint: ..., pipeline: ...}`."""
    stop: Stop | None = None
    """When no more items are sent; by default never."""
    select: Selection = Selection()
    project: str | None = Field(default=None, min_length=3, max_length=50)
    """The Label Studio project's title; by default made from the recipe's name."""
    parallel_imports: int = Field(default=1, ge=1, le=16)
    """So many requests create tasks at a time. More than one only where Label Studio is on PostgreSQL and has
    several workers or threads: on SQLite imports that meet lose annotations, which are then sent again. The
    embedded server takes one."""
    media: Literal["label-studio"] | MediaProxy = "label-studio"
    """Where annotators' browsers get images from: Label Studio, which reads them from the workspace or is
    sent them; or the media proxy. Holds for tasks made from then on."""

    @model_validator(mode="after")
    def _are_enough(self) -> LabelingConfig:
        asked = [each.annotators for each in (self.overlap, self.controls) if each is not None]
        most = max([self.annotators_per_item, *asked])
        if self.annotators and len(set(self.annotators)) != len(self.annotators):
            raise ValueError("`annotators` names somebody twice")
        if self.annotators and most > len(self.annotators):
            raise ValueError(f"{most} people are asked about some items, and `annotators` names fewer")
        return self
