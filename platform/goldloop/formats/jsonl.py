"""`jsonl`: a JSON object on each line; holds everything, of every task type.

    {"text": "...", "label": TARGET, "split": "train", "group": null, "annotators": [...]}
    {"image": "images/NAME.jpg", "label": TARGET, ...}          images lie beside the file

TARGET is the answer as goldloop's own targets are; a class's name for classification. `null` is no answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typing_extensions import override

from goldloop.formats._tables import Row, Table


class Jsonl(Table):
    """A JSON object on each line."""

    kinds = None
    holds_metadata = True
    extensions = frozenset({".jsonl"})

    @override
    def rows(self, path: Path) -> Iterator[Row]:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    values = json.loads(line.decode("utf-8-sig"))
                except ValueError as error:
                    yield Row(number, f"the line is not JSON: {error}")
                    continue
                if isinstance(values, dict):
                    yield Row(number, values)
                else:
                    yield Row(number, f"the line is no JSON object but {type(values).__name__}")

    @override
    def label_of(self, value: Any, kind: str) -> Any:
        return value

    @override
    def write_rows(self, path: Path, rows: Iterator[Mapping[str, Any]], columns: list[str]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
