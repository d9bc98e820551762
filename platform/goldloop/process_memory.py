"""How much memory this process has held, and what it gives back to the system."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_HIGH_WATER = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)


def peak_memory() -> int:
    """The most main memory that this process has held, in bytes.

    Linux keeps `ru_maxrss` across exec, so that a small process would be told its parent's peak.
    """
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    if _STATUS.is_file():
        found = _HIGH_WATER.search(_STATUS.read_text(encoding="utf-8"))
        if found is not None:
            return int(found[1]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def return_freed_memory() -> bool:
    """Give memory that was freed back to the system; returns whether there was some.

    glibc keeps what tensors of changing shapes leave between those that live, so that a process which
    computes for days holds ever more; other C libraries have no such call, and nothing is done.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return trim is not None and bool(trim(0))
