"""The key of each recipe's media: who holds it may sign addresses that the media proxy answers.

<workspace>/media-keys/NAME    an id and a secret; readable by the user alone
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from goldloop.durable import flush

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class MediaKey:
    """What addresses are signed with.

    Attributes:
        id: names the key; is told in every address.
        secret: signs; is told to nobody but Label Studio.
    """

    id: str
    secret: str = field(repr=False)


class MediaKeys:
    """A folder of keys by recipe."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, recipe: str) -> MediaKey | None:
        """The key of a recipe, read now, so that one that was renewed holds at once; None without one."""
        if _NAME.fullmatch(recipe) is None:
            return None
        try:
            parts = (self.root / recipe).read_text().split()
        except FileNotFoundError:
            return None
        return MediaKey(*parts)

    def of(self, recipe: str) -> MediaKey:
        """The key of a recipe, made at random if there is none; of two who make it both get the winner's."""
        if (found := self.find(recipe)) is not None:
            return found
        aside = self._write(recipe)
        with suppress(FileExistsError):
            (self.root / recipe).hardlink_to(aside)
        aside.unlink()
        return self.of(recipe)

    def renew(self, recipe: str) -> MediaKey:
        """A new key in place of the old one: every address that was signed before is void from now on."""
        self._write(recipe).replace(self.root / recipe)
        flush(self.root)
        return self.of(recipe)

    def _write(self, recipe: str) -> Path:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = self.root / f".{recipe}.{os.getpid()}.{secrets.token_hex(4)}"
        aside.touch(mode=0o600)
        aside.write_text(f"GL{secrets.token_hex(9).upper()} {secrets.token_urlsafe(30)}\n")
        flush(aside)
        return aside
