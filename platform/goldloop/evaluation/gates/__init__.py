"""Gates: what a model must show before it is promoted; one file per kind."""

from __future__ import annotations

from goldloop.evaluation.gates.base import Gate
from goldloop.plugins import Plugins

gates: Plugins[Gate] = Plugins("gate", __name__, Gate)  # type: ignore[type-abstract]
