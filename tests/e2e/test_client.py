"""The client against a real Label Studio."""

import io
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pydantic import SecretStr

from goldloop.errors import AnnotationError, LabelStudioDenied, LabelStudioError
from goldloop.labeling.client import LabelStudioClient
from goldloop.labeling.collected import pseudonym
from goldloop.labeling.server import Access
from goldloop.labeling.values import PredictionData, Project, TaskData
from goldloop.records import Annotation
from goldloop.workspace import Workspace

pytestmark = pytest.mark.e2e

PSEUDONYM_KEY = b"k" * 32
CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text">'
    '<Choice value="yes"/><Choice value="no"/></Choices></View>'
)
IMAGE_CONFIG = CONFIG.replace('<Text name="text" value="$text"/>', '<Image name="text" value="$image"/>')


def results(choice: str) -> list[dict[str, Any]]:
    return [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}]


def tasks(*keys: str, **fields: Any) -> list[TaskData]:
    return [TaskData(key=key, data={"text": f"text {key}"}, **fields) for key in keys]


@pytest.fixture
def client(label_studio: Access) -> LabelStudioClient:
    return LabelStudioClient(label_studio.url, label_studio.api_key, pseudonym_key=PSEUDONYM_KEY)


@pytest.fixture
def http(label_studio: Access) -> Iterator[httpx.Client]:
    """What an annotator's browser, or another program, does."""
    headers = {"Authorization": f"Token {label_studio.api_key.get_secret_value()}", "Connection": "close"}
    with httpx.Client(base_url=label_studio.url, headers=headers, timeout=60) as http:
        yield http


@pytest.fixture
def project(client: LabelStudioClient) -> Project:
    return client.ensure_project(marker(), title="a test", label_config=CONFIG, annotators_per_item=2)


def marker() -> str:
    return f"goldloop:{secrets.token_hex(8)}/test"


def annotate(http: httpx.Client, task_id: int, **body: Any) -> int:
    answer = http.post(f"/api/tasks/{task_id}/annotations/", json=body)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def only_annotation(client: LabelStudioClient, project: Project) -> Annotation:
    (task,) = [task for task in client.annotations(project) if task.annotations]
    (annotation,) = task.annotations
    return annotation


class TestCheck:
    def test_tells_version_and_user(self, client: LabelStudioClient) -> None:
        info = client.check()
        assert info.version.startswith("1.")
        assert info.user_id > 0
        assert "@" in info.email

    def test_a_wrong_token_is_denied(self, label_studio: Access) -> None:
        with pytest.raises(LabelStudioDenied, match="legacy token"):
            LabelStudioClient(label_studio.url, SecretStr("0" * 40)).check()

    def test_a_personal_access_token_is_as_good(self, label_studio: Access, http: httpx.Client) -> None:
        settings = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True}
        assert http.post("/api/jwt/settings", json=settings).is_success
        made = http.post("/api/token/")
        assert made.status_code == 201, made.text
        token = made.json()["token"]
        try:
            info = LabelStudioClient(label_studio.url, SecretStr(token)).check()
            assert info.user_id == LabelStudioClient(label_studio.url, label_studio.api_key).check().user_id
        finally:
            http.post("/api/token/blacklist/", json={"refresh": token})


