"""The judgements that MLflow keeps with models, looked through for one item and written anew without it.

judged/<version>-<split>/gates.json     verdicts, which name the items that speak against the model
                        /report/        the report that was judged
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from goldloop.evaluation.erasure import reports_with, rewrite_without
from goldloop.registry.connection import RUN_TAG, Connection

_FOLDER = "judged"


class Judged:
    """The judgements in an MLflow registry.

    Every method raises ModelError where MLflow cannot be reached.

    Args:
        uri: of an MLflow server or database.
        root: a folder of this machine for what is fetched from a server.
    """

    def __init__(self, uri: str, root: Path) -> None:
        self._connection = Connection(uri, root)

    def of_item(self, key: str) -> list[str]:
        """The judgements that tell of an item, as `RUN/judged/...`."""
        return [f"{run}/{place}" for run, place, _ in self._fetched(key)]

    def rewrite_without(self, key: str) -> None:
        """Write the judgements that tell of an item anew, without it; figures and verdicts stay."""
        for run, place, folder in self._fetched(key):
            rewrite_without(folder / "report", key)
            gates = folder / "gates.json"
            facts = json.loads(gates.read_text(encoding="utf-8"))
            for verdict in facts["verdicts"]:
                verdict["examples"] = [each for each in verdict["examples"] if each != key]
            gates.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            with self._connection.failures():
                self._connection.client.log_artifacts(run, str(folder), place)

    def _fetched(self, key: str) -> Iterator[tuple[str, str, Path]]:
        """Run, place and a copy of each judgement that tells of an item."""
        with self._connection.failures(), tempfile.TemporaryDirectory() as aside:
            for run in self._runs():
                for entry in self._connection.client.list_artifacts(run, _FOLDER):
                    copy = Path(self._connection.client.download_artifacts(run, entry.path, aside))
                    if _tells(copy, key):
                        yield run, entry.path, copy

    def _runs(self) -> Iterator[str]:
        """The runs of all models that goldloop registered."""
        client = self._connection.client
        token: Any = None
        while True:
            page = client.search_model_versions(page_token=token)
            yield from (found.run_id for found in page if RUN_TAG in found.tags)
            token = page.token
            if not token:
                return


def _tells(folder: Path, key: str) -> bool:
    if any(reports_with(folder, key)):
        return True
    gates = folder / "gates.json"
    return gates.exists() and key.encode() in gates.read_bytes()
