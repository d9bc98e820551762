"""Ctrl-C that is never lost, and a service manager's request to end that is heard as Ctrl-C."""

from __future__ import annotations

import _thread
import signal
import sys
from threading import Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

# Time for the finalizer that swallowed the interrupt to come to its end.
_AGAIN_AFTER_SECONDS = 0.01


def deliver_lost() -> None:
    """Deliver a Ctrl-C again where Python dropped it.

    Nothing can be raised out of a finalizer or the callback of a weak reference: Python prints what is
    raised there and goes on, and whoever pressed Ctrl-C waits for a command that has not heard of it.
    """
    report = sys.unraisablehook

    def heard(dropped: UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            report(dropped)
            return
        again = Timer(_AGAIN_AFTER_SECONDS, _thread.interrupt_main)
        again.daemon = True
        again.start()

    sys.unraisablehook = heard


def hear_termination() -> None:
    """Take SIGTERM as Ctrl-C: what is under way is put in order before the process ends."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
