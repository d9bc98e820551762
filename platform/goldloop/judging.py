"""What a model's report needs from the rest of the workspace: what is known of items, costs and labels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from goldloop import wiring
from goldloop.catalog.fresh import items_among
from goldloop.errors import VersionError
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.dataset.version import Version
    from goldloop.evaluation.clusters import Place
    from goldloop.evaluation.costs import Costs
    from goldloop.evaluation.data import JudgingData
    from goldloop.evaluation.report import Around, Report
    from goldloop.inference import Predictor
    from goldloop.registry.models import ModelVersion


def around(workspace: Workspace, version: Version, split: str) -> Around:
    """How a report finds the circumstances of a split's rows, by which it makes slices."""
    from goldloop.quality.circumstances import circumstances

    keys = set(version.dataset(split)["key"])
    with workspace.engine.connect() as connection:
        known = {item.key: item for item in items_among(connection, version.name, keys)}
    classes = tasks.create(version.task).classes

    def look(row: Mapping[str, Any], content: bytes | str) -> Mapping[str, Any]:
        shown = {"text": content} if isinstance(content, str) else {"image": {"bytes": content}}
        return circumstances({"uri": row["uri"], **shown}, known.get(row["key"]), classes)

    return look


def measure(
    workspace: Workspace, model: ModelVersion, predictor: Predictor
) -> Callable[[Sequence[bytes | str], float], Costs]:
    """How a report finds out what a model costs to ask."""
    from goldloop.evaluation.costs import measured

    folder = wiring.registry(workspace).download(model)
    return lambda contents, rate: measured(predictor.predict, contents, rate, folder)


def placed(predictor: Predictor) -> Place | None:
    """How a report finds out what items have in common as the model itself sees them.

    None where answers are no classes: a network's body then sees places rather than the whole.
    """
    from goldloop.quality.embeddings import points_of

    if not predictor.task.answers_are_classes:
        return None
    return lambda contents: points_of(predictor.task, predictor.model, contents, predictor.device)


def judging_data(workspace: Workspace, model: ModelVersion, version: Version, report: Report) -> JudgingData:
    """What is known of the version that judges a model, and of what the model has seen of it."""
    from goldloop.dataset import certificate
    from goldloop.evaluation.data import JudgingData

    facts = certificate.figures(version.folder)
    agreement = facts.get("agreement", {})
    return JudgingData(
        agreement=agreement.get("mean"),
        alpha=agreement.get("alpha"),
        items_compared=agreement.get("items", 0),
        checks=tuple(check["name"] for check in facts.get("checks", ()) if check["passed"]),
        seen=_seen(workspace, model, {item.key for item in report.items}),
    )


def _seen(workspace: Workspace, model: ModelVersion, judged: Collection[str]) -> tuple[str, ...] | None:
    """Which judged items a model was trained or chosen on; None where its version is not at hand."""
    try:
        trained = wiring.version_of(workspace, model.name, model.version)
    except VersionError:
        return None
    learned = (key for split in ("train", "validation") for key in trained.dataset(split)["key"])
    return tuple(sorted(key for key in learned if key in judged))
