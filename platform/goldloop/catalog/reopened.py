"""Items that were sent back to annotators since their label was in doubt.

A row is there, as `asked`, before anything is sent: after a crash it is sent again, which changes nothing
that was sent already. It is `open` once the server has it, and `closed` once it was answered and its task is
as any other again. It stays, so that every later commit knows which answers decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, select, update

from goldloop.catalog.content import upsert
from goldloop.catalog.server_side import Place
from goldloop.catalog.tables import reopened
from goldloop.records import Reopened

State = Literal["asked", "open", "closed"]


@dataclass(frozen=True, slots=True)
class Request:
    """One item to be sent back.

    Attributes:
        item: what and why.
        task_id: its task.
        answers: people who have answered it by now; one more is needed.
        state: how far it is.
    """

    item: Reopened
    task_id: int
    answers: int
    state: State = "asked"


def ask(connection: Connection, place: Place, requests: Iterable[Request]) -> None:
    """Journal what is to be sent, in the caller's transaction."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    rows = [
        place.row(
            key=each.item.key,
            task_id=each.task_id,
            reason=each.item.reason,
            given=each.item.given,
            known=[list(pair) for pair in sorted(each.item.known)],
            shown_model=each.item.shown_model,
            answers=each.answers,
            state="asked",
            asked_at=now,
        )
        for each in requests
    ]
    upsert(connection, reopened, rows)


def mark(connection: Connection, place: Place, keys: Sequence[str], state: State) -> None:
    """Note how far some are."""
    for key in keys:
        connection.execute(
            update(reopened).where(*place.where(reopened), reopened.c.key == key).values(state=state)
        )


def requests_of(connection: Connection, place: Place, states: Sequence[State]) -> list[Request]:
    """The requests of one recipe on one server, by key."""
    rows = connection.execute(
        select(reopened).where(*place.where(reopened), reopened.c.state.in_(states)).order_by(reopened.c.key)
    )
    return [Request(_item(row), row.task_id, row.answers, row.state) for row in rows]


def reopened_of(connection: Connection, recipe: str) -> dict[str, Reopened]:
    """Key -> item, of a recipe's items that were sent back, on any server."""
    rows = connection.execute(select(reopened).where(reopened.c.recipe == recipe).order_by(reopened.c.key))
    return {row.key: _item(row) for row in rows}


def _item(row: Any) -> Reopened:
    return Reopened(
        key=row.key,
        reason=row.reason,
        given=row.given,
        known=frozenset((int(number), str(at)) for number, at in row.known),
        shown_model=row.shown_model,
    )
