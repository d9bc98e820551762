"""The servers that are measured: how each is started, asked and ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import httpx
import psutil
import uv

from goldloop.settings import settings
from goldloop.tasks import tasks
from goldloop.tasks.base import Task

HERE = Path(__file__).parent
ARMS = ("goldloop", "plain", "goldloop-label-studio", "label-studio-ml")
PACKAGE = "label-studio-ml==1.0.9"


@dataclass(frozen=True)
class Made:
    """What is served.

    Attributes:
        home: goldloop's workspace.
        name: the recipe's.
        models: the folders of two models, the first of which is champion.
        classes: their classes.
    """

    home: Path
    name: str
    models: Sequence[Path]
    classes: Sequence[str]


@dataclass(frozen=True)
class Server:
    """One that answers."""

    port: int
    process: psutil.Process

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def memory(self) -> int:
        """Bytes of main memory that it has, with all its processes."""
        processes = [self.process, *self.process.children(recursive=True)]
        return sum(process.memory_info().rss for process in processes)


@contextmanager
def serving(arm: str, made: Made, threads: int | None, log: Path) -> Iterator[Server]:
    """A server that answers, ended afterwards by SIGTERM."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command, variables = _command(arm, made, port)
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    own = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    with log.open("a") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**inherited, **own, **variables}, cwd=made.home
        )
        try:
            _until_healthy(port, process, log)
            _set_up(arm, made, port)
            yield Server(port, psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(timeout=60)


def _set_up(arm: str, made: Made, port: int) -> None:
    """What Label Studio asks of a backend when it is connected; label-studio-ml answers nothing before."""
    if arm not in ("goldloop-label-studio", "label-studio-ml"):
        return
    prefix = f"/label-studio/{made.name}" if arm.startswith("goldloop") else ""
    asked = {
        "project": "1.1700000000",
        "schema": _task(made).label_config(),
        "hostname": "",
        "access_token": "",
        "extra_params": None,
    }
    url = f"http://127.0.0.1:{port}{prefix}/setup"
    httpx.post(url, json=asked, trust_env=False, timeout=60).raise_for_status()


def _task(made: Made) -> Task[Any]:
    return tasks.create({"kind": "text-classification", "classes": list(made.classes)})


def _command(arm: str, made: Made, port: int) -> tuple[list[str], dict[str, str]]:
    if arm.startswith("goldloop"):
        command = [sys.executable, "-m", "goldloop", "serve", made.name, "--port", str(port)]
        return command, {"GOLDLOOP_HOME": str(made.home)}
    if arm == "plain":
        return [sys.executable, str(HERE / "with_plain.py"), str(made.models[0]), str(port)], {}
    python = label_studio_ml()
    command = [str(python), "-m", "gunicorn", "--preload", "--bind", f"127.0.0.1:{port}"]
    command += ["--workers", "1", "--threads", "8", "--timeout", "0", "--chdir", str(HERE)]
    variables = {"MODEL_FOLDER": str(made.models[0]), "MODEL_DIR": str(made.home / "label-studio-ml")}
    return [*command, "with_label_studio_ml:app"], {**variables, "PYTHONPATH": ""}


def label_studio_ml() -> Path:
    """The Python of label-studio-ml's own environment, made the first time."""
    import torch
    import transformers

    folder = settings().cache.absolute() / f"benchmark-{PACKAGE.replace('==', '-')}-torch-{torch.__version__}"
    python = folder / "bin" / "python"
    with filelock.FileLock(f"{folder}.lock"):
        if not (folder / "whole").exists():
            binary = os.fsdecode(uv.find_uv_bin())
            subprocess.run([binary, "venv", "--clear", "--python", sys.executable, str(folder)], check=True)
            versions = [
                f"torch=={torch.__version__.partition('+')[0]}",
                f"transformers=={transformers.__version__}",
            ]
            # It imports redis and rq and does not say so.
            wanted = [PACKAGE, "gunicorn==27.0.1", "redis", "rq", *versions]
            subprocess.run([binary, "pip", "install", "--python", str(python), *wanted], check=True)
            (folder / "whole").touch()
    return python


def requests_of(arm: str, made: Made, texts: Sequence[str]) -> list[bytes]:
    """The same questions in the form of an arm, as they go over the wire."""
    task = _task(made)
    found = []
    for number, text in enumerate(texts):
        if arm in ("goldloop", "plain"):
            path, body = "/predict", {"text": text}
        else:
            prefix = f"/label-studio/{made.name}" if arm.startswith("goldloop") else ""
            path, body = f"{prefix}/predict", _label_studio_request(number, text, task.label_config())
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        found.append(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    return found


def _label_studio_request(number: int, text: str, label_config: str) -> dict[str, Any]:
    return {
        "tasks": [{"id": number, "data": {"text": text}, "project": 1}],
        "project": "1.1700000000",
        "label_config": label_config,
        "params": {"login": None, "password": None, "context": None},
    }


def class_of(arm: str, answer: Mapping[str, Any]) -> str:
    """Which class an arm's answer names."""
    if arm == "plain":
        return str(answer["prediction"])
    if arm == "goldloop":
        return str(answer["predictions"][0]["prediction"])
    return str(answer["results"][0]["result"][0]["value"]["choices"][0])


def _until_healthy(port: int, process: subprocess.Popen[bytes], log: Path, patience: float = 600) -> None:
    end = time.monotonic() + patience
    with httpx.Client(trust_env=False, timeout=10) as client:
        while time.monotonic() < end and process.poll() is None:
            try:
                if client.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
    raise SystemExit(f"a server did not start: {log.read_text(errors='replace')[-2000:]}")
