"""Every command that changes something leaves a line in the audit log, and says in it nothing of the data."""

from __future__ import annotations

import inspect
import json

import pytest
from typer.testing import CliRunner

import goldloop
from goldloop import exchange, governance, loop, simulation, tuning, workbench
from goldloop.cli.app import app
from goldloop.errors import VersionError, WorkspaceError
from goldloop.recipe import Recipe, parse
from goldloop.settings import Settings
from goldloop.workspace import Workspace

STAGES = [
    value
    for name, value in vars(loop).items()
    if inspect.isfunction(value) and not name.startswith("_") and value.__module__ == loop.__name__
]
ACTS = [
    *STAGES, tuning.tune, exchange.import_, exchange.export, simulation.simulate, workbench.rollback,
]  # fmt: skip


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    monkeypatch.setenv("GOLDLOOP_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("GOLDLOOP_ACTOR", "ada")
    return Workspace.open()


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    rows = "\n".join(
        f"{number},a secret about {number},{'yes' if number % 2 else 'no'}" for number in range(40)
    )
    (tmp_path / "table.csv").write_text(f"id,text,label\n{rows}\n")
    source = {"kind": "table", "url": str(tmp_path / "table.csv"), "text": "text", "id": "id"}
    label = {"from": "label", "use": "imported"}
    return parse(
        {
            "name": "notes",
            "sources": [{**source, "label": label}],
            "task": {"kind": "text-classification", "classes": ["yes", "no"]},
        }
    )


def test_there_are_stages():
    assert len(STAGES) == 9


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_every_stage_is_an_act_and_keeps_its_signature(act):
    assert act.__wrapped__.__name__ == act.__name__
    assert "workspace" in inspect.signature(act).parameters


def test_a_stage_is_told_with_its_recipe_and_what_it_gave(workspace, recipe):
    loop.pull(recipe, workspace, full=True)
    version = loop.commit(recipe, workspace, message="said about somebody")
    pulled, committed = workspace.audit.entries()
    assert (pulled.command, pulled.recipe, pulled.recipe_digest) == ("pull", "notes", recipe.digest())
    assert pulled.inputs == {"full": True}
    assert pulled.outputs == {"outcomes": {"pulled": 40}}
    assert committed.outputs["ref"] == version.ref
    assert committed.actor == "ada"
    said = workspace.audit.path.read_text()
    assert "secret" not in said
    assert "somebody" not in said


def test_a_stage_that_fails_is_told_too(workspace, recipe):
    with pytest.raises(VersionError):
        loop.commit(recipe, workspace)
    (entry,) = workspace.audit.entries()
    assert (entry.outcome, entry.error) == ("failed", "VersionError")


def test_stages_of_a_run_are_told_within_it(workspace, recipe):
    loop.run(recipe, workspace)
    *inner, outer = workspace.audit.entries()
    assert [entry.command for entry in inner] == ["pull", "commit"]
    assert {entry.within for entry in inner} == {outer.id}
    assert outer.outputs["version"] == inner[-1].outputs["ref"]
    assert workspace.audit.verify() == []


def test_without_a_workspace_the_act_is_told_where_it_is_done(workspace, recipe):
    loop.pull(recipe)
    assert [entry.command for entry in workspace.audit.entries()] == ["pull"]


def test_an_export_is_told_by_version_format_and_folder(workspace, recipe, tmp_path):
    loop.pull(recipe, workspace)
    version = loop.commit(recipe, workspace)
    exchange.export("notes", "jsonl", tmp_path / "out", workspace=workspace)
    entry = list(workspace.audit.entries())[-1]
    assert entry.inputs == {"version": "notes", "format": "jsonl", "folder": str(tmp_path / "out")}
    assert entry.outputs["version"] == version.ref


def test_of_several_training_processes_one_keeps_the_log(workspace, recipe, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    loop.pull(recipe, workspace)
    assert list(workspace.audit.entries()) == []


def test_acts_are_found_by_what_is_asked_for(workspace, recipe):
    loop.pull(recipe, workspace)
    loop.commit(recipe, workspace)
    loop.pull(recipe, workspace)
    assert [entry.number for entry in governance.audit(command="pull").entries] == [1, 3]
    assert [entry.number for entry in governance.audit(last=1).entries] == [3]
    assert governance.audit(last=0).entries == ()
    assert governance.audit(actor="bob").entries == ()
    assert governance.audit(recipe="notes", since="2100-01-01").entries == ()
    assert len(governance.audit(recipe="notes", since="2020-01-01").entries) == 3


def test_a_head_that_is_none_is_refused(workspace):
    with pytest.raises(WorkspaceError, match="NUMBER:HASH"):
        governance.audit(head="yesterday")


def test_the_command_lists_and_verifies_and_fails_on_a_changed_log(workspace, recipe):
    loop.pull(recipe, workspace)
    listed = CliRunner().invoke(app, ["audit"])
    assert listed.exit_code == 0
    assert "pull" in listed.output
    assert "outcomes (pulled 40)" in listed.output
    assert CliRunner().invoke(app, ["audit", "--verify"]).output.startswith("audit log  is whole")
    facts = json.loads(CliRunner().invoke(app, ["audit", "--json"]).output)
    assert facts["head"] == str(workspace.audit.head())
    assert facts["entries"][0]["command"] == "pull"
    workspace.audit.path.write_text(workspace.audit.path.read_text().replace('"ada"', '"eve"'))
    damaged = CliRunner().invoke(app, ["audit", "--verify"])
    assert damaged.exit_code == 1
    assert "line 1: was changed" in damaged.output
    assert CliRunner().invoke(app, ["audit", "--head", facts["head"], "--json"]).exit_code == 1


def test_a_key_is_made_and_shown(workspace, tmp_path, monkeypatch):
    made = json.loads(CliRunner().invoke(app, ["keys", "--new", str(tmp_path / "key.pem"), "--json"]).output)
    assert "no key" in CliRunner().invoke(app, ["keys"]).output
    monkeypatch.setenv("GOLDLOOP_SIGNING_KEY", str(tmp_path / "key.pem"))
    monkeypatch.setenv("GOLDLOOP_TRUSTED_KEYS", made["signing"])
    shown = goldloop.keys()
    assert (shown.signing, shown.trusted) == (made["signing"], (made["signing"],))
    assert Settings().signing_key is not None
    assert str(tmp_path) not in repr(Settings().signing_key)
