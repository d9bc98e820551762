"""A log that tells every act once, whatever is killed, and in which nothing can be changed unseen."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from goldloop.audit_log.chain import START, Head
from goldloop.audit_log.log import AuditLog
from goldloop.errors import SourceError, WorkspaceError
from goldloop.settings import Settings
from goldloop.workspace import Workspace


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "state", Settings(GOLDLOOP_ACTOR="ada"))


@pytest.fixture
def log(workspace) -> AuditLog:
    return workspace.audit


def fill(log: AuditLog, count: int = 5) -> list[bytes]:
    for number in range(count):
        with log.act("pull", recipe="signs", inputs={"number": number}) as acting:
            acting.outputs["pulled"] = number * 10
    return log.path.read_bytes().splitlines(keepends=True)


def test_an_act_is_one_line_that_says_who_did_what_from_what(log):
    with log.act("train", recipe="signs", recipe_digest="d" * 64, inputs={"on": "signs@1"}) as acting:
        acting.outputs["run"] = "abc"
    (entry,) = log.entries()
    assert (entry.number, entry.actor, entry.command, entry.recipe) == (1, "ada", "train", "signs")
    assert (entry.inputs, entry.outputs) == ({"on": "signs@1"}, {"run": "abc"})
    assert (entry.outcome, entry.error, entry.within, entry.gap) == ("done", None, None, None)
    assert entry.began <= entry.ended
    assert entry.previous == START
    assert log.head() == Head(1, entry.hash)
    assert Head.parse(str(log.head())) == log.head()
    assert log.verify() == []
    assert list(log.folder.joinpath("open").iterdir()) == []


def test_a_workspace_without_an_act_has_an_empty_log(log):
    assert list(log.entries()) == []
    assert log.verify() == []
    assert log.head() == Head()


def test_who_acts_is_a_pseudonym_that_names_neither_user_nor_host(tmp_path):
    import getpass
    import socket

    workspace = Workspace(tmp_path / "state", Settings())
    assert workspace.actor == Workspace(tmp_path / "state", Settings()).actor
    assert workspace.actor.startswith("actor-")
    assert workspace.actor != Workspace(tmp_path / "other", Settings()).actor
    assert getpass.getuser() not in workspace.actor
    assert socket.gethostname() not in workspace.actor


def test_an_act_that_fails_or_is_stopped_is_told_without_what_its_message_says(log):
    with pytest.raises(SourceError), log.act("pull"):
        raise SourceError("gone", where="the address of somebody")
    with pytest.raises(KeyboardInterrupt), log.act("pull"):
        raise KeyboardInterrupt
    failed, stopped = log.entries()
    assert (failed.outcome, failed.error) == ("failed", "SourceError")
    assert (stopped.outcome, stopped.error) == ("stopped", "KeyboardInterrupt")
    assert b"somebody" not in log.path.read_bytes()


def test_an_act_within_another_names_it_and_is_told_first(log):
    with log.act("run"), log.act("pull"):
        pass
    inner, outer = log.entries()
    assert (inner.command, outer.command) == ("pull", "run")
    assert inner.within == outer.id
    assert outer.within is None
    assert log.verify() == []


def test_every_changed_line_is_found_and_named(log):
    lines = fill(log)
    for place, line in enumerate(lines, start=1):
        changed = line.replace(b'"pulled":', b'"pulled":1')
        assert changed != line
        log.path.write_bytes(b"".join([*lines[: place - 1], changed, *lines[place:]]))
        assert f"line {place}: was changed: its hash does not fit" in log.verify()
    log.path.write_bytes(b"".join(lines))
    assert log.verify() == []


def test_a_line_that_is_changed_with_its_hash_breaks_the_chain(log):
    import hashlib

    lines = fill(log)
    fields = json.loads(lines[2])
    fields["outputs"]["pulled"] = 7
    del fields["hash"]
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    fields["hash"] = hashlib.sha256(text.encode()).hexdigest()
    forged = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    log.path.write_bytes(b"".join([*lines[:2], forged + b"\n", *lines[3:]]))
    (fault,) = log.verify()
    assert fault.startswith("line 4: does not follow on the line before it")


@pytest.mark.parametrize("garbage", [b"{}", b"[]", b"3", b"no json", b"\xff\xfe"])
def test_a_line_that_is_none_is_found_and_the_log_goes_on_behind_it(log, garbage):
    lines = fill(log, 3)
    log.path.write_bytes(b"".join([*lines[:2], garbage + b"\n"]))
    assert any(fault.startswith("line 3: ") for fault in log.verify())
    with log.act("pull"):
        pass
    faults = log.verify()
    assert any(fault.startswith("line 3: ") for fault in faults)
    assert any("line 4: when it was written, the log should have ended 3:" in fault for fault in faults)


def test_a_line_taken_out_or_moved_is_found(log):
    lines = fill(log)
    log.path.write_bytes(b"".join([*lines[:1], *lines[2:]]))
    assert (
        "line 2: does not follow on the line before it: one was changed, taken out or put in" in log.verify()
    )
    log.path.write_bytes(b"".join([lines[0], lines[2], lines[1], *lines[3:]]))
    assert len(log.verify()) >= 2


def test_an_end_that_is_cut_off_is_found_by_the_anchor_and_stays_known(log):
    lines = fill(log)
    log.path.write_bytes(b"".join(lines[:3]))
    assert log.verify() == ["the end is cut off: 3 lines, where the catalog has seen 5"]
    for _ in range(4):
        with log.act("pull"):
            pass
    (fault,) = log.verify()
    assert fault == f"line 4: when it was written, the log should have ended 5:{json.loads(lines[4])['hash']}"


def test_a_log_that_is_gone_or_another_is_found(log):
    fill(log)
    log.path.unlink()
    assert log.verify() == ["the end is cut off: 0 lines, where the catalog has seen 5"]
    fill(log)
    assert any("line 1: when it was written" in fault for fault in log.verify())


def test_a_head_that_was_kept_elsewhere_is_held_against_the_log(workspace, log):
    fill(log)
    kept = log.head()
    fill(log, 2)
    assert log.verify(kept) == []
    other = Workspace(workspace.root.with_name("other"), workspace.environment).audit
    fill(other, 7)
    assert other.verify() == []
    assert other.verify(kept) == ["line 5: is not the one that the head that was kept has seen"]
    assert log.verify(Head(9, START)) == [
        "the end is cut off: 7 lines, where the head that was kept has seen 9"
    ]


def test_an_older_catalog_is_no_fault(workspace, log):
    fill(log, 2)
    (workspace.root / "old.db").write_bytes((workspace.root / "catalog.db").read_bytes())
    fill(log, 3)
    workspace.engine.dispose()
    for name in ("catalog.db-wal", "catalog.db-shm"):
        (workspace.root / name).unlink(missing_ok=True)
    (workspace.root / "old.db").rename(workspace.root / "catalog.db")
    again = Workspace(workspace.root, workspace.environment).audit
    assert again.verify() == []
    fill(again, 1)
    assert again.verify() == []


def test_what_a_killed_process_left_of_a_line_is_taken_away(log):
    lines = fill(log, 3)
    log.path.write_bytes(b"".join(lines) + lines[0][:40])
    assert log.verify() == []
    fill(log, 1)
    assert log.verify() == []
    assert [entry.number for entry in log.entries()] == [1, 2, 3, 4]


def test_a_log_longer_than_what_is_looked_at_goes_on(log, monkeypatch):
    monkeypatch.setattr("goldloop.audit_log.log._TAIL", 1_500)
    fill(log, 12)
    assert [entry.number for entry in log.entries()] == list(range(1, 13))
    assert log.verify() == []


def test_threads_write_whole_lines_one_after_another(log):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: fill(log, 3), range(8)))
    assert log.verify() == []
    assert [entry.number for entry in log.entries()] == list(range(1, 25))


PROGRAM = """
import os, signal, sys
from pathlib import Path
from goldloop.settings import Settings
from goldloop.workspace import Workspace

