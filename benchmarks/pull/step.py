"""One measurement, in a process of its own: `step.py WHAT RECIPE HOME` prints a line of JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from goldloop import loop
from goldloop.catalog import arrivals, prospect, settlement  # noqa: F401 - what a pull needs is loaded first
from goldloop.connectors import connectors
from goldloop.process_memory import peak_memory
from goldloop.recipe import Recipe, load
from goldloop.settings import Settings
from goldloop.workspace import Workspace


def main(what: str, recipe: str, home: str) -> None:
    """Do it and tell how long it took and how much memory it needed."""
    loaded = load(recipe)
    workspace = Workspace(Path(home), Settings())
    assert workspace.engine.dialect.name == "sqlite"
    base = _peak()
    began = time.perf_counter()
    total = _read(loaded) if what == "read" else loop.pull(loaded, workspace).total
    seconds = time.perf_counter() - began
    workspace.engine.dispose()
    catalog = workspace.root / "catalog.db"
    size = sum(path.stat().st_size for path in catalog.parent.glob("catalog.db*"))
    print(json.dumps({"total": total, "seconds": seconds, "base": base, "peak": _peak(), "catalog": size}))


def _read(recipe: Recipe) -> int:
    return sum(1 for source in recipe.sources for _ in connectors.create(source).items())


def _peak() -> float:
    """The process's high-water mark, in MB."""
    return peak_memory() / 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])
