"""Label Studio's HTTP API where its SDK has no call or is slow: task pages, imports, uploads, snapshots."""

from __future__ import annotations

import json as json_format
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, overload

import httpx

from goldloop.labeling import failures
from goldloop.labeling.transport import REPEATABLE

PAGE_SIZE = 500
_PARTIAL = object()
"""An answer that ended too early."""
_TASKS = "/api/tasks/"


class Api:
    """Requests to one server; every fault is one of goldloop's errors.

    Args:
        url: the server's address, without a slash at its end.
        http: what sends.
        api_key: only its kind enters messages.
        headers: the headers that authorize a request, asked for each time, as tokens expire.
        renew: called when they are refused; whether others are to be had.
        attempts: how often an answer is asked for again that came in part.
    """

    def __init__(
        self,
        url: str,
        http: httpx.Client,
        api_key: str,
        headers: Callable[[], Mapping[str, str]],
        renew: Callable[[], bool] = lambda: False,
        attempts: int = 1,
    ) -> None:
        self.url = url
        self._http = http
        self._api_key = api_key
        self._headers = headers
        self._renew = renew
        self._attempts = attempts
        self.server_time: datetime | None = None

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The parsed JSON of an address."""
        return self.call("GET", path, params=params, again=True)

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        files: Any = None,
        seconds: float | None = None,
        again: bool = False,
    ) -> Any:
        """The parsed JSON of an answer; None of an empty one.

        Args:
            method: of HTTP.
            path: of the address.
            params: its query.
            json: the body, as JSON.
            files: the body, as files.
            seconds: how long to wait.
            again: sent twice, it does what it does once; so it is sent again after faults.
        """
        where = self.url + path
        attempts = self._attempts if again else 1
        request = {
            "params": params,
            "json": json,
            "files": files,
            "timeout": seconds if seconds is not None else httpx.USE_CLIENT_DEFAULT,
            "extensions": {REPEATABLE: again},
        }
        for attempt in range(1, attempts):
            response = self._answered(method, where, request, last=False)
            answer = _PARTIAL if response is None else self._parsed(where, response, last=False)
            if response is not None and answer is not _PARTIAL:
                return self._judged(method, where, response, answer, again=again)
            time.sleep(0.5 * attempt)
        response = self._answered(method, where, request, last=True)
        return self._judged(method, where, response, self._parsed(where, response, last=True), again=again)

    def _judged(self, method: str, where: str, response: httpx.Response, answer: Any, *, again: bool) -> Any:
        with suppress(KeyError, ValueError):
            self.server_time = parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
        if again and method == "DELETE" and response.status_code == 404:
            return None
        if not response.is_success:
            raise failures.refused(where, self._api_key, response.status_code, answer, response.headers)
        return answer

    @overload
    def _answered(
        self, method: str, where: str, request: Mapping[str, Any], *, last: Literal[True]
    ) -> httpx.Response: ...
    @overload
    def _answered(
        self, method: str, where: str, request: Mapping[str, Any], *, last: Literal[False]
    ) -> httpx.Response | None: ...
    def _answered(
        self, method: str, where: str, request: Mapping[str, Any], *, last: bool
    ) -> httpx.Response | None:
        """A whole answer; None if it came in part and may be asked for again."""
        try:
            response = self._http.request(method, where, headers=self._headers(), **request)
            if response.status_code == 401 and self._renew():
                # It was refused before anything was done.
                response = self._http.request(method, where, headers=self._headers(), **request)
        except httpx.HTTPError as error:
            in_part = isinstance(error, (httpx.ReadError, httpx.RemoteProtocolError))
            if last or not in_part:
                raise failures.unreachable(where, error) from error
            return None
        return response

    def _parsed(self, where: str, response: httpx.Response, *, last: bool) -> Any:
        try:
            return response.json() if response.content else None
        except ValueError as error:
            if not response.is_success:
                return response.text
            if not last:
                return _PARTIAL
            found = response.headers.get("content-type", "no content type")
            raise failures.no_label_studio(where, f"HTTP {response.status_code}, {found}") from error

    def stream(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[bytes]:
        """The body of an answer, piece by piece."""
        where = self.url + path
        try:
            with self._http.stream("GET", where, params=params, headers=self._headers()) as response:
                if not response.is_success:
                    response.read()
                    status = response.status_code
                    raise failures.refused(where, self._api_key, status, response.text, response.headers)
                yield from response.iter_bytes()
        except httpx.HTTPError as error:
            raise failures.unreachable(where, error) from error

    def tasks(
        self, project_id: int, conditions: Sequence[Mapping[str, Any]] = (), size: int = PAGE_SIZE
    ) -> Iterator[Mapping[str, Any]]:
        """The tasks of a project that meet all conditions, by id, page by page."""
        after = 0
        while True:
            # By id, not by page number: nothing is passed over when tasks are deleted meanwhile.
            beyond = condition("id", "greater", "Number", after)
            page = self.task_page(project_id, [*conditions, beyond], size=size)
            yield from page["tasks"]
            if len(page["tasks"]) < size:
                return
            after = page["tasks"][-1]["id"]

    def task_page(
        self,
        project_id: int,
        conditions: Sequence[Mapping[str, Any]] = (),
        *,
        size: int = PAGE_SIZE,
        ordering: str = "tasks:id",
        page: int = 1,
    ) -> Mapping[str, Any]:
        """A page, the first or another: `tasks`, and `total` of all that meet the conditions."""
        query: dict[str, Any] = {"ordering": [ordering]}
        if conditions:
            query["filters"] = {"conjunction": "and", "items": list(conditions)}
        answer = self.get(
            _TASKS,
            {
                "project": project_id,
                "page": page,
                "page_size": size,
                "resolve_uri": "false",
                "query": json_format.dumps(query),
            },
        )
        if not isinstance(answer, Mapping) or "tasks" not in answer:
            raise failures.no_label_studio(self.url + _TASKS, "a list of tasks without `tasks`")
        return answer


def time_value(moment: str) -> str:
    """A time (ISO 8601) in the one form that conditions take."""
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def condition(field: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    """One condition of the data manager on a task's field, such as `data.batch`."""
    return {"filter": f"filter:tasks:{field}", "operator": operator, "type": kind, "value": value}