class TestProject:
    def test_is_made_once(self, client: LabelStudioClient) -> None:
        mark = marker()
        made = client.ensure_project(mark, title="once", label_config=CONFIG)
        assert client.ensure_project(mark, title="once", label_config=CONFIG) == made
        assert client.ensure_project(mark, title="once", label_config=CONFIG, project_id=made.id) == made

    def test_of_another_recipe_or_of_a_person_is_not_touched(
        self, client: LabelStudioClient, http: httpx.Client
    ) -> None:
        mark = marker()
        longer = client.ensure_project(mark + "2", title="same title", label_config=CONFIG)
        body = {"title": "same title", "description": f"see {mark}", "label_config": IMAGE_CONFIG}
        persons = http.post("/api/projects/", json=body).json()
        made = client.ensure_project(mark, title="same title", label_config=CONFIG)
        assert made.id not in (longer.id, persons["id"])
        assert http.get(f"/api/projects/{persons['id']}/").json()["label_config"] == IMAGE_CONFIG
        with pytest.raises(LabelStudioError, match="left alone"):
            client.ensure_project(mark, title="x", label_config=CONFIG, project_id=persons["id"])

    def test_that_was_deleted_is_made_anew(self, client: LabelStudioClient, http: httpx.Client) -> None:
        mark = marker()
        gone = client.ensure_project(mark, title="gone", label_config=CONFIG)
        http.delete(f"/api/projects/{gone.id}/")
        anew = client.ensure_project(mark, title="gone", label_config=CONFIG, project_id=gone.id)
        assert anew.id != gone.id

    def test_of_which_there_are_two_is_an_error(self, client: LabelStudioClient, http: httpx.Client) -> None:
        mark = marker()
        for _ in range(2):
            http.post("/api/projects/", json={"title": "twice", "description": mark})
        with pytest.raises(LabelStudioError, match="several projects"):
            client.ensure_project(mark, title="twice", label_config=CONFIG)

    def test_is_brought_to_what_is_asked(self, client: LabelStudioClient, http: httpx.Client) -> None:
        mark = marker()
        client.ensure_project(mark, title="before", label_config=CONFIG)
        made = client.ensure_project(
            mark,
            title="after",
            label_config=IMAGE_CONFIG,
            annotators_per_item=3,
            instructions="<b>Look</b> & tell",
        )
        stored = http.get(f"/api/projects/{made.id}/").json()
        assert made.label_config == stored["label_config"] == IMAGE_CONFIG
        assert (stored["title"], stored["maximum_annotations"]) == ("after", 3)
        assert stored["expert_instruction"].startswith("<b>Look</b>")
        assert stored["show_instruction"]
        assert stored["show_collab_predictions"]

    def test_with_a_config_that_the_server_refuses_tells_why(self, client: LabelStudioClient) -> None:
        broken = CONFIG.replace('toName="text"', 'toName="nothing"')
        with pytest.raises(LabelStudioError, match="nothing"):
            client.ensure_project(marker(), title="broken", label_config=broken)


class TestImport:
    def test_gives_ids_by_key_and_the_batch_is_found_again(
        self, client: LabelStudioClient, project: Project
    ) -> None:
        ids = client.import_tasks(project, tasks("b", "a", "c"), "first")
        others = client.import_tasks(project, tasks("d"), "second")
        assert sorted(ids) == ["a", "b", "c"]
        found = client.reader.find_batch(project, "first")
        assert {sent.key: task_id for task_id, sent in found.items()} == ids
        assert client.reader.find_batch(project, "firs") == {}
        assert dict(client.task_keys(project)) == {number: key for key, number in (ids | others).items()}

    def test_goes_on_past_one_page(self, client: LabelStudioClient, project: Project) -> None:
        keys = [f"key{number}" for number in range(7)]
        client.import_tasks(project, tasks(*keys), "pages")
        assert sorted(task["data"]["key"] for task in client._api.tasks(project.id, size=3)) == keys

    def test_brings_annotations_and_predictions_whole(
        self, client: LabelStudioClient, project: Project
    ) -> None:
        prediction = PredictionData(results=results("no"), model_version="m0", score=0.25)
        inline = tasks("a", annotations=[results("yes"), []], predictions=[prediction])
        ids = client.import_tasks(project, inline, "inline")
        (task,) = client.annotations(project)
        assert task.task_id == ids["a"]
        assert [list(annotation.results) for annotation in task.annotations] == [results("yes"), []]
        assert client.predictions_of(project, "m0") == {ids["a"]}
        assert all(annotation.shown_model is None for annotation in task.annotations)

    def test_of_annotations_marks_none_as_ground_truth(
        self, client: LabelStudioClient, project: Project, http: httpx.Client
    ) -> None:
        client.import_tasks(project, tasks("a", annotations=[results("yes")]), "inline")
        assert http.get(f"/api/projects/{project.id}/").json()["ground_truth_number"] == 0

    def test_without_a_field_of_the_config_creates_nothing(
        self, client: LabelStudioClient, project: Project
    ) -> None:
        with pytest.raises(LabelStudioError, match="text"):
            client.import_tasks(project, [*tasks("a"), TaskData(key="b", data={})], "bad")
        assert client.project_totals(project).tasks == 0

    def test_with_an_unknown_class_is_refused_before_it_is_sent(
        self, client: LabelStudioClient, project: Project
    ) -> None:
        prediction = PredictionData(results=results("perhaps"), model_version="m0")
        with pytest.raises(AnnotationError, match="item a"):
            client.check_tasks(project, tasks("a", predictions=[prediction]))
        assert client.project_totals(project).tasks == 0

    def test_is_undone_for_exactly_the_tasks_named(self, client: LabelStudioClient, project: Project) -> None:
        ids = client.import_tasks(project, tasks("a", "b", "c"), "first")
        client.delete_tasks(project, [])
        client.delete_tasks(project, [ids["b"]])
        assert set(dict(client.task_keys(project)).values()) == {"a", "c"}


