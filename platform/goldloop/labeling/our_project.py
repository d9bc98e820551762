"""Which project of a Label Studio is ours: the one whose description has our marker as a line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from goldloop.errors import LabelStudioError
from goldloop.labeling.api import Api

_SHORTEST_TITLE, _LONGEST_TITLE = 3, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Settings of a project that goldloop holds, by Label Studio's own names."""

    title: str
    label_config: str
    maximum_annotations: int
    expert_instruction: str
    show_instruction: bool
    show_collab_predictions: bool = True
    sampling: str = "Sequential sampling"


def ensure_project(
    api: Api,
    marker: str,
    wanted: Wanted,
    project_id: int | None,
    before_overlap: Callable[[int], None],
) -> Mapping[str, Any]:
    """The project that carries a marker, with these settings; made if there is none.

    Args:
        api: the server.
        marker: one line.
        wanted: its settings.
        project_id: as `find_project` takes it.
        before_overlap: called with the present number before `maximum_annotations` changes.

    Raises:
        LabelStudioError: as `find_project` does, or the server refuses the label config.
    """
    settings = asdict(wanted)
    found = find_project(api, marker, project_id)
    if found is None:
        description = f"Made by goldloop.\n{marker}"
        made = api.call("POST", "/api/projects/", json={"description": description, **settings})
        found = made["id"]
    place = f"/api/projects/{found}/"
    current = _read(api, place, settings)
    changes = {name: value for name, value in settings.items() if (current.get(name) or "") != (value or "")}
    if "maximum_annotations" in changes:
        before_overlap(int(current["maximum_annotations"]))
    if changes:
        api.call("PATCH", place, json=changes)
        current = _read(api, place, settings)
    return current


def _read(api: Api, place: str, settings: Iterable[str]) -> Mapping[str, Any]:
    """Those fields alone: counted, a project's tasks would take a second for each hundred thousand."""
    answer: Mapping[str, Any] = api.get(place, {"include": ",".join(("id", "model_version", *settings))})
    return answer


def find_project(api: Api, marker: str, project_id: int | None) -> int | None:
    """The number of the project that carries a marker; None if there is none.

    Args:
        api: the server.
        marker: one line.
        project_id: where it was last time; a project of that number without the marker is an error, as
            someone has taken it out or the number is another's.

    Raises:
        LabelStudioError: that error, or several projects carry the marker.
    """
    known = next(_projects(api, {"ids": project_id}), None) if project_id is not None else None
    if known is not None and not _is_marked(known, marker):
        raise LabelStudioError(
            "this project does not carry goldloop's mark, so it is left alone",
            where=f"{api.url}/projects/{project_id}",
            expected=f"the line {marker!r} in its description",
            remedy="Put the line back in the project's settings if the project is this recipe's",
        )
    if known is not None:
        return project_id
    ours: list[int] = [entry["id"] for entry in _projects(api) if _is_marked(entry, marker)]
    if len(ours) > 1:
        raise LabelStudioError(
            "several projects carry the mark of this recipe",
            where=api.url,
            found=", ".join(f"project {number}" for number in ours),
            remedy=f"Take the line {marker!r} out of the description of all but one",
        )
    return ours[0] if ours else None


def fitting_title(title: str) -> str:
    """A title of 3 to 50 characters, cut at a word where one ends late enough."""
    title = " ".join(title.split())
    if len(title) > _LONGEST_TITLE:
        cut = title[: _LONGEST_TITLE - 1]
        word = cut.rsplit(" ", 1)[0]
        title = (word if len(word) > _LONGEST_TITLE // 2 else cut).rstrip() + "…"
    return title.ljust(_SHORTEST_TITLE, "_")


def _projects(api: Api, narrowed: Mapping[str, Any] | None = None) -> Iterator[Mapping[str, Any]]:
    page = 1
    while True:
        answer = api.get(
            "/api/projects/",
            {"include": "id,title,description", "page": page, "page_size": 100, **(narrowed or {})},
        )
        yield from answer["results"]
        if not answer["next"]:
            return
        page += 1


def _is_marked(project: Mapping[str, Any], marker: str) -> bool:
    return marker in (line.strip() for line in (project["description"] or "").splitlines())
