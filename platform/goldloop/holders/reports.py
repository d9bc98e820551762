"""Reports of models: what was expected and answered of each item, and the page with the worst ones."""

from __future__ import annotations

from typing_extensions import override

from goldloop import wiring
from goldloop.holders.base import Holder, Place
from goldloop.progress import Progress


class Reports(Holder):
    """The reports beside the runs; their figures stay as they were measured."""

    kind = "report"

    @override
    def find(self, key: str) -> list[Place]:
        from goldloop.evaluation.erasure import reports_with

        found = reports_with(self.workspace.runs, key)
        return [self.place(folder, "expected and answered") for folder in found]

    @override
    def erase(self, key: str, progress: Progress) -> list[Place]:
        from goldloop.evaluation.erasure import reports_with, rewrite_without
        from goldloop.evaluation.report import Report

        for folder in list(reports_with(self.workspace.runs, key)):
            contents = wiring.contents(self.workspace, Report.load(folder).name)
            rewrite_without(folder, key, contents)
        return []
