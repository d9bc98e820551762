"""The servers that are measured: goldloop's embedded one, and Label Studio's own on either database."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from goldloop import workbench
from goldloop.labeling.environment import prepare, process_variables
from goldloop.settings import Settings
from goldloop.workspace import Workspace

KINDS = ("sqlite", "postgresql", "plain-sqlite")
"""`sqlite`: embedded; `postgresql`, `plain-sqlite`: `label-studio start`, as somebody else runs it."""
_PATIENCE = 1_500.0


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        url: its address.
        token: a legacy token.
        variables: what a process needs in its environment so that goldloop works with it.
    """

    url: str
    token: str
    variables: dict[str, str] = field(default_factory=dict)


@contextmanager
def running(kind: str, folder: Path) -> Iterator[Running]:
    """A server of a kind with nothing in it, in a folder, and a workspace that works with it."""
    folder.mkdir(parents=True)
    home = folder / "home"
    if kind == "sqlite":
        with _embedded(home) as server:
            yield server
    elif kind == "postgresql":
        with _database() as port, _plain(folder, home, _on_postgresql(port)) as server:
            yield server
    else:
        with _plain(folder, home, {"DJANGO_DB": "sqlite"}) as server:
            yield server


@contextmanager
def _embedded(home: Path) -> Iterator[Running]:
    workspace = Workspace(home, Settings())
    server = workbench.server(workspace)
    server.patience = _PATIENCE
    access = server.up()
    try:
        yield Running(access.url, access.api_key.get_secret_value(), {"GOLDLOOP_HOME": str(home)})
    finally:
        server.down()
        workspace.engine.dispose()


@contextmanager
def _plain(folder: Path, home: Path, database: dict[str, str]) -> Iterator[Running]:
    port, token = _free_port(), secrets.token_hex(20)
    environment = prepare(Settings().cache, print)
    variables = process_variables(
        **database,
        LABEL_STUDIO_BASE_DATA_DIR=str(folder),
        LABEL_STUDIO_USERNAME="team@example.org",
        LABEL_STUDIO_PASSWORD=secrets.token_hex(8),
        LABEL_STUDIO_USER_TOKEN=token,
        LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN="true",
        LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK="true",
        XDG_CONFIG_HOME=str(folder),
    )
    if database["DJANGO_DB"] == "sqlite":
        shutil.copyfile(environment.template, folder / "label_studio.sqlite3")
    command = [str(environment.python), "-m", "label_studio.server", "start", "-b"]
    command += ["-p", str(port), "--internal-host", "127.0.0.1"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=variables, cwd=folder, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{url}/health", process, folder / "log")
        yield Running(
            url,
            token,
            {"GOLDLOOP_HOME": str(home), "LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": token},
        )
    finally:
        process.terminate()
        process.wait(60)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit(log.read_text()[-3000:])
        try:
            if httpx.get(url, timeout=10, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(1)
    sys.exit(f"no Label Studio after {_PATIENCE:.0f} s: {log.read_text()[-3000:]}")


def _on_postgresql(port: int) -> dict[str, str]:
    return {
        "DJANGO_DB": "default",
        "POSTGRE_NAME": "postgres",
        "POSTGRE_USER": "goldloop",
        "POSTGRE_PASSWORD": "none",
        "POSTGRE_HOST": "127.0.0.1",
        "POSTGRE_PORT": str(port),
    }


@contextmanager
def _database() -> Iterator[int]:
    """A PostgreSQL in a temporary folder, as a normal user: it does not run as root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        sys.exit("no PostgreSQL on this machine")
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    binary = found[-1]
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True, **user).strip())
    port = _free_port()
    initialise = [binary / "initdb", "-D", folder / "data", "-U", "goldloop", "-A", "trust", "-E", "UTF8"]
    subprocess.run(initialise, check=True, capture_output=True, cwd=folder, **user)
    options = ["-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([binary / "postgres", *options], stderr=log, cwd=folder, **user)
    try:
        ready = [binary / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
        while subprocess.run(ready, capture_output=True, check=False).returncode:
            time.sleep(0.2)
        yield port
    finally:
        process.send_signal(2)
        process.wait(60)
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
