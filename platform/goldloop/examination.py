"""`goldloop doctor`: what would fail, before it does."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from goldloop.connectors import connectors
from goldloop.connectors._content import without_secrets
from goldloop.errors import GoldloopError
from goldloop.recipe import Recipe, load
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

_LOW_DISK = 5_000_000_000
_PLACES = ("url", "url_from", "listing", "dataset", "project")
"""The fields of a source that say where it is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `found` says what to do where it is not fine."""

    state: Literal["fine", "beware", "fails"]
    what: str
    found: str

    def facts(self) -> dict[str, str]:
        """As JSON."""
        return asdict(self)


def examine(recipe: Path | None = None, overrides: Iterable[str] = ()) -> list[Finding]:
    """Look at the workspace, its servers and, if given, a recipe; nothing is changed."""
    workspace = Workspace.open()
    findings = [
        _finding("workspace", lambda: _workspace(workspace)),
        _disk(workspace),
        _finding("Label Studio", lambda: _label_studio(workspace)),
        _finding("device", _device),
    ]
    if recipe is None:
        return findings
    try:
        loaded = load(recipe, overrides)
    except GoldloopError as error:
        return [*findings, Finding("fails", "recipe", str(error))]
    return [*findings, Finding("fine", "recipe", str(recipe)), *_recipe(loaded)]


def _finding(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding("fine", what, look())
    except GoldloopError as error:
        return Finding("fails", what, str(error))


def _workspace(workspace: Workspace) -> str:
    return f"{workspace.root}, catalog {workspace.engine.url.render_as_string(hide_password=True)}"


def _disk(workspace: Workspace) -> Finding:
    free = shutil.disk_usage(workspace.root).free
    return Finding("fine" if free > _LOW_DISK else "beware", "disk", f"{free / 1e9:.0f} GB free")


def _label_studio(workspace: Workspace) -> str:
    from goldloop.labeling.client import LabelStudioClient
    from goldloop.labeling.session import access_of

    access = access_of(workspace)
    server = LabelStudioClient(access.url, access.api_key).check()
    return f"{server.version} at {access.url}{', embedded' if access.embedded else ''}"


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads; a GPU trains many times faster"


def _recipe(recipe: Recipe) -> Iterator[Finding]:
    for number, config in enumerate(recipe.sources):
        yield _finding(f"source {number}", partial(_source, config))
    task = tasks.create(recipe.task)
    if recipe.training is not None:
        checkpoint, settings = recipe.training.checkpoint_argument(), recipe.training.model_settings()
        yield _finding(
            "checkpoint", lambda: _checkpoint(task.model(checkpoint, texts=("a text",), settings=settings))
        )
    wanted = [getattr(gate, "metric", task.metric) for gate in recipe.gates]
    unknown = [metric for metric in wanted if metric not in _metrics(task)]
    if unknown:
        found = f"{task.config.kind} has no {', '.join(unknown)}; it has {', '.join(_metrics(task))}"
        yield Finding("fails", "gates", found)


def _source(config: Any) -> str:
    connector = connectors.create(config)
    connector.fingerprint()
    place = next((value for name in _PLACES if (value := getattr(config, name, None))), "")
    return f"{config.kind} {without_secrets(str(place))} can be read"


def _checkpoint(model: Any) -> str:
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    return f"{type(model.network).__name__}, {parameters / 1e6:.1f}M parameters"


def _metrics(task: Any) -> list[str]:
    targets = [example.target for example in task.examples()]
    return sorted(task.score(targets, targets))
