"""Collecting as soon as annotators have done something, for as long as it is wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from goldloop import loop, wiring
from goldloop.acts import recorded
from goldloop.errors import LabelStudioDenied, LabelStudioError, WorkspaceBusy
from goldloop.progress import Progress, Silent
from goldloop.recipe import Recipe
from goldloop.results import CollectedBooks
from goldloop.workspace import Workspace

_LONGEST_PAUSE = 300.0


@recorded
def watch(
    recipe: Recipe,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    every: float = 60.0,
    pause: float = 2.0,
    stop: threading.Event | None = None,
    collected: Callable[[CollectedBooks], None] = lambda books: None,
) -> int:
    """Collect whenever Label Studio says that something has happened, and now and then if it does not.

    Events are a hint and nothing more: a missing one delays, a doubled or forged one costs a look at totals.

    Args:
        recipe: whose project.
        workspace: where.
        progress: where to tell what happens.
        host: where to listen for events; Label Studio must reach it.
        port: 0 takes a free one.
        every: seconds after which to collect without an event.
        pause: seconds between two collections at least; doubled after each that fails, up to five minutes.
        stop: ends it; without it, it goes on until interrupted.
        collected: told of each collection.

    Returns:
        How many times it collected.

    Raises:
        LabelStudioDenied: the token is not taken any more.
        ServingError: it cannot listen there.
    """
    from goldloop.labeling.webhook import Receiver, registered

    workspace, progress = workspace or Workspace.open(), progress or Silent()
    stop = stop or threading.Event()
    session = wiring.session(recipe, workspace)
    receiver = Receiver(host, port)
    times, wait = 0, pause
    with (
        receiver.listening() as address,
        registered(session.client.api, session.project.id, address, receiver.secret),
    ):
        progress.say(f"watch: events come to {address}; collecting every {every:.0f} s without one")
        while not stop.is_set():
            # Cleared first: what happens during the collection is one more hint.
            receiver.hinted.clear()
            try:
                collected(loop.collect(recipe, workspace, progress))
            except LabelStudioDenied:
                raise
            except (LabelStudioError, WorkspaceBusy) as error:
                wait = min(wait * 2, _LONGEST_PAUSE)
                progress.say(f"watch: {error}; trying again in {wait:.0f} s")
            else:
                times, wait = times + 1, pause
            if stop.wait(wait):
                break
            _wait(receiver.hinted, stop, every)
    return times


def _wait(hinted: threading.Event, stop: threading.Event, seconds: float) -> None:
    """Until there is a hint, or it is to stop, or time is up."""
    end = time.monotonic() + seconds
    while not stop.is_set() and time.monotonic() < end and not hinted.wait(0.2):
        pass