Act = Callable[[httpx.Client, int, int], object]


class TestTotals:
    CHANGES: dict[str, Act] = {
        "create": lambda http, task, made: annotate(http, task, result=results("no")),
        "edit": lambda http, task, made: http.patch(f"/api/annotations/{made}/", json={"result": []}),
        "skip": lambda http, task, made: annotate(http, task, result=[], was_cancelled=True),
        "turn into a skip": lambda http, task, made: http.patch(
            f"/api/annotations/{made}/", json={"was_cancelled": True}
        ),
        "delete": lambda http, task, made: http.delete(f"/api/annotations/{made}/"),
        "delete and create": lambda http, task, made: (
            http.delete(f"/api/annotations/{made}/"),
            annotate(http, task, result=results("yes")),
        ),
        "delete the task": lambda http, task, made: http.delete(f"/api/tasks/{task}/"),
    }

    @pytest.mark.parametrize("change", CHANGES)
    def test_change_with_every_annotation(
        self, client: LabelStudioClient, project: Project, http: httpx.Client, change: str
    ) -> None:
        task = client.import_tasks(project, tasks("a", "b"), "first")["a"]
        made = annotate(http, task, result=results("yes"))
        before = client.project_totals(project)
        self.CHANGES[change](http, task, made)
        assert client.project_totals(project) != before

    def test_count_what_is_there(
        self, client: LabelStudioClient, project: Project, http: httpx.Client
    ) -> None:
        empty = client.project_totals(project)
        assert (empty.tasks, empty.annotations, empty.skipped, empty.latest_update) == (0, 0, 0, None)
        ids = client.import_tasks(project, tasks("a", "b"), "first")
        annotate(http, ids["a"], result=results("yes"))
        annotate(http, ids["b"], result=[], was_cancelled=True)
        client.create_predictions(project, [(ids["a"], results("yes"), 0.5)], "m1")
        totals = client.project_totals(project)
        assert (totals.tasks, totals.annotations, totals.skipped, totals.predictions) == (2, 1, 1, 1)

    def test_stay_the_same_for_drafts_and_looks(
        self, client: LabelStudioClient, project: Project, http: httpx.Client
    ) -> None:
        task = client.import_tasks(project, tasks("a"), "first")["a"]
        before = client.project_totals(project)
        http.get(f"/api/tasks/{task}/", params={"project": project.id})
        draft = http.post(f"/api/tasks/{task}/drafts", json={"result": results("yes"), "lead_time": 1.0})
        assert draft.status_code == 201
        assert list(client.annotations(project))
        assert client.project_totals(project) == before


