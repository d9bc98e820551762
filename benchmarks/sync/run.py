"""How fast tasks go to Label Studio and annotations come back, beside its own SDK; see README.md.

.venv/bin/python benchmarks/sync/run.py [--sizes 1000 10000 100000] [--servers sqlite postgresql] [--steps ..]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import load
import servers

from goldloop.labeling.environment import VERSION

_STEP = Path(__file__).with_name("step.py")
_PACKAGES = ("goldloop", "label-studio-sdk", "sqlalchemy", "httpx")
SIZES = (1_000, 10_000, 100_000)
ORDER = (
    "pull", "raw import", "SDK import_tasks", "SDK tasks.create", "goldloop push", "raw import after it",
    "goldloop push again", "goldloop collect", "goldloop collect again", "goldloop collect of 100 changed",
    "SDK export", "SDK snapshot",
)  # fmt: skip
TOGETHER = "raw import, 2 at a time"
REPEATED = ("pull", "raw import", "SDK import_tasks", "goldloop push", "raw import after it", TOGETHER)
"""Measured in turns `REPEATS` times where all goes in one request, whose time differs by a quarter."""
REPEATS = 5
RAW = ("raw import", "raw import after it")
"""A database that grows takes longer, so the endpoint by itself is measured before a push and after it."""


def main() -> None:
    """Measure, print a table and write it to the results."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--servers", nargs="+", choices=servers.KINDS[:2], default=list(servers.KINDS[:2]))
    parser.add_argument(
        "--steps",
        nargs="+",
        choices=(*ORDER, TOGETHER),
        help="only these: those that need each other together",
    )
    parser.add_argument("--date", help="go on with the results of this day")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    day = arguments.date or f"{datetime.now(UTC):%Y-%m-%d}"
    name = f"{day}-some-steps" if arguments.steps else day
    lines = arguments.out / f"{name}.jsonl"
    if not lines.is_file():
        lines.write_text(json.dumps(facts(day)) + "\n", encoding="utf-8")
    made, *measured = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    with lines.open("a", encoding="utf-8") as file:
        for kind in arguments.servers:
            wanted = [step for step in steps(kind) if step in (arguments.steps or steps(kind))]
            for line in measure(kind, missing(kind, arguments.sizes, measured, wanted), wanted):
                measured.append(line)
                file.write(json.dumps(line) + "\n")
                file.flush()
                print(json.dumps(line), flush=True)
                # After every line, so that a run that is cut short has told what it has measured.
                text = report(made, measured, sorted({*SIZES, *arguments.sizes}), arguments.steps)
                (arguments.out / f"{name}.md").write_text(text, encoding="utf-8")
    print(report(made, measured, sorted({*SIZES, *arguments.sizes}), arguments.steps))


def missing(
    kind: str, sizes: Sequence[int], measured: Sequence[dict[str, Any]], wanted: Sequence[str]
) -> list[int]:
    """The sizes that were not measured to the end on a kind of server; their steps need each other."""
    done = [(line["size"], line["step"]) for line in measured if line["server"] == kind]
    return [size for size in sizes if any(done.count((size, step)) < _repeats(size, step) for step in wanted)]


def _repeats(size: int, step: str) -> int:
    return REPEATS if size == load.BATCH and step in REPEATED else 1


def steps(kind: str) -> tuple[str, ...]:
    """What is measured on a kind of server, in this order."""
    if load.AT_ONCE[kind] == 1:
        return ORDER
    after = ORDER.index(RAW[-1]) + 1
    return (*ORDER[:after], TOGETHER, *ORDER[after:])


def measure(kind: str, sizes: Sequence[int], wanted: Sequence[str]) -> Iterator[dict[str, Any]]:
    """These steps with every number of tasks on a new server."""
    if not sizes:
        return
    with (
        tempfile.TemporaryDirectory(prefix="goldloop-sync-") as folder,
        servers.running(kind, Path(folder) / "server") as server,
    ):
        variables = {**os.environ, **server.variables}
        variables |= {"BENCHMARK_URL": server.url, "BENCHMARK_TOKEN": server.token}
        for size in sizes:
            for repeat in range(max(_repeats(size, step) for step in wanted)):
                recipe = load.write_recipe(Path(folder), size, load.AT_ONCE[kind], repeat)
                for step in [each for each in wanted if repeat < _repeats(size, each)]:
                    command = [sys.executable, str(_STEP), step, str(recipe), str(size)]
                    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
                    if done.returncode:
                        sys.exit(f"{kind}, {size}, {step}: {done.stderr[-3000:]}")
                    yield {"server": kind, "size": size, "step": step, **json.loads(done.stdout)}


