"""API keys: who may ask the server. Only a digest of each is kept, so the file opens nothing.

A key is 256 random bits, so one round of SHA-256 is enough: there is nothing to guess from a dictionary.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from goldloop import durable
from goldloop.errors import ServingError
from goldloop.serving.refusals import Refused

_PREFIX = "goldloop-"


@dataclass(frozen=True)
class ApiKey:
    """What is kept of a key.

    Attributes:
        name: who has it.
        digest: SHA-256 of the key, in hex.
        created_at: ISO 8601, UTC.
    """

    name: str
    digest: str
    created_at: str


class ApiKeys:
    """The keys in a file; changes to it are seen at once.

    Args:
        path: the file; there need be none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mark: tuple[int, int] | None = None
        self._known: tuple[ApiKey, ...] = ()
        self._reading = threading.Lock()

    def known(self) -> tuple[ApiKey, ...]:
        """What is kept of each key.

        Raises:
            ServingError: the file cannot be read.
        """
        with self._reading:
            try:
                status = self.path.stat()
            except FileNotFoundError:
                self._mark, self._known = None, ()
                return ()
            mark = (status.st_mtime_ns, status.st_size)
            if mark != self._mark:
                self._known, self._mark = _read(self.path), mark
            return self._known

    def new(self, name: str) -> str:
        """Make a key; it is returned this once.

        Raises:
            ServingError: the name has one, or is none.
        """
        known = self.known()
        if not name or not name.isprintable():
            raise ServingError("a key needs a name that can be read", found=repr(name))
        if any(each.name == name for each in known):
            raise ServingError(
                "this name has a key already",
                where=self.path,
                found=name,
                remedy=f"Take it away first, `goldloop access --remove {name}`, or choose another name",
            )
        key = _PREFIX + secrets.token_urlsafe(32)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write([*known, ApiKey(name, _digest(key), now)])
        return key

    def remove(self, name: str) -> None:
        """Take a key away; it opens nothing from now on.

        Raises:
            ServingError: there is none of that name.
        """
        known = self.known()
        left = [each for each in known if each.name != name]
        if len(left) == len(known):
            names = ", ".join(each.name for each in known)
            raise ServingError("no key has this name", where=self.path, found=name, expected=names or None)
        self._write(left)

    def holder(self, key: str) -> str | None:
        """Who has a key; None where nobody does. Takes as long for a wrong key as for a right one."""
        digest, found = _digest(key), None
        for each in self.known():
            if hmac.compare_digest(each.digest, digest):
                found = each.name
        return found

    def _write(self, keys: list[ApiKey]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        durable.replace(self.path, json.dumps([asdict(key) for key in keys], indent=2).encode() + b"\n")
        self.path.chmod(0o600)


def key_in(authorization: str | None, header: str | None) -> str | None:
    """The key of a request: `Authorization: Bearer KEY`, a password of Basic, or `X-API-Key: KEY`."""
    if header:
        return header.strip()
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> tuple[ApiKey, ...]:
    try:
        return tuple(ApiKey(**entry) for entry in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise Refused(
            "the API keys cannot be read",
            status=500,
            where=os.fspath(path),
            found=type(error).__name__,
            expected="a JSON list of name, digest and created_at",
            remedy="Make them with `goldloop access --new NAME`",
        ) from error
