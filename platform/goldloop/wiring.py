"""How the loop reaches what the packages below it keep: server, registry, versions, models.

Slow packages (mlflow, torch, the SDK) are imported by the function that needs them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop import __version__
from goldloop.catalog import server_side
from goldloop.catalog.content import items_of
from goldloop.catalog.ledger import Balance
from goldloop.cleaning.cleaner import Cleaner
from goldloop.connectors import connectors
from goldloop.connectors._intake import Intake, Put, ShowDropped, Source
from goldloop.errors import LedgerError, ModelError, RecipeError
from goldloop.progress import Progress, Show, Silent
from goldloop.recipe import Recipe, digest_of
from goldloop.records import Answers, Item
from goldloop.tasks import tasks
from goldloop.tasks.base import SettlementPolicy, Task
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.dataset.signing import SigningKey
    from goldloop.dataset.version import Version
    from goldloop.inference import Predictor
    from goldloop.labeling.config import MediaProxy
    from goldloop.labeling.session import Session
    from goldloop.registry.models import ModelVersion, Registry
    from goldloop.registry.tracking import Tracking
    from goldloop.training.config import TrainingConfig
    from goldloop.training.events import Event
    from goldloop.training.run import Run

_SILENT = Silent()


def fields(recipe: Recipe) -> dict[str, Any]:
    """A resolved recipe as JSON."""
    return recipe.model_dump(mode="json", by_alias=True)


def sources(recipe: Recipe) -> list[Source]:
    """A recipe's sources, by number and kind."""
    section = fields(recipe)
    return [
        Source(
            f"{number}:{config.kind}",
            connectors.create(config),
            digest_of([section["sources"][number], section["task"], section["cleaning"], __version__]),
        )
        for number, config in enumerate(recipe.sources)
    ]


def intake(
    recipe: Recipe,
    put: Put,
    forgotten: Collection[str] = (),
    show: ShowDropped = lambda _subject, _item, _reason: None,
) -> Intake:
    """What a recipe makes of what its sources give.

    Args:
        recipe: its task and its cleaning.
        put: keeps images.
        forgotten: keys of what stays out.
        show: sees what is dropped.
    """
    from goldloop.formats.label_studio import controls_of, renamed

    task = tasks.create(recipe.task)
    controls = controls_of(task)

    def parse(value: Any, item: Item) -> Any:
        if not isinstance(value, Answers):
            return task.parse(value, item)
        answers = [
            task.decode([renamed(region, controls) for region in results], item) for results in value.results
        ]
        return task.consensus(answers, "majority")

    cleaner = Cleaner(recipe.cleaning, task)
    return Intake(put, task.modality, parse, task.check, cleaner.clean, show, forgotten)


def cleaning_folder(workspace: Workspace, recipe: str) -> Path:
    """Where the page about what pulls left out lies, and its examples."""
    return workspace.root / "reports" / recipe


def session(recipe: Recipe, workspace: Workspace) -> Session:
    """The recipe's project on the Label Studio in use.

    Raises:
        LabelStudioUnreachable: none runs.
    """
    from goldloop.labeling.session import open_session

    task = tasks.create(recipe.task)
    return open_session(
        workspace, recipe.name, recipe.labeling, task.label_config(), recipe.task.instructions
    )


def media_proxy(recipe: Recipe) -> MediaProxy:
    """How a recipe's images are handed out by the media proxy.

    Raises:
        RecipeError: they are not.
    """
    media = recipe.labeling.media
    if isinstance(media, str):
        raise RecipeError(
            "the images of this recipe come from Label Studio's storage",
            where=f"{recipe.name}: labeling.media",
            found=media,
            expected="{proxy: http://127.0.0.1:8301}",
        )
    return media


def consensus(recipe: Recipe, workspace: Workspace) -> tuple[SettlementPolicy, str | None]:
    """How the recipe's answers become labels, and the pseudonym of the reviewer whose answer decides."""
    from goldloop.dataset.config import Reviewer
    from goldloop.labeling.collected import pseudonym

    chosen = recipe.dataset.consensus
    if not isinstance(chosen, Reviewer):
        return chosen, None
    name = chosen.reviewer
    return chosen.otherwise, pseudonym(workspace.pseudonym_key, name) if "@" in name else name


