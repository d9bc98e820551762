"""Which items are worth an annotator's time first: strategies, a file per kind."""

from goldloop.labeling.strategies.base import Strategy
from goldloop.plugins import Plugins

strategies: Plugins[Strategy] = Plugins("selection strategy", __name__, Strategy)  # type: ignore[type-abstract]
"""All kinds of strategies."""

__all__ = ["strategies"]
