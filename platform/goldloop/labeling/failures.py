"""What went wrong between goldloop and Label Studio, as errors that say what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from goldloop.errors import LabelStudioDenied, LabelStudioError, LabelStudioUnreachable
from goldloop.labeling.access import token_kind

_LONGEST_MESSAGE = 600


def denied(url: str, api_key: str, answer: Any = None) -> LabelStudioDenied:
    """The error of a token that the server does not take."""
    kind = token_kind(api_key)
    detail = message_of(answer)
    return LabelStudioDenied(
        "Label Studio does not accept LABEL_STUDIO_API_KEY" + (f": {detail}" if detail else ""),
        where=url,
        found=f"a token of the kind: {kind}",
        expected="a legacy token or a personal access token of this server",
        remedy="Make a new one in Account & Settings in Label Studio, of a kind that the organization allows",
    )


def unreachable(url: str, error: httpx.HTTPError) -> LabelStudioUnreachable:
    """The error of a server that did not answer."""
    slow = isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout)
    return LabelStudioUnreachable(
        "Label Studio did not answer in time" if slow else "Label Studio cannot be reached",
        where=url,
        found=str(error) or type(error).__name__,
        remedy=(
            "It may be busy with an import or an export: try again, nothing is done twice"
            if slow
            else "Start it by `goldloop up`, or check LABEL_STUDIO_URL"
        ),
    )


def no_label_studio(url: str, found: object) -> LabelStudioUnreachable:
    """The error of something that answers, but not as Label Studio does."""
    return LabelStudioUnreachable(
        "the answer is not Label Studio's",
        where=url,
        found=found,
        expected="JSON from Label Studio's API",
        remedy="Check LABEL_STUDIO_URL: it must lead to the server itself, past any login page",
    )


def refused(
    url: str, api_key: str, status: int | None, answer: Any, headers: Mapping[str, str] | None = None
) -> LabelStudioError:
    """The error of an answer that is none of success.

    Args:
        url: what was asked.
        api_key: only its kind enters the message.
        status: the HTTP status.
        answer: the body, parsed where it was JSON.
        headers: the answer's headers.
    """
    location = {name.lower(): value for name, value in (headers or {}).items()}.get("location", "")
    if status in (401, 403) or (status in (301, 302, 303, 307, 308) and "login" in urlsplit(location).path):
        return denied(url, api_key, answer if isinstance(answer, Mapping) else None)
    if status is None or status < 400:
        return no_label_studio(url, f"HTTP {status} {location}".strip())
    if isinstance(answer, str) and "<html" in answer.lower() and status not in (500,):
        return no_label_studio(url, f"HTTP {status} and a page of HTML")
    found = f"HTTP {status}: {message_of(answer) or 'no message'}"
    if status == 429 or status >= 500:
        # Whether it has done what it was asked is open.
        return LabelStudioUnreachable("Label Studio failed", where=url, found=found)
    return LabelStudioError("Label Studio refused the request", where=url, found=found)


def message_of(answer: Any) -> str:
    """The server's own words in an answer, whatever its shape, shortened."""
    if isinstance(answer, Mapping):
        details = answer.get("validation_errors") or answer.get("detail") or dict(answer)
        text = details if isinstance(details, str) else json.dumps(details, ensure_ascii=False, default=str)
    elif answer is None:
        text = ""
    else:
        text = str(answer)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + " ..."
