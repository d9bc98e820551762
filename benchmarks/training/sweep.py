"""Which options the tuned Trainer runs fastest with here: what `trainer-tuned` in a case is to be set to.

    .venv/bin/python benchmarks/training/sweep.py banking77 [--threads 4] [--repeats 2]

Each set of options is trained with at the small size, each run in a process of its own, forth and back.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from cases import load_cases
from corpora import make
from run import ROOT, measured
from starting import save_start

GROUPED = {"train_sampling_strategy": "group_by_length"}
# Without it the Trainer refuses bf16 where there is no GPU.
CPU = {} if torch.cuda.is_available() else {"use_cpu": True}
TEXT = (
    {},
    GROUPED,
    {**GROUPED, "bf16": True, **CPU},
    {**GROUPED, "dataloader_num_workers": 2, "dataloader_persistent_workers": True},
    {**GROUPED, "torch_compile": True},
    {**GROUPED, "bf16": True, **CPU, "torch_compile": True},
)
NO_WORKERS = {"dataloader_num_workers": 0, "dataloader_persistent_workers": False}
IMAGES = (
    {},
    {"bf16": True, **CPU},
    {"bf16": True, **CPU, **NO_WORKERS},
    {"bf16": True, **CPU, "torch_compile": True},
)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--size", default="small")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=int, nargs="+", help="positions of the options to try")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=1800)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    arguments = parser.parse_args()
    (case,) = load_cases(arguments.device, [arguments.case])
    choices = TEXT if case.data.modality == "text" else IMAGES
    choices = tuple(choices[place] for place in arguments.only or range(len(choices)))
    found: dict[int, list[dict[str, Any]]] = {number: [] for number in range(len(choices))}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        splits = make(case, case.sizes[arguments.size], work / "corpus", arguments.data)
        paths = {"corpus": work / "corpus", "start": work / "start", "data": arguments.data.absolute()}
        save_start(case, splits["train"], paths["start"])
        for repeat in range(arguments.repeats):
            order = range(len(choices)) if repeat % 2 == 0 else reversed(range(len(choices)))
            for number in order:
                chosen = case.model_copy(update={"arms": {"trainer-tuned": choices[number]}})
                each = {"layer": "end-to-end", "arm": "trainer-tuned", "repeat": repeat}
                found[number].append(measured(chosen, arguments.size, each, paths, arguments))
    print("| options | examples/s | processor ms per example | compile s | graphs |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for number, runs in found.items():
        print(_row(choices[number], runs))


def _row(options: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    failed = [run["error"].splitlines()[-1] for run in runs if "error" in run]
    if failed:
        return f"| {options} | {failed[0]} | | | |"
    rate = statistics.median(run["samples_per_second"] for run in runs)
    cost = statistics.median(1000 * run["processor_seconds"] / run["examples"] for run in runs)
    last = runs[-1]
    return f"| {options} | {rate:.1f} | {cost:.1f} | {last['compile_seconds']:.0f} | {last['graphs']} |"


if __name__ == "__main__":
    main()
