"""The dataset card: for people, and for `datasets`, which reads from its head where the splits are.

The form is the Hugging Face Hub's, so that a version's folder can be uploaded as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from goldloop.dataset.limits import known_limits
from goldloop.dataset.shards import ROW, features_of
from goldloop.dataset.tally import AS_OF, Tally
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    from jinja2 import Template

    from goldloop.dataset.version import Version

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~])")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(
    version: Version,
    task: Task[Any],
    tally: Tally,
    agreement: Mapping[str, Any],
    dead: Sequence[int] = (),
    reviewed: Mapping[str, int] | None = None,
    ledger: Mapping[str, Mapping[str, int]] | None = None,
    outside: int = 0,
) -> str:
    """The card of a version as Markdown with the Hub's metadata.

    Args:
        version: what it is about.
        task: with the version's class registry.
        tally: what its rows and items add up to.
        agreement: `mean`, `items`, `alpha` and what else is known of it.
        dead: numbers of rows in its files that are not in it.
        reviewed: what came of items that were sent back to annotators, in counts.
        ledger: stage -> outcome -> count, of the stages before; `pull SOURCE` for each source.
        outside: rows of its files that have the address of their image in place of its bytes.
    """
    card: str = _form().render(
        card_data=_metadata(version, task, tally.rows, dead),
        version=version,
        rows=tally.rows,
        provenances=sorted(tally.provenance.items()),
        annotators=len(tally.annotators),
        outcomes=sorted(tally.outcomes.items()),
        agreement=agreement,
        chance_corrected=list(_chance_corrected(agreement)),
        as_of=str(agreement.get(AS_OF, ""))[:12],
        people=[_person(name, facts) for name, facts in agreement.get("annotators", {}).items()],
        reviewed=sorted((reviewed or {}).items()),
        sources=_sources(ledger or {}),
        suggestions=sorted(tally.shown_models.items()),
        outside=outside,
        limits=list(known_limits(tally, agreement, version.classes)),
        plain=_plain,
    )
    return card.rstrip() + "\n"


def _chance_corrected(agreement: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of the table: over all items, then by class."""
    if agreement.get("alpha") is not None:
        yield _row("all answers", "Krippendorff's alpha", agreement, agreement["alpha"], "alpha_interval")
    kappa = agreement.get("kappa")
    if kappa:
        name = "Cohen's kappa" if kappa["kind"] == "cohen" else "Fleiss' kappa"
        yield _row("all answers", name, kappa, kappa["value"], "interval")
    for name, facts in agreement.get("classes", {}).items():
        if facts["alpha"] is not None:
            yield _row(name, "alpha", facts, facts["alpha"], "interval")


def _row(of: str, figure: str, facts: Mapping[str, Any], value: float, interval: str) -> dict[str, Any]:
    bounds = facts.get(interval)
    return {
        "of": of,
        "figure": figure,
        "value": f"{value:.3f}",
        "interval": "-" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}",
        "items": facts["items"],
    }


def _person(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    shares = {
        "others": facts["with_others"],
        "labels": facts["with_consensus"],
    }
    return {
        "name": name,
        "answers": facts["answers"],
        "seconds": "-" if facts["seconds"] is None else f"{facts['seconds']:.1f}",
        **{key: "-" if share is None else f"{share:.1%}" for key, share in shares.items()},
    }


def _sources(ledger: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str]]:
    """Each source, and what became of its addresses in words."""
    books = {stage.removeprefix("pull "): told for stage, told in ledger.items() if stage.startswith("pull ")}
    return [
        (name, ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(told.items())))
        for name, told in books.items()
    ]


@cache
def _form() -> Template:
    from jinja2 import Template

    form = Path(__file__).with_name("card.md.jinja").read_text(encoding="utf-8")
    template: Template = Template(form, trim_blocks=True, lstrip_blocks=True)
    return template


def _metadata(version: Version, task: Task[Any], rows: int, dead: Sequence[int]) -> str:
    """The head: where each split's files are, which of their columns and rows are meant, and the features.

    In the form that `datasets` reads; `filters` are those of its reader of Parquet files.
    """
    from datasets import DatasetInfo, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    present = {split: count for split, count in version.counts.items() if count}
    files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in present]
    features = features_of(task)
    splits = SplitDict({split: SplitInfo(split, num_examples=count) for split, count in present.items()})
    data = DatasetCardData(
        pretty_name=version.name,
        task_categories=[version.task["kind"]],
        size_categories=next((name for size, name in _SIZES if rows < size), "n>1M"),
        tags=["goldloop"],
        configs=[{"config_name": "default", "columns": list(features), "data_files": files}],
    )
    DatasetInfosDict(default=DatasetInfo(features=features, splits=splits)).to_dataset_card_data(data)
    fields: Mapping[str, Any] = data.to_dict()  # type: ignore[no-untyped-call]
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    head: str = yaml.dump(fields, Dumper=dumper, sort_keys=False, allow_unicode=True)
    if not dead:
        return head
    # One line, by hand: a writer of YAML would give each number a line of its own.
    told = f"  filters: [[{ROW}, not in, [{', '.join(map(str, dead))}]]]\n"
    return head.replace("- config_name: default\n", f"- config_name: default\n{told}", 1)


def _plain(text: object) -> str:
    """Words that Markdown shows as they are."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))
