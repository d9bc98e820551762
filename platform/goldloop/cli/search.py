"""Before and around training: `tune | estimate | budget`."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from goldloop.cli.display import AS_JSON, OVERRIDES, RECIPE, progress, show_facts, show_json, show_table

if TYPE_CHECKING:
    from goldloop.estimation import Estimate
    from goldloop.learning_curve.budget import Budget, Worth
    from goldloop.results import Tuned


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (tune, estimate, budget):
        app.command()(command)


def tune(
    recipe: Path = RECIPE,
    overrides: list[str] = OVERRIDES,
    apply: Path = typer.Option(
        None,
        "--apply",
        help="Write a recipe with the best settings there; the recipe itself may be named.",
        show_default=False,
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Search better training settings.

    They are judged on the validation split alone; a killed search goes on.
    """
    from goldloop import changed_recipe
    from goldloop.recipe import load
    from goldloop.tuning import tune

    found = tune(load(recipe, overrides or ()), progress=progress())
    written = None
    if apply is not None:
        remark = f"Settings found by `goldloop tune` on {found.version}: {_reached(found)}."
        changed_recipe.write(recipe, apply, [*(overrides or ()), *found.overrides], remark)
        written = str(apply)
    if as_json:
        show_json({**found.facts(), "applied": written})
        return
    _show_trials(found)
    show_facts(_summary(found, recipe, overrides or [], written))


def _show_trials(found: Tuned) -> None:
    names = list(found.best.settings)
    importance = found.importance or {}
    short = [name.removeprefix("training.") for name in names]
    rows = [
        (
            f"{trial.number + 1}{' *' if trial.number == found.best.number else ''}",
            "-" if trial.value is None else f"{trial.value:.4f}",
            *(trial.settings[name] for name in names),
            trial.steps,
            f"{trial.seconds:.0f} s",
            trial.outcome,
        )
        for trial in sorted(found.trials, key=_rank)
    ]
    if importance:
        shares = [f"{importance[name]:.0%}" if name in importance else "-" for name in names]
        rows.append(("", "importance", *shares, "", "", ""))
    show_table(
        ("trial", f"validation {found.metric}", *short, "steps", "time", "outcome"),
        rows,
        f"{len(found.trials)} trials on {found.version}",
    )


def _rank(trial: Any) -> tuple[bool, float]:
    return trial.outcome != "finished", -(trial.value if trial.value is not None else float("-inf"))


def _reached(found: Tuned) -> str:
    return f"validation {found.metric} {found.best.value:.4f} over {found.validation_items} items"


def _summary(found: Tuned, recipe: Path, overrides: list[str], written: str | None) -> dict[str, Any]:
    own = "" if found.own is None else f"; the recipe's own settings: {found.own:.4f}"
    stopped = sum(trial.outcome == "pruned" for trial in found.trials)
    failed = sum(trial.outcome == "failed" for trial in found.trials)
    counted = [f"{stopped} stopped early"] + ([f"{failed} failed"] if failed else [])
    kept = [override for override in overrides if not override.startswith("tuning")]
    command = ["goldloop", "train", str(recipe), *kept, *found.overrides]
    facts = {
        "best": f"trial {found.best.number + 1}, {_reached(found)}{own}",
        "cost": f"{found.seconds / 60:.1f} minutes for {len(found.trials)} trials, {', '.join(counted)}",
        "beware": "chosen for this figure, so it flatters; the test split is untouched and tells the truth",
        "next": " ".join(shlex.quote(part) for part in command) + "   # trained already: only registers it",
    }
    if written is not None:
        facts["written"] = written
        facts["next"] = f"goldloop train {shlex.quote(written)}   # trained already: only registers it"
    return facts


def estimate(
    recipe: Path = RECIPE,
    overrides: list[str] = OVERRIDES,
    price_per_hour: float = typer.Option(
        None, "--price-per-hour", min=0.0, help="What an hour of one device costs, in your currency."
    ),
    devices: int = typer.Option(1, "--devices", min=1, help="Devices like this one, for a lower bound."),
    as_json: bool = AS_JSON,
) -> None:
    """Memory, time, disk and cost that a training run will take.

    They are measured over a few steps, which leave nothing behind.
    """
    from goldloop.estimation import estimate
    from goldloop.recipe import load

    found = estimate(
        load(recipe, overrides or ()), progress=progress(), devices=devices, price_per_hour=price_per_hour
    )
    if as_json:
        show_json(found.facts())
        return
    show_facts(_needs(found))
    for note in found.notes:
        typer.echo(f"note: {note}")


