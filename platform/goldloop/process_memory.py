"""How much memory this process has held."""

from __future__ import annotations

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
