"""`goldloop serve`, `api-keys` and `deploy` on a workspace of tiny models."""

from __future__ import annotations

import csv
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
import yaml

from goldloop import hosting, loop, wiring
from goldloop.catalog.content import items_of
from goldloop.deploying import deploy
from goldloop.errors import ModelError, ServingError
from goldloop.recipe import parse
from goldloop.settings import Settings
from goldloop.workspace import Workspace

TINY = {
    "model_type": "bert",
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    """Two models of one recipe, the first of which is champion."""
    folder = tmp_path_factory.mktemp("hosting")
    with (folder / "mail.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(f"{name} question {number}", name) for number in range(12) for name in ("bill", "parcel")]
        csv.writer(file).writerows([("text", "label"), *rows])
    workspace = Workspace(folder / "state", Settings())
    for seed in (0, 1):
        recipe = parse(
            {
                "name": "mail",
                "sources": [
                    {
                        "kind": "table",
                        "url": str(folder / "mail.csv"),
                        "text": "text",
                        "label": {"from": "label", "use": "imported"},
                    }
                ],
                "task": {"kind": "text-classification", "classes": ["bill", "parcel"]},
                "dataset": {"split": {"train": 0.5, "validation": 0.25, "test": 0.25}},
                "training": {"checkpoint": {"from-config": TINY}, "epochs": 1, "seed": seed},
                "serving": {"sample": {"per_day": 5}},
            }
        )
        if not seed:
            loop.pull(recipe, workspace)
            loop.commit(recipe, workspace)
        loop.train(recipe, workspace)
    loop.promote("mail/1", override=("tests", "any model will do"), workspace=workspace)
    return workspace


def _started(workspace: Workspace, **options: object) -> str:
    """A server in a thread of this process, for as long as it lives; its URL."""
    told: queue.Queue[object] = queue.Queue()

    def work() -> None:
        try:
            hosting.serve(port=0, workspace=workspace, ready=lambda _, url: told.put(url), **options)
        except BaseException as error:
            told.put(error)
            raise

    threading.Thread(target=work, daemon=True).start()
    url = told.get(timeout=120)
    assert isinstance(url, str), url
    return url


def test_the_champion_of_the_registry_answers_and_another_one_soon_after_its_promotion(workspace):
    environment = {**os.environ, "GOLDLOOP_HOME": str(workspace.root)}
    command = [sys.executable, "-m", "goldloop", "serve", "mail", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        url = next(line for line in process.stderr if " at http" in line).partition(" at ")[2].split(",")[0]
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            before = client.post("/predict", json={"text": "bill question"}).json()["model"]
            loop.promote("mail/2", override=("tests", "any model will do"), workspace=workspace)
            end = time.monotonic() + 60
            models = {before}
            while "mail/2" not in models and time.monotonic() < end:
                answer = client.post("/predict", json={"text": "bill question"})
                assert answer.status_code == 200
                models.add(answer.json()["model"])
            assert models == {"mail/1", "mail/2"}
            late = threading.Thread(target=process.send_signal, args=(signal.SIGTERM,))
            late.start()
            late.join()
        assert process.wait(timeout=60) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.communicate()


def test_a_webhook_becomes_a_job_that_outlives_the_server(workspace):
    url = _started(workspace)
    hook = httpx.post(
        f"{url}/label-studio/mail/webhook", json={"action": "ANNOTATION_CREATED"}, trust_env=False
    )
    assert (hook.status_code, hook.json()["job"]) == (201, "collect-mail")
    # No Label Studio runs here, so it cannot be done, and is kept.
    job = workspace.root / "serving" / "jobs" / "collect-mail.json"
    assert json.loads(job.read_text())["name"] == "mail"
    job.unlink()


def test_an_address_that_others_reach_needs_a_key_or_a_word(workspace):
    with pytest.raises(ServingError, match="no API key"):
        hosting.serve("mail", host="0.0.0.0", port=0, workspace=workspace)
    key, _ = hosting.access(new="tests", workspace=workspace)
    url = _started(workspace, host="0.0.0.0")
    address = url.replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{address}/model", trust_env=False).status_code == 401
    bearer = {"Authorization": f"Bearer {key}"}
    assert httpx.get(f"{address}/model", headers=bearer, trust_env=False).status_code == 200
    made, known = hosting.access(remove="tests", workspace=workspace)
    assert (made, known) == (None, ())


def test_what_deploy_writes_is_whole_serves_the_model_and_holds_no_secret(workspace, tmp_path: Path):
    written = deploy("mail", tmp_path / "mail", workspace=workspace)
    again = deploy("mail", tmp_path / "mail", gpus=1, workspace=workspace)
    assert (written.model, written.folder) == (again.model, again.folder)
    folder = written.folder
    assert {path.name for path in folder.iterdir()} == {
        "Dockerfile", "compose.yaml", "kubernetes", "README.md", "requirements.txt", "package", "models",
        ".dockerignore", ".gitignore",
    }  # fmt: skip
    deployment = yaml.safe_load((folder / "kubernetes" / "deployment.yaml").read_text())
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == written.image
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"

    # What the image starts, but for its address: the copied package with the copied model.
    entry = next(line for line in (folder / "Dockerfile").read_text().splitlines() if "ENTRYPOINT" in line)
    command = json.loads(entry.removeprefix("ENTRYPOINT "))
    command[0] = sys.executable
    command = ["127.0.0.1" if each == "0.0.0.0" else each for each in command]
    command = [str(folder / "models") if each == "/models" else each for each in command]
    command[-1] = "0"
    environment = {**os.environ, "PYTHONPATH": str(folder / "package"), "GOLDLOOP_HOME": str(tmp_path / "s")}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        url = next(line for line in process.stderr if " at http" in line).partition(" at ")[2].split(",")[0]
        answer = httpx.post(f"{url}/predict", json={"text": "bill"}, trust_env=False, timeout=60).json()
        assert answer["model"] == written.model
    finally:
        process.terminate()
        process.communicate()


def test_a_folder_that_is_something_else_is_left_alone(workspace, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ServingError, match="something else"):
        deploy("mail", tmp_path, workspace=workspace)
    assert (tmp_path / "thesis.txt").exists()
    with pytest.raises(ServingError, match="cannot be deployed"):
        deploy("mail", tmp_path / "new", replicas=(3, 2), workspace=workspace)


def test_a_folder_without_models_is_told(tmp_path: Path, workspace):
    with pytest.raises(ModelError, match="lacks the models"):
        hosting.serve(models_from=tmp_path, workspace=workspace)


def test_the_recipe_behind_a_job_is_that_of_the_model(workspace):
    entry = wiring.registry(workspace).find("mail/1")
    assert wiring.model_facts(workspace, entry)["recipe"]["name"] == "mail"


def test_a_request_that_may_be_kept_becomes_an_item(workspace):
    url = _started(workspace, names="mail")
    for text, headers in (("may I ask?", {"X-Goldloop-Keep": "yes"}), ("not for you", {})):
        answer = httpx.post(f"{url}/predict", json={"text": text}, headers=headers, trust_env=False)
        assert answer.status_code == 200
    kept: list[str | None] = []
    for _ in range(600):
        with workspace.engine.connect() as connection:
            kept = [item.text for item in items_of(connection, "mail") if item.source == "production"]
        if kept:
            break
        time.sleep(0.1)
    assert kept == ["may I ask?"]
