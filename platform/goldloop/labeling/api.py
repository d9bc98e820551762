"""Label Studio's HTTP API where its SDK has no call or is slow: task pages, imports, uploads, snapshots."""

from __future__ import annotations

import json as json_format
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx

from goldloop.labeling import failures

PAGE_SIZE = 500
_TASKS = "/api/tasks/"


class Api:
    """Requests to one server; every fault is one of goldloop's errors.

    Args:
        url: the server's address, without a slash at its end.
        http: what sends.
        api_key: only its kind enters messages.
        headers: the headers that authorize a request, asked for each time, as tokens expire.
    """

    def __init__(
        self, url: str, http: httpx.Client, api_key: str, headers: Callable[[], Mapping[str, str]]
    ) -> None:
        self.url = url
        self._http = http
        self._api_key = api_key
        self._headers = headers

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The parsed JSON of an address."""
        return self.call("GET", path, params=params)

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        files: Any = None,
        seconds: float | None = None,
    ) -> Any:
        """The parsed JSON of an answer; None of an empty one."""
        where = self.url + path
        try:
            response = self._http.request(
                method,
                where,
                params=params,
                json=json,
                files=files,
                headers=self._headers(),
                timeout=seconds if seconds is not None else httpx.USE_CLIENT_DEFAULT,
            )
        except httpx.HTTPError as error:
            raise failures.unreachable(where, error) from error
        try:
            answer = response.json() if response.content else None
        except ValueError as error:
            if response.is_success:
                found = response.headers.get("content-type", "no content type")
                raise failures.no_label_studio(where, f"HTTP {response.status_code}, {found}") from error
            answer = response.text
        if not response.is_success:
            raise failures.refused(where, self._api_key, response.status_code, answer, response.headers)
        return answer

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
    ) -> Mapping[str, Any]:
        """The first page: `tasks`, and `total` of all that meet the conditions."""
        query: dict[str, Any] = {"ordering": [ordering]}
        if conditions:
            query["filters"] = {"conjunction": "and", "items": list(conditions)}
        answer = self.get(
            _TASKS,
            {
                "project": project_id,
                "page": 1,
                "page_size": size,
                "resolve_uri": "false",
                "query": json_format.dumps(query),
            },
        )
        if not isinstance(answer, Mapping) or "tasks" not in answer:
            raise failures.no_label_studio(self.url + _TASKS, "a list of tasks without `tasks`")
        return answer


def condition(field: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    """One condition of the data manager on a task's field, such as `data.batch`."""
    return {"filter": f"filter:tasks:{field}", "operator": operator, "type": kind, "value": value}