def _needs(found: Estimate) -> dict[str, str]:
    memory, duration, disk = found.memory, found.duration, found.disk
    kept = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimizer": memory.optimizer,
        "activations and the rest": memory.activations,
        "Python and libraries": memory.base,
    }
    spent = {
        "start": duration.start,
        "preparation of data": duration.preparation,
        "steps": duration.steps,
        "evaluation": duration.evaluation,
        "end": duration.end,
    }
    facts = {
        "measured on": f"{found.data}, {found.device}, in {found.seconds:.0f} s",
        "items": ", ".join(f"{count:,} {split}" for split, count in found.items.items()),
        "parameters": f"{found.parameters:,}, of which {found.trained:,} learn",
        "memory": f"{_size(memory.peak)} at most in each process",
        **{f"  {name}": _size(count) for name, count in kept.items() if count},
        "steps": f"{found.steps:,}, each {_milliseconds(found.step)} ms on average "
        f"({_milliseconds(found.step_low)} to {_milliseconds(found.step_high)}), "
        f"scored {found.evaluations} times",
        "time": f"{_time(duration.total)} (between {_time(duration.low)} and {_time(duration.high)})",
        **{f"  {name}": _time(seconds) for name, seconds in spent.items()},
    }
    if duration.earliest is not None:
        facts["  stopped early"] = f"{_time(duration.earliest)} at the earliest"
    facts["disk"] = _size(disk.cache + disk.checkpoints + disk.model)
    facts |= {
        "  prepared data": f"{_size(disk.cache)}, kept for other runs",
        "  checkpoints": f"{_size(disk.checkpoints)}, until the run ends",
        "  model": _size(disk.model),
    }
    if found.cost is not None:
        facts["cost"] = _money(found.cost)
    if found.devices > 1:
        shared = f"at least {_time(duration.on_devices)}, if steps were shared out ideally"
        if found.cost_on_devices is not None:
            shared += f"; at least {_money(found.cost_on_devices)}"
        facts[f"on {found.devices} devices"] = shared
    return facts


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _money(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 0.1 else f"{amount:.2g}"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    if minutes < 100:
        return f"{minutes:.1f} min" if minutes < 10 else f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f}"


def budget(
    recipe: Path = RECIPE,
    overrides: list[str] = OVERRIDES,
    labels: list[int] = typer.Option(
        None,
        "--labels",
        min=1,
        help="So many more labels; may be said again. By default a few round numbers.",
    ),
    way: str = typer.Option(
        "auto", "--way", help="What is trained: embeddings, training, or auto, which chooses by the recipe."
    ),
    split: str = typer.Option("test", "--split", help="What judges: test or validation."),
    as_json: bool = AS_JSON,
) -> None:
    """What more labels would be worth, with an interval.

    It is told by trainings on some of those that there are.
    """
    from goldloop.budgeting import budget
    from goldloop.recipe import load

    if way not in ("auto", "embeddings", "training"):
        raise typer.BadParameter(f"--way is auto, embeddings or training, not {way!r}")
    if split not in ("test", "validation"):
        raise typer.BadParameter(f"--split is test or validation, not {split!r}")
    chosen: Any = {"way": way, "split": split}
    found = budget(load(recipe, overrides or ()), progress=progress(), **chosen)
    worths = found.worths(labels or found.ladder())
    if as_json:
        show_json({**found.facts(), "worth": [asdict(worth) for worth in worths]})
        return
    _show_worths(found, worths)


def _show_worths(found: Budget, worths: list[Worth]) -> None:
    rows = [
        (
            f"{worth.more:,}",
            f"{100 * worth.gain.value:+.1f}",
            f"{100 * worth.gain.low:+.1f} to {100 * worth.gain.high:+.1f}",
            f"{100 * worth.figure.value:.1f}%",
        )
        for worth in worths
    ]
    title = f"{found.split} {found.metric} by {found.labels:,} labels of {found.version}"
    show_table(("more labels", "points", "8 times of 10", "then"), rows, title)
    show_facts(
        {
            "now": f"{100 * found.curve.means[-1]:.1f}% by {found.trained:,} labels that train",
            "who learns": found.model,
            "so": "; ".join(worth.in_words() for worth in worths[-2:]),
            "page": found.page,
        }
    )
