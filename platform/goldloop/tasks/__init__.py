"""Task types: one file per kind, `image_classification.py` for `kind: image-classification`.

from goldloop.tasks import tasks
task = tasks.create({"kind": "image-classification", "classes": ["cat", "dog"]})
"""

from __future__ import annotations

from goldloop.plugins import Plugins
from goldloop.tasks.base import Task

tasks: Plugins[Task] = Plugins("task", __name__, Task)
