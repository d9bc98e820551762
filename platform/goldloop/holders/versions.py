"""Dataset versions: rows, lines of the ledger and answers, and the Arrow files that reading them has made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typing_extensions import override

from goldloop import wiring
from goldloop.holders.base import Disposable, Holder, Place
from goldloop.progress import Progress


class Versions(Holder):
    """Every version of every name; what is left in each is a tombstone."""

    kind = "version"

    @override
    def find(self, key: str) -> list[Place]:
        from goldloop.dataset.forgetting import held

        found = []
        for each in held(self.workspace.versions, key):
            if each.is_tombstone:
                continue
            if each.line is None:
                what = "rows that a later commit has replaced"
            elif each.split is not None:
                what = f"a row in {each.split}"
            else:
                what = f"{each.line.outcome} in the ledger"
            found.append(self.place(each.version.ref, what))
        return found

    @override
    def erase(self, key: str, progress: Progress) -> list[Place]:
        from goldloop.dataset.forgetting import forget

        arrow = self.workspace.cache / "arrow"

        def gone(digest: str) -> None:
            for path in [*arrow.glob(f"{digest}*"), *arrow.glob(f".{digest}*")]:
                path.unlink(missing_ok=True)

        forget(self.workspace.versions, key, wiring.signing_key(self.workspace), gone)
        return []


class ArrowFiles(Disposable):
    """What `datasets` has made of versions, also of those that are gone: files that can be made again."""

    kind = "arrow"
    what = "rows of a version"

    @override
    def files(self, key: str) -> Iterator[Path]:
        for path in sorted((self.workspace.cache / "arrow").rglob("*")):
            # What a killed process left half written may have it too.
            if path.is_file() and (path.name.startswith(".") or _has(path, key)):
                yield path


def _has(path: Path, key: str) -> bool:
    import pyarrow
    from pyarrow import compute

    functions: Any = compute
    try:
        with pyarrow.memory_map(str(path)) as file:
            table = pyarrow.ipc.open_stream(file).read_all()
    except pyarrow.ArrowInvalid:
        return True
    if "key" not in table.column_names:
        return True
    return bool(functions.any(functions.equal(table["key"], key)).as_py())
