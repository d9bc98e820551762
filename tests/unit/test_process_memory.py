"""The peak is the process's own."""

import subprocess
import sys

from goldloop.process_memory import peak_memory

PEAK = "from goldloop.process_memory import peak_memory; print(peak_memory())"
LARGE = 400_000_000
PARENT = f"""
import subprocess, sys
held = b"x" * {LARGE}
print(subprocess.run([sys.executable, "-c", {PEAK!r}], capture_output=True, text=True, check=True).stdout)
"""


def _told(program: str) -> int:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_what_was_held_and_given_back_counts():
    before = peak_memory()
    held = b"x" * LARGE
    del held
    assert peak_memory() >= max(before, LARGE)


def test_a_small_child_of_a_large_process_is_small():
    assert _told(PARENT) < LARGE
    assert _told(f"held = b'x' * {LARGE}; {PEAK}") > LARGE
