"""Data sets and their versions: `import | export | versions | show | verify`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from goldloop.cli.display import AS_JSON, progress, show_facts, show_json, show_table

if TYPE_CHECKING:
    from goldloop.dataset.version import Version

VERSION = typer.Argument(
    ..., help="NAME for the latest version, NAME@DIGEST or NAME@TAG.", show_default=False
)

FORMAT = typer.Argument(
    ..., metavar="FORMAT", help="Such as coco, yolo, pascal-voc or conll.", show_default=False
)
OPTIONS = typer.Argument(
    None,
    metavar="[FIELD=VALUE]...",
    help="What the format must be told, such as 'void=[11]'.",
    show_default=False,
)
_SHOWN = 10


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("import")(import_)
    app.command()(export)
    app.command()(versions)
    app.command()(show)
    app.command()(verify)


def import_(
    form: str = FORMAT,
    folder: Path = typer.Argument(..., help="Where the data set lies.", show_default=False),
    options: list[str] = OPTIONS,
    name: str = typer.Option(..., "--name", help="The recipe's: lower case letters, digits and hyphens."),
    task: str = typer.Option(
        None, "--task", help="The task type, where the format holds several.", show_default=False
    ),
    use: str = typer.Option(
        "imported",
        "--use",
        help="What the labels are for: imported, annotation (people correct them) or truth.",
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Write a recipe for a labelled data set, and pull it.

    Classes are read from the data.
    """
    from goldloop import exchange

    done = exchange.import_(
        form, folder, name, task=task, options=options or (), use=use, progress=progress()
    )
    if as_json:
        show_json(done.facts())
        return
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in done.outcomes.items())
    show_facts({"recipe": done.recipe, "task": done.kind, "found": outcomes})
    if done.classes:
        rows = [(number, *entry) for number, entry in enumerate(done.classes.items())]
        show_table(("id", "class", "labels"), rows)
    for address, reason in list(done.quarantined.items())[:_SHOWN]:
        typer.echo(f"quarantined {address}: {reason}", err=True)
    if len(done.quarantined) > _SHOWN:
        typer.echo(f"and {len(done.quarantined) - _SHOWN} more; `--json` lists them all", err=True)


def export(
    version: str = VERSION,
    form: str = FORMAT,
    folder: Path = typer.Argument(..., help="Where to write; new, or empty.", show_default=False),
    options: list[str] = OPTIONS,
    split: str = typer.Option(None, help="This split alone: train, validation or test.", show_default=False),
    allow_loss: bool = typer.Option(False, "--allow-loss", help="Write what the format can hold of it."),
    as_json: bool = AS_JSON,
) -> None:
    """Write a version in another format.

    What that cannot hold is listed first, and refused.
    """
    from goldloop import exchange

    done = exchange.export(
        version, form, folder, split=split, allow_loss=allow_loss, options=options or (), progress=progress()
    )
    if as_json:
        show_json(done.facts())
        return
    counts = ", ".join(f"{count} {each}" for each, count in done.counts.items())
    show_facts({"version": done.version, "format": done.format, "written": counts, "folder": done.folder})


def versions(
    name: str = typer.Argument(None, help="A recipe's name; by default all.", show_default=False),
    as_json: bool = AS_JSON,
) -> None:
    """List dataset versions, the newest last."""
    from goldloop import workbench

    found = workbench.versions(name)
    names = {version.digest: _tags_of(version) for version in found}
    if as_json:
        show_json([{**version.facts(), "tags": names[version.digest]} for version in found])
        return
    columns = ("version", "tags", "rows", "classes", "committed", "message")
    rows = [
        (
            version.ref,
            ", ".join(names[version.digest]),
            sum(version.counts.values()),
            len(version.classes),
            version.created_at,
            version.message or "",
        )
        for version in found
    ]
    show_table(columns, rows)


