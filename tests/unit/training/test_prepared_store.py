from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy
import pytest

from goldloop.errors import WorkspaceBusy
from goldloop.progress import Silent
from goldloop.training import prepared_store
from goldloop.training.columns import INDEX, open_columns
from goldloop.training.prepared_store import PreparedStore, bound, drop_rows, item_digest, rows_with, verify

PROGRAM = """
import hashlib, os, signal, sys
from pathlib import Path
import numpy
from goldloop.progress import Silent
from goldloop.training.prepared_store import PreparedStore

folder, mode = Path(sys.argv[1]), sys.argv[2]
items = [hashlib.sha256(str(number).encode()).digest() for number in range(200)]

def rows(chosen):
    for count, number in enumerate(chosen):
        if mode == "killed" and count == 100:
            os.kill(os.getpid(), signal.SIGKILL)
        print(number, flush=True)
        yield {"value": numpy.full(300, number)}

store = PreparedStore(folder, "way")
with store.writing(Silent()):
    missing = store.find(items).missing
    store.add([items[number] for number in missing], rows(missing))
found = store.find(items)
assert not found.missing
if mode == "holds":
    print("held", flush=True)
    sys.stdin.read()
"""


def items(*numbers):
    return [hashlib.sha256(str(number).encode()).digest() for number in numbers]


def rows(*numbers):
    return [{"value": numpy.full(300, number)} for number in numbers]


def add(store, *numbers):
    with store.writing(Silent()):
        store.add(items(*numbers), rows(*numbers))


def values(store, *numbers):
    found = store.find(items(*numbers))
    return [
        None if folder < 0 else int(found.folders[folder].row(row)["value"][0])
        for folder, row in found.places.tolist()
    ]


def segments(folder):
    return sorted(path.parent for path in folder.rglob(INDEX))


def program(folder, mode, **options):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), mode], stdout=subprocess.PIPE, text=True, **options
    )


@pytest.fixture
def store(tmp_path):
    return PreparedStore(tmp_path, "way")


def test_items_are_found_in_any_order_and_those_that_are_nowhere_are_told(store):
    add(store, 1, 2, 3)
    add(store, 4, 5)
    assert values(store, 5, 1, 9, 4, 1) == [5, 1, None, 4, 1]
    assert store.find(items(9, 1, 8)).missing == [0, 2]


def test_another_way_of_preparing_has_items_of_its_own(store, tmp_path):
    add(store, 1)
    assert values(PreparedStore(tmp_path, "other"), 1) == [None]


def test_only_segments_that_are_needed_are_held(store):
    add(store, 1, 2)
    add(store, 3)
    assert len(store.find(items(3)).folders) == 1


def test_many_small_segments_become_one_with_each_item_once(store, tmp_path):
    for number in range(12):
        add(store, number)
    assert len(segments(tmp_path)) == 12
    with store.writing(Silent()):
        store.merge()
    (only,) = segments(tmp_path)
    assert open_columns(only).count == 12
    assert values(store, *range(12)) == list(range(12))


def test_what_is_read_is_still_there_after_merging(store, tmp_path):
    for number in range(12):
        add(store, number)
    held = store.find(items(4))
    with store.writing(Silent()):
        store.merge()
    assert len(segments(tmp_path)) == 2
    assert held.folders[0].folder in segments(tmp_path)


def test_large_preparations_are_kept_in_parts(store, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared_store, "_SEGMENT", 10_000)
    add(store, *range(20))
    assert len(segments(tmp_path)) == 4
    assert values(store, *range(20)) == list(range(20))


def test_what_was_not_used_for_longest_is_dropped_first(store, tmp_path):
    for number in range(3):
        add(store, number)
        time.sleep(0.01)
    values(store, 0)
    size = sum(path.stat().st_size for path in segments(tmp_path)[0].iterdir())
    bound(tmp_path, 2 * size + 500)
    assert values(store, 0, 1, 2) == [0, None, 2]
    bound(tmp_path, 0)
    assert not segments(tmp_path)


def test_by_default_a_cache_may_hold_a_quarter_of_what_is_free(store, tmp_path):
    add(store, 1)
    bound(tmp_path)
    assert values(store, 1) == [1]


def test_what_is_in_use_is_never_dropped(store, tmp_path):
    add(store, 1)
    held = store.find(items(1))
    bound(tmp_path, 0)
    assert values(store, 1) == [1]
    del held
    bound(tmp_path, 0)
    assert values(store, 1) == [None]


def test_what_is_being_written_is_never_dropped(store, tmp_path):
    add(store, 1)
    with store.writing(Silent()):
        bound(tmp_path, 0)
    assert values(store, 1) == [1]


def test_what_another_process_uses_is_dropped_only_when_it_has_ended(store, tmp_path):
    other = program(tmp_path, "holds", stdin=subprocess.PIPE)
    try:
        assert any(line == "held\n" for line in other.stdout)
        bound(tmp_path, 0)
        assert values(store, 1, 2) == [1, 2]
        # However it ends.
        other.kill()
    finally:
        other.communicate()
    bound(tmp_path, 0)
    assert values(store, 1, 2) == [None, None]