root, moment = Path(sys.argv[1]), int(sys.argv[2])
log = Workspace(root, Settings()).audit
touched = 0

def hook(event, arguments):
    global touched
    if event in ("open", "os.rename", "os.remove", "os.truncate") and "audit" in str(arguments[0]):
        touched += 1
        if touched == moment:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
with log.act("train", recipe="signs", inputs={"moment": moment}) as acting:
    acting.outputs["run"] = "abc"
"""


def test_an_act_that_is_killed_at_any_moment_is_told_once(tmp_path):
    root = tmp_path / "state"
    moments = 0
    for moment in range(1, 99):
        done = subprocess.run([sys.executable, "-c", PROGRAM, str(root), str(moment)], check=False)
        log = Workspace(root, Settings()).audit
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        moments += 1
        with log.act("pull"):
            pass
        assert log.verify() == []
        told = [entry.outcome for entry in log.entries() if entry.inputs.get("moment") == moment]
        # Before its note is there, nothing of the act has begun.
        assert told in ([], ["done"], ["cut off"])
    assert moments > 8
    found = {entry.outcome for entry in log.entries() if "moment" in entry.inputs}
    assert found == {"done", "cut off"}


def test_a_log_that_cannot_be_written_says_so_before_anything_is_done(tmp_path, log):
    (tmp_path / "state" / "audit").write_text("in the way")
    begun = []
    with pytest.raises(WorkspaceError, match="the audit log cannot be written"), log.act("pull"):
        begun.append(True)
    assert not begun


def test_processes_write_at_the_same_time(tmp_path):
    root = tmp_path / "state"
    _ = Workspace(root, Settings()).engine
    program = (
        "import sys\nfrom pathlib import Path\nfrom goldloop.settings import Settings\n"
        "from goldloop.workspace import Workspace\nlog = Workspace(Path(sys.argv[1]), Settings()).audit\n"
        "for _ in range(10):\n    with log.act('pull'):\n        pass\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(root)]) for _ in range(4)]
    assert [process.wait(120) for process in running] == [0] * 4
    log = Workspace(root, Settings()).audit
    assert log.verify() == []
    assert len(list(log.entries())) == 40
    assert list((log.folder / "open").iterdir()) == []
