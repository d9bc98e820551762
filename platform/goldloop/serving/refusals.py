"""Requests that are not answered: the HTTP status of each; where, found, expected and remedy as JSON."""

from __future__ import annotations

import json
import math
from typing import Any

from goldloop.errors import GoldloopError, ServingError


class Refused(ServingError):
    """A request that gets an error in place of an answer.

    Args:
        problem: as of `GoldloopError`, and so the rest.
        status: of HTTP.
        retry_after: seconds after which it is worth to ask again.
    """

    def __init__(
        self, problem: str, *, status: int, retry_after: float | None = None, **details: Any
    ) -> None:
        super().__init__(problem, **details)
        self.status = status
        self.retry_after = retry_after


def status_of(error: GoldloopError) -> int:
    """The HTTP status of an error: 422 where the request is at fault and nothing else is said."""
    return error.status if isinstance(error, Refused) else 422


def headers_of(error: GoldloopError) -> dict[str, str]:
    """The HTTP headers of an error."""
    headers = {}
    if isinstance(error, Refused):
        if error.retry_after is not None:
            headers["retry-after"] = str(max(math.ceil(error.retry_after), 1))
        if error.status == 401:
            headers["www-authenticate"] = 'Basic realm="goldloop", Bearer'
    return headers


def body_of(error: GoldloopError, request_id: str) -> bytes:
    """An error as JSON."""
    told = {
        "error": str(error),
        "problem": error.problem,
        "where": _plain(error.where),
        "found": _plain(error.found),
        "expected": _plain(error.expected),
        "remedy": error.remedy,
        "request": request_id,
    }
    return json.dumps(told, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _plain(value: object) -> str | None:
    return None if value is None else str(value)
