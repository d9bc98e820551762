"""Signed requests, in the form that every S3 client and Label Studio speak (AWS Signature, version 4).

A signature is an HMAC of method, address and time under the recipe's key: it opens one item for as long as
it says, and cannot be turned into another. It stands in the address, as browsers are sent there, or in the
`Authorization` header, as programs do.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote

from goldloop.errors import MediaRefused
from goldloop.media_keys import MediaKey

_ALGORITHM = "AWS4-HMAC-SHA256"
_SIGNATURE = "X-Amz-Signature"
_TIME = "%Y%m%dT%H%M%SZ"
_CLOCKS_DIFFER = timedelta(minutes=15)
_LONGEST = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, to the byte as it came.

    Attributes:
        path: percent-encoded.
        query: percent-encoded, without the question mark.
        headers: by name in lower case.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a request says of its signature."""

    credential: str
    signed_headers: str
    signature: str
    time: str
    seconds: str | None
    payload: str


def check(asked: Asked, key: MediaKey | None, now: datetime) -> None:
    """Let a request through whose signature is of this key and holds now.

    Args:
        asked: the request.
        key: of the recipe that it is about; None where there is none, which no signature fits.
        now: the time, with its zone.

    Raises:
        MediaRefused: not signed, by another key, for another request, or no longer.
    """
    claim = _claim(asked)
    identity, _, scope = claim.credential.partition("/")
    known = key or MediaKey("", "")
    fits = hmac.compare_digest(
        _signature(asked, claim, scope, known.secret).encode(), claim.signature.encode()
    )
    # Both are looked at whatever the first says.
    named = hmac.compare_digest(identity.encode(), known.id.encode())
    if key is None or not (fits and named) or "host" not in claim.signed_headers.split(";"):
        raise MediaRefused("the signature does not fit", code="SignatureDoesNotMatch", status=403)
    _check_time(claim, scope, now)


def _check_time(claim: _Claim, scope: str, now: datetime) -> None:
    try:
        made = datetime.strptime(claim.time, _TIME).replace(tzinfo=UTC)
        holds = _CLOCKS_DIFFER if claim.seconds is None else timedelta(seconds=int(claim.seconds))
    except (ValueError, OverflowError):
        raise MediaRefused(
            "the time of the signature cannot be read", code="AccessDenied", status=403
        ) from None
    if not claim.time.startswith(scope.partition("/")[0]) or not timedelta(0) < holds <= _LONGEST:
        raise MediaRefused("the signature is for no such time", code="AccessDenied", status=403)
    if not made - _CLOCKS_DIFFER <= now < made + holds:
        raise MediaRefused("Request has expired", code="AccessDenied", status=403)


def _claim(asked: Asked) -> _Claim:
    query = dict(parse_qsl(asked.query, keep_blank_values=True))
    header = asked.headers.get("authorization", "")
    if query.get("X-Amz-Algorithm") == _ALGORITHM:
        return _Claim(
            query.get("X-Amz-Credential", ""),
            query.get("X-Amz-SignedHeaders", ""),
            query.get(_SIGNATURE, ""),
            query.get("X-Amz-Date", ""),
            query.get("X-Amz-Expires", ""),
            "UNSIGNED-PAYLOAD",
        )
    if header.startswith(f"{_ALGORITHM} "):
        parts = dict(part.strip().partition("=")[::2] for part in header.removeprefix(_ALGORITHM).split(","))
        return _Claim(
            parts.get("Credential", ""),
            parts.get("SignedHeaders", ""),
            parts.get("Signature", ""),
            asked.headers.get("x-amz-date", ""),
            None,
            asked.headers.get("x-amz-content-sha256", ""),
        )
    raise MediaRefused("the request is not signed", code="AccessDenied", status=403)


def _signature(asked: Asked, claim: _Claim, scope: str, secret: str) -> str:
    """The signature, in hex, that the request has to carry."""
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(asked.query, keep_blank_values=True)
        if name != _SIGNATURE
    )
    names = claim.signed_headers.split(";")
    canonical = "\n".join(
        (
            asked.method,
            asked.path,
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{' '.join(asked.headers.get(name, '').split())}" for name in names),
            "",
            claim.signed_headers,
            claim.payload,
        )
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    to_sign = f"{_ALGORITHM}\n{claim.time}\n{scope}\n{digest}"
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
