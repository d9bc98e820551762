"""What is known of one registered model, and how it is read from MLflow's registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from goldloop.registry.connection import RUN_TAG

VERSION_TAG = "goldloop.version"
METRIC_TAG = "goldloop.metric"
VALUE_TAG = "goldloop.value"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A registered model.

    Attributes:
        name: the recipe's.
        number: counts from 1 within a name.
        run: goldloop's run id.
        version: the dataset version that it was trained on.
        metric: the task's metric.
        value: what it reached on the validation split; None where that was empty.
        aliases: `champion`, `previous`, `challenger`, sorted.
        source: where its folder is kept, as a URI.
        created_at: ISO 8601, UTC.
    """

    name: str
    number: int
    run: str
    version: str
    metric: str
    value: float | None
    aliases: tuple[str, ...]
    source: str
    created_at: str

    @property
    def ref(self) -> str:
        """How commands name it: `NAME/NUMBER`."""
        return f"{self.name}/{self.number}"

    def facts(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {"ref": self.ref, **asdict(self), "aliases": list(self.aliases)}


def tags_of(run: str, version: str, metric: str, value: float | None) -> dict[str, str]:
    """The tags by which MLflow keeps what `entry_of` reads."""
    tags = {RUN_TAG: run, VERSION_TAG: version, METRIC_TAG: metric}
    return tags if value is None else {**tags, VALUE_TAG: repr(float(value))}


def entry_of(found: Any, aliases: Mapping[str, int]) -> ModelVersion:
    """MLflow's model version as goldloop's.

    Args:
        found: MLflow's.
        aliases: those of all models of that name.
    """
    number = int(found.version)
    value = found.tags.get(VALUE_TAG)
    created = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    return ModelVersion(
        name=found.name,
        number=number,
        run=found.tags[RUN_TAG],
        version=found.tags.get(VERSION_TAG, ""),
        metric=found.tags.get(METRIC_TAG, ""),
        value=float(value) if value is not None else None,
        aliases=tuple(sorted(alias for alias, place in aliases.items() if place == number)),
        source=found.source,
        created_at=created.isoformat(timespec="seconds"),
    )
