"""One measurement, in a process of its own: reads what to do, writes what it found.

python arm.py ASKED.json FOUND.json
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any


def measure(asked: dict[str, Any]) -> dict[str, Any]:
    """What `run.py` asks for, as JSON values."""
    import torch

    torch.set_num_threads(asked["threads"])
    if asked["arm"] == "limits":
        from limits import limits

        return limits()
    from cases import Case
    from corpora import make
    from job import Job
    from window import Window

    case = Case.model_validate(asked["case"])
    size = case.sizes[asked["size"]]
    job = Job(
        case=case,
        size=size,
        arm=asked["arm"],
        layer=asked["layer"],
        splits=make(case, size, Path(asked["corpus"]), Path(asked["data"])),
        start=Path(asked["start"]),
        work=Path(tempfile.mkdtemp(dir=asked["work"])),
        options=dict(case.arms.get(asked["arm"], {})),
    )
    if job.layer == "data":
        window = Window(torch.device("cpu"), None)
    else:
        window = Window(job.device, size.warmup_steps)
    arm = _module(job.arm)
    found = (arm.drain if job.layer == "data" else arm.train)(job, window)
    return {**window.summary(), **found, "options": job.options}


def _module(arm: str) -> Any:
    if arm == "goldloop":
        import with_goldloop

        return with_goldloop
    if arm == "plain":
        import with_plain

        return with_plain
    import with_trainer

    return with_trainer


def main() -> None:
    """Read the first file, write the second."""
    asked, found = (Path(argument) for argument in sys.argv[1:])
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import datasets

    datasets.disable_progress_bars()
    found.write_text(json.dumps(measure(json.loads(asked.read_text(encoding="utf-8")))), encoding="utf-8")


if __name__ == "__main__":
    main()
