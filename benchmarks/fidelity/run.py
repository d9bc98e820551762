"""What of the hard cases survives, through label-studio-sdk's converter, Datumaro and goldloop.

    .venv/bin/python benchmarks/fidelity/run.py [--out benchmarks/fidelity/results] [--keep FOLDER]

Each case is annotated in a real Label Studio (embedded, in a temporary folder, stopped at the end) and
exported by it as JSON. Each tool, in a process of its own, converts it to every format that it offers for the
case; what comes back is held against the truth, and the best of its formats counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uv
from catalog import cases, large_mask
from compare import SURVIVES, verdict
from exports import prepare

from goldloop.labeling.environment import VERSION as LABEL_STUDIO
from goldloop.labeling.server import EmbeddedServer
from goldloop.settings import Settings
from goldloop.workspace import Workspace

HERE = Path(__file__).parent
DATUMARO = "1.13.12"
TOOLS = ("label-studio-sdk", "datumaro", "goldloop")
NOT_OFFERED, NOT_ASKED = "not offered", "not asked"
_SECONDS = 1800
_LONGEST = 90
# What Datumaro, which reads no export and knows no annotators, cannot be asked.
_NO_QUESTION_OF = ("annotators agree", "skipped, draft", ": ids")


def main() -> None:
    """Measure, print a table and write it to the results."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--keep", type=Path, help="leave the cases and all that was found here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="goldloop-fidelity-") as temporary:
        place = (arguments.keep or Path(temporary)).absolute()
        titles, large = _prepare(place / "cases", Path(temporary) / "state")
        pythons = {tool: Path(sys.executable) for tool in TOOLS}
        pythons["datumaro"] = _datumaro(Path(temporary) / "datumaro")
        found = {tool: _run(tool, python, place, list(titles)) for tool, python in pythons.items()}
        heavy = {tool: _run(tool, python, place, [large]) for tool, python in pythons.items()}
        text = _report(place, titles, found, (large, heavy))
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{datetime.now(UTC):%Y-%m-%d}.md").write_text(text, encoding="utf-8")


def _prepare(folder: Path, state: Path) -> tuple[dict[str, str], str]:
    """Every case by the server's own export; name of its folder -> title, and the large one's folder."""
    workspace = Workspace(state, Settings())
    server = EmbeddedServer(workspace.label_studio, workspace.environment.cache, workspace.media.root.parent)
    access = server.up(print)
    try:
        titles = {}
        for number, case in enumerate(cases()):
            titles[f"{number:02}"] = case.title
            prepare(folder / f"{number:02}", case, access)
        prepare(folder / "large", large_mask(), access)
    finally:
        server.down()
        workspace.engine.dispose()
    return titles, "large"