def show(
    version: str = VERSION,
    as_croissant: bool = typer.Option(False, "--croissant", help="Print its Croissant metadata, JSON-LD."),
    as_json: bool = AS_JSON,
) -> None:
    """One version: splits, classes, agreement, where it lies.

    Of splits also how they came about.
    """
    from goldloop import workbench
    from goldloop.dataset.grouping import grouping_of

    found = workbench.show(version)
    if as_croissant:
        from goldloop.dataset.croissant import croissant

        show_json(croissant(found))
        return
    grouping = grouping_of(found)
    if as_json:
        told = {"tags": _tags_of(found), "labelling": found.labelling(), "grouping": grouping.facts()}
        show_json({**found.facts(), **told})
        return
    labelling = found.labelling()
    show_facts(
        {
            "version": found.ref,
            "digest": found.digest,
            "tags": ", ".join(_tags_of(found)) or "-",
            "parent": found.parent or "-",
            "task": found.task["kind"],
            "rows": ", ".join(f"{count} {split}" for split, count in found.counts.items()),
            **grouping.in_words(),
            **_agreement(labelling.get("agreement", {})),
            **_reviewed(labelling.get("reviewed", {})),
            **_outside(labelling.get("outside", 0)),
            "committed": found.created_at,
            "message": found.message or "-",
            "folder": found.folder,
        }
    )
    by_class = labelling.get("agreement", {}).get("classes", {})
    if found.classes:
        splits = list(found.class_counts)
        rows = [
            (
                name,
                number,
                *(found.class_counts[split].get(name, 0) for split in splits),
                *((_alpha(by_class[name]) if name in by_class else "-",) if by_class else ()),
            )
            for number, name in enumerate(found.classes)
        ]
        show_table(("class", "id", *splits, *(("alpha (95%)",) if by_class else ())), rows)
    _show_annotators(labelling.get("agreement", {}).get("annotators", {}))


def _agreement(facts: Mapping[str, Any]) -> dict[str, str]:
    """How far annotators agree, overall, in lines."""
    if facts.get("mean") is None:
        return {"agreement": "-"}
    told = {"agreement": f"{facts['mean']:.3f}, mean of {facts['items']:,} items answered twice or more"}
    if facts.get("alpha") is not None:
        told["Krippendorff's alpha"] = _alpha({**facts, "interval": facts.get("alpha_interval")})
    kappa = facts.get("kappa")
    if kappa:
        name = "Cohen's kappa" if kappa["kind"] == "cohen" else "Fleiss' kappa"
        told[name] = _alpha({**kappa, "alpha": kappa["value"]})
    if facts.get("as_of"):
        told["as of"] = f"{facts['as_of'][:12]}, all but the mean: few answers have changed since"
    return told


def _alpha(facts: Mapping[str, Any]) -> str:
    if facts["alpha"] is None:
        return "-"
    bounds = facts.get("interval")
    return f"{facts['alpha']:.2f}" + ("" if bounds is None else f" ({bounds[0]:.2f} to {bounds[1]:.2f})")


def _reviewed(counts: Mapping[str, int]) -> dict[str, str]:
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    return {"sent back": told} if told else {}


def _outside(count: int) -> dict[str, str]:
    return {"images outside": f"{count:,} rows have their address and digest"} if count else {}


def _show_annotators(annotators: Mapping[str, Mapping[str, Any]]) -> None:
    if not annotators:
        return

    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    rows = [
        (
            name,
            facts["answers"],
            facts["skips"],
            share(facts["with_others"]),
            share(facts["with_consensus"]),
            "-" if facts["seconds"] is None else f"{facts['seconds']:.1f} s",
        )
        for name, facts in annotators.items()
    ]
    show_table(("annotator", "answers", "skips", "like the others", "like the labels", "per task"), rows)


def _tags_of(version: Version) -> list[str]:
    from goldloop import workbench

    given = workbench.tags(version.name)[version.name].values()
    return [each.name for each in given if each.digest == version.digest]


def verify(
    version: str = VERSION,
    key: list[str] = typer.Option(
        None,
        help="A public key, or a file of them, of which one must have signed it; by default "
        "GOLDLOOP_TRUSTED_KEYS.",
        show_default=False,
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Recompute a version's digest and certificate from its bytes."""
    from goldloop import workbench
    from goldloop.dataset.certificate import signer_of

    loaded = workbench.show(version)
    faults = workbench.verify(version, keys=key or ())
    signer = signer_of(loaded.folder)
    if as_json:
        told = {"version": loaded.ref, "signed by": signer, "faults": [str(fault) for fault in faults]}
        show_json(told)
    elif not faults:
        typer.echo(
            f"{loaded.ref} is what its certificate says, {f'signed by {signer}' if signer else 'unsigned'}"
        )
    else:
        for fault in faults:
            typer.echo(f"{loaded.ref}: {fault}", err=True)
    if faults:
        raise typer.Exit(1)
