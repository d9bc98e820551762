"""The command line as a user meets it: each command in a process of its own or through typer's runner."""

from __future__ import annotations

import json
import keyword
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import goldloop
from goldloop.cli.app import app
from goldloop.recipe import load
from goldloop.tasks import tasks

ROOT = Path(__file__).parents[3]
COMMANDS = sorted(
    command.name or command.callback.__name__.replace("_", "-") for command in app.registered_commands
)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GOLDLOOP_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _goldloop(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "goldloop", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def _texts(folder: Path, count: int = 3) -> Path:
    (folder / "texts").mkdir()
    for number in range(count):
        (folder / "texts" / f"{number}.txt").write_text(f"text number {number}")
    recipe = folder / "notes.yaml"
    recipe.write_text(
        "name: notes\nsources: [{kind: files, url: texts}]\n"
        "task: {kind: text-classification, classes: [good, bad]}\n"
    )
    return recipe


def test_there_are_commands():
    assert len(COMMANDS) >= 20


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_json_and_a_place_in_the_readme(command):
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert command in ("serve", "media") or "--json" in shown.output
    assert re.search(rf"`(goldloop )?{command}[` ]", (ROOT / "README.md").read_text())


def test_the_list_of_commands_says_whole_sentences():
    _, listed = CliRunner().invoke(app, ["--help"]).output.split("Commands:")
    assert set(COMMANDS) <= set(listed.split())
    assert "..." not in listed


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_a_function_of_the_same_name(command):
    taken = keyword.iskeyword(command) or command in ("quality", "media")
    name = command.replace("-", "_")
    assert callable(getattr(goldloop, f"{name}_" if taken else name))


def test_pull_tells_what_became_of_every_address(home):
    recipe = _texts(home)
    (home / "texts" / "odd.txt").write_bytes(b"\xff\xfe\x00")
    done = _goldloop("pull", str(recipe), "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["balance"]["outcomes"] == {"pulled": 3, "quarantined": 1}
    ((subject, reason),) = answer["quarantined"].items()
    assert subject.endswith("odd.txt")
    assert "UTF-8" in reason


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["pull", "nothing.yaml"], 1, "goldloop init"),
        (["pull"], 2, "Missing argument"),
        (["pul", "x"], 2, "No such command"),
        (["pull", "--jsn", "x"], 2, "No such option"),
        (["show", "nothing"], 1, "no such version"),
        (["show", "nothing@abc"], 1, "goldloop commit"),
        (["rollback", "nothing"], 1, "nothing"),
        (["init", "pets", "--task", "image-clasification"], 1, "Did you mean 'image-classification'?"),
        (["init", "Pets!", "--task", "image-classification"], 1, "Pets!"),
    ],
)
def test_a_failure_is_one_line_with_a_remedy_and_the_right_exit_code(home, arguments, code, said):
    done = _goldloop(*arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_folder_is_an_error_that_says_so(home):
    recipe = _texts(home, count=0)
    done = _goldloop("pull", str(recipe))
    assert done.returncode == 1
    assert "texts" in done.stderr


@pytest.mark.parametrize("kind", tasks.names())
def test_init_writes_a_recipe_that_is_valid_and_explains_itself(home, kind):
    path = goldloop.init("pets", kind)
    recipe = load(path)
    assert recipe.name == "pets"
    assert recipe.task.kind == kind
    assert path.read_text().count("#") > 8
    again = _goldloop("init", "pets", "--task", kind)
    assert again.returncode == 1
    assert "already" in again.stderr


def test_doctor_names_what_would_fail(home):
    recipe = _texts(home)
    with recipe.open("a") as file:
        file.write(
            "training: {checkpoint: ./no-such-folder}\ngates: [{kind: at-least, metric: acuracy, value: 1}]\n"
        )
    done = _goldloop("doctor", str(recipe), "--json", env=os.environ | {"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 1, done.stderr
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert found["recipe"]["state"] == "fine"
    assert found["source 0"]["state"] == "fine"
    assert found["Label Studio"]["state"] == "fails"
    assert "goldloop up" in found["Label Studio"]["found"]
    assert found["checkpoint"]["state"] == "fails"
    assert "acuracy" in found["gates"]["found"]


def test_ctrl_c_ends_a_pull_cleanly_and_it_goes_on_next_time(home):
    recipe = _texts(home, count=4000)
    process = subprocess.Popen(
        [sys.executable, "-m", "goldloop", "pull", str(recipe)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.readline().startswith("pull:")
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.wait(timeout=60) in (0, 130)
    assert "Traceback" not in said
    done = _goldloop("pull", str(recipe), "--json")
    assert json.loads(done.stdout)["balance"]["outcomes"] == {"pulled": 4000}


def test_two_commands_on_one_recipe_do_not_interleave(home):
    recipe = _texts(home)
    workspace = goldloop.Workspace.open()
    with workspace.lock("notes"):
        done = _goldloop("pull", str(recipe))
    assert done.returncode == 1
    assert "another goldloop works on recipe 'notes'" in done.stderr
