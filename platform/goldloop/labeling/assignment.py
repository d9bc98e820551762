"""Which annotators each item is for, where a recipe names them.

Label Studio's open edition assigns no tasks. So each task says whom it is for, and each annotator has a tab
of the data manager with just these, which "Label Tasks" goes through. Who it is depends on the item and the
names alone: an item stays with its people as others come, and few move when somebody joins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from goldloop.labeling.answers_wanted import wanted
from goldloop.labeling.api import Api
from goldloop.labeling.config import LabelingConfig
from goldloop.records import Item

FIELD = "for"
"""The field of a task's data that says whom it is for."""
_PLACE = "/api/dm/views/"


def people_for(config: LabelingConfig, item: Item) -> list[str]:
    """Whom an item is for, sorted; nobody in particular where the recipe names nobody.

    By rendezvous hashing (Thaler and Ravishankar, 1998): every item draws its own order of the names.
    """
    drawn = sorted(config.annotators, key=lambda name: hashlib.sha256(f"{name}:{item.key}".encode()).digest())
    return sorted(drawn[: wanted(config, item)])


def data_for(config: LabelingConfig, item: Item) -> dict[str, Any]:
    """What a task's data say of it."""
    people = people_for(config, item)
    return {FIELD: _marked(people)} if people else {}


def ensure_tabs(api: Api, project_id: int, names: Sequence[str]) -> None:
    """Give each annotator a tab of the project with the tasks that are for them; one that is there stays."""
    if not names:
        return
    present = {view["data"].get("title") for view in api.get(_PLACE, {"project": project_id})}
    for name in names:
        title = f"for {name}"
        if title in present:
            continue
        mine = {
            "filter": f"filter:tasks:data.{FIELD}",
            "operator": "contains",
            "type": "String",
            "value": _marked([name]),
        }
        data = {
            "title": title,
            "type": "list",
            "target": "tasks",
            "filters": {"conjunction": "and", "items": [mine]},
            "ordering": ["tasks:id"],
        }
        api.call("POST", _PLACE, json={"project": project_id, "data": data})


def _marked(people: Sequence[str]) -> str:
    """Names set apart, so that no name is found in another."""
    return f"|{'|'.join(people)}|"
