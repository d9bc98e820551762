"""What is done beside the loop: the embedded server, recipes to start from, versions, models.

A function for each command of the same name; those of the loop itself are in `loop.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from goldloop import wiring
from goldloop.acts import recorded
from goldloop.progress import Progress, Silent
from goldloop.recipe import Recipe
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.dataset.inspection import Fault
    from goldloop.dataset.tags import Tag
    from goldloop.dataset.version import Version
    from goldloop.examination import Finding
    from goldloop.labeling.server import Access, EmbeddedServer, ServerStatus
    from goldloop.registry.models import ModelVersion

SILENT = Silent()


def server(workspace: Workspace | None = None) -> EmbeddedServer:
    """The embedded Label Studio of a workspace, whether it runs or not."""
    from goldloop.labeling.server import EmbeddedServer

    workspace = workspace or Workspace.open()
    media = workspace.media.root.parent
    return EmbeddedServer(workspace.label_studio, workspace.environment.cache, media)


def up(workspace: Workspace | None = None, progress: Progress = SILENT) -> Access:
    """Start the embedded Label Studio, installed the first time; one that runs is left alone.

    Raises:
        LabelStudioError: it cannot be installed or started; the end of its log is told.
    """
    return server(workspace).up(progress.say)


def down(workspace: Workspace | None = None) -> bool:
    """Stop the embedded Label Studio, and nothing else; False if none ran."""
    return server(workspace).down()


def status(workspace: Workspace | None = None) -> tuple[ServerStatus, list[dict[str, Any]]]:
    """The embedded server, and how far each recipe's loop is."""
    from goldloop.state import survey

    workspace = workspace or Workspace.open()
    return server(workspace).status(), survey(workspace)


def init(name: str, task: str, folder: Path = Path("configs")) -> Path:
    """Write a commented recipe to start from; returns its path.

    Raises:
        PluginError: no such task type.
        RecipeError: the recipe is there already, or the name is none.
    """
    from goldloop.blank_recipe import write

    return write(name, task, folder)


def doctor(recipe: Path | None = None, overrides: Iterable[str] = ()) -> list[Finding]:
    """What would fail, before it does; nothing is changed."""
    from goldloop.examination import examine

    return examine(recipe, overrides)


def versions(name: str | None = None, workspace: Workspace | None = None) -> list[Version]:
    """The commits of one recipe or of all, the newest last."""
    from goldloop.dataset import version

    root = (workspace or Workspace.open()).versions
    return [
        found for each in ([name] if name else version.names(root)) for found in version.versions(root, each)
    ]


def show(reference: str, workspace: Workspace | None = None) -> Version:
    """The version that `NAME` (the latest), `NAME@DIGEST` or `NAME@TAG` means.

    Raises:
        VersionError: there is none.
    """
    from goldloop.dataset import version

    return version.find((workspace or Workspace.open()).versions, reference)


@recorded
def tag(reference: str, name: str, *, move: bool = False, workspace: Workspace | None = None) -> Tag:
    """Give a version a name that stands for its digest from then on: `pets@v1`.

    Args:
        reference: `NAME` (the latest), `NAME@DIGEST` or `NAME@TAG`.
        name: the tag.
        move: take it away from another version that has it.
        workspace: where.

    Raises:
        VersionError: there is no such version, the name cannot be a tag, or another version has it.
    """
    from goldloop.dataset import tags, version

    workspace = workspace or Workspace.open()
    recipe = reference.partition("@")[0]
    found = version.find(workspace.versions, reference)
    with workspace.lock(recipe):
        return tags.put(workspace.versions / recipe, name, found.digest, by=workspace.actor, move=move)


def tags(name: str | None = None, workspace: Workspace | None = None) -> dict[str, dict[str, Tag]]:
    """Recipe -> tag -> the version that it names, of one recipe or of all."""
    from goldloop.dataset import tags, version

    root = (workspace or Workspace.open()).versions
    return {each: tags.tags(root / each) for each in ([name] if name else version.names(root))}


def verify(reference: str, *, keys: Collection[str] = (), workspace: Workspace | None = None) -> list[Fault]:
    """What is wrong with a version, recomputed from its bytes; empty if nothing is.

    Args:
        reference: `NAME` (the latest) or `NAME@DIGEST`.
        keys: public keys of which one must have signed it; by default those of GOLDLOOP_TRUSTED_KEYS.
        workspace: where.

    Raises:
        VersionError: there is no such version.
        SigningError: one of the keys is none.
    """
    from goldloop.dataset import certificate
    from goldloop.dataset.signing import trusted_keys

    workspace = workspace or Workspace.open()
    trusted = trusted_keys(" ".join(keys) if keys else workspace.environment.trusted_keys)
    return certificate.verify(show(reference, workspace).folder, trusted, workspace.cache)


def models(name: str | None = None, workspace: Workspace | None = None) -> list[ModelVersion]:
    """Registered models of one recipe or of all, by name and number."""
    return wiring.registry(workspace or Workspace.open()).models(name)


@recorded
def rollback(name: str, workspace: Workspace | None = None) -> ModelVersion:
    """Make the former champion champion again.

    Raises:
        ModelError: there is no former champion.
    """
    workspace = workspace or Workspace.open()
    with workspace.lock(name):
        return wiring.registry(workspace).rollback(name)


def media_(
    recipes: Sequence[Recipe],
    *,
    host: str | None = None,
    port: int | None = None,
    workspace: Workspace | None = None,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Hand out the images of recipes to annotators' browsers, until told to stop.

    Args:
        recipes: those whose `labeling.media` names the proxy; nothing of others is handed out.
        host: the address to listen on; by default that of `labeling.media.proxy`.
        port: 0 takes a free one; by default that of `labeling.media.proxy`.
        workspace: where.
        ready: called with the URL once requests are accepted.

    Raises:
        RecipeError: one of them does not name the proxy.
        ServingError: the port is taken.
    """
    from goldloop.proxy.app import create_app
    from goldloop.proxy.shelf import Shelf
    from goldloop.serving.listen import listen

    workspace = workspace or Workspace.open()
    proxies = {recipe.name: wiring.media_proxy(recipe) for recipe in recipes}
    place = urlsplit(next(iter(proxies.values())).proxy)
    most = max(proxy.max_megabytes for proxy in proxies.values()) * 1_000_000
    app = create_app(
        Shelf(workspace.engine, workspace.media, most),
        workspace.media_keys,
        {name: proxy.signed_for for name, proxy in proxies.items()},
    )
    default = place.port or (443 if place.scheme == "https" else 80)
    listen(app, host or place.hostname or "127.0.0.1", default if port is None else port, ready)


@recorded
def revoke(recipe: Recipe, *, workspace: Workspace | None = None, progress: Progress = SILENT) -> None:
    """Make every address of a recipe's images void that was signed so far, and give Label Studio a new key.

    Args:
        recipe: whose `labeling.media` names the proxy.
        workspace: where.
        progress: where to tell how far it is.

    Raises:
        RecipeError: it does not name the proxy.
        LabelStudioError: Label Studio cannot be given the new key; the old one is void all the same.
    """
    workspace = workspace or Workspace.open()
    proxy = wiring.media_proxy(recipe)
    with workspace.lock(recipe.name):
        key = workspace.media_keys.renew(recipe.name)
        progress.say(f"revoke: addresses that were signed before are void; the key is now {key.id}")
        wiring.session(recipe, workspace).open_bucket(proxy)
        progress.say("revoke: Label Studio signs with it")