class TestAnnotations:
    def test_come_back_as_they_were_given(
        self, client: LabelStudioClient, project: Project, http: httpx.Client
    ) -> None:
        ids = client.import_tasks(project, tasks("a", "b", "c"), "first")
        given = annotate(http, ids["a"], result=results("yes"), lead_time=3.5)
        annotate(http, ids["b"], result=[], was_cancelled=True)
        http.post(f"/api/tasks/{ids['c']}/drafts", json={"result": results("no"), "lead_time": 1.0})
        http.post(f"/api/projects/{project.id}/import", json=[{"text": "not goldloop's"}])

        found = {task.key: task for task in client.annotations(project)}
        assert sorted(found) == ["", "a", "b", "c"]
        (answer,) = found["a"].annotations
        assert (answer.id, answer.task_id, answer.key) == (given, ids["a"], "a")
        assert list(answer.results) == results("yes")
        assert answer.lead_time == 3.5
        assert not answer.cancelled
        assert answer.annotator == pseudonym(PSEUDONYM_KEY, client.check().email)
        assert [skip.cancelled for skip in found["b"].annotations] == [True]
        assert (found["c"].annotations, found["c"].drafts) == ((), 1)
        assert found["a"].drafts == 0

    def test_leave_nothing_on_the_server(
        self, client: LabelStudioClient, project: Project, http: httpx.Client
    ) -> None:
        place = f"/api/projects/{project.id}/exports/"
        client.import_tasks(project, tasks("a", "b"), "first")
        http.post(place, json={"title": "goldloop collects"})  # as a killed run leaves it
        http.post(place, json={"title": "a person's own"})
        next(client.annotations(project))
        assert [export["title"] for export in http.get(place).json()] == ["a person's own"]

    def test_of_one_person_have_one_pseudonym_under_one_key(self) -> None:
        assert pseudonym(b"1", "Ann@example.com ") == pseudonym(b"1", "ann@example.com")
        assert pseudonym(b"1", "ann@example.com") != pseudonym(b"2", "ann@example.com")
        assert "ann@" not in pseudonym(b"1", "ann@example.com")


class TestShownModel:
    def predicted(self, client: LabelStudioClient, project: Project, version: str = "m1") -> int:
        task = client.import_tasks(project, tasks("a"), secrets.token_hex(4))["a"]
        client.create_predictions(project, [(task, results("yes"), 0.5)], version)
        return task

    def test_is_none_for_an_annotation_made_before_the_prediction(
        self, client: LabelStudioClient, project: Project, http: httpx.Client
    ) -> None:
        task = client.import_tasks(project, tasks("a"), "first")["a"]
        annotate(http, task, result=results("yes"))
        client.create_predictions(project, [(task, results("yes"), 0.5)], "m1")
        assert only_annotation(client, project).shown_model is None

    def test_is_the_models_once_that_annotation_is_edited(
        self, client: LabelStudioClient, project: Project, http: httpx.Client
    ) -> None:
        task = client.import_tasks(project, tasks("a"), "first")["a"]
        made = annotate(http, task, result=results("yes"))
        client.create_predictions(project, [(task, results("yes"), 0.5)], "m1")
        http.patch(f"/api/annotations/{made}/", json={"result": results("no")})
        assert only_annotation(client, project).shown_model == "m1"

    @pytest.mark.parametrize("told", [True, False])
    def test_is_the_models_that_annotators_are_shown(
        self, client: LabelStudioClient, project: Project, http: httpx.Client, told: bool
    ) -> None:
        task = self.predicted(client, project)
        client.show_model(project, "m1")
        annotate(http, task, result=results("no"))
        if told:
            client.create_predictions(project, [(task, results("yes"), 0.5)], "m2")
        assert only_annotation(client, project).shown_model == "m1"

    def test_is_that_of_the_prediction_the_editor_copied(
        self, client: LabelStudioClient, project: Project, http: httpx.Client
    ) -> None:
        task = self.predicted(client, project)
        (older,) = http.get("/api/predictions/", params={"task": task}).json()
        client.create_predictions(project, [(task, results("no"), 0.5)], "m2")
        client.show_model(project, "m2")
        annotate(http, task, result=results("yes"), parent_prediction=older["id"])
        assert only_annotation(client, project).shown_model == "m1"

    def test_is_known_after_the_prediction_is_gone(
        self, client: LabelStudioClient, project: Project, http: httpx.Client
    ) -> None:
        task = self.predicted(client, project)
        client.show_model(project, "m1")
        annotate(http, task, result=results("no"))
        for prediction in http.get("/api/predictions/", params={"task": task}).json():
            http.delete(f"/api/predictions/{prediction['id']}/")
        assert only_annotation(client, project).shown_model == "m1"

    def test_is_unknown_where_only_the_result_tells_of_a_prediction(
        self, client: LabelStudioClient, project: Project, http: httpx.Client
    ) -> None:
        task = client.import_tasks(project, tasks("a"), "first")["a"]
        annotate(http, task, result=[{**results("yes")[0], "origin": "prediction"}])
        assert only_annotation(client, project).shown_model == "unknown"


