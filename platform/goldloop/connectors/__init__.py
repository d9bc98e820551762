"""Sources of items: one file per kind, `sql_query.py` for `kind: sql-query`.

from goldloop.connectors import connectors
for item in connectors.create({"kind": "files", "url": "photos/**/*.jpg"}).items(): ...
"""

from __future__ import annotations

from goldloop.connectors.base import Connector
from goldloop.plugins import Plugins

connectors: Plugins[Connector] = Plugins("connector", __name__, Connector)  # type: ignore[type-abstract]
