"""The loop kept going: collecting as annotators work, and a round whenever there is reason for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from goldloop import controlling, loop, wiring
from goldloop.acts import recorded
from goldloop.controlling import PASSING, Passed
from goldloop.errors import LabelStudioDenied
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
    passed: Callable[[Passed], None] = lambda what: None,
) -> int:
    """Collect whenever Label Studio says that something has happened, and decide each time about a round.

    Events are a hint and nothing more: a missing one delays, a doubled or forged one costs a look at totals.
    Killed at any moment and begun again, it goes on where it was.

    Args:
        recipe: whose; its `watch:` says what begins a round.
        workspace: where.
        progress: where to tell what happens.
        host: where to listen for events; Label Studio must reach it.
        port: 0 takes a free one.
        every: seconds after which to collect and to decide without an event.
        pause: seconds between two collections at least; doubled after each that fails, up to five minutes.
        stop: ends it, before a round and not within one; without it, it goes on until interrupted.
        collected: told of each collection.
        passed: told of each pass: what was decided, and what came of it.

    Returns:
        How many passes it made.

    Raises:
        LabelStudioDenied: the token is not taken any more.
        SourceError: a recipe that asks nobody has a source that cannot be read.
        ServingError: it cannot listen there.
    """
    workspace, progress = workspace or Workspace.open(), progress or Silent()
    stop = stop or threading.Event()
    times, wait = 0, pause
    with _hints(recipe, workspace, progress, host, port, every) as hinted:
        while not stop.is_set():
            # Cleared first: what happens during the collection is one more hint.
            hinted.clear()
            try:
                passed(
                    controlling.one_pass(
                        recipe, workspace, progress, collected=collected, wanted=lambda: not stop.is_set()
                    )
                )
            except LabelStudioDenied:
                raise
            except PASSING as error:
                wait = min(wait * 2, _LONGEST_PAUSE)
                progress.say(f"watch: {error}; trying again in {wait:.0f} s")
            else:
                times, wait = times + 1, pause
            if stop.wait(wait):
                break
            _wait(hinted, stop, every)
    return times


@recorded
def watch_once(
    recipe: Recipe, workspace: Workspace | None = None, progress: Progress | None = None
) -> Passed:
    """One pass of `watch`, as for cron: look, decide, and a round if it is time for one.

    Raises:
        LabelStudioError: the server is down or refuses us; a round that has begun goes on the next time.
        WorkspaceBusy: somebody else works on the recipe, or watches it.
    """
    return controlling.one_pass(recipe, workspace or Workspace.open(), progress or Silent())


@contextmanager
def _hints(
    recipe: Recipe, workspace: Workspace, progress: Progress, host: str, port: int, every: float
) -> Iterator[threading.Event]:
    """Set whenever Label Studio says that something has happened; never, where nobody is asked."""
    from goldloop.labeling.webhook import Receiver, registered

    if not wiring.asks_annotators(recipe, workspace):
        loop.pull(recipe, workspace, progress)
    if not wiring.asks_annotators(recipe, workspace):
        progress.say(f"watch: nobody is asked; deciding every {every:.0f} s")
        yield threading.Event()
        return
    session = wiring.session(recipe, workspace)
    receiver = Receiver(host, port)
    with (
        receiver.listening() as address,
        registered(session.client.api, session.project.id, address, receiver.secret),
    ):
        progress.say(f"watch: events come to {address}; collecting every {every:.0f} s without one")
        yield receiver.hinted


def _wait(hinted: threading.Event, stop: threading.Event, seconds: float) -> None:
    """Until there is a hint, or it is to stop, or time is up."""
    end = time.monotonic() + seconds
    while not stop.is_set() and time.monotonic() < end and not hinted.wait(0.2):
        pass