def registry(workspace: Workspace) -> Registry:
    """The model registry."""
    from goldloop.registry.models import Registry

    return Registry(workspace.tracking_uri, workspace.root / "mlflow")


def tracking(workspace: Workspace) -> Tracking:
    """Where runs are tracked."""
    from goldloop.registry.tracking import Tracking

    return Tracking(workspace.tracking_uri, workspace.root / "mlflow")


def version_of(workspace: Workspace, name: str, version: Version | str | None) -> Version:
    """A version by itself, by `NAME@DIGEST` or `NAME@TAG`, or the latest.

    Raises:
        VersionError: there is none.
    """
    from goldloop.dataset import version as versions

    if version is None or isinstance(version, str):
        digest = "latest" if version is None else version.rpartition("@")[2]
        return versions.load(workspace.versions, name, digest)
    return version


def require(workspace: Workspace, version: Version) -> None:
    """Let a version through only if it is what its certificate says, and signed by whom it must be.

    Raises:
        CertificateError: it does not prove what it claims; names the files and rows that are wrong.
        SigningError: GOLDLOOP_TRUSTED_KEYS names something that is no key.
    """
    from goldloop.dataset import certificate
    from goldloop.dataset.signing import trusted_keys

    trusted = trusted_keys(workspace.environment.trusted_keys)
    certificate.require(version.folder, trusted, workspace.cache)


def signing_key(workspace: Workspace) -> SigningKey | None:
    """The key that certificates are signed with here, if there is one.

    Raises:
        SigningError: GOLDLOOP_SIGNING_KEY gives something else.
    """
    from goldloop.dataset.signing import signing_key

    secret = workspace.environment.signing_key
    return signing_key(None if secret is None else secret.get_secret_value())


def account_for(
    recipe: str, sources: Mapping[str, Balance], considered: Mapping[str, int]
) -> dict[str, Mapping[str, int]]:
    """The books of each source for a version, once every content that it gave is among the items.

    Args:
        recipe: the recipe's name.
        sources: what the last pull made of the addresses of each.
        considered: source -> how many items a commit considers that it has at present.

    Raises:
        LedgerError: a source gave more, or less.
    """
    for source in sources.keys() | considered.keys():
        pulled = sources[source].outcomes.get("pulled", 0) if source in sources else 0
        if pulled != considered.get(source, 0):
            raise LedgerError(
                "a commit does not account for every content of a source",
                where=f"{recipe}, source {source}",
                found=f"{considered.get(source, 0)} items",
                expected=f"{pulled} that were pulled",
                remedy="Run `goldloop pull` again; if it stays so, this is a fault of goldloop itself",
            )
    return {f"pull {source}": books.outcomes for source, books in sources.items()}


def needed_versions(workspace: Workspace, name: str) -> set[str]:
    """Beginnings of the digests of versions that a run, a report or a registered model of a name is about.

    Raises:
        ModelError: the registry cannot be asked; what it names is then not known.
    """
    found = {model.version for model in registry(workspace).models(name)} | tracking(workspace).versions(name)
    for record in (workspace.runs / name).glob("*/run.json"):
        found.add(str(json.loads(record.read_text(encoding="utf-8")).get("facts", {}).get("version", "")))
    found |= {folder.name.partition("-")[0] for folder in (workspace.runs / name).glob("*/reports/*-*")}
    return {each.rpartition("@")[2] for each in found} - {""}


def champion_of(workspace: Workspace, name: str | None) -> ModelVersion:
    """The champion of a recipe, or the only one that there is.

    Raises:
        ModelError: none, or several to choose from.
    """
    models = registry(workspace)
    champions = [model for model in models.models(name) if "champion" in model.aliases]
    if len(champions) == 1:
        return champions[0]
    if champions:
        raise ModelError(
            "several recipes have a champion",
            found=", ".join(model.name for model in champions),
            remedy="Name one: `goldloop serve NAME`",
        )
    raise ModelError(
        "there is no champion yet",
        where=name,
        remedy=f"Promote a model first: `goldloop promote {name or 'NAME'}/latest`",
    )


def predictor(workspace: Workspace, model: ModelVersion) -> Predictor:
    """A registered model, ready to answer."""
    from goldloop.inference import Predictor

    return Predictor.load(registry(workspace).download(model))


