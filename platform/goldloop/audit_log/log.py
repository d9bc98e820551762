"""One workspace's audit log: a line when an act ends, however it ends, in the order of their ends.

<workspace>/audit/
  log.jsonl       the lines, see `chain.py`; only ever added to
  open/<id>       acts that go on, each locked by its process; of a killed one the next writer tells the end
  lock            held while anything here is written

Lines that are cut off at the end do not break the chain, so where the log ends is noted in the catalog as
well. Somebody may write to both: keep `head` elsewhere from time to time, and give it to `verify`.
"""

from __future__ import annotations

import contextvars
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from goldloop import __version__
from goldloop.audit_log.chain import Entry, Head, faults_of, head_of, next_line, number_of
from goldloop.catalog.content import upsert
from goldloop.catalog.tables import audit_heads
from goldloop.durable import flush
from goldloop.errors import WorkspaceError

_TAIL = 262_144
"""Bytes at the end of the log that are looked at before a line is added."""
_PATIENCE = 60.0
_within: contextvars.ContextVar[str | None] = contextvars.ContextVar("within", default=None)


@dataclass(slots=True)
class Acting:
    """An act that goes on; `outputs` is for whoever acts to fill."""

    outputs: dict[str, Any] = field(default_factory=dict)


class AuditLog:
    """The log of one workspace.

    Args:
        folder: where it lies.
        engine: gives the catalog.
        workspace: the workspace's identity.
        actor: gives the name of who acts.
    """

    def __init__(
        self,
        folder: Path,
        engine: Callable[[], Engine],
        workspace: Callable[[], str],
        actor: Callable[[], str],
    ) -> None:
        self.folder = folder
        self.path = folder / "log.jsonl"
        self._notes = folder / "open"
        self._engine = engine
        self._workspace = workspace
        self._actor = actor

    @contextmanager
    def act(
        self,
        command: str,
        *,
        recipe: str | None = None,
        recipe_digest: str | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> Iterator[Acting]:
        """Record what is done inside.

        Raises:
            WorkspaceError: the log cannot be written.
        """
        begun = {
            "id": secrets.token_hex(8),
            "began": _now(),
            "actor": self._actor(),
            "command": command,
            "recipe": recipe,
            "recipe_digest": recipe_digest,
            "inputs": dict(inputs or {}),
            "within": _within.get(),
            "goldloop": __version__,
        }
        with self._held():
            handle, note = self._begin(begun)
        acting = Acting()
        outer = _within.set(str(begun["id"]))
        outcome, error = "done", None
        try:
            yield acting
        except BaseException as raised:
            outcome = "failed" if isinstance(raised, Exception) else "stopped"
            error = type(raised).__name__
            raise
        finally:
            _within.reset(outer)
            try:
                with self._held():
                    self._append({**begun, "outputs": acting.outputs, "outcome": outcome, "error": error})
                    note.unlink(missing_ok=True)
            finally:
                os.close(handle)

    def entries(self) -> Iterator[Entry]:
        """The acts, oldest first; nothing is verified.

        Raises:
            WorkspaceError: one of them cannot be read.
        """
        for place, line in enumerate(self._lines(), start=1):
            try:
                yield Entry(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise WorkspaceError(
                    "a line of the audit log cannot be read",
                    where=f"{self.path}, line {place}",
                    remedy="`goldloop audit --verify` says all that is wrong with it",
                ) from error

    def head(self) -> Head:
        """Where the log ends now."""
        return self._ends()[-1]

    def verify(self, kept: Head | None = None) -> list[str]:
        """What is wrong with the log; empty if nothing is.

        Args:
            kept: where it ended at some time, by a note kept elsewhere.
        """
        seen = {"the catalog": self._anchor(), "the head that was kept": kept}
        return faults_of(self._lines(), {who: head for who, head in seen.items() if head is not None})

    def _lines(self) -> Iterator[bytes]:
        """Whole lines: what a killed process left of one at the end is none."""
        try:
            with self.path.open("rb") as file:
                yield from (line.rstrip(b"\n") for line in file if line.endswith(b"\n"))
        except FileNotFoundError:
            return

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the log to write; what killed processes left is settled first."""
        try:
            self._notes.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(self.folder / "lock", timeout=_PATIENCE):
                self._settle()
                yield
        except (OSError, filelock.Timeout, SQLAlchemyError) as error:
            raise WorkspaceError(
                "the audit log cannot be written",
                where=self.folder,
                found=str(error).splitlines()[0],
                remedy="See that the workspace and the catalog can be written to",
            ) from error

    def _begin(self, begun: Mapping[str, Any]) -> tuple[int, Path]:
        """Note an act that begins, in a file that is locked as long as this process lives."""
        note = self._notes / str(begun["id"])
        aside = note.with_name(f".{note.name}")
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            os.write(handle, json.dumps(begun).encode())
            os.fsync(handle)
            aside.rename(note)
            flush(self._notes)
        except BaseException:
            os.close(handle)
            raise
        return handle, note

    def _settle(self) -> None:
        """Write the lines of acts whose process was killed."""
        for note in sorted(self._notes.iterdir(), key=lambda path: path.stat().st_mtime_ns):
            with note.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                begun = None if note.name.startswith(".") else json.loads(file.read())
                if begun is not None and not self._is_told(begun["id"]):
                    self._append({**begun, "outputs": {}, "outcome": "cut off", "error": None})
                note.unlink()

    def _is_told(self, identity: str) -> bool:
        """Whether the line of an act is there: its process was killed before it took the note away."""
        return any(f'"id":"{identity}"'.encode() in line for line in self._tail()[0])

    def _append(self, fields: Mapping[str, Any]) -> None:
        ends = self._ends()
        anchor = self._anchor()
        # An older anchor, of a catalog that was brought back, is for `verify` to look up.
        fits = anchor is None or anchor in ends or anchor.number < ends[0].number
        gap = None if fits else str(anchor)
        line, head = next_line({**fields, "ended": _now(), "gap": gap}, ends[-1])
        self._add(line)
        row = {"workspace": self._workspace(), "number": head.number, "hash": head.hash}
        with self._engine().begin() as connection:
            upsert(connection, audit_heads, [row])

    def _add(self, line: bytes) -> None:
        torn = self._tail()[1]
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        with os.fdopen(handle, "r+b") as file:
            end = file.seek(0, os.SEEK_END) - torn
            file.truncate(end)
            file.seek(end)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        flush(self.folder)

    def _tail(self) -> tuple[list[bytes], int]:
        """The last whole lines, and how many bytes are behind them, which a killed process left."""
        try:
            with self.path.open("rb") as file:
                start = max(0, file.seek(0, os.SEEK_END) - _TAIL)
                file.seek(start)
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return [], 0
        return lines[1 if start else 0 : -1], len(lines[-1])

    def _ends(self) -> list[Head]:
        """Where the log has ended of late, and last of all where it ends now."""
        lines, _ = self._tail()
        first = next(
            (said - place for place, line in enumerate(lines) if (said := number_of(line)) is not None), 1
        )
        heads = [Head()] if first == 1 else []
        return heads + [head_of(line, first + place) for place, line in enumerate(lines)]

    def _anchor(self) -> Head | None:
        query = select(audit_heads.c.number, audit_heads.c.hash)
        with self._engine().connect() as connection:
            row = connection.execute(query.where(audit_heads.c.workspace == self._workspace())).first()
        return None if row is None else Head(row.number, row.hash)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
