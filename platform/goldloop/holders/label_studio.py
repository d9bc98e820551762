"""Label Studio: the content's tasks in projects that goldloop made, with all that hangs on them."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import delete, select
from typing_extensions import override

from goldloop.catalog.server_side import Place as Project
from goldloop.catalog.tables import batches, projects, tasks
from goldloop.holders.base import Holder, Place
from goldloop.progress import Progress
from goldloop.sqlite_files import compact


class LabelStudio(Holder):
    """Tasks on the server in use; what lies on another one is told."""

    kind = "label-studio"

    @override
    def find(self, key: str) -> list[Place]:
        return [
            self.place(f"{project.server}, {project.recipe}", what)
            for project, _, what in self._projects(key)
        ]

    @override
    def erase(self, key: str, progress: Progress) -> list[Place]:
        from goldloop.labeling.client import LabelStudioClient
        from goldloop.labeling.session import access_of, marker_of

        found = list(self._projects(key))
        if not found:
            return []
        access = access_of(self.workspace)
        here = "embedded" if access.embedded else access.url
        client = LabelStudioClient(access.url, access.api_key)
        left = []
        for project, number, what in found:
            if project.server != here:
                elsewhere = f"{what}; LABEL_STUDIO_URL does not name this server"
                left.append(self.place(f"{project.server}, {project.recipe}", elsewhere))
                continue
            progress.say(f"forget: the tasks of {project.recipe} on {access.url}")
            there = client.find_content(marker_of(self.workspace, project.recipe), number, key)
            if there is not None:
                client.erase_content(there, key)
                left += [
                    self.place(f"{access.url}, media folder of the server, {path}", "an uploaded file")
                    for path in (there.uploads or {}).values()
                ]
                if access.embedded:
                    self._drop_downloads(there.project)
            with self.workspace.engine.begin() as connection:
                connection.execute(delete(tasks).where(*project.where(tasks), tasks.c.key == key))
        if access.embedded:
            compact(self.workspace.label_studio / "data" / "label_studio.sqlite3")
        return left

    def _projects(self, key: str) -> Iterator[tuple[Project, int, str]]:
        """The projects that have a task of the content, or may have one, their numbers, and what is there."""
        with self.workspace.engine.connect() as connection:
            for row in connection.execute(select(projects)).all():
                project = Project(row.recipe, row.server)
                known = connection.execute(
                    select(tasks.c.task_id, tasks.c.state).where(*project.where(tasks), tasks.c.key == key)
                ).first()
                sent = connection.execute(select(batches).where(*project.where(batches))).all()
                if known is not None:
                    yield project, row.project_id, f"task {known.task_id}, {known.state}"
                elif any(key in batch._mapping["keys"] for batch in sent):
                    yield project, row.project_id, "perhaps a task, of an import whose end was not seen"

    def _drop_downloads(self, project: int) -> None:
        """Label Studio keeps a copy of every export that somebody downloads, and of snapshots perhaps."""
        data = self.workspace.label_studio / "data"
        for pattern in (f"export/project-{project}-*", f"media/export/{project}/*"):
            for path in data.glob(pattern):
                path.unlink(missing_ok=True)
