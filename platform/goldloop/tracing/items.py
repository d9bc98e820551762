"""Items: where a content was found and who said what of it; and every version, model and copy that has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy import select

from goldloop import wiring
from goldloop.catalog import forgotten
from goldloop.catalog.tables import addresses, items, predictions, tasks
from goldloop.catalog.tables import annotations as acts
from goldloop.holders import holders
from goldloop.tracing.nodes import Node
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.dataset.forgetting import Held
    from goldloop.registry.models import ModelVersion

_ROLES = {"train": "trained on it", "validation": "chosen by it", "test": "judged by it"}
_SHOWN_ELSEWHERE = frozenset({"version", "catalog"})


def origins(workspace: Workspace, key: str) -> tuple[Node, ...]:
    """Sources, bytes and annotators' acts; of a content that was forgotten, its tombstones."""
    with workspace.engine.connect() as connection:
        found = [
            Node(
                "tombstone",
                stone.key,
                {name: value for name, value in stone.facts().items() if name != "key"},
            )
            for stone in forgotten.tombstones(connection)
            if stone.key == key
        ]
        for row in connection.execute(select(items).where(items.c.key == key)):
            found.append(_content(workspace, row))
        for row in connection.execute(
            select(addresses).where(addresses.c.key == key).order_by(addresses.c.uri)
        ):
            found.append(Node("source", row.uri, {"recipe": row.recipe, "source": row.source}))
        order = (acts.c.recipe, acts.c.created_at, acts.c.annotation_id)
        for row in connection.execute(select(acts).where(acts.c.key == key).order_by(*order)):
            facts = {
                "recipe": row.recipe, "server": row.server, "task": row.task_id, "annotator": row.annotator,
                "did": "skipped" if row.cancelled else "answered", "created_at": row.created_at,
                "updated_at": row.updated_at, "lead_time": row.lead_time, "shown_model": row.shown_model,
            }  # fmt: skip
            found.append(Node("annotation", str(row.annotation_id), facts))
    return tuple(found)


def uses(workspace: Workspace, key: str) -> tuple[Node, ...]:
    """Versions with the models that they made, pre-annotations, and every other place that has some of it."""
    found = [_version(each, models_of(workspace, each)) for each in held_in(workspace, key)]
    with workspace.engine.connect() as connection:
        same = (predictions.c.recipe == tasks.c.recipe, predictions.c.server == tasks.c.server)
        query = select(predictions).join(
            tasks, (same[0]) & (same[1]) & (predictions.c.task_id == tasks.c.task_id)
        )
        for row in connection.execute(query.where(tasks.c.key == key)):
            facts = {"recipe": row.recipe, "server": row.server, "task": row.task_id}
            found.append(Node("pre-annotation", row.model, facts))
    for holder in holders(workspace):
        if holder.kind not in _SHOWN_ELSEWHERE:
            found += [Node(place.kind, place.where, {"what": place.what}) for place in holder.find(key)]
    return tuple(found)


def held_in(workspace: Workspace, key: str) -> Iterator[Held]:
    """What every version has of a content, tombstones among that."""
    from goldloop.dataset.forgetting import held

    return held(workspace.versions, key)


def models_of(workspace: Workspace, held: Held) -> list[ModelVersion]:
    """The models that were trained on a version."""
    # Asking MLflow costs seconds; a name without a run has no models.
    if not (workspace.runs / held.version.name).exists():
        return []
    models = wiring.registry(workspace).models(held.version.name)
    return [model for model in models if model.version == held.version.ref]


def _version(held: Held, models: list[ModelVersion]) -> Node:
    line = held.line
    state = "replaced rows in its files" if line is None else str(line.outcome)
    role = _ROLES.get(held.split or "", "without it")
    nodes = tuple(
        Node("model", model.ref, {"role": role, "aliases": list(model.aliases), "run": model.run})
        for model in models
    )
    return Node("version", held.version.ref, {"state": state, "split": held.split}, nodes)


def _content(workspace: Workspace, row: object) -> Node:
    key, modality, recipe, state = (getattr(row, name) for name in ("key", "modality", "recipe", "state"))
    facts = {"recipe": recipe, "modality": modality, "state": state, "found_at": getattr(row, "uri", None)}
    if modality == "text":
        return Node("content", key, {**facts, "kept_in": "the catalog"})
    folder = workspace.media.root / key[:2]
    files = sorted(path.relative_to(workspace.root).as_posix() for path in folder.glob(f"{key}.*"))
    return Node("content", key, {**facts, "kept_in": ", ".join(files) or "nowhere"})
