"""Commits that are cut off: `program.py kill | interrupt | full FOLDER`, in processes of their own.

Each attempt works on a fresh copy of a workspace with one version, in a forked process; the audit hooks of
Python tell when it opens, renames or removes something there. Prints how many moments were tried.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
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
from goldloop.errors import VersionError

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}
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
        if event in EVENTS and str(arguments[0]).startswith(str(root)):
            touched += 1
            if touched == moment:
                act()

    sys.addaudithook(hook)


def commit_until_killed(root: Path, moment: int) -> None:
    cut_off(root, moment, lambda: os.kill(os.getpid(), signal.SIGKILL))
    material(root).commit()


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


def in_a_process(act: Callable[[Path, int], None], root: Path, moment: int) -> int:
    """The exit status of `act`; 0 if it ended by itself."""
    child = os.fork()
    if child == 0:
        try:
            act(root, moment)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(99)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(act: Callable[[Path, int], None], expected: int, root: Path) -> int:
    start = root / "start"
    assert in_a_process(commit_first, start, 0) == 0
    moment = 0
    while True:
        moment += 1
        here = root / f"moment-{moment}"
        shutil.copytree(start, here)
        status = in_a_process(act, here, moment)
        assert status in (0, expected), f"moment {moment} ended with {status}"
        assert in_a_process(check, here, moment) == 0, f"after moment {moment}"
        shutil.rmtree(here)
        if status == 0:
            return moment - 1


ACTS = {
    "kill": (commit_until_killed, -signal.SIGKILL),
    "interrupt": (commit_until_interrupted, 130),
    "full": (commit_on_a_full_disk, 1),
}

if __name__ == "__main__":
    print(main(*ACTS[sys.argv[1]], Path(sys.argv[2])))
