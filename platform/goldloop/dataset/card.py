"""The dataset card: for people, and for `datasets`, which reads from its head where the splits are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from goldloop.dataset.shards import Entry, flush
from goldloop.dataset.splits import SPLITS

if TYPE_CHECKING:
    from goldloop.dataset.version import Version

_CARD = """\
---
{head}---
# {ref}

{message}{rows} labelled items for `{kind}`, made by goldloop. Digest: `{digest}`.

| split | rows |
| --- | --- |
{splits}

| class | id | rows |
| --- | --- | --- |
{classes}

| how it was labelled | rows |
| --- | --- |
{provenance}

{agreement}

Every item that was considered has an outcome in `goldloop/ledger.parquet`; what was checked is in
`goldloop/certificate.json`; `goldloop verify {ref}` recomputes both from the bytes.

```python
import datasets
datasets.load_dataset("path/to/this/folder")
```
"""


def write_card(path: Path, version: Version, entries: Sequence[Entry]) -> None:
    """Write the card of a version."""
    present = [split for split in SPLITS if version.counts[split]]
    files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in present]
    head = {"configs": [{"config_name": "default", "data_files": files}], "tags": ["goldloop"]}
    labelled = Counter(str(entry.label.target) for entry in entries)
    provenance = Counter(entry.label.provenance for entry in entries)
    agreement = (
        "No item was labelled by two annotators or more."
        if version.agreement is None
        else f"Annotators agree on {version.agreement:.1%} of pairs of answers, over the items kept."
    )
    text = _CARD.format(
        head=yaml.safe_dump(head, sort_keys=False),
        ref=version.ref,
        message=f"{version.message}\n\n" if version.message else "",
        rows=len(entries),
        kind=version.task["kind"],
        digest=version.digest,
        splits=_table((split, version.counts[split]) for split in SPLITS),
        classes=_table((name, number, labelled[name]) for number, name in enumerate(version.classes)),
        provenance=_table(sorted(provenance.items())),
        agreement=agreement,
    )
    path.write_text(text, encoding="utf-8")
    flush(path)


def _table(rows: Any) -> str:
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)