def model_facts(workspace: Workspace, model: ModelVersion) -> dict[str, Any]:
    """What a registered model was made from; its network is not loaded.

    Raises:
        ModelError: it is gone, or cannot be read.
    """
    from goldloop.inference import facts_of

    return facts_of(registry(workspace).download(model))


def asks_annotators(recipe: Recipe, workspace: Workspace) -> bool:
    """Whether any item is, or ever was, for people to annotate."""
    with workspace.engine.connect() as connection:
        if any(item.label_use != "imported" for item in items_of(connection, recipe.name)):
            return True
        return server_side.has_project(connection, recipe.name)


def awaited(recipe: Recipe, workspace: Workspace) -> str | None:
    """What a loop without a labelled task waits for; None if it has labels from elsewhere or from before."""
    if (workspace.versions / recipe.name).exists():
        return None
    with workspace.engine.connect() as connection:
        imported = any(item.label_use == "imported" for item in items_of(connection, recipe.name))
    return None if imported else "no task is labelled yet"


def is_main_process() -> bool:
    """Whether this is the one of several training processes that locks, tracks and registers."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def steps_shown(
    progress: Progress,
    heard: Callable[[Event], None],
    what: str = "train",
    *,
    metric: str | None = None,
    epochs: int | None = None,
) -> Iterator[Callable[[Event], None]]:
    """Show a run's steps as progress, as soon as it tells how many there are, and pass its events on.

    Args:
        progress: where to show them.
        heard: hears every event.
        what: a word for the work.
        metric: the validation figure to show beside them.
        epochs: how many the run has at most.
    """
    from goldloop.training.events import StepLogged
    from goldloop.training.live import Live

    live = Live(metric, epochs)
    with ExitStack() as shown:
        show: Show | None = None
        done = 0

        def hear(event: Event) -> None:
            nonlocal show, done
            live.hear(event)
            if isinstance(event, StepLogged):
                done = event.step
                if show is None:
                    show = shown.enter_context(progress.watch(what, event.total))
            if show is not None:
                show(done, live.figures())
            heard(event)

        yield hear


def data_of(version: Version) -> list[Any]:
    """What tells the data of a version: its digest, and its rows, of which some may have been forgotten."""
    return [version.digest, sum(version.counts.values())]


def run_id(version: Version, training: Mapping[str, Any]) -> str:
    """The run that a version and the fields of a `training:` section are."""
    return digest_of([*data_of(version), training, __version__])[:12]


def fit(
    config: TrainingConfig,
    workspace: Workspace,
    version: Version,
    run_id: str,
    facts: Mapping[str, Any],
    heard: Callable[[Event], None],
    progress: Progress = _SILENT,
    *,
    profile: bool = False,
) -> Run:
    """Train on a version that holds, in this process as one of those that do so together."""
    from goldloop.training.run import train

    splits = {split: version.dataset(split) for split in ("train", "validation")}
    folder = workspace.runs / version.name / run_id
    task = tasks.create(version.task)
    return train(task, config, splits, folder, workspace.cache, facts, heard, progress, profile=profile)


def report_folder(workspace: Workspace, model: ModelVersion, version: str, split: str) -> Path:
    """Where a model's report on a split of `NAME@DIGEST` lies."""
    return workspace.runs / model.name / model.run / "reports" / f"{version.rpartition('@')[2]}-{split}"


def contents(workspace: Workspace, recipe: str) -> Callable[[str], bytes | str | None]:
    """How a report's page finds the image or text of a content key."""

    def find(key: str) -> bytes | str | None:
        with workspace.engine.connect() as connection:
            states = ("current", "gone", "superseded")
            found = next(items_of(connection, recipe, states, keys={key}), None)
        return None if found is None else content(workspace, found)

    return find


def content(workspace: Workspace, item: Item) -> bytes | str:
    """What a model is given of an item."""
    return item.text if item.text is not None else workspace.media.read(item)


def known_answers(task: Task[Any]) -> Callable[[Item], list[dict[str, Any]] | None]:
    """What a source says of an item, in the form of an annotation, where people are to correct it."""

    def known(item: Item) -> list[dict[str, Any]] | None:
        is_answer = item.label_use == "annotation" and item.label is not None
        return task.encode(item.label, item) if is_answer else None

    return known
