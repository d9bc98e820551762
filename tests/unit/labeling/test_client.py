"""Faults that a real server cannot be made to show; all else is in tests/e2e/test_client.py."""

import base64
import json
from collections.abc import Callable, Iterator

import httpx
import pytest
from pydantic import SecretStr

from goldloop.errors import (
    LabelStudioDenied,
    LabelStudioError,
    LabelStudioLostWrites,
    LabelStudioUnreachable,
)
from goldloop.labeling.client import LabelStudioClient
from goldloop.labeling.our_project import fitting_title
from goldloop.labeling.snapshot import array_items
from goldloop.labeling.transport import RetryingTransport, is_loopback
from goldloop.labeling.values import Project, TaskData

URL = "http://label-studio.test"
PROJECT = Project(
    id=7, title="seven", label_config="<View/>", model_version=None, address=f"{URL}/projects/7/data"
)
TASKS = [TaskData(key=key, data={"text": key}) for key in ("a", "b")]

Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler, api_key: str = "0" * 40) -> LabelStudioClient:
    return LabelStudioClient(URL, SecretStr(api_key), transport=httpx.MockTransport(handler), attempts=1)


def web_token(**claims: object) -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


class Server:
    """Answers each address by what it is given, and remembers what was asked."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        path = request.url.path
        if path.endswith("/import"):
            return httpx.Response(201, json=self.answers["imported"])
        if path == "/api/tasks/":
            tasks = self.answers["listed"]
            assert isinstance(tasks, list)
            query = json.loads(request.url.params["query"])
            page = tasks[::-1] if query["ordering"] == ["-tasks:id"] else tasks
            size = int(request.url.params["page_size"])
            return httpx.Response(200, json={"tasks": page[:size], "total": len(tasks)})
        if path == "/api/dm/actions":
            return httpx.Response(200, json={"processed_items": 2})
        if path.endswith("/import/predictions"):
            return httpx.Response(201, json={"created": self.answers["created"]})
        raise AssertionError(path)

    def deleted(self) -> list[int]:
        return [
            task_id
            for request in self.asked
            if request.url.path == "/api/dm/actions"
            for task_id in json.loads(request.content)["selectedItems"]["included"]
        ]


def listed(*pairs: tuple[int, str]) -> list[dict[str, object]]:
    return [{"id": task_id, "data": {"key": key}} for task_id, key in pairs]


def imported(**changed: object) -> dict[str, object]:
    counts = {"task_count": 2, "annotation_count": 0, "prediction_count": 0, "task_ids": [11, 12]}
    return {**counts, **changed}


class TestImport:
    def test_joins_tasks_on_their_keys_whatever_their_order(self) -> None:
        server = Server(imported=imported(), listed=listed((11, "b"), (12, "a")))
        assert client(server).import_tasks(PROJECT, TASKS, "one") == {"b": 11, "a": 12}

    @pytest.mark.parametrize(
        ("ids", "keys", "requests"),
        [((11, 12), "ab", 1), ((11, 12), "ba", 2), ((11, 13), "ab", 2), ((11, 13), "ba", 3)],
    )
    def test_looks_at_the_ends_of_an_import_and_at_all_of_it_only_where_these_differ(
        self, ids: tuple[int, int], keys: str, requests: int
    ) -> None:
        pairs = list(zip(ids, keys, strict=True))
        server = Server(imported=imported(task_ids=list(ids)), listed=listed(*pairs))
        made = client(server).import_tasks(PROJECT, TASKS, "one")
        assert made == {key: task_id for task_id, key in pairs}
        assert [request.url.path for request in server.asked].count("/api/tasks/") == requests

    @pytest.mark.parametrize(
        "short",
        [{"task_count": 1}, {"annotation_count": 1}, {"prediction_count": None}, {"task_ids": [11, 13]}],
    )
    def test_undoes_an_import_whose_counts_are_not_what_was_sent(self, short: dict[str, object]) -> None:
        server = Server(imported=imported(**short), listed=listed((11, "a"), (12, "b")))
        with pytest.raises(LabelStudioLostWrites, match="kept less"):
            client(server).import_tasks(PROJECT, TASKS, "one")
        assert server.deleted() == short.get("task_ids", [11, 12])

    def test_undoes_an_import_that_reads_back_with_another_key(self) -> None:
        server = Server(imported=imported(), listed=listed((11, "a"), (12, "c")))
        with pytest.raises(LabelStudioLostWrites):
            client(server).import_tasks(PROJECT, TASKS, "one")
        assert server.deleted() == [11, 12]

    def test_is_sent_once_even_if_the_answer_is_lost(self) -> None:
        sent = []

        def drop(request: httpx.Request) -> httpx.Response:
            sent.append(request)
            raise httpx.RemoteProtocolError("the server went away", request=request)

        patient = LabelStudioClient(URL, SecretStr("0" * 40), transport=httpx.MockTransport(drop), attempts=5)
        with pytest.raises(LabelStudioUnreachable):
            patient.import_tasks(PROJECT, TASKS, "one")
        assert len(sent) == 1

    def test_refuses_two_tasks_of_one_key_before_anything_is_sent(self) -> None:
        server = Server()
        with pytest.raises(ValueError, match="distinct keys"):
            client(server).import_tasks(PROJECT, [TASKS[0], TASKS[0]], "one")
        assert server.asked == []


def test_fewer_predictions_than_were_sent_are_an_error() -> None:
    with pytest.raises(LabelStudioLostWrites, match=r"found 1, expected 2"):
        client(Server(created=1)).create_predictions(PROJECT, [(11, [], 0.5), (12, [], 0.5)], "m1")


class TestFaults:
    def test_a_page_of_html_is_no_label_studio(self) -> None:
        page = httpx.Response(200, html="<html>It works!</html>")
        with pytest.raises(LabelStudioUnreachable, match="not Label Studio's"):
            client(lambda request: page).project_totals(PROJECT)

    def test_json_of_something_else_is_no_label_studio(self) -> None:
        with pytest.raises(LabelStudioUnreachable, match="not Label Studio's"):
            client(lambda request: httpx.Response(200, json={"hello": "world"})).check()

    def test_a_redirect_to_a_login_page_is_a_refused_token(self) -> None:
        answer = httpx.Response(302, headers={"location": f"{URL}/user/login/?next=/"})
        with pytest.raises(LabelStudioDenied, match="legacy token"):
            client(lambda request: answer).project_totals(PROJECT)

    def test_any_other_redirect_tells_where_it_leads(self) -> None:
        answer = httpx.Response(301, headers={"location": "https://label-studio.test/"})
        with pytest.raises(LabelStudioUnreachable, match=r"HTTP 301 https://label-studio\.test/"):
            client(lambda request: answer).check()

    def test_a_server_that_takes_too_long_is_told_as_slow(self) -> None:
        def wait(request: httpx.Request) -> httpx.Response:
            raise httpx.ReadTimeout("timed out", request=request)

        with pytest.raises(LabelStudioUnreachable, match="did not answer in time"):
            client(wait).check()

    def test_a_server_that_is_down_is_told_with_the_remedy(self) -> None:
        def refuse(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("connection refused", request=request)

        with pytest.raises(LabelStudioUnreachable, match="goldloop up"):
            client(refuse).check()

    def test_the_servers_own_words_are_passed_on(self) -> None:
        answer = httpx.Response(500, json={"detail": "database is locked"})
        with pytest.raises(LabelStudioError, match="HTTP 500: database is locked"):
            client(lambda request: answer).project_totals(PROJECT)

    @pytest.mark.parametrize(
        ("api_key", "kind"),
        [
            ("0" * 40, "legacy token"),
            (web_token(token_type="refresh", exp=4102444800), "personal access token"),
            (web_token(token_type="access", exp=4102444800), "access token"),
        ],
    )
    def test_a_refused_token_is_told_by_its_kind_and_never_shown(self, api_key: str, kind: str) -> None:
        answer = httpx.Response(401, json={"detail": "Invalid token."})
        with pytest.raises(LabelStudioDenied) as caught:
            client(lambda request: answer, api_key).project_totals(PROJECT)
        assert kind in str(caught.value)
        assert api_key not in str(caught.value)

    def test_an_expired_personal_access_token_is_refused_before_it_is_sent(self) -> None:
        expired = web_token(token_type="refresh", exp=1)
        with pytest.raises(LabelStudioDenied, match="expired"):
            client(Server(), expired).check()


def no_pause(seconds: float) -> None:
    pytest.fail("nothing may be sent again")


class Sequel(httpx.BaseTransport):
    """Answers in a fixed order; an exception is raised."""

    def __init__(self, *answers: int | type[httpx.TransportError]) -> None:
        self.answers = list(answers)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            return httpx.Response(answer)
        raise answer("fault", request=request)


class TestRetries:
    @pytest.mark.parametrize("fault", [429, 502, 503, httpx.ReadError, httpx.RemoteProtocolError])
    @pytest.mark.parametrize("method", ["GET", "PATCH"])
    def test_what_may_be_repeated_is(self, method: str, fault: int | type[httpx.TransportError]) -> None:
        pauses: list[float] = []
        transport = RetryingTransport(Sequel(fault, fault, 200), pause=pauses.append)
        assert transport.handle_request(httpx.Request(method, URL)).status_code == 200
        assert pauses == [0.5, 1.0]

    @pytest.mark.parametrize("method", ["POST", "DELETE"])
    def test_a_write_is_not_repeated_after_it_was_sent(self, method: str) -> None:
        transport = RetryingTransport(Sequel(502, 200), pause=no_pause)
        assert transport.handle_request(httpx.Request(method, URL)).status_code == 502

    def test_a_write_that_never_left_is_repeated(self) -> None:
        transport = RetryingTransport(Sequel(httpx.ConnectError, 201), pause=lambda seconds: None)
        assert transport.handle_request(httpx.Request("POST", URL)).status_code == 201

    def test_a_time_out_is_not_repeated(self) -> None:
        transport = RetryingTransport(Sequel(httpx.ReadTimeout, 200), pause=no_pause)
        with pytest.raises(httpx.ReadTimeout):
            transport.handle_request(httpx.Request("GET", URL))

    def test_the_last_fault_is_passed_on(self) -> None:
        transport = RetryingTransport(Sequel(502, 503), attempts=2, pause=lambda seconds: None)
        assert transport.handle_request(httpx.Request("GET", URL)).status_code == 503


class TestArrayItems:
    ITEMS = [{"text": "zwölf 🎈 \u2028 [1, 2]"}, {"nested": [{"a": "}"}]}, {}]

    @pytest.mark.parametrize("size", [1, 2, 7, 1 << 20])
    def test_an_array_in_pieces_is_the_array(self, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("goldloop.labeling.snapshot._CHUNK", 3)
        content = json.dumps(self.ITEMS, ensure_ascii=False).encode()
        pieces = (content[start : start + size] for start in range(0, len(content), size))
        assert list(array_items(pieces)) == self.ITEMS

    def test_an_empty_array_has_no_items(self) -> None:
        assert list(array_items([b" [ ] "])) == []

    def test_an_array_that_ends_too_early_is_an_error_after_its_whole_items(self) -> None:
        items: Iterator[object] = array_items([b'[{"a": 1}, {"b": '])
        assert next(items) == {"a": 1}
        with pytest.raises(ValueError, match="cut short"):
            next(items)

    def test_anything_else_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="no JSON array"):
            list(array_items([b'{"detail": "no"}']))


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("signs", "signs"),
        ("ab", "ab_"),
        ("goldloop " + "x" * 60, "goldloop " + "x" * 40 + "…"),
        (
            "photos of hand signs that stand for the digits zero to nine",
            "photos of hand signs that stand for the digits…",
        ),
    ],
)
def test_a_title_fits_label_studios_limits(title: str, expected: str) -> None:
    assert fitting_title(title) == expected
    assert 3 <= len(fitting_title(title)) <= 50


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://localhost:8080", True),
        ("http://[::1]:8080", True),
        ("http://127.0.0.1.example.com", False),
        ("https://labels.example.com", False),
    ],
)
def test_loopback_is_told_from_elsewhere(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected
