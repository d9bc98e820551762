"""Versions, runs and models: what they were made from, down to acts, and what was made from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from goldloop import wiring
from goldloop.catalog.tables import predictions
from goldloop.export_records import records
from goldloop.tracing import items as traced_items
from goldloop.tracing.nodes import Node
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.dataset.version import Version
    from goldloop.registry.models import ModelVersion

_COLUMNS = ["key", "uri", "provenance", "annotators", "shown_models"]


def version_origins(workspace: Workspace, version: Version, only: str | None, most: int) -> tuple[Node, ...]:
    """Recipe and code, sources, annotators, the version before, and items with all that they came from.

    Args:
        workspace: where.
        version: which.
        only: the item to tell of; None: the first ones.
        most: so many items at most.
    """
    certificate = _certificate(version.folder)
    found = [
        Node("recipe", certificate.get("recipe_digest", ""), {"code": certificate.get("source_digest")}),
        *_sources(certificate),
        *(
            Node("annotator", name, {"rows": count})
            for name, count in certificate.get("annotators", {}).items()
        ),
    ]
    if version.parent is not None:
        found.append(Node("version", f"{version.name}@{version.parent[:12]}", {"is": "the one before"}))
    return (*found, *_items(workspace, version, only, most))


def version_uses(workspace: Workspace, version: Version) -> tuple[Node, ...]:
    """Models that were trained on it, exports, and versions that build on it."""
    from goldloop.dataset import version as versions

    found: list[Node] = []
    if (workspace.runs / version.name).exists():
        models = wiring.registry(workspace).models(version.name)
        found += [
            Node(
                "model",
                model.ref,
                {"aliases": list(model.aliases), "run": model.run},
                model_uses(workspace, model),
            )
            for model in models
            if model.version == version.ref
        ]
    for record in records(workspace.exports):
        if record.digest == version.digest:
            found.append(Node("export", record.folder, {"format": record.section["kind"], "at": record.at}))
    for other in versions.versions(workspace.versions, version.name):
        if other.parent == version.digest:
            found.append(Node("version", other.ref, {"is": "the one after"}))
    return tuple(found)


def run_origins(workspace: Workspace, name: str, run: str, only: str | None, most: int) -> tuple[Node, ...]:
    """The version that a run was on, with all that it came from."""
    made_by = _run(workspace.runs / name / run)
    version = wiring.version_of(workspace, name, made_by["facts"]["version"])
    return (version_node(workspace, version, only, most),)


def version_node(workspace: Workspace, version: Version, only: str | None, most: int) -> Node:
    """A version with what it came from."""
    facts = {"digest": version.digest, "rows": dict(version.counts), "created_at": version.created_at}
    return Node("version", version.ref, facts, version_origins(workspace, version, only, most))


def run_node(workspace: Workspace, name: str, run: str, only: str | None, most: int) -> Node:
    """A run with what it came from."""
    made_by = _run(workspace.runs / name / run)
    facts = {word: made_by.get(word) for word in ("seed", "commit", "packages", "hardware")}
    return Node("run", run, facts, run_origins(workspace, name, run, only, most))


def run_uses(workspace: Workspace, name: str, run: str) -> tuple[Node, ...]:
    """The model of a run, if it is registered."""
    models = [model for model in wiring.registry(workspace).models(name) if model.run == run]
    return tuple(
        Node("model", model.ref, {"aliases": list(model.aliases)}, model_uses(workspace, model))
        for model in models
    )


def model_uses(workspace: Workspace, model: ModelVersion) -> tuple[Node, ...]:
    """Tasks that carry its suggestions, versions that people labelled with them in sight, its reports."""
    from goldloop.dataset import version as versions

    table = predictions
    with workspace.engine.connect() as connection:
        query = select(table.c.recipe, table.c.server, func.count()).where(table.c.model == model.ref)
        counts = connection.execute(query.group_by(table.c.recipe, table.c.server)).all()
    found = [
        Node("pre-annotations", f"{server}, {recipe}", {"tasks": int(count)})
        for recipe, server, count in counts
    ]
    for version in versions.versions(workspace.versions, model.name):
        shown = _certificate(version.folder).get("shown_models", {}).get(model.ref)
        if shown:
            found.append(Node("version", version.ref, {"rows labelled with its suggestion in sight": shown}))
    reports = workspace.runs / model.name / model.run / "reports"
    for path in sorted(reports.glob("*/report.json")):
        found.append(Node("report", path.parent.relative_to(workspace.root).as_posix()))
    return tuple(found)


def _items(workspace: Workspace, version: Version, only: str | None, most: int) -> Iterator[Node]:
    from goldloop.dataset.lookup import row_of
    from goldloop.dataset.shards import live_rows

    if only is not None:
        row = row_of(version, only, _COLUMNS)
        rows: Any = [] if row is None else [row]
    else:
        rows = islice(
            (
                {**row, "split": split}
                for split in version.counts
                for row in live_rows(version.folder, split, _COLUMNS)
            ),
            most,
        )
    for row in rows:
        facts = {name: row[name] for name in ("split", "uri", "provenance", "annotators", "shown_models")}
        yield Node("item", row["key"], facts, traced_items.origins(workspace, row["key"]))


def _sources(certificate: dict[str, Any]) -> Iterator[Node]:
    for stage, books in certificate.get("ledger", {}).items():
        kind, _, source = stage.partition(" ")
        if kind == "pull" and source:
            yield Node("source", source, books)


def _certificate(folder: Path) -> dict[str, Any]:
    from goldloop.dataset.certificate import held_by

    return held_by(folder) or {}


def _run(folder: Path) -> dict[str, Any]:
    from goldloop.training.record import RUN_FILE

    read: dict[str, Any] = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    return read
