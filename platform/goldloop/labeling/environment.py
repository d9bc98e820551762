"""Label Studio's own Python environment and a migrated, empty database: made once per user and release.

<cache>/label-studio-1.23.2-<hash>/          the environment; the hash is of its pins and of Python's version
<cache>/label-studio-1.23.2-<hash>.sqlite3   the template: all tables, no user, organization, token or key

Migrating takes most of a minute, copying the template nothing. Both are written aside and renamed, so a
kill at any moment leaves either the whole thing or nothing; a lock keeps two processes from building at once.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock
import uv

from goldloop.errors import LabelStudioError

VERSION = "1.23.2"
CONSTRAINTS = Path(__file__).with_name("label-studio-constraints.txt")
SERVER_PROCESS = Path(__file__).with_name("server_process.py")

# What a process of the environment may inherit. Label Studio reads its settings under names as common as
# HOST, PORT and SECRET_KEY, so anything else that a shell happens to hold could change what it does.
_INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


@dataclass(frozen=True)
class Environment:
    """Where the environment's Python and the template database are."""

    python: Path
    template: Path

    @property
    def command(self) -> tuple[str, ...]:
        """How the server's process is started; its own command follows."""
        # Isolated: Python would else look for packages beside the script first, among goldloop's modules.
        return (str(self.python), "-I", str(SERVER_PROCESS))


def prepare(cache: Path, report: Callable[[str], None]) -> Environment:
    """The environment and template in a cache folder, made if absent (minutes, with network).

    Args:
        cache: the folder that all workspaces of a user share.
        report: receives a line of progress now and then.

    Raises:
        LabelStudioError: the installation or the migration failed.
    """
    environment = located(cache)
    if _complete(environment):
        return environment
    cache.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(environment.template.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        report("Label Studio: another goldloop is installing it, waiting")
        lock.acquire()
    try:
        if not environment.python.exists():
            _install(environment.python.parents[1], report)
        if not environment.template.exists():
            _migrate(environment, report)
    finally:
        lock.release()
    return environment


def located(cache: Path) -> Environment:
    """Where they are or will be in a cache folder."""
    python = f"{sys.implementation.cache_tag} {sys.platform}"
    digest = hashlib.sha256(CONSTRAINTS.read_bytes() + python.encode()).hexdigest()[:12]
    folder = cache.absolute() / f"label-studio-{VERSION}-{digest}"
    # Not `with_suffix`, which would take the ".2-<hash>" of the version for one.
    return Environment(folder / "bin" / "python", folder.parent / f"{folder.name}.sqlite3")


def process_variables(**settings: str) -> dict[str, str]:
    """The variables of a process of the environment: the few inherited, no telemetry, and `settings`."""
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "DJANGO_DB": "sqlite",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LOG_LEVEL": "WARNING",
        **settings,
    }


def _complete(environment: Environment) -> bool:
    # `exists` follows the link to the interpreter: an environment whose Python was removed is made again.
    return environment.python.exists() and environment.template.exists()


def _install(folder: Path, report: Callable[[str], None]) -> None:
    # uv writes nothing of the folder's name but into the console scripts, which goldloop does not use.
    with _aside(folder) as aside:
        binary = os.fsdecode(uv.find_uv_bin())
        install = [binary, "pip", "install", "--python", str(aside / "bin" / "python")]
        install += ["--constraint", str(CONSTRAINTS), f"label-studio=={VERSION}", "waitress"]
        for step in ([binary, "venv", "--relocatable", "--python", sys.executable, str(aside)], install):
            _run(step, "installing (first time, about 2 minutes)", report, dict(os.environ), folder.parent)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)


def _migrate(environment: Environment, report: Callable[[str], None]) -> None:
    with _aside(environment.template) as aside:
        command = [*environment.command, "migrate", str(aside)]
        variables = process_variables(XDG_CONFIG_HOME=str(aside))
        _run(command, "making its database (first time, about 1 minute)", report, variables, aside)
        database = aside / "label_studio.sqlite3"
        with database.open("rb") as file:
            os.fsync(file.fileno())
        database.replace(environment.template)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A new folder beside a path, gone at the end; what earlier, killed attempts left goes first."""
    prefix = f".{path.name}.making-"
    for left in path.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(
    command: Sequence[str], doing: str, report: Callable[[str], None], variables: dict[str, str], folder: Path
) -> None:
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", dir=folder) as output:
        process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=variables, cwd=folder
        )
        try:
            report(f"Label Studio: {doing}")
            while process.poll() is None:
                try:
                    process.wait(timeout=5)
                except subprocess.TimeoutExpired:
                    report(f"Label Studio: {doing}, {time.monotonic() - began:.0f} s")
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode == 0:
            return
        output.seek(0)
        last = [line.strip() for line in output.read().splitlines() if line.strip()][-8:]
    raise LabelStudioError(
        f"Label Studio could not be made ready: {doing.split(' (')[0]} failed",
        where=folder,
        # An index address may carry a password.
        found=re.sub(r"//[^/@\s]+@", "//***@", " | ".join(last)),
        remedy="Check the network and the package index, then try again",
    )
