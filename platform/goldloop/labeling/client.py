"""Label Studio as goldloop needs it; the only module that imports label-studio-sdk.

Three things are never taken on trust: that the server kept what it answered for (every returned count is
compared with what was sent, and the batch is read back), that what comes back is in the order in which it
was sent (tasks are joined on the content key in their data), and that a project is ours (only one that
carries our marker is touched).

What lies in a project is read by its `reader`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from pydantic import PydanticDeprecatedSince20, SecretStr

from goldloop.errors import AnnotationError, LabelStudioLostWrites
from goldloop.labeling import assignment, buckets, erasure, failures, task_state
from goldloop.labeling.api import Api, condition
from goldloop.labeling.buckets import Bucket
from goldloop.labeling.database import Database
from goldloop.labeling.erasure import OnServer
from goldloop.labeling.our_project import Wanted, ensure_project, fitting_title
from goldloop.labeling.pages import Pages
from goldloop.labeling.reading import Reader
from goldloop.labeling.task_json import prediction_request, task_request
from goldloop.labeling.transport import open_client
from goldloop.labeling.uploads import Uploads
from goldloop.labeling.values import (
    CollectedTask,
    PredictionData,
    Project,
    Results,
    ServerInfo,
    TaskData,
    Totals,
)

MOST_TASKS_PER_IMPORT = 1000
_WHOLE_ANSWERS = 3
"""How often an answer is asked for that came in part."""
_LONG_SECONDS = 1800
_CUT_LISTS = 500
"""Characters after which the data manager cuts a list short."""


class LabelStudioClient:
    """A Label Studio server, through its API.

    Every method raises `LabelStudioUnreachable`, `LabelStudioDenied` or another `LabelStudioError`.

    Args:
        url: the server's address.
        api_key: a legacy token or a personal access token.
        pseudonym_key: what turns annotators' addresses into pseudonyms.
        database: the server's own SQLite file, where goldloop runs it.
        seconds: how long to wait for an answer; imports and exports have half an hour.
        transport: what sends; by default the network.
        attempts: how often a request is sent that may be sent again.
    """

    def __init__(
        self,
        url: str,
        api_key: SecretStr,
        *,
        pseudonym_key: bytes = b"",
        database: Path | None = None,
        seconds: float = 120,
        transport: httpx.BaseTransport | None = None,
        attempts: int = 5,
    ) -> None:
        self.url = url.rstrip("/")
        self._api_key = api_key
        self._seconds = seconds
        self._interfaces: dict[str, Any] = {}
        self._uploads: dict[int, Uploads] = {}
        self._http = open_client(self.url, seconds, transport, attempts)
        self._api = Api(
            self.url,
            self._http,
            api_key.get_secret_value(),
            self._authorization,
            self._renew,
            min(attempts, _WHOLE_ANSWERS),
        )
        pages = Pages(self._api, pseudonym_key)
        self.reader: Reader = pages if database is None else Database(database, pseudonym_key)

    @property
    def api(self) -> Api:
        """For what has no method here."""
        return self._api

    def check(self) -> ServerInfo:
        """Whether it is there and takes the token: its version, and who we are."""
        with self._translated("/api/version"):
            version = self._sdk.versions.get().release
        if not version:
            raise failures.no_label_studio(f"{self.url}/api/version", "no version in the answer")
        with self._translated("/api/current-user/whoami"):
            user = self._sdk.users.whoami()
        return ServerInfo(version=version, user_id=user.id, email=user.email)

    def invitation(self) -> str:
        """The path at which a person may sign up to our organization."""
        return str(self._api.get("/api/invite")["invite_url"])

    def ensure_project(
        self,
        marker: str,
        *,
        title: str,
        label_config: str,
        annotators_per_item: int = 1,
        instructions: str | None = None,
        project_id: int | None = None,
        before_overlap: Callable[[int], None] = lambda overlap: None,
    ) -> Project:
        """The one project whose description has the marker as a line; made if there is none.

        Its settings are brought to what is asked. Killed at any moment and called again, there is still
        one project.

        Args:
            marker: one line that is this recipe's alone, such as `goldloop:<workspace>/<recipe>`.
            title: cut to 50 characters, filled to 3.
            label_config: Label Studio XML.
            annotators_per_item: after how many annotations a task is done.
            instructions: HTML that annotators read before they start.
            project_id: where it was last time; saves the search.
            before_overlap: called with the present number before `annotators_per_item` changes.

        Raises:
            LabelStudioError: the project of that number is not ours, several have the marker, or the
                server refuses the label config.
        """
        wanted = Wanted(
            title=fitting_title(title),
            label_config=label_config,
            maximum_annotations=annotators_per_item,
            expert_instruction=instructions or "",
            show_instruction=bool(instructions),
        )
        return self._project(ensure_project(self._api, marker, wanted, project_id, before_overlap))

    def ensure_local_storage(self, project: Project, path: str) -> None:
        """Let the project's tasks show files under a folder of the server's machine.

        A second storage on the same folder would double things on a sync, so there is never one.
        """
        place = "/api/storages/localfiles/"
        with self._translated(place):
            present = self._sdk.import_storage.local.list(project=project.id)
        if any((storage.path or "").rstrip("/") == path.rstrip("/") for storage in present):
            return
        with self._translated(place):
            self._sdk.import_storage.local.create(
                project=project.id, path=path, title="goldloop media", use_blob_urls=True
            )

    def ensure_bucket(self, project: Project, bucket: Bucket) -> None:
        """Let the project's tasks show images at `s3://NAME/...`; Label Studio looks whether it is there.

        Raises:
            LabelStudioError: Label Studio does not reach it.
        """
        buckets.ensure(self._api, project.id, bucket)

    def ensure_tabs(self, project: Project, names: Sequence[str]) -> None:
        """Give each annotator a tab of the data manager with the tasks that are for them."""
        assignment.ensure_tabs(self._api, project.id, names)

    def upload_media(self, project: Project, files: Sequence[Path]) -> dict[Path, str]:
        """Give a server elsewhere the images to show: addresses for tasks' data, by file.

        No task is made, and what is there already is not sent again.

        Args:
            project: where.
            files: each under a name that is its content's alone, as `MediaStore` keeps them.

        Raises:
            LabelStudioLostWrites: a file is not there afterwards.
        """
        if project.id not in self._uploads:
            self._uploads[project.id] = Uploads(self._api, project.id)
        return self._uploads[project.id].bring(files)

    def check_tasks(self, project: Project, tasks: Sequence[TaskData]) -> None:
        """Hold the pre-annotations of tasks against the label config; asks no server.

        Raises:
            AnnotationError: one does not fit, by its item.
        """
        for task in tasks:
            self._validate(project, f"item {task.key}", task.predictions)

    def import_tasks(self, project: Project, tasks: Sequence[TaskData], batch: str) -> dict[str, int]:
        """Create tasks by one request, all or none: task ids by content key.

        If the answer is lost, the server may still have the tasks, now or in a moment: look with
        `reader.find_batch` before the same batch is sent again.

        Args:
            project: where.
            tasks: at most 1,000 with distinct keys, which went through `check_tasks`: the server takes any.
            batch: a name that no other import of the project has had.

        Raises:
            LabelStudioLostWrites: the server kept less than it was sent; nothing of the batch remains.
        """
        keys = [task.key for task in tasks]
        if not 0 < len(tasks) <= MOST_TASKS_PER_IMPORT or len(set(keys)) != len(keys):
            raise ValueError(f"1 to {MOST_TASKS_PER_IMPORT} tasks with distinct keys, not {len(keys)}")
        place = f"/api/projects/{project.id}/import"
        answer = self._api.call(
            "POST",
            place,
            params={"return_task_ids": "true"},
            json=[task_request(task, batch) for task in tasks],
            seconds=_LONG_SECONDS,
        )
        sent = {
            "task_count": len(tasks),
            "annotation_count": sum(len(task.annotations) for task in tasks),
            "prediction_count": sum(len(task.predictions) for task in tasks),
        }
        kept = {name: answer.get(name) for name in sent}
        task_ids = list(answer.get("task_ids") or ())
        known = kept == sent and len(set(task_ids)) == len(keys)
        by_id = self.reader.imported(project, dict(zip(task_ids, keys, strict=True))) if known else {}
        by_key = {key: task_id for task_id, key in by_id.items()}
        if set(by_key) != set(keys) or set(by_id) != set(task_ids) or len(by_id) != len(by_key):
            self.delete_tasks(project, task_ids)
            raise LabelStudioLostWrites(
                "Label Studio answered that an import was done and kept less than it was sent; it was undone",
                where=self.url + place,
                found=f"{kept}, {len(by_key)} tasks read back",
                expected=str(sent),
                remedy="Run the same command again; on SQLite, import while nobody annotates",
            )
        return by_key

    def task_keys(self, project: Project) -> Iterator[tuple[int, str]]:
        """Id and content key of every task, by id; the key is empty where the data have none."""
        return self.reader.task_keys(project)

    def project_totals(self, project: Project) -> Totals:
        """The server's own count."""
        return self.reader.project_totals(project)

    def annotations(self, project: Project) -> Iterator[CollectedTask]:
        """Every task with its annotations, in bounded memory."""
        for _, page in self.reader.changed(project, None, 0):
            yield from page

    def create_predictions(
        self, project: Project, predictions: Sequence[tuple[int, Results, float | None]], model_version: str
    ) -> None:
        """Put pre-annotations on tasks by one request; ask `predictions_of` first which have one already.

        Args:
            project: where.
            predictions: task id, results and score in [0, 1] of each.
            model_version: whose they are.

        Raises:
            AnnotationError: one does not fit the label config, by its task; nothing was sent.
            LabelStudioLostWrites: the server kept less than it was sent.
        """
        request = []
        for task_id, results, score in predictions:
            data = PredictionData(results=results, model_version=model_version, score=score)
            self._validate(project, f"task {task_id}", [data])
            request.append({"task": task_id, **prediction_request(data)})
        if not request:
            return
        place = f"/api/projects/{project.id}/import/predictions"
        created = self._api.call("POST", place, json=request, seconds=_LONG_SECONDS).get("created")
        if created != len(request):
            raise LabelStudioLostWrites(
                "Label Studio kept fewer pre-annotations than it was sent",
                where=self.url + place,
                found=created,
                expected=len(request),
                remedy="Run the same command again: those that are there are not sent twice",
            )

    def predictions_of(self, project: Project, model_version: str) -> set[int]:
        """The tasks that have a pre-annotation of one model version."""
        # The filter finds "m10" by "m1" too, so each task's own list is looked at.
        wanted = condition("predictions_model_versions", "contains", "String", model_version)
        return {
            task["id"]
            for task in self._api.tasks(project.id, [wanted])
            if model_version in self._versions_on(task)
        }

    def show_model(self, project: Project, model_version: str) -> None:
        """Show annotators the pre-annotations of one model version; at least one must be there."""
        with self._translated(f"/api/projects/{project.id}/"):
            self._sdk.projects.update(project.id, model_version=model_version, show_collab_predictions=True)

    def set_overlap(self, task_id: int, overlap: int) -> None:
        """How many people are to annotate a task."""
        task_state.set_overlap(self._api, task_id, overlap)

    def delete_tasks(self, project: Project, task_ids: Iterable[int]) -> None:
        """Delete exactly these tasks, with all that hangs on them; none is deleted if none is named."""
        included = sorted(set(task_ids))
        if included:
            self._api.call(
                "POST",
                "/api/dm/actions",
                params={"id": "delete_tasks", "project": project.id},
                json={"selectedItems": {"all": False, "included": included}},
                seconds=_LONG_SECONDS,
                again=True,
            )

    def find_content(self, marker: str, project_id: int | None, key: str) -> OnServer | None:
        """What our project has of a content, none of its settings touched; None where it is not there."""
        return erasure.find(self._api, marker, project_id, key)

    def erase_content(self, found: OnServer, key: str) -> None:
        """Delete what was found of a content."""
        erasure.erase(self._api, found, key)

    @cached_property
    def _sdk(self) -> Any:
        # Not `LabelStudio`: it imports pandas, which takes seconds, for conveniences that are not used.
        from label_studio_sdk.base_client import LabelStudioBase

        # Its refresh of a personal access token uses what pydantic calls deprecated.
        warnings.filterwarnings("ignore", category=PydanticDeprecatedSince20, module="label_studio_sdk")
        return LabelStudioBase(
            base_url=self.url,
            api_key=self._api_key.get_secret_value(),
            timeout=self._seconds,
            max_retries=0,
            httpx_client=self._http,
        )

    def _authorization(self) -> Mapping[str, str]:
        with self._translated("/api/token/refresh/"):
            headers: Mapping[str, str] = self._sdk._client_wrapper.get_headers()
            return headers

    def _renew(self) -> bool:
        """Forget an access token that was refused before its time; a legacy token has no other."""
        tokens = self._sdk._client_wrapper._tokens_client
        if tokens._use_legacy_token:
            return False
        tokens._access_token = None
        return True

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        """Turn what the SDK raises into goldloop's errors."""
        from label_studio_sdk.core.api_error import ApiError

        where = self.url + path
        try:
            yield
        except ApiError as error:
            key = self._api_key.get_secret_value()
            raise failures.refused(where, key, error.status_code, error.body, error.headers) from error
        except httpx.HTTPError as error:
            raise failures.unreachable(where, error) from error
        except ValueError as error:
            raise failures.no_label_studio(where, f"an answer that is {error}") from error

    def _versions_on(self, task: Mapping[str, Any]) -> set[str]:
        listed = str(task["predictions_model_versions"])
        if len(listed) < _CUT_LISTS:
            return {version.strip() for version in listed.split(",")}
        return {one["model_version"] for one in self._api.get("/api/predictions/", {"task": task["id"]})}

    def _project(self, answer: Mapping[str, Any]) -> Project:
        return Project(
            id=answer["id"],
            title=answer["title"],
            label_config=answer["label_config"],
            model_version=answer["model_version"] or None,
            address=f"{self.url}/projects/{answer['id']}/data",
        )

    def _validate(self, project: Project, where: str, predictions: Iterable[PredictionData]) -> None:
        for prediction in predictions:
            if project.label_config not in self._interfaces:
                from label_studio_sdk.label_interface.interface import LabelInterface

                self._interfaces[project.label_config] = LabelInterface(project.label_config)
            interface = self._interfaces[project.label_config]
            problems = interface.validate_prediction(prediction_request(prediction), return_errors=True)
            if problems:
                raise AnnotationError(
                    "a pre-annotation does not fit the label config", where=where, found="; ".join(problems)
                )
