"""One recipe's place on its Label Studio: the project that goldloop made there, and how to work with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import filelock
from sqlalchemy import Engine

from goldloop.catalog import collection, server_side, stages
from goldloop.catalog.ledger import Balance, balance
from goldloop.catalog.reopened import requests_of
from goldloop.catalog.server_side import Place
from goldloop.errors import LabelStudioUnreachable, LedgerError
from goldloop.labeling import answers_wanted
from goldloop.labeling.access import Access
from goldloop.labeling.archive import archive
from goldloop.labeling.assignment import data_for
from goldloop.labeling.buckets import Bucket
from goldloop.labeling.client import LabelStudioClient
from goldloop.labeling.collect import Collector
from goldloop.labeling.config import LabelingConfig, MediaProxy
from goldloop.labeling.database import DATABASE
from goldloop.labeling.preannotate import Suggest, preannotate
from goldloop.labeling.push import MakeTasks, Push, Reconciled, reconcile
from goldloop.labeling.reading import Reader
from goldloop.labeling.relabel import ask_again, close, send, with_reason
from goldloop.labeling.values import Project, Results, TaskData
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

    @property
    def reader(self) -> Reader:
        """How the project is read: the embedded server's by SQL, any other over HTTP."""
        return self.client.reader

    def reconcile(self, counted: int | None = None) -> Reconciled:
        """Settle every import in doubt; what then is on the server, which may have been counted just now."""
        return reconcile(self.engine, self.place, self.client, self.project, counted)

    def collect(
        self, annotators_per_item: int, progress: Progress, *, full: bool = False
    ) -> tuple[Balance, int]:
        """Bring the catalog's annotations up to date; returns the books of the tasks and their number.

        While the server's totals are those of the last time, nothing is fetched.

        Args:
            annotators_per_item: answers that make a task `labelled`.
            progress: where to tell how far it is.
            full: fetch everything, not only what has changed.

        Raises:
            IdentityError: a task came back with another item's content; the catalog keeps what it had of it.
            LedgerError: the server does not list all that it has.
        """
        self.send_back(progress)
        here = f"{self.place.server} {self.project.id}"
        with self.engine.connect() as connection:
            last = stages.result_of(connection, self.place.recipe, "collect") or {}
        follows = last.get("place") == here
        totals = self.reader.project_totals(self.project, last.get("until") if follows else None)
        inputs = f"{here} {annotators_per_item} {totals}"
        with self.engine.connect() as connection:
            done = stages.finished(connection, self.place.recipe, "collect", inputs)
            if done is not None and not full:
                progress.say("collect: nothing has changed in Label Studio")
                return balance(connection, self.place.recipe, "collect"), done["annotations"]
        state = self.reconcile(totals.tasks)
        collector = Collector(
            self.engine, self.place, self.reader, self.project, annotators_per_item, progress
        )
        since = last.get("until") if follows and not full else None
        until = collector.fetch(since, totals.latest_update)
        short = None if state.foreign else collector.check(totals)
        if since is not None and (short is not None or collector.unseen()):
            progress.say("collect: the server counts other than what came: fetching everything")
            until = collector.fetch(None, totals.latest_update)
            short = None if state.foreign else collector.check(totals)
        if short is not None:
            raise LedgerError(
                "the server does not give all the annotations that it counts",
                where=self.project.title,
                found=f"{short[0]} annotations",
                expected=f"{short[1]}",
                remedy="Collect again; if it stays so, look at the project in Label Studio",
            )
        close(self.engine, self.place, self.client, self.project, annotators_per_item)
        books = collector.close(anew=not follows or last.get("need") != annotators_per_item)
        count = collector.held()
        result = {"annotations": count, "place": here, "need": annotators_per_item, "until": until}
        with self.engine.begin() as connection:
            stages.finish(connection, self.place.recipe, "collect", inputs, result)
            collection.end(connection, self.place)
        return books, count

    def send_back(self, progress: Progress) -> int:
        """Open tasks for one more annotator that were asked for and are not open yet; returns how many."""
        return send(self.engine, self.place, self.client, self.project, progress)

    @property
    def address(self) -> str:
        """Where people annotate."""
        return self.project.address

    def push(
        self, items: Iterable[Item], total: int, data: MakeData, known: KnownAnswer, progress: Progress
    ) -> int:
        """Create a task for each of these items, which have none; returns how many.

        Args:
            items: the most useful first.
            total: how many they are.
            data: what annotators see of an item.
            known: what becomes its first annotation.
            progress: where to tell how far it is.
        """
        if total:
            self.client.ensure_tabs(self.project, self.config.annotators)
        parallel = 1 if self.embedded else self.config.parallel_imports
        work = Push(self.engine, self.place, self.client, self.project, self.writer_lock, parallel)
        return work.run(items, total, self._task_maker(data, known), progress)

    def archive(self, progress: Progress) -> int:
        """Take tasks of superseded items out of annotators' way; returns how many were taken now."""
        return archive(self.engine, self.place, self.client, self.project, progress)

    @property
    def writer_lock(self) -> Path:
        """Held by whoever writes to the server from this machine."""
        if self.embedded:
            return self.workspace.label_studio / "writer.lock"
        name = hashlib.sha256(self.access.url.encode()).hexdigest()[:16]
        return self.workspace.environment.cache / "locks" / f"label-studio-{name}.lock"

    def ask_more(self, items: Iterable[Item], progress: Progress) -> int:
        """Open tasks for more people than others where the recipe says so; returns how many were changed."""
        return answers_wanted.apply(self.engine, self.place, self.client, self.config, items, progress)

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
        with filelock.FileLock(self.writer_lock):
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
    database = workspace.label_studio / DATABASE if access.embedded else None
    client = LabelStudioClient(
        access.url, access.api_key, pseudonym_key=workspace.pseudonym_key, database=database
    )
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
