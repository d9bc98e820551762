import base64
import json

import httpx
import pytest
from pydantic import SecretStr

from goldloop.errors import LabelStudioDenied, LabelStudioError, LabelStudioUnreachable
from goldloop.labeling.access import external, token_kind

LEGACY = "0123456789abcdef0123456789abcdef01234567"


def jwt(token_type: str) -> str:
    def part(value: dict[str, str]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part({'token_type': token_type})}.c2lnbmF0dXJl"


def label_studio(request: httpx.Request) -> httpx.Response:
    """A Label Studio that knows one legacy token and one personal access token."""
    if request.url.path.endswith("/api/token/refresh/"):
        known = json.loads(request.content) == {"refresh": jwt("refresh")}
        return httpx.Response(200, json={"access": "fresh"}) if known else httpx.Response(401)
    known = request.headers["authorization"] in (f"Token {LEGACY}", "Bearer fresh")
    return httpx.Response(200, json={"id": 1}) if known else httpx.Response(401)


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        (LEGACY, "legacy token"),
        (jwt("refresh"), "personal access token"),
        (jwt("access"), "access token of five minutes"),
        (jwt("other"), "unknown token"),
        (LEGACY[:-1], "unknown token"),
        ("a.b.c", "unknown token"),
        ("a.W10.c", "unknown token"),
        ("", "unknown token"),
    ],
)
def test_a_token_tells_its_kind(token: str, kind: str) -> None:
    assert token_kind(token) == kind


@pytest.mark.parametrize("token", [LEGACY, jwt("refresh"), f" {LEGACY}\n"])
def test_both_kinds_of_token_open_a_server(token: str) -> None:
    access = external(
        "https://labels.example/studio/", SecretStr(token), transport=httpx.MockTransport(label_studio)
    )
    assert access.url == "https://labels.example/studio"
    assert access.api_key.get_secret_value() == token.strip()
    assert not access.embedded


@pytest.mark.parametrize(
    ("token", "found"),
    [
        (None, "no token"),
        (" ", "no token"),
        ("f" * 40, "a legacy token"),
        ("x.y", "an unknown token"),
        (jwt("access"), "an access token of five minutes"),
        (jwt("refresh") + "x", "a personal access token"),
    ],
)
def test_a_refusal_says_which_kind_of_token_was_found_and_not_the_token(
    token: str | None, found: str
) -> None:
    with pytest.raises(LabelStudioDenied) as caught:
        external(
            "http://labels.example",
            None if token is None else SecretStr(token),
            transport=httpx.MockTransport(label_studio),
        )
    assert caught.value.found == found
    assert caught.value.remedy
    if token and token.strip():
        assert token not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "labels.example", "ftp://labels.example", "http://me:secret@labels.example"]
)
def test_an_address_that_is_none_is_refused_without_telling_its_password(url: str) -> None:
    with pytest.raises(LabelStudioError, match="LABEL_STUDIO_URL") as caught:
        external(url, SecretStr(LEGACY))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404),
        httpx.Response(302, headers={"location": "https://elsewhere.example"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={}),
    ],
)
def test_what_is_no_label_studio_is_called_so(answer: httpx.Response) -> None:
    with pytest.raises(LabelStudioUnreachable, match="no Label Studio"):
        external(
            "http://labels.example",
            SecretStr(LEGACY),
            transport=httpx.MockTransport(lambda request: answer),
        )


def test_a_server_that_is_down_is_unreachable() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(LabelStudioUnreachable, match="connection refused"):
        external("http://labels.example", SecretStr(LEGACY), transport=httpx.MockTransport(refuse))
