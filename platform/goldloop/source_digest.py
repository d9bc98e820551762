"""Which code it is that makes things here: a digest of the package's own source."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
_COMPILED = "__pycache__"


@cache
def source_digest() -> str:
    """SHA-256 in hex over the package's files: of each a line with its path and the SHA-256 of its bytes.

    The same for the same source wherever it is installed; unlike a version number it tells an edited copy.
    """
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*")):
        if path.is_file() and _COMPILED not in path.parts:
            name = path.relative_to(_PACKAGE).as_posix()
            digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
