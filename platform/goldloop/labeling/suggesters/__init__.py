"""What pre-annotates besides goldloop's own champion: a file per kind."""

from goldloop.labeling.suggesters.base import Suggester
from goldloop.plugins import Plugins

suggesters: Plugins[Suggester] = Plugins("suggester", __name__, Suggester)  # type: ignore[type-abstract]
"""All kinds of suggesters."""

__all__ = ["suggesters"]
