"""Beginning: `init | doctor | simulate`."""

from __future__ import annotations

from pathlib import Path

import typer

from goldloop.cli.display import AS_JSON, OVERRIDES, RECIPE, progress, show_facts, show_json, show_table


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (init, doctor, simulate):
        app.command()(command)


def init(
    name: str = typer.Argument(..., help="Lower case letters, digits and hyphens.", show_default=False),
    task: str = typer.Option(..., "--task", help="A task type, such as image-classification."),
    folder: Path = typer.Option(Path("configs"), help="Where to write NAME.yaml."),
    as_json: bool = AS_JSON,
) -> None:
    """Write a commented recipe to start from."""
    from goldloop import workbench

    path = workbench.init(name, task, folder)
    if as_json:
        show_json({"recipe": path})
    else:
        show_facts(
            {"recipe": path, "next": f"edit it, then `goldloop doctor {path}` and `goldloop run {path}`"}
        )


def doctor(
    recipe: Path = typer.Argument(None, help="A recipe to check too.", show_default=False),
    overrides: list[str] = OVERRIDES,
    as_json: bool = AS_JSON,
) -> None:
    """What would fail, before it does."""
    from goldloop import workbench

    findings = workbench.doctor(recipe, overrides or ())
    if as_json:
        show_json([finding.facts() for finding in findings])
    else:
        show_table(
            ("", "what", "found"), [(finding.state, finding.what, finding.found) for finding in findings]
        )
    if any(finding.state == "fails" for finding in findings):
        raise typer.Exit(1)


def simulate(
    recipe: Path = RECIPE,
    overrides: list[str] = OVERRIDES,
    annotators: int = typer.Option(2, min=1, max=20, help="How many simulated annotators."),
    error_rate: float = typer.Option(
        None, min=0.0, max=1.0, help="Share of answers that are wrong; by default 0.05, of a reviewer 0."
    ),
    limit: int = typer.Option(None, min=1, help="Tasks that each of them does in all; by default every one."),
    reviewer: bool = typer.Option(
        False, "--reviewer", help="One reviewer instead, on the tasks that `relabel` has sent back."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Annotate with simulated annotators, to try goldloop out.

    They know the truth that sources with `label: {use: truth}` keep hidden, and err at the stated rate.
    They work through Label Studio as people's browsers do, and on the embedded server only.
    """
    from goldloop.recipe import load
    from goldloop.simulation import simulate

    report = simulate(
        load(recipe, overrides or ()),
        annotators=annotators,
        error_rate=error_rate,
        limit=limit,
        reviewer=reviewer,
        progress=progress(),
    )
    if as_json:
        show_json(report)
    else:
        show_facts({name: f"{done} answers in all" for name, done in report.items()})
