"""What `./scripts/quickstart` runs: real images and real text through the whole loop, on this machine.

Two recipes (configs/digits.yaml, configs/support.yaml), an embedded Label Studio, two simulated annotators
who err in a stated share of their answers. Run again, it finds everything done and changes nothing.
"""

from __future__ import annotations

import queue
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldloop import hosting, loop, workbench
from goldloop.catalog import server_side
from goldloop.catalog.content import items_of
from goldloop.cli.display import progress as make_progress
from goldloop.cli.display import show_facts, show_table
from goldloop.errors import GoldloopError, TrainingError
from goldloop.examples.digits import write_digits
from goldloop.examples.support import write_support_requests
from goldloop.progress import Progress
from goldloop.recipe import Recipe, load
from goldloop.records import Item
from goldloop.results import Turn
from goldloop.simulation import simulate
from goldloop.workspace import Workspace

ERROR_RATE = 0.05
LABELLED = {"digits": 450, "support": 360}
"""Tasks that the simulated annotators do; the model pre-annotates the rest."""

_DATA = Path("quickstart")


@dataclass(frozen=True, slots=True)
class Finished:
    """One recipe's turn of the loop, and what its model answered over HTTP."""

    recipe: Recipe
    turn: Turn
    asked: str
    answered: str


def main() -> None:
    """Run the quickstart from the top of the repository; exit code 0 if two models are promoted."""
    began = time.monotonic()
    progress = make_progress()
    try:
        finished = [_turn(Workspace.open(), name, progress) for name in _prepare(progress)]
    except GoldloopError as error:
        sys.stderr.write(f"quickstart: {error}\n")
        sys.exit(1)
    _show(finished, time.monotonic() - began)
    if not all(each.turn.promotion and each.turn.promotion.promoted for each in finished):
        sys.stderr.write("quickstart: a gate refused a model, see above\n")
        sys.exit(1)


def _prepare(progress: Progress) -> Sequence[str]:
    progress.say("data: writing digits as PNG files and support requests as CSV to quickstart/")
    write_digits(_DATA / "digits")
    write_support_requests(_DATA)
    workbench.up(progress=progress)
    return tuple(LABELLED)


def _turn(workspace: Workspace, name: str, progress: Progress) -> Finished:
    recipe = load(Path("configs") / f"{name}.yaml")
    progress.say(f"{name}: {recipe.task.kind}")
    loop.pull(recipe, workspace, progress)
    loop.push(recipe, workspace, progress)
    simulate(
        recipe,
        annotators=2,
        error_rate=ERROR_RATE,
        limit=LABELLED[name],
        workspace=workspace,
        progress=progress,
    )
    turn = loop.run(recipe, workspace, progress)
    asked, answered = _ask(workspace, recipe)
    return Finished(recipe, turn, asked, answered)


def _ask(workspace: Workspace, recipe: Recipe) -> tuple[str, str]:
    """Send one open item to the prediction server over HTTP; returns what was sent and what came back."""
    import httpx

    item = _open_item(workspace, recipe)
    body: dict[str, Any] = (
        {"json": {"text": item.text}}
        if item.text is not None
        else {"files": {"image": workspace.media.read(item)}}
    )
    url = f"{_serve(workspace, recipe.name)}/predict"
    answer = httpx.post(url, timeout=60, trust_env=False, **body)
    answer.raise_for_status()
    (said,) = answer.json()["predictions"]
    asked = f'"{item.text}"' if item.text is not None else "/".join(Path(item.uri).parts[-2:])
    return asked, f"{said['prediction']} ({said['confidence']:.0%})"


def _open_item(workspace: Workspace, recipe: Recipe) -> Item:
    """The first item that no annotator has labelled."""
    with workspace.engine.connect() as connection:
        answered = {act.key for act in server_side.annotations_of(connection, recipe.name)}
        return next(item for item in items_of(connection, recipe.name) if item.key not in answered)


def _serve(workspace: Workspace, name: str) -> str:
    """Serve a champion on a free port for as long as this process lives; returns the address."""
    address: queue.Queue[str | GoldloopError] = queue.Queue()

    def work() -> None:
        try:
            hosting.serve(name, port=0, workspace=workspace, ready=lambda _model, url: address.put(url))
        except GoldloopError as error:
            address.put(error)

    threading.Thread(target=work, daemon=True).start()
    answer = address.get(timeout=120)
    if isinstance(answer, GoldloopError):
        raise answer
    return answer


def _show(finished: Sequence[Finished], seconds: float) -> None:
    columns = ("", *(each.recipe.name for each in finished))
    facts = [_facts(each) for each in finished]
    show_table(columns, [[name, *(each[name] for each in facts)] for name in facts[0]], "goldloop quickstart")
    workspace = Workspace.open()
    show_facts(
        {
            **{
                f"annotate {each.recipe.name}": each.turn.pushed.address
                for each in finished
                if each.turn.pushed is not None
            },
            **{f"report on {each.recipe.name}": _report_page(each) for each in finished},
            "log in with": f"the name and password in {workspace.label_studio / 'secrets.json'}",
            "serve a model": f".venv/bin/goldloop serve {finished[0].recipe.name}",
            "stop": ".venv/bin/goldloop down",
            "took": f"{seconds:.0f} s",
        }
    )


def _facts(each: Finished) -> dict[str, str]:
    turn = each.turn
    if (
        turn.pushed is None
        or turn.collected is None
        or turn.version is None
        or turn.run is None
        or turn.report is None
        or turn.promotion is None
    ):
        raise TrainingError(
            "the loop did not get as far as a model", where=each.recipe.name, found=turn.waiting
        )
    figure = turn.report.metrics[turn.report.metric]
    agreement, speed = turn.version.agreement, turn.run.throughput
    return {
        "task": each.recipe.task.kind,
        "items": str(turn.pushed.balance),
        "annotations": f"{turn.collected.annotations} by 2 simulated annotators, {ERROR_RATE:.0%} wrong",
        "labels": str(sum(turn.version.counts.values())),
        "agreement": "-" if agreement is None else f"{agreement:.3f}",
        "version": turn.version.ref,
        f"test {turn.report.metric}": f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})",
        "gates": ", ".join(
            f"{verdict.gate}: {'passed' if verdict.passed else 'refused'}"
            for verdict in turn.promotion.verdicts
        ),
        "model": f"{turn.promotion.model.ref}, {'champion' if turn.promotion.promoted else 'not promoted'}",
        "training": "-" if speed is None else f"{speed.samples_per_second:.0f} samples/s",
        "pre-annotated": f"{turn.preannotated} tasks now",
        "asked": textwrap.shorten(each.asked, 60),
        "answered": each.answered,
    }


def _report_page(each: Finished) -> Path:
    workspace = Workspace.open()
    found = sorted((workspace.runs / each.recipe.name).glob("*/reports/*/report.html"))
    return found[-1]


if __name__ == "__main__":
    main()
