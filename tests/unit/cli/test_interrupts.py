"""Ctrl-C reaches the command wherever it falls."""

import subprocess
import sys

import pytest

from goldloop.cli.interrupts import deliver_lost

INTERRUPTED_IN_A_FINALIZER = """
import os, signal, time
from goldloop.cli.interrupts import deliver_lost

# What a shell starts in the background is told to ignore it, and so is all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

{deliver}
try:
    Last()
    print("the finalizer is over", flush=True)
    time.sleep(5)
    print("not heard", flush=True)
except KeyboardInterrupt:
    print("heard", flush=True)
"""


def _run(deliver: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IN_A_FINALIZER.format(deliver=deliver)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, done.stderr


def test_an_interrupt_that_falls_into_a_finalizer_is_delivered_after_it():
    said, error = _run("deliver_lost()")
    assert said.splitlines()[-1] == "heard"
    assert error == ""


def test_python_by_itself_drops_it():
    said, error = _run("")
    assert said.splitlines() == ["the finalizer is over", "not heard"]
    assert "KeyboardInterrupt" in error


def test_whatever_else_is_dropped_is_still_told(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    deliver_lost()

    class Failing:
        def __del__(self) -> None:
            raise ValueError("a finalizer failed")

    Failing()
    assert [entry.exc_type for entry in told] == [ValueError]
    with pytest.raises(ValueError, match="a finalizer failed"):
        raise told[0].exc_value
