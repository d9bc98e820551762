"""The peak is the process's own."""

import platform
import subprocess
import sys

import pytest

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


FREED = """
import psutil
from goldloop.process_memory import return_freed_memory
held = [bytes(20_000) for _ in range(20_000)]
held = held[::100]
before = psutil.Process().memory_info().rss
assert return_freed_memory()
print(before - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep no freed memory")
def test_what_was_freed_between_what_is_held_goes_back_to_the_system():
    assert _told(FREED) > LARGE / 4


def test_the_peak_is_what_the_process_itself_held_also_if_it_gave_it_back():
    assert _told(PARENT) < LARGE
    assert _told(f"held = b'x' * {LARGE}; del held; {PEAK}") > LARGE
