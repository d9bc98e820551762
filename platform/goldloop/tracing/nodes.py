"""Lineage as trees: what something came from, and what came from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Node:
    """One thing.

    Attributes:
        kind: `model`, `run`, `version`, `item`, `annotation`, `source`, `content`, `export` ...
        name: what tells it apart, as commands take it where they take it.
        facts: what else is known of it; JSON values.
        nodes: what is next to it, away from where the tree begins.
    """

    kind: str
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    nodes: Sequence[Node] = ()

    def as_json(self) -> dict[str, Any]:
        """The tree from here on as JSON."""
        plain = {"kind": self.kind, "name": self.name, **self.facts}
        return {**plain, "nodes": [node.as_json() for node in self.nodes]} if self.nodes else plain

    def every(self) -> Iterator[Node]:
        """All nodes of the tree, this one first."""
        yield self
        for node in self.nodes:
            yield from node.every()


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where something stands.

    Attributes:
        subject: what was asked about.
        back: what it came from.
        forward: what came from it.
    """

    subject: Node
    back: tuple[Node, ...]
    forward: tuple[Node, ...]

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **self.subject.as_json(),
            "back": [node.as_json() for node in self.back],
            "forward": [node.as_json() for node in self.forward],
        }
