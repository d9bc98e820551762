"""How to reach a Label Studio server, and whether its token opens it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any, Literal

import httpx
from pydantic import SecretStr

from goldloop.errors import LabelStudioDenied, LabelStudioError, LabelStudioUnreachable

TokenKind = Literal["legacy token", "personal access token", "access token of five minutes", "unknown token"]


@dataclass(frozen=True)
class Access:
    """How to reach a server.

    Attributes:
        url: such as `http://127.0.0.1:8080`; no slash at the end.
        api_key: a legacy token or a personal access token.
        embedded: whether it is goldloop's own (on SQLite: write to it from one place at a time).
    """

    url: str
    api_key: SecretStr
    embedded: bool


def token_kind(api_key: str) -> TokenKind:
    """What kind of token a text is, by its form alone."""
    if re.fullmatch(r"[0-9a-f]{40}", api_key):
        return "legacy token"
    parts = api_key.split(".")
    if len(parts) != 3:
        return "unknown token"
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return "unknown token"
    kind = claims.get("token_type") if isinstance(claims, dict) else None
    if kind == "refresh":
        return "personal access token"
    return "access token of five minutes" if kind == "access" else "unknown token"


def external(
    url: str,
    api_key: SecretStr | None,
    *,
    timeout: float = 30.0,
    transport: httpx.BaseTransport | None = None,
) -> Access:
    """The access to a server elsewhere, once its token has opened it.

    Args:
        url: the server's address, with its path if it has one.
        api_key: a legacy token or a personal access token.
        timeout: seconds to wait for each answer.
        transport: how requests travel; by default over the network.

    Raises:
        LabelStudioDenied: no token, one of a kind that cannot be used, or one that the server refuses.
        LabelStudioUnreachable: nothing answers there, or what answers is no Label Studio.
    """
    url = url.rstrip("/")
    if not re.match(r"https?://[^/@]+(/|$)", url):
        raise LabelStudioError(
            "no address of a server",
            where="LABEL_STUDIO_URL",
            found=re.sub(r"//[^/]*@", "//***@", url) or "nothing",
            expected="http://HOST:PORT or https://HOST, without a user name",
        )
    if api_key is None or not api_key.get_secret_value().strip():
        raise LabelStudioDenied(
            "LABEL_STUDIO_URL is set and LABEL_STUDIO_API_KEY is not",
            where=url,
            found="no token",
            expected="a legacy token (40 hex digits) or a personal access token",
            remedy="Copy one from Account & Settings in Label Studio",
        )
    key = api_key.get_secret_value().strip()
    kind = token_kind(key)
    if kind == "access token of five minutes":
        raise _denied(url, kind)
    with httpx.Client(base_url=url, timeout=timeout, transport=transport) as client:
        if kind == "personal access token":
            refreshed = _ask(client, kind, "POST", "/api/token/refresh/", json={"refresh": key})
            authorization = f"Bearer {refreshed.get('access')}"
        else:
            authorization = f"Token {key}"
        who = _ask(client, kind, "GET", "/api/current-user/whoami", headers={"Authorization": authorization})
        if "id" not in who:
            raise _no_label_studio(url, "an answer without a user")
    return Access(url, SecretStr(key), embedded=False)


def _ask(client: httpx.Client, kind: TokenKind, method: str, path: str, **request: Any) -> dict[str, Any]:
    where = str(client.base_url).rstrip("/")
    try:
        response = client.request(method, path, **request)
    except httpx.HTTPError as error:
        raise LabelStudioUnreachable(
            "Label Studio does not answer",
            where=where,
            found=str(error) or type(error).__name__,
            remedy="Check LABEL_STUDIO_URL, and that the server runs",
        ) from error
    if response.status_code in (401, 403):
        raise _denied(where, kind)
    if response.status_code >= 300:
        raise _no_label_studio(where, f"status {response.status_code} from {path}")
    try:
        answer = response.json()
    except ValueError as error:
        raise _no_label_studio(where, f"an answer from {path} that is not JSON") from error
    if not isinstance(answer, dict):
        raise _no_label_studio(where, f"an unknown answer from {path}")
    return answer


def _no_label_studio(url: str, found: str) -> LabelStudioUnreachable:
    return LabelStudioUnreachable(
        "what answers there is no Label Studio",
        where=url,
        found=found,
        remedy="Check LABEL_STUDIO_URL: https or http, port and path as in the browser",
    )


_REMEDIES: dict[TokenKind, str] = {
    "legacy token": "Check that it is whole and that the organization allows legacy tokens "
    "(Organization, API Tokens Settings), or use a personal access token",
    "personal access token": "It may be revoked or expired, or of another server: "
    "make a new one under Account & Settings, Personal Access Token",
    "access token of five minutes": "Use the personal access token that it was made from, or a legacy token",
    "unknown token": "Copy a personal access token or a legacy token from Account & Settings in Label Studio",
}


def _denied(url: str, kind: TokenKind) -> LabelStudioDenied:
    return LabelStudioDenied(
        "Label Studio refuses the token of LABEL_STUDIO_API_KEY",
        where=url,
        found=f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}",
        expected="a legacy token (40 hex digits) or a personal access token",
        remedy=_REMEDIES[kind],
    )
