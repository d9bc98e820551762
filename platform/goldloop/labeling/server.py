"""The embedded Label Studio: a real server of one workspace, on loopback, started and stopped by goldloop.

<workspace>/label-studio/
  data/          Label Studio's own: SQLite database, uploads, exports, its secret key
  secrets.json   user name, password and token of the one account (0600)
  server.json    pid, start and port of the last start; says nothing about whether that process still lives
  server.lock    held by the server process (flock) from before its start until its end, however it ends
  server.log

Whether a server runs is asked of the lock, which no kill can leave behind; which process it is, of
server.json, whose random `start` must be on that process's command line. POSIX systems only.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import httpx
import psutil

from goldloop.errors import LabelStudioUnreachable
from goldloop.labeling.access import Access, external
from goldloop.labeling.account import USERNAME, Login, account, private_file
from goldloop.labeling.environment import VERSION, Environment, prepare, process_variables
from goldloop.settings import Settings

__all__ = ["Access", "EmbeddedServer", "Login", "ServerStatus", "connect", "external"]

PORTS = range(8080, 8100)
LOG_BYTES = 5_000_000
# What webhooks, ML backends and imports may not reach: every address that is not this machine's own.
BANNED_SUBNETS = ",".join(
    str(subnet)
    for every, own in (("0.0.0.0/0", "127.0.0.0/8"), ("::/0", "::1/128"))
    for subnet in ip_network(every).address_exclude(ip_network(own))  # type: ignore[arg-type]
)


@dataclass(frozen=True)
class ServerStatus:
    """What runs where; `pid` and `url` are None when nothing does."""

    running: bool
    pid: int | None
    url: str | None
    version: str
    data: Path
    username: str


@dataclass(frozen=True)
class _Record:
    pid: int
    start: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def connect(settings: Settings, folder: Path, cache: Path, media: Path) -> Access | None:
    """The server to use: the one of LABEL_STUDIO_URL if set, else the running embedded one, else None.

    Raises:
        LabelStudioDenied: a token that is missing, of the wrong kind, or refused.
        LabelStudioUnreachable: nothing answers at LABEL_STUDIO_URL, or no Label Studio.
    """
    if settings.label_studio_url:
        return external(settings.label_studio_url, settings.label_studio_api_key)
    return EmbeddedServer(folder, cache, media).access()


class EmbeddedServer:
    """The Label Studio of one workspace.

    Args:
        folder: its own folder.
        cache: what all workspaces of a user share: the environment and the template database.
        media: the folder under which a project's local storage may lie.
        patience: seconds that a start may take, the first installation not counted.
    """

    def __init__(self, folder: Path, cache: Path, media: Path, *, patience: float = 300.0) -> None:
        self.folder = folder.absolute()
        self.cache = cache.absolute()
        self.media = media.absolute()
        self.patience = patience

    def up(self, report: Callable[[str], None] = lambda line: None) -> Access:
        """Start it unless it runs, and wait until it answers.

        Args:
            report: receives a line of progress now and then.

        Raises:
            LabelStudioError: its environment could not be made.
            LabelStudioUnreachable: it ended or did not answer in time; the last lines of its log are told.
        """
        access = self.access()
        if access is not None and _healthy(access.url):
            return access
        began = time.monotonic()
        while time.monotonic() - began < self.patience:
            ours = not self._held() and self._start(prepare(self.cache, report))
            if ours:
                began = time.monotonic()
            access = self._wait(report, began, ours)
            if access is not None:
                return access
        raise self._unreachable("Label Studio does not start")

    def down(self) -> bool:
        """Stop that very process and wait for its end; False if none ran."""
        process = self._process()
        patience = time.monotonic() + 5
        while process is None and self._held() and time.monotonic() < patience:
            time.sleep(0.1)  # one that has just been started and has yet to say who it is
            process = self._process()
        if process is None:
            return False
        with suppress(psutil.NoSuchProcess):
            process.terminate()
            if not _ended(process, 10):
                process.kill()
                _ended(process, 10)
        return True

    def status(self) -> ServerStatus:
        """What runs where."""
        process, record = self._process(), self._record()
        running = process is not None and record is not None
        return ServerStatus(
            running=running,
            pid=record.pid if record and running else None,
            url=record.url if record and running else None,
            version=VERSION,
            data=self.folder / "data",
            username=USERNAME,
        )

    def access(self) -> Access | None:
        """How to reach it, if it runs."""
        record = self._record()
        if record is None or self._process() is None:
            return None
        return Access(record.url, account(self.folder).token, embedded=True)

    @property
    def login(self) -> Login:
        """The account that a person uses in the browser."""
        return account(self.folder).login

    def _start(self, environment: Environment) -> bool:
        """Launch the process, which leaves us at once; False if another process is doing so."""
        with self._lock() as lock:
            if lock is not None:
                self._launch(environment, lock)
        return lock is not None

    def _launch(self, environment: Environment, lock: int) -> None:
        """Hand the lock, and a socket that already listens, to a new server process."""
        account(self.folder)
        self.media.mkdir(parents=True, exist_ok=True)
        self._fill(environment.template)
        log = self.folder / "server.log"
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        variables = process_variables(
            XDG_CONFIG_HOME=str(self.folder / "data" / "config"),
            LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK="true",
            LABEL_STUDIO_ALLOWED_HOSTS="127.0.0.1,localhost",
            LABEL_STUDIO_CORS_ALLOW_ALL_ORIGINS="false",
            LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED="true",
            LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=str(self.media),
            USE_DEFAULT_BANNED_SUBNETS="false",
            USER_ADDITIONAL_BANNED_SUBNETS=BANNED_SUBNETS,
        )
        known = self._record()
        with _listening(known.port if known else None) as listener, private_file(log, os.O_APPEND) as output:
            command = [*environment.command, "serve", str(self.folder)]
            command += ["--start", secrets.token_hex(16)]
            command += ["--listen", str(listener.fileno()), "--lock", str(lock)]
            subprocess.run(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=variables,
                cwd=self.folder,
                pass_fds=(listener.fileno(), lock),
                start_new_session=True,
                check=False,
            )

    def _wait(self, report: Callable[[str], None], began: float, ours: bool) -> Access | None:
        """Until it answers; None if another's start came to nothing, so that we may try.

        Interrupted or out of patience, one that we started is stopped: no half-started server stays.
        """
        told = -1
        try:
            while (seconds := time.monotonic() - began) < self.patience:
                if not self._held():
                    if ours:
                        raise self._unreachable("Label Studio ended while it started")
                    return None
                access = self.access()
                if access is not None and _healthy(access.url):
                    return access
                if int(seconds) // 2 > told:
                    told = int(seconds) // 2
                    report(f"Label Studio: starting, {seconds:.0f} s")
                time.sleep(0.2)
            raise self._unreachable(f"Label Studio does not answer after {self.patience:.0f} s")
        except BaseException:
            if ours:
                self.down()
            raise

    def _fill(self, template: Path) -> None:
        """Give a new workspace its database."""
        data = self.folder / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        database = data / "label_studio.sqlite3"
        if not database.exists():
            aside = data / ".label_studio.sqlite3.new"
            shutil.copyfile(template, aside)
            aside.chmod(0o600)
            aside.replace(database)

    @contextmanager
    def _lock(self) -> Iterator[int | None]:
        """The server's lock as a file descriptor, None if it is held; a child that inherits it keeps it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with private_file(self.folder / "server.lock") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield file

    def _held(self) -> bool:
        """Whether a server runs, starts, or is about to be started."""
        path = self.folder / "server.lock"
        if not path.exists():
            return False
        with private_file(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _record(self) -> _Record | None:
        try:
            return _Record(**json.loads((self.folder / "server.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def _process(self) -> psutil.Process | None:
        """The server's process; None if it is gone, a corpse, or if its number now is another's."""
        record = self._record()
        if record is None:
            return None
        try:
            process = psutil.Process(record.pid)
            return process if record.start in process.cmdline() else None
        except psutil.Error:
            return None

    def _unreachable(self, problem: str) -> LabelStudioUnreachable:
        log = self.folder / "server.log"
        lines = log.read_text(errors="replace").splitlines()[-10:] if log.exists() else []
        last = " | ".join(line.strip()[:300] for line in lines if line.strip())
        last = account(self.folder).redacted(last)
        return LabelStudioUnreachable(
            problem,
            where=log,
            found=f"last lines: {last}" if last else "an empty log",
            remedy="Try `goldloop down`, then `goldloop up`",
        )


def _ended(process: psutil.Process, seconds: float) -> bool:
    """Wait for a process's end, for so long at most; a corpse that nobody collects has ended too."""
    patience = time.monotonic() + seconds
    with suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > patience:
                return False
            time.sleep(0.05)
    return True


def _healthy(url: str) -> bool:
    # `trust_env=False`: a proxy of the environment must not come between us and our own machine.
    with httpx.Client(trust_env=False, timeout=2) as client:
        try:
            return client.get(f"{url}/health").status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def _listening(preferred: int | None) -> Iterator[socket.socket]:
    """A socket on loopback: at the port of the last start, else at the first free of PORTS, else at any.

    It listens at once, so that nobody else can take the port; who connects waits until the server is up.
    """
    for port in (*([preferred] if preferred else []), *PORTS, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            # Else the port of a server stopped a moment ago counts as busy; a live one's still does.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
                listener.listen(1024)
            except OSError:
                continue
            yield listener
            return