def test_two_processes_at_once_prepare_each_item_once(store, tmp_path):
    both = [program(tmp_path, "adds") for _ in range(2)]
    done = [each.communicate(timeout=100)[0].split() for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert sorted(map(int, done[0] + done[1])) == list(range(200))
    assert values(store, *range(200)) == list(range(200))


def test_a_process_that_is_killed_in_the_middle_leaves_nothing_that_is_read(store, tmp_path):
    killed = program(tmp_path, "killed")
    killed.communicate(timeout=100)
    assert killed.returncode == -signal.SIGKILL
    assert list((tmp_path / "way").glob(".*"))
    assert values(store, 1, 150) == [None, None]
    after = program(tmp_path, "adds")
    assert len(after.communicate(timeout=100)[0].split()) == 200
    assert values(store, *range(200)) == list(range(200))
    assert not list((tmp_path / "way").glob(".*"))


def test_waiting_for_another_process_is_told(store, tmp_path):
    told = []

    class Told(Silent):
        def say(self, text):
            told.append(text)
            os.write(end, b".")

    start, end = os.pipe()
    program_that_holds = (
        "import fcntl, os, sys\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "os.read(int(sys.argv[2]), 1)\n"
    )
    add(store, 1)
    command = [sys.executable, "-c", program_that_holds, tmp_path / "way" / "writer.lock", str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[start]) as other:
        assert other.stdout.readline() == "locked\n"
        with store.writing(Told()):
            assert other.wait(60) == 0
    os.close(start)
    os.close(end)
    assert len(told) == 1


def test_damage_that_changed_no_time_is_found_when_all_is_read(store, tmp_path):
    add(store, 1)
    add(store, 2)
    damaged = store.find(items(1)).folders[0].folder
    file = damaged / "value.bin"
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    # As a disk that errs would have it: nothing but the content has changed.
    stat = file.stat()
    receipt = json.loads((damaged / "verified.json").read_text())
    name = next(name for name in receipt if name.startswith("value.bin"))
    receipt[name] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    (damaged / "verified.json").write_text(json.dumps(receipt))
    assert open_columns(damaged) is not None
    assert verify(tmp_path) == 1
    assert values(store, 1, 2) == [None, 2]
    assert verify(tmp_path) == 0


@pytest.mark.parametrize("name", ["value.bin", "item_digest.bin", INDEX])
def test_a_segment_that_lost_a_file_is_no_more(store, tmp_path, name):
    add(store, 1)
    (segments(tmp_path)[0] / name).unlink()
    assert values(store, 1) == [None]
    add(store, 1)
    assert values(store, 1) == [1]
    assert len(list((tmp_path / "way").iterdir())) == 2


def test_nothing_to_bound_or_to_verify_where_there_is_no_cache(tmp_path):
    bound(tmp_path / "none")
    assert verify(tmp_path / "none") == 0


def keep(store, *pairs):
    """Keep rows of contents, each with a target; the row's value is the target."""
    digests = [item_digest(key, f"{key} {target}".encode()) for key, target in pairs]
    with store.writing(Silent()):
        store.add(digests, rows(*(target for _, target in pairs)))
    return digests


def test_a_content_is_dropped_with_every_target_and_in_every_way(store, tmp_path):
    other = PreparedStore(tmp_path, "other")
    first = keep(store, ("a", 1), ("b", 2), ("a", 3))
    keep(store, ("a", 4))
    second = keep(other, ("b", 5), ("a", 6))
    assert sorted(rows_with(tmp_path, "a").values()) == [1, 1, 2]
    drop_rows(tmp_path, "a")
    assert rows_with(tmp_path, "a") == {}
    assert sum(rows_with(tmp_path, "b").values()) == 2
    assert store.find(first).missing == [0, 2]
    assert other.find(second).missing == [1]
    assert values_of(store, first[1]) == 2
    assert numpy.full(300, 4).tobytes() not in b"".join(
        path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    )
    before = segments(tmp_path)
    drop_rows(tmp_path, "a")
    assert segments(tmp_path) == before


def values_of(store, digest):
    found = store.find([digest])
    (folder, row), *_ = found.places.tolist()
    return int(found.folders[folder].row(row)["value"][0])


def test_a_content_is_not_dropped_while_somebody_reads_it(store, tmp_path):
    digests = keep(store, ("a", 1), ("b", 2))
    held = store.find(digests)
    with pytest.raises(WorkspaceBusy, match="works with prepared data"):
        drop_rows(tmp_path, "a")
    assert held.folders[0].row(0)["value"][0] == 1
    del held
    drop_rows(tmp_path, "a")
    assert rows_with(tmp_path, "a") == {}
    assert values_of(store, digests[1]) == 2


def test_what_a_killed_process_left_half_written_goes_too(store, tmp_path):
    keep(store, ("b", 2))
    left = tmp_path / "way" / ".left.1"
    left.mkdir()
    (left / "value.bin").write_bytes(b"of a")
    drop_rows(tmp_path, "a")
    assert not left.exists()
