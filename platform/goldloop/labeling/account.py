"""The one account of an embedded Label Studio, and files that only the user can read."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

USERNAME = "goldloop@localhost"


@dataclass(frozen=True)
class Login:
    """What a person types into the browser."""

    username: str
    password: SecretStr


@dataclass(frozen=True)
class Account:
    """Who owns an embedded server: the login of a person and the token of a program."""

    login: Login
    token: SecretStr

    def redacted(self, text: str) -> str:
        """A text without this account's password and token."""
        for secret in (self.login.password, self.token):
            text = text.replace(secret.get_secret_value(), "***")
        return text


def account(folder: Path) -> Account:
    """The account kept in a folder's secrets.json (0600), made at random when there is none.

    Of two processes that make it at once both read the winner's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    path = folder / "secrets.json"
    if not path.exists():
        made = {"username": USERNAME, "password": secrets.token_urlsafe(15), "token": secrets.token_hex(20)}
        aside = path.with_name(f".secrets.json.{secrets.token_hex(4)}")
        with private_file(aside) as file:
            os.write(file, json.dumps(made).encode())
            os.fsync(file)
        with suppress(FileExistsError):
            path.hardlink_to(aside)
        aside.unlink()
    path.chmod(0o600)
    kept = json.loads(path.read_text())
    return Account(Login(kept["username"], SecretStr(kept["password"])), SecretStr(kept["token"]))


@contextmanager
def private_file(path: Path, flags: int = 0) -> Iterator[int]:
    """A descriptor to write to, of a file that only the user can read; `flags` as of `os.open`."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
    try:
        os.fchmod(file, 0o600)
        yield file
    finally:
        os.close(file)
