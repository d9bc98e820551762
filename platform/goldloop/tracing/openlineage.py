"""Lineage as OpenLineage events, for catalogs of data that read them (https://openlineage.io, spec 2-0-2).

A version is made by a job `NAME.commit` from its sources, a model by a job `NAME.train` from a version, and
what judges or suggests by `NAME.evaluate` and `NAME.predict` from a model. One complete event tells of
each.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from goldloop import __version__
from goldloop.tracing.nodes import Lineage, Node

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent

_STAGES = ("commit", "train", "evaluate", "predict")
"""In the order in which they come."""

_PRODUCER = f"https://pypi.org/project/goldloop/{__version__}"


def events(lineage: Lineage, workspace: str, at: str) -> list[dict[str, Any]]:
    """The events that tell of a lineage, those that come first first.

    Args:
        lineage: what is known.
        workspace: the workspace's identity, which names the namespace.
        at: ISO 8601; of what has no time of its own.
    """
    from openlineage.client.serde import Serde

    namespace = f"goldloop://{workspace}"
    tree = Node(
        lineage.subject.kind, lineage.subject.name, lineage.subject.facts, (*lineage.back, *lineage.forward)
    )
    found: dict[str, dict[str, Any]] = {}
    for event in _events(tree, namespace, at):
        found.setdefault(event.run.runId, Serde.to_dict(event))
    return sorted(found.values(), key=lambda event: _STAGES.index(event["job"]["name"].rpartition(".")[2]))


def _events(node: Node, namespace: str, at: str, below: Node | None = None) -> Iterator[RunEvent]:
    """The events of a node and of all below it."""
    if node.kind == "model":
        runs = [each for each in node.nodes if each.kind == "run"]
        versions = [each for run in runs for each in run.nodes if each.kind == "version"]
        if below is not None and below.kind == "version":
            versions.append(below)
        if versions:
            yield _event(f"{_name(node)}.train", versions, [node], namespace, at)
    if node.kind == "version":
        sources = [each for each in node.nodes if each.kind == "source"]
        if sources:
            yield _event(f"{_name(node)}.commit", sources, [node], namespace, at)
    if node.kind in ("report", "pre-annotations") and below is not None and below.kind == "model":
        verb = "evaluate" if node.kind == "report" else "predict"
        yield _event(f"{_name(below)}.{verb}", [below], [node], namespace, at)
    for each in node.nodes:
        yield from _events(each, namespace, at, node)


def _event(job: str, inputs: list[Node], outputs: list[Node], namespace: str, at: str) -> RunEvent:
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

    names = [f"{node.kind}:{node.name}" for node in (*inputs, *outputs)]
    identity = uuid.uuid5(uuid.NAMESPACE_URL, "|".join([namespace, job, *names]))
    return RunEvent(
        eventTime=at,
        eventType=RunState.COMPLETE,
        run=Run(runId=str(identity)),
        job=Job(namespace=namespace, name=job),
        producer=_PRODUCER,
        inputs=[InputDataset(namespace, _dataset(node), facets=_facets(node)) for node in inputs],
        outputs=[OutputDataset(namespace, _dataset(node), facets=_facets(node)) for node in outputs],
    )


def _facets(node: Node) -> dict[str, Any]:
    from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet

    digest = node.facts.get("digest")
    return {} if digest is None else {"version": DatasetVersionDatasetFacet(datasetVersion=str(digest))}


def _dataset(node: Node) -> str:
    return f"{node.kind}/{node.name}"


def _name(node: Node) -> str:
    """The recipe's name in a reference."""
    return node.name.replace("@", "/").partition("/")[0]
