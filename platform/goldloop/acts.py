"""Which functions are acts: each call of one is a line of the audit log, written from this one place.

A line names what went in and what came out by references, digests and counts; never by content or labels.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from goldloop import wiring
from goldloop.catalog.ledger import Balance
from goldloop.recipe import Recipe
from goldloop.workspace import Workspace

P = ParamSpec("P")
R = TypeVar("R")

_UNTOLD = frozenset({"recipe", "workspace", "progress", "message", "reason"})
"""Arguments that are told otherwise, or in words of people that the log could never forget."""
_TOLD = (
    "ref", "id", "model", "version", "run", "split", "format", "folder", "counts", "outcomes", "balance",
    "created", "annotations", "preannotated", "promoted", "metric", "value",
)  # fmt: skip
"""Fields of results that name or count things."""


def recorded(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function an act: it takes a `workspace`, and its name is that of its command."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def recording(*args: P.args, **kwargs: P.kwargs) -> R:
        # Of several training processes one keeps the log.
        if not wiring.is_main_process():
            return function(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        workspace = bound.arguments.get("workspace") or Workspace.open()
        bound.arguments["workspace"] = workspace
        recipe = bound.arguments.get("recipe")
        known = (
            {"recipe": recipe.name, "recipe_digest": recipe.digest()} if isinstance(recipe, Recipe) else {}
        )
        inputs = {name: plain for name, value in bound.arguments.items() if (plain := _input(name, value))}
        with workspace.audit.act(function.__name__.strip("_"), inputs=inputs, **known) as acting:
            result = function(*bound.args, **bound.kwargs)
            acting.outputs = outputs_of(result)
            return result

    return recording


def outputs_of(result: Any) -> dict[str, Any]:
    """What of a result the log keeps."""
    if isinstance(result, bool | int | str | Mapping):
        return {"result": _plain(result)}
    found = {name: _plain(getattr(result, name, None)) for name in _TOLD}
    return {name: value for name, value in found.items() if value is not None}


def _input(name: str, value: Any) -> Any:
    return None if name in _UNTOLD else _plain(value)


def _plain(value: Any) -> Any:
    """A value as JSON, by its reference where it has one; None where it is nothing to tell."""
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Balance):
        return value.outcomes
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    for reference in ("ref", "id"):
        if isinstance(getattr(value, reference, None), str):
            return getattr(value, reference)
    return outputs_of(value) or None if value is not None and hasattr(value, "__dataclass_fields__") else None
