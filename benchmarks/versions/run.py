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
import time
from collections.abc import Iterator, Mapping, Sequence
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
    arguments = _arguments()
    end = time.monotonic() + 60 * arguments.minutes
    sizes = {
        kind: Size(kind, rows, arguments.changed, arguments.added, arguments.reads)
        for kind, rows in (("images", arguments.images), ("texts", arguments.texts))
        if rows
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = arguments.out / _name(arguments)
    measured = stem.with_name(f"{stem.name}.jsonl")
    measured.write_text(
        json.dumps({"machine": hardware(), "packages": _packages(), "commit": commit()}) + "\n"
    )
    cut_off = []
    with tempfile.TemporaryDirectory(prefix="goldloop-versions-", dir=arguments.scratch) as temporary:
        place = Path(temporary)
        python = _dvc(place / "dvc") if "dvc" in arguments.tools else None
        for kind, size in sizes.items():
            print(f"making {size.rows:,} {kind}", flush=True)
            make(place / kind, size)
            for tool in arguments.tools:
                print(f"{tool} on {kind}", flush=True)
                left = end - time.monotonic()
                if not _run(tool, python, place / kind, place / "scratch", measured, left):
                    cut_off.append(f"{tool} on {kind}")
            shutil.rmtree(place / kind)
    lines = [json.loads(line) for line in measured.read_text().splitlines()]
    text = "\n".join(_lines(lines, sizes, arguments, cut_off)) + "\n"
    stem.with_name(f"{stem.name}.md").write_text(text, encoding="utf-8")
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--changed", type=int, default=100)
    parser.add_argument("--added", type=int, default=1_000)
    parser.add_argument("--reads", type=int, default=5_000)
    parser.add_argument("--tools", nargs="+", default=["goldloop", "save-to-disk", "parquet", "dvc"])
    parser.add_argument("--minutes", type=float, default=120, help="what is not done by then is left out")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--scratch", type=Path, help="a folder on the disk to measure; deleted afterwards")
    return parser.parse_args()


def _name(arguments: argparse.Namespace) -> str:
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    is_whole = (arguments.images, arguments.texts) == (100_000, 1_000_000)
    return day if is_whole else f"{day}-{arguments.images}-{arguments.texts}"


def _dvc(folder: Path) -> Path:
    """The interpreter of an environment with DVC; packages come from uv's cache after the first time."""
    tool = uv.find_uv_bin()
    subprocess.run([tool, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    wanted = [f"dvc=={DVC}", f"pyarrow=={PYARROW}"]
    subprocess.run([tool, "pip", "install", "--quiet", "--python", str(python), *wanted], check=True)
    return python


def _run(tool: str, python: Path | None, material: Path, scratch: Path, out: Path, seconds: float) -> bool:
    """Let a tool work; False if it was stopped, as there was no more time."""
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
    try:
        subprocess.run(command, check=True, env=environment, timeout=max(seconds, 0.1))
    except subprocess.TimeoutExpired:
        return False
    finally:
        for folder in (scratch, home):
            shutil.rmtree(folder, ignore_errors=True)
    return True


def hardware() -> dict[str, Any]:
    """What it ran on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpus": os.cpu_count(), "machine": platform.machine(), "memory_gib": round(memory)}


def commit() -> str:
    """Of goldloop."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _packages() -> dict[str, str]:
    names = ("goldloop", "datasets", "pyarrow")
    return {"python": platform.python_version(), **{name: version(name) for name in names}, "dvc": DVC}


def _lines(
    lines: Sequence[Mapping[str, Any]],
    sizes: Mapping[str, Size],
    arguments: argparse.Namespace,
    cut_off: Sequence[str],
) -> Iterator[str]:
    told, measured = lines[0], lines[1:]
    machine, loads = told["machine"], [line["load"] for line in measured]
    options = [f"--{name} {getattr(arguments, name)}" for name in ("images", "texts", "changed", "added")]
    yield f"# Versions, {datetime.now(UTC):%Y-%m-%d}"
    yield ""
    yield f"`benchmarks/versions/run.py {' '.join(options)}`;"
    yield (
        f"{machine['cpus']} CPU cores ({machine['machine']}), {machine['memory_gib']} GiB of memory, no GPU; "
        f"{', '.join(f'{name} {number}' for name, number in told['packages'].items())}; "
        f"commit {told['commit'][:12]}."
    )
    if loads:
        yield f"Load of the machine while it ran: {min(loads):.1f} to {max(loads):.1f}."
    yield "Medians; of several, the highest too."
    if cut_off:
        yield f"Stopped after {arguments.minutes:g} minutes; not measured to the end: {', '.join(cut_off)}."
    yield from tables(measured, {kind: asdict(size) for kind, size in sizes.items()})


if __name__ == "__main__":
    main()
