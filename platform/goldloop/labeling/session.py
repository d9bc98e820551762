"""One recipe's place on its Label Studio: the project that goldloop made there, and how to work with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine

from goldloop.catalog import server_side, stages
from goldloop.catalog.ledger import Balance, balance, write_books
from goldloop.catalog.reopened import reopened_of, requests_of
from goldloop.catalog.server_side import Place
from goldloop.errors import LabelStudioUnreachable, LedgerError
from goldloop.labeling import answers_wanted
from goldloop.labeling.access import Access
from goldloop.labeling.assignment import data_for
from goldloop.labeling.buckets import Bucket
from goldloop.labeling.client import LabelStudioClient
from goldloop.labeling.collect import collect
from goldloop.labeling.config import LabelingConfig, MediaProxy
from goldloop.labeling.preannotate import Suggest, preannotate
from goldloop.labeling.push import MakeTasks, Reconciled, push, reconcile
from goldloop.labeling.relabel import ask_again, close, send, with_reason
from goldloop.labeling.values import Project, Results, TaskData, Totals
from goldloop.progress import Progress
from goldloop.records import Item
from goldloop.workspace import Workspace

MakeData = Callable[[Item, str | None], dict[str, Any]]
"""A task's data fields from an item and the address of its image."""

KnownAnswer = Callable[[Item], Results | None]
"""What is known of an item already and is to be its first annotation."""


@dataclass(frozen=True)
class Session:
    """A project of ours on a server that answers."""

    workspace: Workspace
    place: Place
    client: LabelStudioClient
    project: Project
    access: Access
    config: LabelingConfig

    @property
    def embedded(self) -> bool:
        """Whether the server is goldloop's own."""
        return self.access.embedded

    @property
    def engine(self) -> Engine:
        """The catalog."""
        return self.workspace.engine

    def reconcile(self) -> Reconciled:
        """What is on the server, once every import in doubt is settled."""
        return reconcile(self.engine, self.place, self.client, self.project)

    def collect(self, annotators_per_item: int, progress: Progress) -> tuple[Balance, int]:
        """Bring the catalog's annotations up to date; returns the books of the tasks and their number.

        While the server's totals are those of the last time, nothing is fetched.

        Raises:
            IdentityError: a task came back with another item's content; the catalog keeps what it had.
            LedgerError: the server does not list all that it has.
        """
        self.send_back(progress)
        totals = self.client.project_totals(self.project)
        inputs = f"{self.place.server} {self.project.id} {annotators_per_item} {totals}"
        with self.engine.connect() as connection:
            done = stages.finished(connection, self.place.recipe, "collect", inputs)
            if done is not None:
                progress.say("collect: nothing has changed in Label Studio")
                return balance(connection, self.place.recipe, "collect"), done["annotations"]
        state = self.reconcile()
        live = state.live
        with self.engine.connect() as connection:
            sent = {
                key: item for key, item in reopened_of(connection, self.place.recipe).items() if key in live
            }
        found = collect(self.client, self.project, live, annotators_per_item, progress, sent)
        if not state.foreign:
            self._check_totals(totals, len(found.annotations))
        close(self.engine, self.place, self.client, self.project, found.annotations, annotators_per_item)
        with self.engine.begin() as connection:
            count = server_side.replace_annotations(connection, self.place, found.annotations)
            books = write_books(connection, self.place.recipe, "collect", len(live), found.outcomes)
            stages.finish(connection, self.place.recipe, "collect", inputs, {"annotations": count})
        return books, count

    def send_back(self, progress: Progress) -> int:
        """Open tasks for one more annotator that were asked for and are not open yet; returns how many."""
        return send(self.engine, self.place, self.client, self.project, progress)

    def _check_totals(self, before: Totals, collected: int) -> None:
        """Hold what was collected against the server's own count, unless people have gone on meanwhile."""
        counted = before.annotations + before.skipped
        if collected != counted and self.client.project_totals(self.project) == before:
            raise LedgerError(
                "the server does not give all the annotations that it counts",
                where=self.project.title,
                found=f"{collected} annotations",
                expected=f"{counted}",
                remedy="Collect again; if it stays so, look at the project in Label Studio",
            )

    @property
    def address(self) -> str:
        """Where people annotate."""
        return self.project.address

    def push(self, items: Sequence[Item], data: MakeData, known: KnownAnswer, progress: Progress) -> int:
        """Create a task for each of these items, which have none, with what is known; returns how many."""
        make = self._task_maker(data, known)
        if items:
            self.client.ensure_tabs(self.project, self.config.annotators)
        return push(self.engine, self.place, self.client, self.project, items, make, progress)

    def ask_more(self, items: Sequence[Item], progress: Progress) -> int:
        """Open tasks for more people than others where the recipe says so; returns how many were changed."""
        with self.engine.connect() as connection:
            live = server_side.tasks_of(connection, self.place)
        return answers_wanted.apply(self.engine, self.place, self.client, self.config, live, items, progress)

    def preannotate(self, tasks: Mapping[int, Item], suggest: Suggest, model: str, progress: Progress) -> int:
        """Give each of these tasks the model's suggestion, once; returns how many got one now."""
        return preannotate(
            self.engine, self.place, self.client, self.project, tasks, suggest, model, progress
        )

    def _task_maker(self, data: MakeData, known: KnownAnswer) -> MakeTasks:
        """How items become tasks here, their images within reach of annotators' browsers.

        By the media proxy where the recipe says so; else the embedded server reads them from the workspace,
        and any other is sent them.
        """

        def make(items: Sequence[Item]) -> list[TaskData]:
            addresses = self._addresses([item for item in items if item.modality == "image"])
            return [
                _task_data(
                    item, data(item, addresses.get(item.key)) | data_for(self.config, item), known(item)
                )
                for item in items
            ]

        return make

    def open_bucket(self, media: MediaProxy) -> None:
        """Have Label Studio sign addresses of the media proxy with the key that holds now."""
        key = self.workspace.media_keys.of(self.place.recipe)
        bucket = Bucket(self.place.recipe, media.proxy, key.id, key.secret, presign=media.direct)
        self.client.ensure_bucket(self.project, bucket)

    def _addresses(self, images: Sequence[Item]) -> dict[str, str]:
        if not images:
            return {}
        if isinstance(self.config.media, MediaProxy):
            self.open_bucket(self.config.media)
            return {item.key: f"s3://{self.place.recipe}/{item.key}" for item in images}
        media = self.workspace.media
        if self.embedded:
            self.client.ensure_local_storage(self.project, str(media.root))
            return {item.key: _local_address(media.preview(item), media.root.parent) for item in images}
        files = [media.preview(item) for item in images]
        uploaded = self.client.upload_media(self.project, files)
        return {item.key: uploaded[file] for item, file in zip(images, files, strict=True)}


