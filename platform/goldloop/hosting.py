"""`goldloop serve`: the champions of this workspace answer requests, and Label Studio's.

What stands behind a name follows the registry: promote a model, or roll back, and it answers within seconds.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from goldloop import durable, production, wiring
from goldloop.acts import recorded
from goldloop.champions import Champions, Folder, Source
from goldloop.errors import GoldloopError, LabelStudioUnreachable, ServingError
from goldloop.recipe import parse
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.labeling.access import Access
    from goldloop.serving.config import ServingConfig
    from goldloop.serving.hosted import Models
    from goldloop.serving.jobs import Job
    from goldloop.serving.keys import ApiKey, ApiKeys

_LOG = logging.getLogger(__name__)
_MEGAPIXELS = 64
_TEXT_MEGABYTES = 2

_HOW = {"pull": ("--requests",)}
"""How the server does some of its jobs: its model's recipe may have other sources than the present one."""

Ready = Callable[[str, str], None]
"""Told the models and the URL once requests are accepted."""


def serve(
    names: str | Sequence[str] | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    device: str | None = None,
    without_keys: bool = False,
    label_studio: bool = False,
    models_from: Path | None = None,
    workspace: Workspace | None = None,
    ready: Ready = lambda models, url: None,
) -> None:
    """Answer requests with champions, until told to stop.

    Args:
        names: whose champions; by default all that there are.
        host: the address to listen on; by default the recipe's.
        port: 0 takes a free one; by default the recipe's.
        device: where all compute; by default each on the GPU with most free memory, else on the CPU.
        without_keys: let anybody ask who reaches this server from elsewhere.
        models_from: a folder of models, NAME/NUMBER, to serve in place of champions; of each name the highest
            number answers. Webhooks then lead to nothing.
        label_studio: make this server a model of each recipe's Label Studio project.
        workspace: where.
        ready: told the models and the URL once requests are accepted.

    Raises:
        ModelError: there is no champion.
        ServingError: the port is taken, or the address is open to others and there is no key.
        LabelStudioError: the project cannot be reached, where one was asked for.
    """
    from goldloop.labeling.transport import is_loopback
    from goldloop.serving.app import create_app
    from goldloop.serving.config import ServingConfig
    from goldloop.serving.hosted import Models
    from goldloop.serving.jobs import Jobs
    from goldloop.serving.label_studio_backend import Backend
    from goldloop.serving.listen import listen
    from goldloop.serving.metrics import Metrics
    from goldloop.serving.samples import Samples

    workspace = workspace or Workspace.open()
    chosen = (names,) if isinstance(names, str) else tuple(names) if names is not None else None
    champions = Folder(models_from, chosen) if models_from else Champions(workspace, chosen)
    first = champions()
    configs = [champions.config(candidate.ref) for candidate in first]
    config = configs[0] if len(configs) == 1 else ServingConfig()
    host = config.host if host is None else host
    keys = api_keys(workspace)
    if not without_keys and not is_loopback(f"http://{_in_url(host)}") and not keys.known():
        raise ServingError(
            "others can reach this address, and there is no API key",
            where=host,
            remedy="Make one with `goldloop access --new NAME`, or say --without-keys",
        )
    metrics = Metrics()
    models = Models(champions, metrics, device=device, threads=config.threads)
    models.refresh()
    errands = _Errands(workspace, champions)
    jobs = None if models_from else Jobs(workspace.root / "serving" / "jobs", errands, metrics)
    backend = Backend(_reader(workspace, config), jobs.hint if jobs else None, metrics)
    samples = Samples(production.folder_of(workspace), jobs.hint, metrics) if jobs else None
    app = create_app(models, config, keys, metrics, backend, samples)

    def listening(url: str) -> None:
        ready(", ".join(served.ref for served in models.served.values()), url)
        if label_studio:
            connecting = (workspace, champions, models, url)
            threading.Thread(target=_connect, args=connecting, daemon=True).start()

    def draining() -> None:
        app.state.draining = True

    try:
        listen(
            app,
            host,
            config.port if port is None else port,
            listening,
            draining=draining,
            drain_seconds=config.drain_seconds,
            patience=config.timeout_seconds,
        )
    finally:
        if samples:
            samples.close()
        errands.stop()
        if jobs:
            jobs.close()
        models.close()


