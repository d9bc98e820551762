"""Where things lie: one folder that holds all of goldloop's state, and the locks that guard it.

<workspace>/
  catalog.db        what goldloop knows (SQLite, WAL), unless GOLDLOOP_CATALOG_URL names a database
  media/items/      images by content: ab/<key>.png
  media-keys/NAME   what addresses of a recipe's images are signed with (0600)
  versions/NAME/    dataset versions by digest
  runs/NAME/        training runs: checkpoints, model, report
  label-studio/     the embedded Label Studio's own data, secrets (0600), log
  mlflow.db, mlflow/  runs and registered models, unless MLFLOW_TRACKING_URI names a server
  exports/          which versions were exported to where
  production/NAME/  what the server kept of requests, to become items
  watch/            signs of life of rounds
  audit/            who did what, in lines that are chained
  locks/            one file per recipe; held by the operating system, so a killed process frees it
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cached_property
from pathlib import Path

import filelock
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from goldloop.audit_log.log import AuditLog
from goldloop.catalog.migrations import upgrade
from goldloop.errors import WorkspaceBusy, WorkspaceError
from goldloop.media import MediaStore
from goldloop.media_keys import MediaKeys
from goldloop.settings import Settings, settings


class Workspace:
    """One folder of goldloop's state.

    Args:
        root: the folder; made on first use.
        environment: addresses and secrets; by default read from the environment now.
    """

    def __init__(self, root: Path, environment: Settings | None = None) -> None:
        self.root = root.absolute()
        self.environment = environment or settings()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                "the workspace folder cannot be made",
                where=self.root,
                found=error.strerror,
                remedy="Set GOLDLOOP_HOME to a folder that you may write to",
            ) from error

    @classmethod
    def open(cls, environment: Settings | None = None) -> Workspace:
        """The workspace of GOLDLOOP_HOME, else the nearest `.goldloop` upwards, else `./.goldloop`."""
        environment = environment or settings()
        if environment.home is not None:
            return cls(environment.home, environment)
        here = Path.cwd()
        for folder in (here, *here.parents):
            if (folder / ".goldloop").is_dir():
                return cls(folder / ".goldloop", environment)
        return cls(here / ".goldloop", environment)

    @cached_property
    def engine(self) -> Engine:
        """The catalog's database, migrated to the present shape."""
        url = self.environment.catalog_url
        engine = (
            create_engine(url.get_secret_value(), pool_pre_ping=True)
            if url is not None
            else _sqlite(self.root / "catalog.db")
        )
        try:
            upgrade(engine)
        except SQLAlchemyError as error:
            raise WorkspaceError(
                "the catalog cannot be opened",
                where=engine.url.render_as_string(hide_password=True),
                found=str(error.__cause__ or error).splitlines()[0],
                remedy="Check GOLDLOOP_CATALOG_URL, or that the workspace can be written to",
            ) from error
        return engine

    @cached_property
    def identity(self) -> str:
        """A random name of this workspace (16 hex), made once: marks what is ours on shared servers."""
        return self._once("identity", secrets.token_hex(8))

    @cached_property
    def pseudonym_key(self) -> bytes:
        """The key that turns annotators' addresses into pseudonyms; readable by the user alone."""
        return bytes.fromhex(self._once("pseudonym-key", secrets.token_hex(32)))

    @cached_property
    def audit(self) -> AuditLog:
        """Who did what here."""
        return AuditLog(self.root / "audit", lambda: self.engine, lambda: self.identity, lambda: self.actor)

    @property
    def actor(self) -> str:
        """Who acts: by GOLDLOOP_ACTOR, else a pseudonym of the user on this host."""
        if self.environment.actor:
            return self.environment.actor
        who = f"{getpass.getuser()}@{socket.gethostname()}"
        return f"actor-{hmac.new(self.pseudonym_key, who.encode(), hashlib.sha256).hexdigest()[:8]}"

    @cached_property
    def media(self) -> MediaStore:
        """Images by content."""
        return MediaStore(self.root / "media" / "items")

    @cached_property
    def media_keys(self) -> MediaKeys:
        """The keys by which images are handed out."""
        return MediaKeys(self.root / "media-keys")

    @property
    def versions(self) -> Path:
        """Dataset versions."""
        return self.root / "versions"

    @property
    def runs(self) -> Path:
        """Training runs."""
        return self.root / "runs"

    @property
    def cache(self) -> Path:
        """What can be made again: prepared images and texts."""
        return self.root / "cache"

    @property
    def exports(self) -> Path:
        """Which versions were exported to where."""
        return self.root / "exports"

    @property
    def label_studio(self) -> Path:
        """The embedded Label Studio's own folder."""
        return self.root / "label-studio"

    @property
    def tracking_uri(self) -> str:
        """Where MLflow keeps runs and models."""
        return self.environment.tracking_uri or f"sqlite:///{self.root / 'mlflow.db'}"

    @contextmanager
    def lock(self, recipe: str) -> Iterator[None]:
        """Hold a recipe for this process alone; re-entrant within it.

        Raises:
            WorkspaceBusy: another process holds it.
        """
        folder = self.root / "locks"
        folder.mkdir(exist_ok=True)
        lock = filelock.FileLock(folder / f"{recipe}.lock", is_singleton=True)
        busy = WorkspaceBusy(
            f"another goldloop works on recipe {recipe!r}",
            where=folder / f"{recipe}.lock",
            remedy="Wait until it has finished, or stop it",
        )
        try:
            # A database's lock is a connection's: who has it already must not ask for it by another.
            with (
                lock.acquire(timeout=0),
                self._database_lock(recipe, busy) if lock.lock_counter == 1 else nullcontext(),
            ):
                yield
        except filelock.Timeout as error:
            raise busy from error

    @contextmanager
    def _database_lock(self, recipe: str, busy: WorkspaceBusy) -> Iterator[None]:
        """On PostgreSQL, where workspaces of several machines may share a catalog, a lock there too."""
        if self.engine.dialect.name != "postgresql":
            yield
            return
        number = int.from_bytes(hashlib.sha256(recipe.encode()).digest()[:8], signed=True)
        with self.engine.connect() as connection:
            acquired = connection.execute(text("SELECT pg_try_advisory_lock(:n)"), {"n": number}).scalar()
            if not acquired:
                raise busy
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": number})

    def _once(self, name: str, value: str) -> str:
        """The value first given under a name: of two processes that race, both read the winner's."""
        path = self.root / name
        if not path.exists():
            aside = path.with_name(f".{name}.{os.getpid()}")
            aside.touch(mode=0o600)
            aside.write_text(value)
            with suppress(FileExistsError):
                path.hardlink_to(aside)
            aside.unlink()
        return path.read_text()


def _sqlite(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _configure(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    return engine
