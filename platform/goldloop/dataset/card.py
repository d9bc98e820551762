"""The dataset card: for people, and for `datasets`, which reads from its head where the splits are.

The form is the Hugging Face Hub's, so that a version's folder can be uploaded as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.dataset.shards import Entry, features_of
from goldloop.records import Outcome
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    from goldloop.dataset.version import Version

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~])")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(
    version: Version,
    task: Task[Any],
    entries: Sequence[Entry],
    outcomes: Sequence[Outcome],
    agreement: Mapping[str, float | int | None],
) -> str:
    """The card of a version as Markdown with the Hub's metadata.

    Args:
        version: what it is about.
        task: with the version's class registry.
        entries: its rows.
        outcomes: one per item that was considered.
        agreement: `mean`, `items` and `alpha`.
    """
    from jinja2 import Template

    form = Path(__file__).with_name("card.md.jinja").read_text(encoding="utf-8")
    card: str = Template(form, trim_blocks=True, lstrip_blocks=True).render(
        card_data=_metadata(version, task, entries),
        version=version,
        rows=len(entries),
        provenances=sorted(Counter(entry.label.provenance for entry in entries).items()),
        annotators=len({name for entry in entries for name in entry.label.annotators}),
        outcomes=sorted(Counter(outcome.outcome for outcome in outcomes).items()),
        agreement=agreement,
        plain=_plain,
    )
    return card.rstrip() + "\n"


def _metadata(version: Version, task: Task[Any], entries: Sequence[Entry]) -> str:
    """The head: where each split's files are, and the features, as `datasets` wants to read them."""
    from datasets import DatasetInfo, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    present = {split: count for split, count in version.counts.items() if count}
    files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in present]
    splits = SplitDict({split: SplitInfo(split, num_examples=count) for split, count in present.items()})
    data = DatasetCardData(
        pretty_name=version.name,
        task_categories=[version.task["kind"]],
        size_categories=next((name for size, name in _SIZES if len(entries) < size), "n>1M"),
        tags=["goldloop"],
        configs=[{"config_name": "default", "data_files": files}],
    )
    DatasetInfosDict(default=DatasetInfo(features=features_of(task), splits=splits)).to_dataset_card_data(
        data
    )
    return str(data.to_yaml())


def _plain(text: object) -> str:
    """Words that Markdown shows as they are."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))
