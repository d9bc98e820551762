"""`goldloop watch` in a process of its own, begun again whenever it ends, as a service manager does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

_AGAIN_SECONDS = 1.0


class Watcher:
    """Keeps a watcher going, and kills it when told.

    Args:
        recipe: the recipe's file.
        home: the workspace.
        every: seconds after which it looks without an event.
        log: what it says, line by line.
    """

    def __init__(self, recipe: Path, home: Path, every: float, log: IO[str]) -> None:
        self._command = [sys.executable, "-m", "goldloop", "watch", str(recipe), "--every", str(every)]
        self._environment = {**os.environ, "GOLDLOOP_HOME": str(home)}
        self._log = log
        self._ending = threading.Event()
        self._cue: tuple[str, threading.Event] | None = None
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="watcher")
        self.kills = self.starts = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def kill(self) -> None:
        """Kill it where it is."""
        process = self._process
        if process is not None and process.poll() is None:
            self.kills += 1
            process.send_signal(signal.SIGKILL)

    def kill_at(self, cue: str) -> threading.Event:
        """Kill it once it says a line that begins so; the event tells that it was."""
        done = threading.Event()
        self._cue = (cue, done)
        return done

    def stop(self) -> None:
        """End it as a service manager does."""
        self._ending.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
        self._thread.join(300)

    def _run(self) -> None:
        while not self._ending.is_set():
            self.starts += 1
            with subprocess.Popen(
                self._command, env=self._environment, stderr=subprocess.PIPE, text=True
            ) as self._process:
                assert self._process.stderr is not None
                for line in self._process.stderr:
                    self._log.write(f"{time.strftime('%H:%M:%S')} {line}")
                    self._log.flush()
                    self._heard(line)
            self._log.write(f"{time.strftime('%H:%M:%S')} -- ended with {self._process.returncode}\n")
            self._ending.wait(_AGAIN_SECONDS)

    def _heard(self, line: str) -> None:
        if self._cue is not None and line.startswith(self._cue[0]):
            (_, done), self._cue = self._cue, None
            self.kill()
            done.set()
