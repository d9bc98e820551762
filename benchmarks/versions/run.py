"""What it costs to commit, open, read and prove versions, with goldloop, DVC and `datasets`.

    .venv/bin/python benchmarks/versions/run.py [--images 100000] [--texts 1000000]

The data are made at run time. Each tool works on the same rows and the same twenty sets of changes, in a
process of its own, one after the other; DVC in an environment of its own, made by uv and deleted again.
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
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uv
from material import Size, make
from report import tables

HERE = Path(__file__).parent
DVC = "3.67.1"
PYARROW = version("pyarrow")


def main() -> None:
    """Measure, print the tables and write them to the results."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--changed", type=int, default=100)
    parser.add_argument("--added", type=int, default=1_000)
    parser.add_argument("--tools", nargs="+", default=["goldloop", "save-to-disk", "parquet", "dvc"])
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--scratch", type=Path, help="a folder on the disk to measure; deleted afterwards")
    arguments = parser.parse_args()
    sizes = {
        kind: Size(kind, rows, arguments.changed, arguments.added)
        for kind, rows in (("images", arguments.images), ("texts", arguments.texts))
        if rows
    }
    with tempfile.TemporaryDirectory(prefix="goldloop-versions-", dir=arguments.scratch) as temporary:
        place = Path(temporary)
        python = _dvc(place / "dvc") if "dvc" in arguments.tools else None
        out = place / "measured.jsonl"
        for kind, size in sizes.items():
            print(f"making {size.rows:,} {kind}", flush=True)
            make(place / kind, size)
            for tool in arguments.tools:
                print(f"{tool} on {kind}", flush=True)
                _run(tool, python, place / kind, place / "scratch", out)
        lines = [json.loads(line) for line in out.read_text().splitlines()]
    text = _text(lines, sizes)
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    size = "" if _is_whole(arguments) else f"-{arguments.images}-{arguments.texts}"
    name = f"{datetime.now(UTC):%Y-%m-%d}{size}"
    (arguments.out / f"{name}.md").write_text(text, encoding="utf-8")
    lines = [{"machine": _machine(), "packages": _packages()}, *lines]
    (arguments.out / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _is_whole(arguments: argparse.Namespace) -> bool:
    return (arguments.images, arguments.texts) == (100_000, 1_000_000)


def _dvc(folder: Path) -> Path:
    """The interpreter of an environment with DVC; packages come from uv's cache after the first time."""
    tool = uv.find_uv_bin()
    subprocess.run([tool, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    wanted = [f"dvc=={DVC}", f"pyarrow=={PYARROW}"]
    subprocess.run([tool, "pip", "install", "--quiet", "--python", str(python), *wanted], check=True)
    return python


def _run(tool: str, python: Path | None, material: Path, scratch: Path, out: Path) -> None:
    script = {"goldloop": "with_goldloop.py", "dvc": "with_dvc.py"}.get(tool, "with_datasets.py")
    command = [str(python if tool == "dvc" else sys.executable), str(HERE / script)]
    command += [str(material), str(scratch), str(out)]
    if script == "with_datasets.py":
        command.append(tool)
    home = scratch.with_name("home")
    environment = {
        **os.environ,
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
        "HF_HOME": str(home / "hf"),
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    subprocess.run(command, check=True, env=environment)
    for folder in (scratch, home):
        shutil.rmtree(folder, ignore_errors=True)


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} CPU cores ({platform.machine()}), {memory:.0f} GiB of memory"


def _packages() -> dict[str, str]:
    names = ("goldloop", "datasets", "pyarrow")
    return {"python": platform.python_version(), **{name: version(name) for name in names}, "dvc": DVC}


def _text(lines: list[dict[str, Any]], sizes: dict[str, Size]) -> str:
    return "\n".join(_lines(lines, sizes)) + "\n"


def _lines(lines: list[dict[str, Any]], sizes: dict[str, Size]) -> Iterator[str]:
    loads = [line["load"] for line in lines]
    yield f"# Versions, {datetime.now(UTC):%Y-%m-%d}"
    yield ""
    yield f"`benchmarks/versions/run.py`; {_machine()};"
    yield f"{', '.join(f'{name} {number}' for name, number in _packages().items())}."
    yield f"Load of the machine while it ran: {min(loads):.1f} to {max(loads):.1f}."
    yield "Medians; of several, the highest too."
    yield from tables(lines, {kind: asdict(size) for kind, size in sizes.items()})


if __name__ == "__main__":
    main()
