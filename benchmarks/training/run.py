"""Training speed: the Hugging Face Trainer as documented and tuned, a plain loop, and goldloop, side by side.

    .venv/bin/python benchmarks/training/run.py cpu            small sizes, for everyone
    .venv/bin/python benchmarks/training/run.py cpu --full     the sizes of the published table
    .venv/bin/python benchmarks/training/run.py gpu            one GPU, bf16, full sizes

Every measurement is a process of its own; arms take turns, forth and back (A B B A). What was measured is
appended to a file of JSON lines at once: started again, the command measures what is missing, then writes the
table and its plots.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import datasets
import torch
from cases import ARMS, LAYERS, Case, Size, load_cases
from corpora import make
from cost import flops_per_example
from records import Measurements, machine
from report import write_report
from starting import save_start

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def main() -> None:
    """Measure what is missing, and write the results."""
    datasets.disable_progress_bars()
    arguments = _arguments()
    cases = load_cases(arguments.device, arguments.case, arguments.cases)
    size = "full" if arguments.full or arguments.device == "gpu" else "small"
    name = f"{arguments.date or f'{datetime.now(UTC):%Y-%m-%d}'}-{arguments.device}-{size}"
    measurements = Measurements(arguments.out / f"{name}.jsonl", machine(arguments.threads))
    if arguments.device == "gpu" and not torch.cuda.is_available():
        print("no GPU here: the table says so")
    elif not arguments.report_only:
        measure(cases, size, arguments, measurements)
    write_report(arguments.out / f"{name}.md", cases, size, measurements, _without_places(sys.argv[1:]))


def _without_places(arguments: Sequence[str]) -> list[str]:
    """The command as anybody may repeat it: where data and results lie is one machine's affair."""
    places = ("--data", "--out", "--work", "--cases")
    return [
        each
        for number, each in enumerate(arguments)
        if each not in (*places, "--report-only") and (number == 0 or arguments[number - 1] not in places)
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("device", choices=("cpu", "gpu"))
    parser.add_argument("--full", action="store_true", help="the sizes of the published table")
    parser.add_argument("--case", action="append", help="only this one; may be given again")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--repeats", type=int, help="by default as the case says")
    parser.add_argument(
        "--minutes", type=float, help="begin no more after that; the same command goes on another time"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="for each process")
    parser.add_argument("--timeout", type=int, default=3600, help="seconds for one measurement")
    parser.add_argument("--report-only", action="store_true", help="write table and plots again")
    parser.add_argument("--date", help="go on with the results of this day")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--cases", type=Path, default=HERE / "cases", help="the folder of cases")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "goldloop-benchmarks")
    return parser.parse_args()


def measure(
    cases: Sequence[Case], size: str, arguments: argparse.Namespace, measurements: Measurements
) -> None:
    """Measure what is missing, repeat by repeat: what there is no time for is missing of all cases alike."""
    began, made = time.monotonic(), {}
    turns = [list(turn) for turn in _turns(cases, size, arguments)]
    missing = [[each for each in turn if not measurements.has(**each)] for turn in turns]
    print(f"{sum(map(len, missing))} of {sum(map(len, turns))} measurements to make", flush=True)
    for turn in filter(None, missing):
        minutes = (time.monotonic() - began) / 60
        if arguments.minutes is not None and minutes >= arguments.minutes:
            print(f"{minutes:.0f} minutes are over: the same command goes on with what is missing")
            return
        case = next(case for case in cases if case.name == turn[0]["case"])
        if case.name not in made:
            made[case.name] = _start(case, size, arguments)
        paths, flops = made[case.name]
        print(f"{case.title}: {turn[0]['layer']}, repeat {turn[0]['repeat']}", flush=True)
        for each in turn:
            found = {**measured(case, size, each, paths, arguments), "flops_per_example": flops}
            measurements.add(found, **each)
            print("  ", _line(each, found), flush=True)


def _start(case: Case, size: str, arguments: argparse.Namespace) -> tuple[dict[str, Path], float]:
    """Where a case's examples and weights lie, and what an example costs."""
    chosen = case.sizes[size]
    facts = [case.model_dump_json(include={"model", "settings", "data", "seed"}), _made_from(chosen)]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]
    work = arguments.work.absolute() / f"{case.name}-{digest}"
    splits = make(case, chosen, work / "corpus", arguments.data)
    start = save_start(case, splits["train"], work / "start")
    paths = {"corpus": work / "corpus", "start": start, "data": arguments.data.absolute()}
    return paths, flops_per_example(splits["train"], start)


def _made_from(size: Size) -> str:
    return size.model_dump_json(include={"examples", "files", "held_out"})


def _turns(
    cases: Sequence[Case], size: str, arguments: argparse.Namespace
) -> Iterator[Iterator[dict[str, Any]]]:
    """One after another: all arms of a layer of a case, forth or back."""
    most = max(case.sizes[size].layer(layer).repeats or 1 for case in cases for layer in case.layers)
    for repeat in range(arguments.repeats or most):
        for case in cases:
            for layer in case.layers:
                chosen = case.sizes[size].layer(layer)
                if layer in arguments.layers and repeat < (arguments.repeats or chosen.repeats or 1):
                    yield _order(case, layer, [arm for arm in arguments.arms if arm in chosen.arms], repeat)


def _order(case: Case, layer: str, arms: Sequence[str], repeat: int) -> Iterator[dict[str, Any]]:
    """Forth and back: what slows the machine down for a while slows every arm down alike."""
    asked = [*(["limits"] if layer in ("end-to-end", "compute") else []), *arms]
    for arm in asked if repeat % 2 == 0 else reversed(asked):
        yield {"case": case.name, "layer": layer, "arm": arm, "repeat": repeat}


def measured(
    case: Case, size: str, each: dict[str, Any], paths: dict[str, Path], arguments: argparse.Namespace
) -> dict[str, Any]:
    """One measurement in a process of its own; one that fails says why in `error`."""
    content = {
        **each,
        **{name: str(path) for name, path in paths.items()},
        "case": case.model_copy(update={"seed": case.seed + each["repeat"]}).model_dump(mode="json"),
        "size": size,
        "threads": arguments.threads,
    }
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(arguments.threads),
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    with tempfile.TemporaryDirectory(dir=paths["start"].parent) as folder:
        asked, found = Path(folder) / "asked.json", Path(folder) / "found.json"
        asked.write_text(json.dumps({**content, "work": folder}), encoding="utf-8")
        command = [sys.executable, str(HERE / "arm.py"), str(asked), str(found)]
        try:
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=arguments.timeout,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {arguments.timeout} seconds"}
        if done.returncode or not found.is_file():
            return {"error": (done.stderr.strip() or f"exit status {done.returncode}")[-2000:]}
        result: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
        return result


def _line(each: dict[str, Any], found: dict[str, Any]) -> str:
    what = f"{each['layer']} {each['repeat']} {each['arm']}:"
    if "error" in found:
        return f"{what} FAILED: {found['error'].splitlines()[-1]}"
    if each["arm"] == "limits":
        return f"{what} {found['fp32'] / 1e9:.0f} GFLOP/s fp32, {found['bf16'] / 1e9:.0f} bf16"
    accuracy = found.get("accuracy")
    stall = found.get("checkpoint_stall")
    return (
        f"{what} {found['samples_per_second']:.1f} examples/s"
        + (f", accuracy {accuracy:.4f}" if accuracy is not None else "")
        + (f", {1000 * stall:.0f} ms a checkpoint" if stall is not None else "")
    )


if __name__ == "__main__":
    main()
