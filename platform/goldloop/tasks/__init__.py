"""Task types: one file per kind, `image_classification.py` for `kind: image-classification`.

from goldloop.tasks import tasks
task = tasks.create({"kind": "image-classification", "classes": ["cat", "dog"]})
"""

from __future__ import annotations

from typing import Any

from goldloop.plugins import Plugins
from goldloop.tasks.base import Task

tasks: Plugins[Task[Any]] = Plugins("task", __name__, Task)  # type: ignore[type-abstract]
