"""What is freed on a CPU is used again; seen by the pages that the system has to map.

In a process of its own: what other tests allocated before decides where glibc looks for a large block.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PAGES = """
import json, resource, torch
from goldloop.training.allocation import large_blocks_kept

def mapped(times):
    "Pages mapped while a block of 64 MiB is allocated, written and freed so many times."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.empty(2**26, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with large_blocks_kept() as kept:
    mapped(24)
    again = mapped(8)
print(json.dumps({"kept": kept, "again": again, "afterwards": mapped(8)}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_a_large_block_is_mapped_once_within_and_each_time_afterwards():
    told = subprocess.run([sys.executable, "-c", PAGES], check=True, capture_output=True, text=True)
    pages = json.loads(told.stdout)
    if not pages["kept"]:
        pytest.skip("another C library allocates memory here")

    assert pages["afterwards"] > 0
    assert pages["again"] < pages["afterwards"] / 4