def api_keys(workspace: Workspace | None = None) -> ApiKeys:
    """Who may ask a server of this workspace: the keys of GOLDLOOP_API_KEYS, else the workspace's own."""
    from goldloop.serving.keys import ApiKeys

    workspace = workspace or Workspace.open()
    return ApiKeys(workspace.environment.api_keys or workspace.root / "serving" / "api-keys.json")


@recorded
def access(
    *, new: str | None = None, remove: str | None = None, workspace: Workspace | None = None
) -> tuple[str | None, tuple[ApiKey, ...]]:
    """Make a key or take one away; the key, this once, and what is kept of all that there are.

    Args:
        new: who gets a key.
        remove: whose key opens nothing any more.
        workspace: where.

    Raises:
        ServingError: the name has a key already, or none.
    """
    keys = api_keys(workspace)
    if remove is not None:
        keys.remove(remove)
    made = keys.new(new) if new is not None else None
    return made, keys.known()


class _Errands:
    """Does what webhooks and requests lead to, in a process of its own: nothing slows an answer down."""

    def __init__(self, workspace: Workspace, champions: Source) -> None:
        self._workspace = workspace
        self._champions = champions
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def stop(self) -> None:
        """Give up what is being done: any stage can be, and is done again from where it was."""
        self._stopped = True
        process = self._process
        if process is not None:
            process.terminate()

    def __call__(self, job: Job) -> bool:
        try:
            recipe = self._champions.recipe_of(job.name)
        except GoldloopError:
            _LOG.exception("%s %s cannot be done", job.kind, job.name)
            return False
        file = self._workspace.root / "serving" / "recipes" / f"{job.name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        durable.replace(file, yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True).encode())
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "goldloop", job.kind, str(file), *_HOW.get(job.kind, ()), "--json"],
            env={**os.environ, "GOLDLOOP_HOME": str(self._workspace.root)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if self._stopped:
            self._process.terminate()
        _, told = self._process.communicate()
        code, self._process = self._process.returncode, None
        if code:
            _LOG.error("%s %s failed: %s", job.kind, job.name, told.strip()[-500:])
        return code == 0


def _reader(workspace: Workspace, config: ServingConfig) -> Any:
    from goldloop.connectors._content import Limits
    from goldloop.labeling.session import access_of
    from goldloop.serving.label_studio_media import TaskReader

    def own(key: str) -> bytes | None:
        found = sorted(workspace.media.root.joinpath(key[:2]).glob(f"{key}.*")) if _is_key(key) else []
        originals = [path for path in found if ".preview." not in path.name]
        return originals[0].read_bytes() if originals else None

    def access() -> Access | None:
        try:
            return access_of(workspace)
        except LabelStudioUnreachable:
            return None

    limits = Limits(_MEGAPIXELS, _TEXT_MEGABYTES)
    return TaskReader(own, access, limits, config.max_request_megabytes * 1_000_000)


def _connect(workspace: Workspace, champions: Source, models: Models, url: str) -> None:
    """Make this server a model of each recipe's project on the Label Studio in use."""
    from goldloop.labeling.backend import connect

    for served in models.served.values():
        try:
            session = wiring.session(parse(champions.recipe_of(served.ref), where=served.ref), workspace)
            connect(session.access, session.project.id, f"{url}/label-studio/{served.name}", served.name)
        except GoldloopError:
            _LOG.exception("%s is no model of its Label Studio project", served.ref)


def _is_key(text: str) -> bool:
    return len(text) == 64 and all(letter in "0123456789abcdef" for letter in text)


def _in_url(host: str) -> str:
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
