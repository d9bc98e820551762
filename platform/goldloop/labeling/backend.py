"""A prediction server as the model of a Label Studio project: asked for opened tasks and for batches."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx

from goldloop.labeling.access import Access, token_kind
from goldloop.labeling.api import Api
from goldloop.labeling.transport import open_client

_SECONDS = 30.0


def connect(access: Access, project: int, url: str, title: str, key: str | None = None) -> int:
    """Make the server at an address the project's model, once; returns Label Studio's number of it.

    A server that was connected before and has another address now (another port) keeps its number.

    Args:
        access: the Label Studio; it asks the server for its health on the way, so that must answer.
        project: of goldloop's own.
        url: where the protocol is spoken, such as `http://127.0.0.1:8300/label-studio/pets`.
        title: what people see.
        key: an API key of the server.

    Raises:
        LabelStudioError: Label Studio cannot be asked, or does not reach the server.
    """
    secret = access.api_key.get_secret_value()
    with open_client(access.url, _SECONDS) as http:
        return _connect(
            Api(access.url, http, secret, lambda: authorization(access)), project, url, title, key
        )


def authorization(access: Access) -> dict[str, str]:
    """The header that opens a Label Studio to us; a personal access token is good for five minutes at a time.

    Raises:
        httpx.HTTPError: it could not be asked.
    """
    key = access.api_key.get_secret_value()
    if token_kind(key) != "personal access token":
        return {"Authorization": f"Token {key}"}
    with open_client(access.url, _SECONDS) as http:
        answer: httpx.Response = http.post(f"{access.url}/api/token/refresh/", json={"refresh": key})
    return {"Authorization": f"Bearer {answer.raise_for_status().json().get('access')}"}


def _connect(api: Api, project: int, url: str, title: str, key: str | None) -> int:
    wanted: dict[str, Any] = {"url": url, "project": project, "title": title, "is_interactive": True}
    if key is not None:
        wanted |= {"auth_method": "BASIC_AUTH", "basic_auth_user": "goldloop", "basic_auth_pass": key}
    path = urlsplit(url).path
    found = [each for each in api.get("/api/ml/", {"project": project}) if urlsplit(each["url"]).path == path]
    if found:
        number = int(found[0]["id"])
        api.call("PATCH", f"/api/ml/{number}", json=wanted)
    else:
        number = int(api.call("POST", "/api/ml/", json=wanted)["id"])
    api.call("PATCH", f"/api/projects/{project}/", json={"evaluate_predictions_automatically": True})
    return number