def _datumaro(folder: Path) -> Path:
    """The interpreter of an environment with Datumaro; packages come from uv's cache after the first time."""
    tool = uv.find_uv_bin()
    subprocess.run([tool, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    wanted = f"datumaro=={DATUMARO}"
    subprocess.run([tool, "pip", "install", "--quiet", "--python", str(python), wanted], check=True)
    return python


def _run(tool: str, python: Path, place: Path, names: Sequence[str]) -> dict[str, Any]:
    out = place / f"{tool}-{names[0]}.json"
    script = HERE / f"with_{tool.replace('-', '_')}.py"
    folders = [str(place / "cases" / name) for name in names]
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONWARNINGS": "ignore"}
    subprocess.run(
        [str(python), str(script), str(out), *folders], check=True, env=environment, timeout=_SECONDS
    )
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def _outcomes(case: Mapping[str, Any], title: str, tool: str, found: Mapping[str, Any]) -> dict[str, str]:
    """Format -> what came of the case in it."""
    if tool == "datumaro" and any(words in title for words in _NO_QUESTION_OF):
        return {"": NOT_ASKED}
    outcomes = {name: verdict(case, each) for name, each in found["formats"].items()}
    return {name: outcome for name, outcome in outcomes.items() if outcome is not None}


def _best(outcomes: Mapping[str, str]) -> tuple[str, str]:
    """The best outcome of a tool's formats, and of which format."""
    if not outcomes:
        return NOT_OFFERED, ""
    name = min(outcomes, key=lambda name: _weight(outcomes[name]))
    return outcomes[name], name


def _weight(outcome: str) -> tuple[bool, bool]:
    """Order of outcomes: those with a measure before those that could not be read."""
    return outcome != SURVIVES, "Error" in outcome


def _report(
    place: Path, titles: Mapping[str, str], found: Mapping[str, Any], heavy: tuple[str, Mapping[str, Any]]
) -> str:
    versions = {
        "label-studio-sdk": version("label-studio-sdk"),
        "datumaro": DATUMARO,
        "goldloop": version("goldloop"),
    }
    rows: dict[str, dict[str, dict[str, str]]] = {}
    for name, title in titles.items():
        case = _case(place, name)
        rows[title] = {tool: _outcomes(case, title, tool, found[tool][name]) for tool in TOOLS}
    totals = [_total([_best(row[tool])[0] for row in rows.values()]) for tool in TOOLS]
    lines = [
        f"# What survives, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"`benchmarks/fidelity/run.py`; inputs exported as JSON by Label Studio {LABEL_STUDIO}.",
        f"{os.cpu_count()} CPU cores ({platform.machine()}), no GPU; Python {platform.python_version()};",
        ", ".join(f"{tool} {number}" for tool, number in versions.items()) + ".",
        "",
        "The best of each tool's formats:",
        "",
        f"| case | {' | '.join(TOOLS)} |",
        f"| --- |{' --- |' * len(TOOLS)}",
        *(
            f"| {title} | {' | '.join(_cell(*_best(row[tool])) for tool in TOOLS)} |"
            for title, row in rows.items()
        ),
        f"| **of {len(rows)} survive** | {' | '.join(totals)} |",
        "",
        *_by_format(rows),
        "",
        *_heavy(place, *heavy),
    ]
    return "\n".join(lines) + "\n"


def _total(outcomes: Sequence[str]) -> str:
    """How many survive, and of how many that are offered."""
    offered = [outcome for outcome in outcomes if outcome not in (NOT_OFFERED, NOT_ASKED)]
    return f"**{offered.count(SURVIVES)}** ({len(offered)} offered)"


def _case(place: Path, name: str) -> dict[str, Any]:
    case: dict[str, Any] = json.loads((place / "cases" / name / "case.json").read_text(encoding="utf-8"))
    return case


def _by_format(rows: Mapping[str, Mapping[str, Mapping[str, str]]]) -> list[str]:
    """Of each format what it lost."""
    lines = [
        "Each format by itself, of the cases that it is offered for:",
        "",
        "| format | survive | lost |",
        "| --- | ---: | --- |",
    ]
    for tool in TOOLS:
        for name in dict.fromkeys(name for row in rows.values() for name in row[tool]):
            if not name:
                continue
            outcomes = {title: row[tool][name] for title, row in rows.items() if name in row[tool]}
            lost = [
                f"{title}: {_cell(outcome, '')}" for title, outcome in outcomes.items() if outcome != SURVIVES
            ]
            good = len(outcomes) - len(lost)
            lines.append(f"| {tool}, {name} | {good} of {len(outcomes)} | {'; '.join(lost)} |")
    return lines


def _cell(outcome: str, form: str) -> str:
    words = "**survives**" if outcome == SURVIVES else " ".join(outcome.replace("|", "/").split())[:_LONGEST]
    return f"{words} ({form})" if form else words


def _heavy(place: Path, name: str, found: Mapping[str, Any]) -> list[str]:
    case = _case(place, name)
    lines = [
        "A mask of 4096 x 4096 pixels, 4,096 discs, to one format and back, and the peak of memory:",
        "",
        "| tool | outcome | seconds | memory, MB |",
        "| --- | --- | ---: | ---: |",
    ]
    for tool in TOOLS:
        each = found[tool][name]
        outcome = _cell(*_best(_outcomes(case, "", tool, each)))
        lines.append(f"| {tool} | {outcome} | {each['seconds']:.1f} | {each['megabytes']:.0f} |")
    return lines


if __name__ == "__main__":
    main()
