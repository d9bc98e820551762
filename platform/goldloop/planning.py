"""`goldloop plan`: what pull and push would do, before anything happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from goldloop import production, selecting, wiring
from goldloop.catalog import forgotten, prospect
from goldloop.catalog.arrivals import Arrivals
from goldloop.connectors import _intake as intake
from goldloop.progress import Progress, Silent
from goldloop.recipe import Recipe
from goldloop.workspace import Workspace

SILENT = Silent()
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Planned:
    """What a pull would find in one source.

    Attributes:
        source: its position and kind.
        read: whether anything of it must be read; if not, it is as it was.
        found: what its addresses are (`prospect.FOUND`) -> how many; together they are all of them.
        gone: items of it that no address would lead to any more. They stay, as tombstones.
        annotated: how many of those somebody has annotated.
    """

    source: str
    read: bool
    found: Mapping[str, int]
    gone: int
    annotated: int

    @property
    def total(self) -> int:
        """How many addresses it has."""
        return sum(self.found.values())


@dataclass(frozen=True, slots=True)
class Plan:
    """What pull and push would do.

    Attributes:
        recipe: its name.
        sources: what a pull would find in each; one that has left the recipe is among them.
        dropped: the first addresses that cleaning would leave out -> why.
        quarantined: the first that cannot be used -> why.
        new_tasks: how many a push would make then.
        waiting: items that would wait, as enough tasks are open.
        orphaned: tasks whose item is gone or superseded; they stay, with their annotations.
        enough: why no more is sent to annotators, by the recipe's `labeling.stop`, as far as is known here;
            None while more is wanted.
        each_sent: whether near-duplicates are sent too; if not, `new_tasks` may be less.
    """

    recipe: str
    sources: Sequence[Planned]
    dropped: Mapping[str, str]
    quarantined: Mapping[str, str]
    new_tasks: int
    waiting: int
    orphaned: int
    enough: str | None = None
    each_sent: bool = True

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Column names and a row for each source, with no column that is empty in all."""
        kinds = [kind for kind in prospect.FOUND if any(each.found.get(kind) for each in self.sources)]
        rows = [
            [
                each.source,
                "" if each.read else "not changed",
                *(f"{each.found.get(kind, 0):,}" for kind in kinds),
                f"{each.gone:,}",
                f"{each.total:,}",
            ]
            for each in self.sources
        ]
        return ["source", "", *kinds, "gone", "addresses"], rows

    def remarks(self) -> dict[str, str]:
        """What there is to say beside the table."""
        annotated = sum(each.annotated for each in self.sources)
        most = "" if self.each_sent else "at most "
        told = {"push": f"{most}{self.new_tasks:,} new tasks"}
        if self.enough is not None:
            told["push"] = f"no new tasks: {self.enough}"
        elif self.waiting:
            told["push"] += f"; {self.waiting:,} items wait, as enough tasks are open"
        if not self.each_sent and self.enough is None:
            told["push"] += "; of near-duplicates one is sent"
        if self.orphaned:
            told["tasks"] = f"{self.orphaned:,} of items that are gone or superseded stay as they are"
        if annotated:
            told["gone"] = f"{annotated:,} of the items that go were annotated; they stay, as `gone`"
        return told


def plan(
    recipe: Recipe, workspace: Workspace | None = None, progress: Progress = SILENT, *, full: bool = False
) -> Plan:
    """Find out what `pull` and `push` would do; the catalog, the workspace and Label Studio stay as they are.

    Sources that have changed are read, as only content tells what is new and what is a duplicate.

    Args:
        recipe: whose.
        workspace: where.
        progress: where to tell how far it is.
        full: as `pull` takes it.

    Raises:
        SourceError: a source cannot be read at all, or has nothing in it.
    """
    workspace = workspace or Workspace.open()
    progress.say("plan: looking at the sources")
    sources = production.sources(recipe, workspace)
    names = [source.name for source in sources]
    with prospect.beside(workspace.engine) as connection:
        looked = intake.look(connection, recipe.name, sources, full=full)
        arrivals = Arrivals(partial(intake.committed, connection), recipe.name)
        taker = wiring.intake(recipe, lambda item, content: None, forgotten.keys(connection))
        told = taker.read(arrivals, looked, progress)
        read = {source.name for source in looked.changed}
        prospect.prospect(connection, recipe.name, names, read=read, continued=told.continued)
        found, gone = prospect.found(connection, recipe.name), prospect.gone(connection, recipe.name)
        create = prospect.tasks_to_make(connection, recipe.name)
        batch = recipe.labeling.select.batch
        if batch is not None:
            need = recipe.labeling.annotators_per_item
            room = max(batch - prospect.unfinished_tasks(connection, recipe.name, need), 0)
        new_tasks = create if batch is None else min(create, room)
        labelled = prospect.finished_tasks(connection, recipe.name, recipe.labeling.annotators_per_item)
        enough = selecting.enough(recipe, workspace, labelled)
        if enough is not None:
            new_tasks = 0
        return Plan(
            recipe.name,
            [
                Planned(name, name in read, dict(found.get(name, {})), *gone.get(name, (0, 0)))
                for name in dict.fromkeys([*names, *gone])
            ],
            dict(prospect.reasons(connection, "dropped", _SHOWN)),
            dict(prospect.reasons(connection, "quarantined", _SHOWN)),
            new_tasks,
            create - new_tasks,
            prospect.orphaned_tasks(connection, recipe.name),
            enough,
            recipe.labeling.select.near_duplicates == "all",
        )