def _task_data(item: Item, data: dict[str, Any], known: Results | None) -> TaskData:
    return TaskData(key=item.key, data=data, annotations=() if known is None else (known,))


def open_session(
    workspace: Workspace, recipe: str, config: LabelingConfig, label_config: str, instructions: str | None
) -> Session:
    """The recipe's project on the server in use, made if there is none.

    Raises:
        LabelStudioUnreachable: no server runs and none is configured.
        LabelStudioError: it refuses us.
    """
    access = access_of(workspace)
    client = LabelStudioClient(access.url, access.api_key, pseudonym_key=workspace.pseudonym_key)
    place = Place(recipe, "embedded" if access.embedded else access.url)
    with workspace.engine.connect() as connection:
        known = server_side.project_id(connection, place)
        if requests_of(connection, place, ["asked", "open", "closed"]):
            label_config = with_reason(label_config)

    def alike(overlap: int) -> None:
        ask_again(workspace.engine, place, client, overlap)
        answers_wanted.take_back(workspace.engine, place, client, overlap)

    project = client.ensure_project(
        marker_of(workspace, recipe),
        title=config.project or f"goldloop {recipe}",
        label_config=label_config,
        annotators_per_item=config.annotators_per_item,
        instructions=instructions,
        project_id=known,
        before_overlap=alike,
    )
    if project.id != known:
        with workspace.engine.begin() as connection:
            server_side.note_project(connection, place, project.id)
    return Session(workspace, place, client, project, access, config)


def marker_of(workspace: Workspace, recipe: str) -> str:
    """The line by which a recipe's project is known as ours."""
    return f"goldloop:{workspace.identity}/{recipe}"


def access_of(workspace: Workspace) -> Access:
    """The Label Studio that the environment names, else the embedded one.

    Raises:
        LabelStudioUnreachable: neither is there.
        LabelStudioDenied: the token does not open it.
    """
    from goldloop.labeling.server import connect

    media = workspace.media.root.parent
    access = connect(workspace.environment, workspace.label_studio, workspace.environment.cache, media)
    if access is None:
        raise LabelStudioUnreachable(
            "no Label Studio runs",
            where=workspace.label_studio,
            remedy="Start one with `goldloop up`, or set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY",
        )
    return access


def _local_address(file: Path, document_root: Path) -> str:
    return f"/data/local-files/?d={quote(file.relative_to(document_root).as_posix())}"
