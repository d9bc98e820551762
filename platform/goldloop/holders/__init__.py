"""Every place where goldloop keeps something of a content: a room for each kind of place."""

from __future__ import annotations

from goldloop.holders.base import Holder
from goldloop.holders.catalog import Catalog
from goldloop.holders.exports import Exports
from goldloop.holders.findings import Embeddings, Findings
from goldloop.holders.judgements import Judgements
from goldloop.holders.label_studio import LabelStudio
from goldloop.holders.left_out import LeftOut
from goldloop.holders.media import Media
from goldloop.holders.prepared import Prepared
from goldloop.holders.remembered import Remembered
from goldloop.holders.reports import Reports
from goldloop.holders.requests import Requests
from goldloop.holders.traces import Traces
from goldloop.holders.versions import ArrowFiles, Versions
from goldloop.workspace import Workspace

_IN_ORDER: tuple[type[Holder], ...] = (
    LabelStudio,
    Prepared,
    Reports,
    Judgements,
    Findings,
    Embeddings,
    Versions,
    ArrowFiles,
    Exports,
    LeftOut,
    Traces,
    Remembered,
    Requests,
    Media,
    Catalog,
)
"""Erased in this order: an export is written anew from its version, and the catalog knows of the tasks."""


def holders(workspace: Workspace) -> list[Holder]:
    """All kinds of places, in the order in which they are erased."""
    return [kind(workspace) for kind in _IN_ORDER]
