"""Commits, transfers and collections that are cut off: `program.py WAY FOLDER`, in processes of their own.

The ways: `kill`, `interrupt` and `full` (the disk) for a commit; `amend`, `publish`, `fetch` and `gc`, all
killed.

Each attempt works on a fresh copy of a workspace with one version, in a forked process; the audit hooks of
Python tell when it opens, renames or removes something there. Prints how many moments were tried.

`program.py WAY FOLDER SEED TIMES` kills so often, after a time that is drawn from the seed: in the middle of
what Python does not tell of, too.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# Loaded before the forks, so that each of them need not.
import datasets  # noqa: F401
import huggingface_hub  # noqa: F401
import jinja2  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pytest

from conftest import Material, texts
from goldloop.dataset import version as versions
from goldloop.dataset.certificate import verify
from goldloop.dataset.draft import ASIDE
from goldloop.dataset.garbage import find_garbage, take_away, unused_arrow_files
from goldloop.dataset.remote import Remote
from goldloop.dataset.travel import bring
from goldloop.errors import VersionError

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree"}
LIMITS = (0, 1, 300, 1_000, 2_000, 3_000, 4_000)


def commit_first(root: Path, _moment: int) -> None:
    texts(root, count=400).commit()


def material(root: Path) -> Material:
    """The workspace's next version."""
    made = texts(root, count=400)
    made.labels[0] = replace(made.labels[0], target="no")
    return made


def cut_off(root: Path, moment: int, act: Callable[[], None]) -> None:
    """Let something happen at the so-many-th touch of a file of this workspace."""
    touched = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal touched
        if event in EVENTS and any(str(each).startswith(str(root)) for each in arguments[:2]):
            touched += 1
            if touched == moment:
                act()

    sys.addaudithook(hook)


def commit_until_killed(root: Path, moment: int) -> None:
    cut_off(root, moment, lambda: os.kill(os.getpid(), signal.SIGKILL))
    material(root).commit()


def amend_until_killed(root: Path, moment: int) -> None:
    cut_off(root, moment, lambda: os.kill(os.getpid(), signal.SIGKILL))
    made = material(root)
    changed = made.labels[0]
    made.amend(labels=[changed], items={changed.key: made.items[changed.key]})


def commit_until_interrupted(root: Path, moment: int) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    cut_off(root, moment, interrupt)
    try:
        material(root).commit()
    except KeyboardInterrupt:
        os._exit(130)


def commit_on_a_full_disk(root: Path, moment: int) -> None:
    made = material(root)
    if moment > len(LIMITS):
        made.commit()
        return
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMITS[moment - 1], resource.RLIM_INFINITY))
    with pytest.raises(VersionError, match=r"nothing of it is kept.*Make room on the disk"):
        made.commit()
    assert len(versions.versions(made.versions, "signs")) == 1
    assert len(list((made.versions / "signs").iterdir())) == 2
    with pytest.raises(VersionError, match=r"nothing of it is kept"):
        replace(made, name="new").commit()
    assert not (made.versions / "new").exists()
    os._exit(1)


def check(root: Path, _moment: int) -> None:
    """What is listed is whole, and the next commit ends as one that was left alone."""
    made = material(root)
    listed = versions.versions(made.versions, "signs")
    assert len(listed) in (1, 2)
    for version in listed:
        assert verify(version.folder) == []
    second = made.commit()
    alone = replace(made, root=root / "alone").commit()
    assert second.digest == alone.digest
    assert versions.versions(made.versions, "signs") == [listed[0], second]
    assert verify(second.folder) == []
    left = {path.name for path in (made.versions / "signs").iterdir()}
    assert left == {listed[0].folder.name, second.folder.name, "log.jsonl"}, left


def publish_until_killed(root: Path, moment: int) -> None:
    made = material(root)
    version = versions.load(made.versions, "signs")
    cut_off(root, moment, lambda: os.kill(os.getpid(), signal.SIGKILL))
    Remote(str(root / "place")).publish("signs", version.digest, version.folder)


def check_published(root: Path, _moment: int) -> None:
    """What is published can be fetched whole; publishing again ends as if it had been left alone."""
    made = material(root)
    here = versions.load(made.versions, "signs")
    remote = Remote(str(root / "place"))
    for digest in remote.versions("signs"):
        bring(root / "there" / "signs", remote, digest)
    for version in versions.versions(root / "there", "signs"):
        assert verify(version.folder) == []
    remote.publish("signs", here.digest, here.folder)
    assert remote.publish("signs", here.digest, here.folder) == (0, 0)
    whole, _, _ = bring(root / "again" / "signs", remote, "latest")
    assert whole == here.digest


def publish_first(root: Path, _moment: int) -> None:
    commit_first(root, 0)
    version = versions.load(root / "versions", "signs")
    Remote(str(root / "place")).publish("signs", version.digest, version.folder)


def fetch_until_killed(root: Path, moment: int) -> None:
    cut_off(root, moment, lambda: os.kill(os.getpid(), signal.SIGKILL))
    bring(root / "there" / "signs", Remote(str(root / "place")), "latest")


