"""goldloop: from raw images and text to a model in production, on labels you can prove.

Every command of the command line is a function of the same name here (`import_` for `import`, which Python
keeps for itself; `quality_` and `media_` for `quality` and `media`, which are packages), and takes a recipe:

    import goldloop
    recipe = goldloop.load("configs/digits.yaml", ["training.epochs=3"])
    goldloop.pull(recipe)
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "load": "goldloop.recipe",
    "Recipe": "goldloop.recipe",
    "Workspace": "goldloop.workspace",
    "Predictor": "goldloop.inference",
    "plan": "goldloop.planning",
    "pull": "goldloop.loop",
    "push": "goldloop.loop",
    "collect": "goldloop.loop",
    "commit": "goldloop.loop",
    "train": "goldloop.loop",
    "evaluate": "goldloop.loop",
    "promote": "goldloop.loop",
    "predict": "goldloop.loop",
    "run": "goldloop.loop",
    "tune": "goldloop.tuning",
    "estimate": "goldloop.estimation",
    "budget": "goldloop.budgeting",
    "suspects": "goldloop.suspicion",
    "relabel": "goldloop.relabeling",
    "watch": "goldloop.watching",
    "watch_once": "goldloop.watching",
    "decisions": "goldloop.deciding",
    "drift": "goldloop.drifting",
    "quality_": "goldloop.assessment",
    "annotators": "goldloop.appraisal",
    "simulate": "goldloop.simulation",
    "up": "goldloop.workbench",
    "down": "goldloop.workbench",
    "status": "goldloop.workbench",
    "init": "goldloop.workbench",
    "doctor": "goldloop.workbench",
    "versions": "goldloop.workbench",
    "show": "goldloop.workbench",
    "diff": "goldloop.comparison",
    "classes": "goldloop.migration",
    "rename_class": "goldloop.migration",
    "merge_classes": "goldloop.migration",
    "split_class": "goldloop.migration",
    "tag": "goldloop.workbench",
    "tags": "goldloop.workbench",
    "verify": "goldloop.workbench",
    "import_": "goldloop.exchange",
    "export": "goldloop.exchange",
    "gc": "goldloop.storage",
    "publish": "goldloop.storage",
    "fetch": "goldloop.storage",
    "models": "goldloop.workbench",
    "blame": "goldloop.attribution",
    "rollback": "goldloop.workbench",
    "serve": "goldloop.hosting",
    "access": "goldloop.hosting",
    "deploy": "goldloop.deploying",
    "export_model": "goldloop.exporting",
    "media_": "goldloop.workbench",
    "revoke": "goldloop.workbench",
    "audit": "goldloop.governance",
    "keys": "goldloop.governance",
    "sign": "goldloop.governance",
    "lineage": "goldloop.governance",
    "forget": "goldloop.erasure",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import goldloop` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'goldloop' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
