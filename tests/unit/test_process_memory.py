"""The peak is the process's own."""

import subprocess
import sys

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


def test_the_peak_is_what_the_process_itself_held_also_if_it_gave_it_back():
    assert _told(PARENT) < LARGE
    assert _told(f"held = b'x' * {LARGE}; del held; {PEAK}") > LARGE
