"""Requests that the prediction server kept, as they came."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

from goldloop import production
from goldloop.holders.base import Disposable


class Requests(Disposable):
    """The files of requests with the content, of before and after cleaning."""

    kind = "request"
    what = "what was asked about"

    @override
    def files(self, key: str) -> Iterator[Path]:
        with self.workspace.engine.connect() as connection:
            yield from sorted(set(production.files_of(connection, self.workspace, key)))