def facts(day: str) -> dict[str, Any]:
    """What was measured with, and on what."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "command": " ".join(["benchmarks/sync/run.py", *map(shlex.quote, _asked(sys.argv[1:]))]),
        "day": day,
        "commit": commit.stdout.strip(),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "label_studio": VERSION,
    }


def _asked(words: list[str]) -> list[str]:
    """A command line but for where the results go."""
    place = words.index("--out") if "--out" in words else len(words)
    return [*words[:place], *words[place + 2 :]]


def report(
    made: dict[str, Any],
    measured: Sequence[dict[str, Any]],
    sizes: Sequence[int],
    wanted: Sequence[str] | None = None,
) -> str:
    """The table of each server that was measured, of all steps or of some; what was not is said to be so."""
    packages = ", ".join(f"{name} {number}" for name, number in made["packages"].items())
    lines = [
        f"# Sync with Label Studio, {made['day']}",
        "",
        f"`{made['command']}` at {made['commit']}; each line a process of its own.",
        f"What sends {load.BATCH:,} tasks, in one request: the median of {REPEATS} in turns; else one run.",
        f"{made['cpus']} CPU cores ({made['machine']}), load {made['load']:.1f} before; Python "
        f"{made['python']}; {packages}; Label Studio {made['label_studio']}.",
        "",
        f"Texts of {len(load.text(0))} characters, each with a prediction and two annotations, {load.BATCH:,}"
        " in a request. `SDK tasks.create`: a sample, as its rate does not depend on how many there are.",
    ]
    by_place = _medians(measured)
    told = {line["server"] for line in measured} or set(servers.KINDS)
    for kind in [each for each in servers.KINDS[:2] if each in told]:
        lines += [
            "",
            f"## {kind}",
            "",
            f"goldloop sends so many imports at a time: {load.AT_ONCE[kind]}.",
            "",
            "| tasks | step | seconds | tasks/s | of raw import | requests | peak memory, MB | of it base |",
            "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for size in sizes:
            raw = [by_place[place] for step in RAW if (place := (kind, size, step)) in by_place]
            for step in [each for each in steps(kind)[1:] if wanted is None or each in wanted]:
                lines.append(_row(size, step, by_place.get((kind, size, step)), raw))
    return "\n".join(lines) + "\n"


def _medians(measured: Sequence[dict[str, Any]]) -> dict[tuple[str, int, str], dict[str, Any]]:
    """Server, size and step -> the line of median time."""
    lines: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for line in sorted(measured, key=itemgetter("seconds")):
        lines.setdefault((line["server"], line["size"], line["step"]), []).append(line)
    return {place: those[len(those) // 2] for place, those in lines.items()}


def _row(size: int, step: str, line: dict[str, Any] | None, raw: Sequence[dict[str, Any]]) -> str:
    if line is None:
        return f"| {size:,} | {step} | not yet measured | | | | | |"
    rate = line["tasks"] / line["seconds"]
    share = ""
    if raw and _sends(step):
        share = f"{rate * sum(each['seconds'] for each in raw) / sum(each['tasks'] for each in raw):.2f}"
    seconds = f"{line['seconds']:.1f}"
    if step == "SDK tasks.create":
        seconds = f"{size / rate:,.0f} (extrapolated from {line['tasks']})"
    return (
        f"| {size:,} | {step} | {seconds} | {rate:,.0f} | {share} | {line['requests']:,} "
        f"| {line['peak']:.0f} | {line['base']:.0f} |"
    )


def _sends(step: str) -> bool:
    return step in (*RAW, TOGETHER, "SDK import_tasks", "SDK tasks.create", "goldloop push")


if __name__ == "__main__":
    main()
