"""The same registry against a real MLflow server, which has the files too."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from goldloop.errors import ModelError
from goldloop.inference import Predictor
from goldloop.registry.models import Registry
from goldloop.registry.tracking import Tracking

pytestmark = pytest.mark.e2e


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
        return answer.status == 200
    return False


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    """`mlflow server` on loopback, ended by its own process."""
    root = tmp_path_factory.mktemp("server")
    (root / "mlflow.db").write_bytes(database.read_bytes())
    url = f"http://127.0.0.1:{_free_port()}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    command += ["--port", url.rpartition(":")[2], "--backend-store-uri", f"sqlite:///{root / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(root / "files")]
    with (root / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=root,
            stdout=log,
            stderr=log,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            start_new_session=True,
        )
    try:
        for _ in range(240):
            assert process.poll() is None, (root / "log").read_text()
            if _answers(url):
                break
            time.sleep(0.5)
        else:
            pytest.fail((root / "log").read_text())
        yield url
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


def test_a_model_goes_to_the_server_and_comes_back_to_another_machine(
    server, tmp_path, folder, report, passed, saved, capfd
):
    here, there = Registry(server, tmp_path / "here"), Registry(server, tmp_path / "there")
    with Tracking(server, tmp_path / "here").run("mail", "run-a", {"version": "mail@abc"}):
        fields = {"run": "run-a", "version": "mail@abc", "metric": "accuracy", "value": 0.5}
        model = here.register("mail", folder("run-a"), **fields)
        assert here.register("mail", folder("run-b"), **fields) == model
    here.promote(model, [passed], report)
    champion = there.champion("mail")
    assert champion is not None
    assert champion.ref == "mail/1"
    fetched = there.download(champion)
    assert fetched.is_relative_to(tmp_path / "there")
    assert (fetched / "model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()
    assert Predictor.load(fetched).predict(["This one is about billing."])[0].confidence > 0
    assert there.download(champion) == fetched
    assert [each.ref for each in there.models()] == ["mail/1"]
    assert capfd.readouterr() == ("", "")


def test_a_server_that_is_down_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    url = f"http://ada:secret@127.0.0.1:{_free_port()}"
    with pytest.raises(ModelError, match=r"http://\*\*\*@127.*MLflow cannot be reached") as caught:
        Registry(url, tmp_path).models()
    assert "secret" not in str(caught.value)
