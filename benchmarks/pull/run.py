"""How fast a pull is, and whether its memory grows with the sources; see README.md.

.venv/bin/python benchmarks/pull/run.py [--rows 1000000] [--images 100000] [--out benchmarks/pull/results]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import corpora

_STEP = Path(__file__).with_name("step.py")
_PACKAGES = ("goldloop", "sqlalchemy", "pillow", "fsspec")


def main() -> None:
    """Measure, print a table and write it to the results."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    measured = []
    for what, count in (
        ("rows", arguments.rows // 10), ("rows", arguments.rows),
        ("images", arguments.images // 10), ("images", arguments.images),
    ):  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="goldloop-pull-") as folder:
            for line in _measure(Path(folder), what, count):
                measured.append(line)
                print(json.dumps(line), flush=True)
    text = report(measured, arguments.rows, arguments.images)
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{datetime.now(UTC):%Y-%m-%d}.md").write_text(text, encoding="utf-8")


def _measure(folder: Path, what: str, count: int) -> Iterator[dict[str, Any]]:
    data = folder / "data"
    recipe = corpora.write_rows(data, count) if what == "rows" else corpora.write_images(data, count)
    home = folder / "state"
    for step in ("read", "first", "again", "changed"):
        if step == "changed":
            if what == "rows":
                corpora.change_rows(data)
            else:
                corpora.change_images(data, count)
        command = [sys.executable, str(_STEP), step, str(recipe), str(home)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        yield {"what": what, "count": count, "step": step, **json.loads(done.stdout)}
    shutil.rmtree(home)


def report(measured: list[dict[str, Any]], rows: int, images: int) -> str:
    """The table."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    lines = [
        f"# Pulling, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"`benchmarks/pull/run.py --rows {rows} --images {images}`; each line a process of its own.",
        f"{os.cpu_count()} CPU cores ({platform.machine()}), load {os.getloadavg()[0]:.1f} at the end; "
        f"Python {platform.python_version()};",
        f"{packages}; the catalog on SQLite.",
        "",
        "| what | step | seconds | per second | peak memory, MB | of it base | catalog, MB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {line['count']:,} {line['what']} | {line['step']} | {line['seconds']:.1f} "
        f"| {line['total'] / line['seconds']:,.0f} | {line['peak']:.0f} | {line['base']:.0f} "
        f"| {line['catalog'] / 1e6:,.0f} |"
        for line in measured
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
