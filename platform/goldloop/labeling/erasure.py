"""What a Label Studio has of one content, found and erased: in projects that goldloop made, and nowhere else.

A task goes with its annotations, drafts and pre-annotations. An uploaded image that is deleted loses its name
and keeps its file in Label Studio: of a server elsewhere, only whoever runs it can delete that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from goldloop.errors import IdentityError
from goldloop.labeling.api import Api, condition
from goldloop.labeling.our_project import find_project


@dataclass(frozen=True, slots=True)
class OnServer:
    """What one project has of a content.

    Attributes:
        project: its number.
        tasks: ids of the content's tasks.
        uploads: number -> path of uploaded files, in the server's media folder.
        exports: numbers of snapshots, which hold all tasks of the project.
    """

    project: int
    tasks: tuple[int, ...] = ()
    uploads: Mapping[int, str] | None = None
    exports: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tasks or self.uploads)


def find(api: Api, marker: str, project_id: int | None, key: str) -> OnServer | None:
    """What our project has of a content; None where there is no project of ours.

    Args:
        api: the server.
        marker: the line that is this recipe's alone.
        project_id: where it was last time.
        key: of the content.

    Raises:
        LabelStudioError: the project of that number is not ours.
    """
    project = find_project(api, marker, project_id)
    if project is None:
        return None
    tasks = tuple(_tasks(api, project, key))
    uploads = {
        int(upload["id"]): str(upload["file"])
        for upload in api.get(f"/api/projects/{project}/file-uploads", {"all": "true"})
        if key in upload["file"]
    }
    exports = tuple(int(export["id"]) for export in api.get(f"/api/projects/{project}/exports/"))
    return OnServer(project, tasks, uploads, exports)


def erase(api: Api, found: OnServer, key: str) -> None:
    """Delete what was found of a content, and the snapshots that hold it too.

    Raises:
        IdentityError: the server says that a task is not of this content.
    """
    if found.tasks and set(_tasks(api, found.project, key)) != set(found.tasks):
        raise IdentityError(
            "the tasks of a content are not those that were found a moment ago",
            where=f"{api.url}/projects/{found.project}",
            remedy="Run the same command again",
        )
    if found.tasks:
        for export in found.exports:
            api.call("DELETE", f"/api/projects/{found.project}/exports/{export}")
        selected: dict[str, Any] = {"selectedItems": {"all": False, "included": sorted(found.tasks)}}
        api.call(
            "POST", "/api/dm/actions", params={"id": "delete_tasks", "project": found.project}, json=selected
        )
    if found.uploads:
        api.call(
            "DELETE",
            f"/api/projects/{found.project}/file-uploads",
            json={"file_upload_ids": sorted(found.uploads)},
        )


def _tasks(api: Api, project: int, key: str) -> list[int]:
    # The filter compares texts as the database does, which may not mind upper and lower case.
    listed = api.tasks(project, [condition("data.key", "equal", "String", key)])
    return [int(task["id"]) for task in listed if task["data"].get("key") == key]