def check_fetched(root: Path, _moment: int) -> None:
    """What is listed is whole, and fetching again ends as if it had been left alone."""
    there = root / "there" / "signs"
    for version in versions.versions(there.parent, "signs"):
        assert verify(version.folder) == []
    whole, _, _ = bring(there, Remote(str(root / "place")), "latest")
    assert verify(versions.load(there.parent, "signs", whole).folder) == []
    assert {path.name for path in there.iterdir()} == {whole[:16], "log.jsonl"}


def commit_some(root: Path, _moment: int) -> None:
    made = texts(root, count=400)
    for place in range(6):
        made.labels[place] = replace(made.labels[place], target="1" if place % 3 != 2 else "no")
        version = made.commit()
        version.dataset("test")
    (version.folder.parent / f"{ASIDE}left" / "data").mkdir(parents=True)


def collect_until_killed(root: Path, moment: int) -> None:
    cut_off(root, moment, lambda: os.kill(os.getpid(), signal.SIGKILL))
    collect(root)


def collect(root: Path) -> None:
    folder = root / "versions" / "signs"
    third = versions.versions(folder.parent, "signs")[-3]
    take_away(find_garbage(folder, keep=1, needed={third.digest[:12]}))
    staying = [version.folder for version in versions.versions(folder.parent, "signs")]
    take_away(unused_arrow_files(root / "cache" / "arrow", staying))


def check_collected(root: Path, _moment: int) -> None:
    """What is listed is whole, what is needed is there, and collecting again ends the work."""
    folder = root / "versions" / "signs"
    listed = versions.versions(folder.parent, "signs")
    assert len(listed) >= 2
    for version in listed:
        assert verify(version.folder) == []
    needed = listed[-2 if len(listed) == 2 else -3]
    take_away(find_garbage(folder, keep=1, needed={needed.digest[:12]}))
    left = versions.versions(folder.parent, "signs")
    assert left == [needed, listed[-1]]
    assert {path.name for path in folder.iterdir()} == {*(each.folder.name for each in left), "log.jsonl"}
    assert verify(material(root).commit().folder) == []


def in_a_process(
    act: Callable[[Path, int], None], root: Path, moment: int, kill_after: float | None = None
) -> int:
    """The exit status of `act`, which may be killed after some seconds; 0 if it ended by itself."""
    child = os.fork()
    if child == 0:
        try:
            act(root, moment)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(99)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)  # it is ours until it is waited for
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(
    begin: Callable[[Path, int], None],
    act: Callable[[Path, int], None],
    check: Callable[[Path, int], None],
    expected: int,
    root: Path,
) -> int:
    start = root / "start"
    assert in_a_process(begin, start, 0) == 0
    moment = 0
    while True:
        moment += 1
        here = root / f"moment-{moment}"
        subprocess.run(["cp", "-a", str(start), str(here)], check=True)  # hard links stay what they are
        status = in_a_process(act, here, moment)
        assert status in (0, expected), f"moment {moment} ended with {status}"
        assert in_a_process(check, here, moment) == 0, f"after moment {moment}"
        shutil.rmtree(here)
        if status == 0:
            return moment - 1


def at_random(
    begin: Callable[[Path, int], None],
    act: Callable[[Path, int], None],
    check: Callable[[Path, int], None],
    root: Path,
    seed: int,
    times: int,
) -> int:
    """Kill an act so often, at any time; returns how often it was not done before."""
    start, whole = root / "start", root / "whole"
    assert in_a_process(begin, start, 0) == 0
    subprocess.run(["cp", "-a", str(start), str(whole)], check=True)
    began = time.monotonic()
    assert in_a_process(act, whole, 0) == 0
    lasts, draw, killed = time.monotonic() - began, random.Random(seed), 0
    for number in range(times):
        here = root / f"time-{number}"
        subprocess.run(["cp", "-a", str(start), str(here)], check=True)
        status = in_a_process(act, here, 0, kill_after=draw.uniform(0, lasts))
        assert status in (0, -signal.SIGKILL)
        killed += status != 0
        assert in_a_process(check, here, 0) == 0, f"after time {number}"
        shutil.rmtree(here)
    return killed


ACTS = {
    "kill": (commit_first, commit_until_killed, check, -signal.SIGKILL),
    "amend": (commit_first, amend_until_killed, check, -signal.SIGKILL),
    "interrupt": (commit_first, commit_until_interrupted, check, 130),
    "full": (commit_first, commit_on_a_full_disk, check, 1),
    "publish": (commit_first, publish_until_killed, check_published, -signal.SIGKILL),
    "fetch": (publish_first, fetch_until_killed, check_fetched, -signal.SIGKILL),
    "gc": (commit_some, collect_until_killed, check_collected, -signal.SIGKILL),
}

if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(main(*ACTS[sys.argv[1]], Path(sys.argv[2])))
    else:
        print(at_random(*ACTS[sys.argv[1]][:3], Path(sys.argv[2]), *map(int, sys.argv[3:])))
