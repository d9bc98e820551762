"""Formats that labelled data sets come in and go out in: one file each, `pascal_voc.py` for `pascal-voc`.

from goldloop.formats import formats
for sample in formats.create({"kind": "coco"}).read(folder, "object-detection"): ...
"""

from __future__ import annotations

from goldloop.formats.base import Format
from goldloop.plugins import Plugins

formats: Plugins[Format] = Plugins("format", __name__, Format)  # type: ignore[type-abstract]
