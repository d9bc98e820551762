"""MLflow: what models were judged by, kept with them as files of their runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from goldloop.holders.base import Holder, Place
from goldloop.progress import Progress
from goldloop.sqlite_files import compact

if TYPE_CHECKING:
    from goldloop.registry.judged import Judged


class Judgements(Holder):
    """The reports and verdicts in the model registry."""

    kind = "mlflow"

    @override
    def find(self, key: str) -> list[Place]:
        if not self._has_runs():
            return []
        found = self._judged().of_item(key)
        return [self.place(each, "expected and answered") for each in found]

    @override
    def erase(self, key: str, progress: Progress) -> list[Place]:
        if self._has_runs():
            self._judged().rewrite_without(key)
            compact(self._database)
        return []

    @property
    def _database(self) -> Path:
        return self.workspace.root / "mlflow.db"

    def _has_runs(self) -> bool:
        # Asking MLflow costs seconds; without a run there is nothing to ask about.
        return self.workspace.runs.exists()

    def _judged(self) -> Judged:
        from goldloop.registry.judged import Judged

        return Judged(self.workspace.tracking_uri, self.workspace.root / "mlflow")
