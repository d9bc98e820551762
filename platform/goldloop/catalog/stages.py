"""What each stage last did and from what, so that `goldloop run` can leave out what is up to date."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from goldloop.catalog.content import upsert
from goldloop.catalog.tables import stages


def finished(connection: Connection, recipe: str, stage: str, inputs: str) -> Mapping[str, Any] | None:
    """What the stage gave when it last finished, if it did so from these very inputs.

    Args:
        connection: the catalog.
        recipe: the recipe's name.
        stage: which stage.
        inputs: a digest of all that its result depends on.
    """
    row = connection.execute(
        select(stages.c.result).where(
            stages.c.recipe == recipe, stages.c.stage == stage, stages.c.inputs == inputs
        )
    ).first()
    return None if row is None else row.result


def result_of(connection: Connection, recipe: str, stage: str) -> Mapping[str, Any] | None:
    """What the stage gave when it last finished, whatever its inputs."""
    row = connection.execute(
        select(stages.c.result).where(stages.c.recipe == recipe, stages.c.stage == stage)
    ).first()
    return None if row is None else row.result


def forget(connection: Connection, recipe: str, stage: str) -> None:
    """Note that a stage has not been."""
    connection.execute(delete(stages).where(stages.c.recipe == recipe, stages.c.stage == stage))


def last(connection: Connection, recipe: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Stage -> (when it last finished, what it gave)."""
    rows = connection.execute(
        select(stages.c.stage, stages.c.finished_at, stages.c.result).where(stages.c.recipe == recipe)
    )
    return {row.stage: (row.finished_at, row.result) for row in rows}


def finish(connection: Connection, recipe: str, stage: str, inputs: str, result: Mapping[str, Any]) -> None:
    """Note that a stage finished, in the transaction that holds what it did."""
    upsert(
        connection,
        stages,
        [
            {
                "recipe": recipe,
                "stage": stage,
                "inputs": inputs,
                "result": dict(result),
                "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        ],
    )