class TestPredictions:
    def test_are_told_apart_by_their_whole_version(self, client: LabelStudioClient, project: Project) -> None:
        ids = client.import_tasks(project, tasks("a", "b", "c"), "first")
        client.create_predictions(project, [(ids["a"], results("yes"), 0.5)], "signs@1")
        client.create_predictions(project, [(ids["b"], results("yes"), 0.5)], "signs@10")
        client.create_predictions(project, [(ids["b"], results("no"), None)], "signs@1")
        assert client.predictions_of(project, "signs@1") == {ids["a"], ids["b"]}
        assert client.predictions_of(project, "signs@10") == {ids["b"]}
        assert client.predictions_of(project, "signs@") == set()

    @pytest.mark.parametrize("score", [1.5, None])
    def test_that_do_not_fit_are_refused_by_task(
        self, client: LabelStudioClient, project: Project, score: float | None
    ) -> None:
        task = client.import_tasks(project, tasks("a"), "first")["a"]
        wrong = results("yes") if score else results("perhaps")
        with pytest.raises(AnnotationError, match=f"task {task}"):
            client.create_predictions(project, [(task, results("no"), 0.1), (task, wrong, score)], "m1")
        assert client.project_totals(project).predictions == 0

    def test_of_a_task_that_is_gone_are_an_error(self, client: LabelStudioClient, project: Project) -> None:
        task = client.import_tasks(project, tasks("a"), "first")["a"]
        client.delete_tasks(project, [task])
        with pytest.raises(LabelStudioError, match=str(task)):
            client.create_predictions(project, [(task, results("no"), 0.1)], "m1")

    def test_are_shown_by_version(self, client: LabelStudioClient, project: Project) -> None:
        with pytest.raises(LabelStudioError, match="exist"):
            client.show_model(project, "m1")
        task = client.import_tasks(project, tasks("a"), "first")["a"]
        client.create_predictions(project, [(task, results("no"), 0.1)], "m1")
        client.show_model(project, "m1")
        mark = marker()
        assert client.ensure_project(mark, title="x y", label_config=CONFIG).model_version is None
        assert client._project(client._api.get(f"/api/projects/{project.id}/")) == replace(
            project, model_version="m1"
        )


def picture(color: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4), color).save(buffer, format="PNG")
    return buffer.getvalue()


class TestMedia:
    def test_on_this_machine_are_shown_from_their_folder(
        self, client: LabelStudioClient, project: Project, http: httpx.Client, workspace: Workspace
    ) -> None:
        folder = workspace.media.root
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "one.png").write_bytes(picture(1))
        for _ in range(2):
            client.ensure_local_storage(project, str(folder))
        storages = http.get("/api/storages/localfiles/", params={"project": project.id}).json()
        assert [storage["path"] for storage in storages] == [str(folder)]
        shown = http.get("/data/local-files/", params={"d": f"{folder.name}/one.png"})
        assert shown.content == picture(1)

    def test_go_to_a_server_elsewhere_once(
        self, client: LabelStudioClient, project: Project, http: httpx.Client, tmp_path: Path
    ) -> None:
        files = [tmp_path / f"{number:064x}.png" for number in range(53)]
        for number, file in enumerate(files):
            file.write_bytes(picture(number))
        first = client.upload_media(project, files[:2])
        addresses = client.upload_media(project, files)
        assert client.upload_media(project, files) == addresses
        assert {file: addresses[file] for file in files[:2]} == first
        assert [http.get(addresses[file]).content for file in files] == [file.read_bytes() for file in files]
        uploads = http.get(f"/api/projects/{project.id}/file-uploads", params={"all": "true"}).json()
        assert len(uploads) == len(files)
        assert client.project_totals(project).tasks == 0

    def test_without_files_ask_nothing_of_anybody(self, client: LabelStudioClient, project: Project) -> None:
        assert client.upload_media(project, []) == {}
