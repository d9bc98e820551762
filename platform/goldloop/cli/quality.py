"""What the labels are worth, and who made them: `suspects | relabel | quality | annotators`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from goldloop.cli.display import AS_JSON, OVERRIDES, RECIPE, progress, show_facts, show_json, show_table

if TYPE_CHECKING:
    from goldloop.quality.measured import Measured
    from goldloop.quality.suspects import Suspects
    from goldloop.quality.sway import Sway

TARGET = typer.Argument(
    ..., metavar="RECIPE|VERSION", help="A recipe's file, NAME or NAME@DIGEST.", show_default=False
)
WAY = typer.Option(
    "auto", "--way", help="How to judge: embeddings, training, or auto, which chooses by the recipe."
)
FOLDS = typer.Option(5, "--folds", min=2, help="Into how many parts the items are dealt.")
_SHOWN = 20
_LONGEST = 70


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (suspects, relabel, quality, annotators):
        app.command()(command)


def suspects(
    target: str = TARGET,
    overrides: list[str] = OVERRIDES,
    way: str = WAY,
    folds: int = FOLDS,
    limit: int = typer.Option(_SHOWN, "--limit", min=1, help="So many are shown."),
    as_json: bool = AS_JSON,
) -> None:
    """Labels that are probably wrong.

    They are judged by models that have not seen their items; nothing is changed.
    """
    from goldloop.suspicion import suspects

    found = suspects(_target(target, overrides), progress=progress(), way=_way(way), folds=folds)
    if as_json:
        show_json(found.facts())
        return
    _show_suspects(found, limit)
    show_facts(
        {
            "labels": f"{len(found.items):,} of {found.version}, {len(found.flagged):,} probably wrong",
            "judged by": f"{found.model}, {found.folds} folds: {found.metric} {found.value:.3f} out of fold",
            "page": found.page,
            "next": f"goldloop relabel {target}" if target.endswith(_YAML) else "goldloop relabel RECIPE",
        }
    )


def _show_suspects(found: Suspects, limit: int) -> None:
    from goldloop.tasks import tasks

    task = tasks.create(found.task)
    rows = [
        (
            f"{suspect.key[:12]}{' *' if suspect.flagged else ''}",
            f"{suspect.quality:.3f}",
            suspect.split,
            _short(task.describe(suspect.given)),
            _short(task.describe(suspect.suggested)),
        )
        for suspect in found.items[:limit]
    ]
    show_table(
        ("item", "quality", "split", "labelled", "the model says"),
        rows,
        "Most doubtful first (* probably wrong)",
    )


def relabel(
    recipe: Path = RECIPE,
    overrides: list[str] = OVERRIDES,
    limit: int = typer.Option(
        None, "--limit", min=1, help="So many of the most doubtful; by default all that are flagged."
    ),
    tell: bool = typer.Option(
        False, "--tell", help="Also tell annotators what the model says; it is noted with their answers."
    ),
    way: str = WAY,
    folds: int = FOLDS,
    as_json: bool = AS_JSON,
) -> None:
    """Send doubtful labels back into Label Studio, with reasons.

    The next commit tells what came of them.
    """
    from dataclasses import asdict

    from goldloop.recipe import load
    from goldloop.relabeling import relabel

    done = relabel(
        load(recipe, overrides or ()), progress=progress(), limit=limit, tell=tell, way=_way(way), folds=folds
    )
    if as_json:
        show_json(asdict(done))
        return
    show_facts({"sent back now": done.sent, "suspects": done.balance, "annotate at": done.address})


def quality(
    target: str = TARGET,
    overrides: list[str] = OVERRIDES,
    way: str = WAY,
    folds: int = FOLDS,
    as_json: bool = AS_JSON,
) -> None:
    """All that is known of the quality of a version.

    What was found, how sure it is, and what to do.
    """
    from goldloop.assessment import quality_

    found = quality_(_target(target, overrides), progress=progress(), way=_way(way), folds=folds)
    if as_json:
        show_json(found.facts())
        return
    for finding in found.findings:
        mark = {"act": "!!", "look": " !", "fine": "ok", "unknown": " ?"}[finding.state]
        typer.echo(f"{mark}  {finding.title}")
        for name, text in (("", finding.meaning), ("sure: ", finding.certainty), ("do: ", finding.remedy)):
            if text:
                typer.echo(f"    {name}{text}")
    show_facts({"version": found.version, "page": found.page})


def annotators(recipe: Path = RECIPE, overrides: list[str] = OVERRIDES, as_json: bool = AS_JSON) -> None:
    """How good each annotator is.

    Their answers are held against known ones, against the others' and in time; and it is told how far
    suggestions sway them.
    """
    from goldloop.appraisal import annotators
    from goldloop.recipe import load

    done = annotators(load(recipe, overrides or ()), progress=progress())
    if as_json:
        show_json(done.facts())
        return
    rows = [
        (
            one.annotator,
            f"{one.answers:,}",
            f"{one.skips:,}",
            *_measured(one.controls),
            *_measured(one.others),
            "-" if one.pace is None else f"{one.pace.median:.1f}",
            _swayed(one.swayed),
            "; ".join(one.remarks),
        )
        for one in done.found.annotators
    ]
    columns = (
        "annotator", "answers", "skips", "known answers", "kappa", "the others", "kappa", "seconds",
        "swayed", "",
    )  # fmt: skip
    show_table(columns, rows, "Agreement with 95% intervals; kappa is beyond chance")
    show_facts({"suggestions sway by": _swayed(done.found.swayed), "page": done.page})


def _measured(found: Measured | None) -> tuple[str, str]:
    if found is None:
        return "-", "-"
    bounds = "" if found.interval is None else " ({:.0%} to {:.0%})".format(*found.interval)
    beyond = "-" if found.beyond_chance is None else f"{found.beyond_chance:.2f}"
    return f"{found.agreement:.0%}{bounds}", beyond


def _swayed(found: Sway | None) -> str:
    if found is None:
        return "-"
    bounds = "" if found.interval is None else " ({:+.0%} to {:+.0%})".format(*found.interval)
    return f"{found.difference:+.0%}{bounds}"


_YAML = (".yaml", ".yml")


def _target(target: str, overrides: list[str] | None) -> Any:
    """A recipe, or the name of a version."""
    if target.endswith(_YAML) or Path(target).is_file():
        from goldloop.recipe import load

        return load(target, overrides or ())
    if overrides:
        raise typer.BadParameter("fields can be overridden of a recipe's file alone")
    return target


def _way(way: str) -> Any:
    if way not in ("auto", "embeddings", "training"):
        raise typer.BadParameter(f"--way is auto, embeddings or training, not {way!r}")
    return way


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
