"""Models: `models | evaluate | blame | promote | rollback | serve | access | deploy | export-model`."""

from __future__ import annotations

from pathlib import Path

import typer

from goldloop.cli.display import AS_JSON, progress, show_facts, show_json, show_table

MODEL = typer.Argument(..., help="NAME for the champion, NAME/latest, or NAME/NUMBER.", show_default=False)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (models, evaluate, blame, promote, rollback, serve, access, deploy, export_model):
        app.command()(command)


def models(
    name: str = typer.Argument(None, help="A recipe's name; by default all.", show_default=False),
    as_json: bool = AS_JSON,
) -> None:
    """List registered models."""
    from goldloop import workbench

    found = workbench.models(name)
    if as_json:
        show_json([model.facts() for model in found])
        return
    columns = ("model", "aliases", "metric", "value", "trained on", "registered")
    rows = [
        (
            model.ref,
            ", ".join(model.aliases),
            model.metric,
            "-" if model.value is None else f"{model.value:.4f}",
            model.version,
            model.created_at,
        )
        for model in found
    ]
    show_table(columns, rows)


def evaluate(
    model: str = MODEL,
    on: str = typer.Option(None, "--on", help="NAME@DIGEST; by default the latest version."),
    split: str = typer.Option("test", help="Which split."),
    spoiled: bool = typer.Option(
        False, "--spoiled", help="Ask again about spoiled contents: out of focus, with typing errors."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """How good a model is on a version."""
    from goldloop.loop import evaluate

    report = evaluate(model, on=on, split=split, spoiled=spoiled, progress=progress())
    if as_json:
        show_json(report.model_dump(mode="json", exclude={"items"}))
        return
    rows = [
        (name, f"{figure.value:.4f}", f"{figure.low:.4f} to {figure.high:.4f}")
        for name, figure in report.metrics.items()
    ]
    show_table(("figure", "value", "95% interval"), rows, f"{report.model} on {report.version} {split}")
    if weak := report.weak():
        worse = [
            (
                each.name,
                str(each.items),
                f"{each.agreement.value:.3f} ({each.agreement.low:.3f} to {each.agreement.high:.3f})",
                f"{each.rest:.3f}",
            )
            for each in weak
        ]
        show_table(("worse where", "items", "agreement", "elsewhere"), worse)
    if report.robustness:
        spoilt = [
            (each.name, f"{each.agreement.value:.3f}", f"{0 - each.loss.value:+.3f}")
            for each in report.robustness
        ]
        show_table(("content", "agreement", "difference"), spoilt)


def blame(
    model: str = MODEL,
    against: str = typer.Option(
        None, "--against", help="The older model; by default the champion, or the one before."
    ),
    on: str = typer.Option(None, "--on", help="NAME@DIGEST that judges; by default the latest version."),
    as_json: bool = AS_JSON,
) -> None:
    """Why a model is worse than another.

    Each difference is taken back, and it is trained again without it.
    """
    from goldloop.attribution import blame

    found = blame(model, against, on=on, progress=progress())
    if as_json:
        show_json(found.facts())
        return
    rows = [
        (
            cause.factor,
            cause.differs,
            f"{cause.figure:.4f}",
            f"{cause.gain:+.4f} ({cause.low:+.4f} to {cause.high:+.4f})",
            f"{cause.chance:.1%}",
        )
        for cause in found.causes
    ]
    columns = ("taken back", "difference", found.metric, "gain, 95%", "by chance")
    show_table(columns, rows, found.headline())


def promote(
    model: str = MODEL,
    recipe: Path = typer.Option(None, help="A recipe whose gates to apply; by default the model's own."),
    by: str = typer.Option(None, "--by", help="Who promotes it in spite of its gates; needs --because."),
    because: str = typer.Option(None, "--because", help="Why; recorded with the model."),
    as_json: bool = AS_JSON,
) -> None:
    """Make a model champion, if every gate lets it through."""
    from goldloop.loop import promote
    from goldloop.recipe import load

    if (by is None) != (because is None):
        raise typer.BadParameter("--by and --because go together")
    override = (by, because) if by is not None else None
    loaded = load(recipe) if recipe is not None else None
    result = promote(model, recipe=loaded, override=override, progress=progress())
    if as_json:
        verdicts = [verdict.model_dump() for verdict in result.verdicts]
        show_json({"model": result.model.ref, "promoted": result.promoted, "verdicts": verdicts})
    else:
        rows = [
            ("passed" if verdict.passed else "refused", verdict.explanation) for verdict in result.verdicts
        ]
        show_table(
            ("gate", "why"), rows, f"{result.model.ref} is {'' if result.promoted else 'not '}champion"
        )
    if not result.promoted:
        raise typer.Exit(1)


def rollback(
    name: str = typer.Argument(..., help="A recipe's name.", show_default=False), as_json: bool = AS_JSON
) -> None:
    """Make the former champion champion again."""
    from goldloop import workbench

    model = workbench.rollback(name)
    if as_json:
        show_json(model.facts())
    else:
        show_facts({"champion": model.ref})


def serve(
    names: list[str] = typer.Argument(
        None, help="Recipes' names; by default all champions.", show_default=False
    ),
    host: str = typer.Option(None, help="Address to listen on; by default the recipe's.", show_default=False),
    port: int = typer.Option(
        None, min=0, max=65535, help="Port; 0 takes a free one; by default the recipe's."
    ),
    device: str = typer.Option(None, help="Such as cuda:1; by default the emptiest GPU, else the CPU."),
    models_from: Path = typer.Option(
        None, "--from", help="Serve the models of a folder, NAME/NUMBER, instead of champions."
    ),
    label_studio: bool = typer.Option(
        False, "--label-studio", help="Be the model of each recipe's Label Studio project."
    ),
    without_keys: bool = typer.Option(
        False, "--without-keys", help="Let anybody ask who reaches this address."
    ),
) -> None:
    """Answer requests with champions, Label Studio's as well.

    At /predict, and as Label Studio's ML backend at /label-studio/NAME.
    """
    from goldloop import hosting

    say = progress().say
    hosting.serve(
        names or None,
        host=host,
        port=port,
        device=device,
        label_studio=label_studio,
        models_from=models_from,
        without_keys=without_keys,
        ready=lambda models, url: say(f"serve: {models} at {url}, described at {url}/docs"),
    )


def access(
    new: str = typer.Option(
        None, help="Make a key for this name, and show it this once.", show_default=False
    ),
    remove: str = typer.Option(None, help="Take the key of this name away.", show_default=False),
    as_json: bool = AS_JSON,
) -> None:
    """The keys that `goldloop serve` asks for.

    Of each only a digest is kept.
    """
    from goldloop import hosting

    made, known = hosting.access(new=new, remove=remove)
    if as_json:
        show_json(
            {"key": made, "keys": [{"name": each.name, "created_at": each.created_at} for each in known]}
        )
        return
    if made is not None:
        show_facts({"key": made, "": "shown this once; send it as `Authorization: Bearer KEY`"})
    show_table(("name", "made"), [(each.name, each.created_at) for each in known])


def deploy(
    model: str = typer.Argument(
        ..., help="NAME for the champion, NAME/NUMBER, or a recipe's file.", show_default=False
    ),
    to: Path = typer.Option(None, "--to", help="The folder; by default deploy/NAME.", show_default=False),
    image: str = typer.Option(None, help="The image's name and tag.", show_default=False),
    cpus: int = typer.Option(2, min=1, help="Cores for each replica."),
    gpus: int = typer.Option(0, min=0, help="GPUs for each replica."),
    fewest: int = typer.Option(2, min=1, help="Replicas at least."),
    most: int = typer.Option(8, min=1, help="Replicas at most."),
    as_json: bool = AS_JSON,
) -> None:
    """Write what serves a model elsewhere.

    A Dockerfile, a compose file and Kubernetes manifests.
    """
    from goldloop.deploying import deploy

    written = deploy(model, to, image=image, cpus=cpus, gpus=gpus, replicas=(fewest, most))
    facts = {"model": written.model, "image": written.image, "folder": written.folder}
    if as_json:
        show_json(facts)
    else:
        show_facts({**facts, "next": f"{written.folder / 'README.md'} says how to start it"})


def export_model(
    model: str = MODEL,
    form: str = typer.Argument("folder", help="folder (what transformers loads) or onnx."),
    to: Path = typer.Option(None, "--to", help="The folder; by default exports/NAME-NUMBER-FORM."),
    push: str = typer.Option(
        None, "--push", help="USER/NAME of a repository on the Hub to send it to; a new one is private."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Write a model for elsewhere: for transformers, or as ONNX.

    The folder has safetensors, processor and card; ONNX is checked for equal answers.
    """
    from typing import Any

    from goldloop.exporting import export_model

    if form not in ("folder", "onnx"):
        raise typer.BadParameter(f"the form is folder or onnx, not {form!r}")
    chosen: Any = form
    done = export_model(model, to, form=chosen, push=push, progress=progress())
    if as_json:
        show_json(done.facts())
        return
    facts: dict[str, object] = {"model": done.model, "folder": done.folder, "files": ", ".join(done.files)}
    if done.check is not None:
        facts["answers differ by"] = (
            f"{done.check.difference:.1e} at most, on {done.check.items} items; "
            f"{done.check.tolerance:g} are let through"
        )
    if done.repository is not None:
        facts["sent to"] = done.repository
    show_facts(facts)
