"""Does a disturbed `goldloop watch` end as one that is left alone? See README.md.

.venv/bin/python benchmarks/closed_loop/run.py [--minutes 60] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parent))

from watcher import Watcher
from world import HAPPENINGS, World

from goldloop import workbench
from goldloop.deciding import decisions
from goldloop.labeling.environment import VERSION
from goldloop.labeling.server import EmbeddedServer
from goldloop.settings import Settings
from goldloop.watching import watch_once
from goldloop.workspace import Workspace

_PATIENCE = 600.0
_CUE_SECONDS = 180.0
_PACKAGES = ("goldloop", "label-studio-sdk", "mlflow", "torch")


def main() -> None:
    """Play the script twice, print what came of it and write it to the results."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="that the disturbed one lasts")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between its passes")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of disturbances")
    parser.add_argument("--happenings", type=int, default=len(HAPPENINGS), help="only the first of them")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    happenings = HAPPENINGS[: arguments.happenings]
    with tempfile.TemporaryDirectory(prefix="goldloop-closed-loop-") as folder:
        calm, rounds = left_alone(Path(folder) / "calm", happenings)
        print(json.dumps(calm), flush=True)
        played = Disturbed(Path(folder) / "disturbed", arguments.every, arguments.seed)
        disturbed = played.play(happenings, rounds, arguments.minutes * 60)
    text = report(arguments, calm, disturbed, played)
    (arguments.out / f"{datetime.now(UTC):%Y-%m-%d}.md").write_text(text, encoding="utf-8")
    print(text)
    if calm != disturbed:
        sys.exit("the two do not end alike")


def left_alone(root: Path, happenings: Sequence[tuple[str, Any]]) -> tuple[dict[str, Any], list[int]]:
    """One pass after each happening, by nothing disturbed: the final state, and the rounds after each."""
    workspace = Workspace(root / "home", Settings())
    server = workbench.server(workspace)
    server.up()
    rounds = []
    try:
        world = World.made(root, workspace)
        for _, happens in happenings:
            happens(world)
            watch_once(world.recipe, workspace)
            rounds.append(world.rounds())
        return world.state(), rounds
    finally:
        server.down()
        workspace.engine.dispose()


@dataclass(frozen=True)
class Line:
    """What is told of one happening."""

    at: float
    what: str
    disturbed_by: str
    rounds: int
    settled: float


class Disturbed:
    """The same happenings while things go wrong.

    Args:
        root: where.
        every: seconds between the watcher's passes.
        seed: of the moments.
    """

    def __init__(self, root: Path, every: float, seed: int) -> None:
        self.chance = random.Random(seed)
        self.workspace = Workspace(root / "home", Settings())
        self.server: EmbeddedServer = workbench.server(self.workspace)
        self.world = World.made(root, self.workspace)
        self.log = (root / "watcher.log").open("w", encoding="utf-8")
        self.watcher = Watcher(self.world.path, self.workspace.root, every, self.log)
        self.lines: list[Line] = []
        self.entries: list[Any] = []
        self.problems: list[str] = []

    def play(
        self, happenings: Sequence[tuple[str, Any]], rounds: Sequence[int], seconds: float
    ) -> dict[str, Any]:
        """The script over so many seconds; the final state.

        Args:
            happenings: what happens.
            rounds: how many have ended after each where nothing disturbs.
            seconds: in all, unless they do not suffice.
        """
        self.server.up()
        began = time.monotonic()
        try:
            for number, ((what, happens), expected) in enumerate(zip(happenings, rounds, strict=True)):
                at = time.monotonic()
                told, disturb = self._disturbances()[number % len(self._disturbances())]
                trouble = threading.Thread(target=disturb, name="trouble")
                if number == 0:
                    happens(self.world)
                    self.watcher.start()
                    trouble.start()
                else:
                    trouble.start()
                    self._although(happens)
                trouble.join()
                self._settle(what, expected)
                settled = time.monotonic() - at
                self.lines.append(Line(at - began, what, told, self.world.rounds(), settled))
                print(self.lines[-1], flush=True)
                self._wait_until(began + seconds * (number + 1) / len(happenings))
            self.watcher.stop()
            self.entries = decisions(self.world.recipe, self.workspace)
            self.problems = [str(each) for each in self.workspace.audit.verify()]
            return self.world.state()
        finally:
            self.watcher.stop()
            self.server.down()
            self.workspace.engine.dispose()

    def _disturbances(self) -> list[tuple[str, Callable[[], None]]]:
        return [
            ("kill -9 as tasks are pushed", lambda: self._kill_at("push:")),
            ("kill -9 in training", lambda: self._kill_at("train: run")),
            ("Label Studio down for 40 s", lambda: self._server_away(40)),
            ("kill -9 in the evaluation, then at a random moment", self._kill_twice),
            ("kill -9 of Label Studio, up again after 20 s", lambda: self._server_killed(20)),
            ("forged and doubled webhooks; kill -9 at a random moment", self._forged),
            ("Label Studio restarted as the round begins", self._restarted),
            ("kill -9 while the gates are asked", lambda: self._kill_at("promote: asking")),
            ("three kills -9 at random moments", self._kill_idle),
            ("kill -9 as a version is committed", lambda: self._kill_at("commit: settling")),
            ("kill -9 of Label Studio and of the watcher", self._both),
            ("kill -9 as open tasks are pre-annotated", lambda: self._kill_at("predict:")),
        ]

    def _kill_at(self, cue: str) -> None:
        if not self.watcher.kill_at(cue).wait(_CUE_SECONDS):
            print(f"it never said '{cue}'", flush=True)

    def _kill_twice(self) -> None:
        self._kill_at("evaluate:")
        time.sleep(self.chance.uniform(1, 15))
        self.watcher.kill()

    def _kill_idle(self) -> None:
        for _ in range(3):
            time.sleep(self.chance.uniform(5, 25))
            self.watcher.kill()

    def _server_away(self, seconds: float) -> None:
        self.server.down()
        time.sleep(seconds)
        self.server.up()

    def _server_killed(self, seconds: float) -> None:
        time.sleep(self.chance.uniform(5, 15))
        self._kill_server()
        time.sleep(seconds)
        self.server.up()

    def _restarted(self) -> None:
        time.sleep(self.chance.uniform(2, 10))
        self.server.down()
        self.server.up()

    def _both(self) -> None:
        time.sleep(self.chance.uniform(5, 12))
        self._kill_server()
        self.watcher.kill()
        time.sleep(10)
        self.server.up()

    def _forged(self) -> None:
        access = self.server.access()
        assert access is not None
        headers = {"Authorization": f"Token {access.api_key.get_secret_value()}"}
        for hook in httpx.get(f"{access.url}/api/webhooks/", headers=headers, trust_env=False).json():
            for secret in ("guessed", *hook["headers"].values()):
                for event in ("TASKS_DELETED", "ANNOTATION_CREATED", "ANNOTATION_CREATED"):
                    with suppress(httpx.HTTPError):
                        told = {"X-Goldloop-Secret": secret}
                        httpx.post(hook["url"], json={"action": event}, headers=told, trust_env=False)
        time.sleep(self.chance.uniform(5, 30))
        self.watcher.kill()

    def _kill_server(self) -> None:
        pid = self.server.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def _although(self, happens: Callable[[World], None]) -> None:
        """People wait for a server that is away, and go on."""
        from goldloop.errors import LabelStudioUnreachable

        labelled, end = self.world.labelled, time.monotonic() + _PATIENCE
        while True:
            try:
                happens(self.world)
            except LabelStudioUnreachable:
                if time.monotonic() > end:
                    raise
                self.world.labelled = labelled
                time.sleep(5)
            else:
                return

    def _settle(self, what: str, expected: int) -> None:
        """Wait for as many rounds as there were where nothing disturbs, and a little longer for one more."""
        end = time.monotonic() + _PATIENCE
        while self.world.rounds() != expected:
            if time.monotonic() > end:
                self.watcher.stop()
                said = Path(self.log.name).read_text(encoding="utf-8")[-3000:]
                sys.exit(f"after '{what}': {self.world.rounds()} rounds, not {expected}\n{said}")
            time.sleep(1)

    def _wait_until(self, moment: float) -> None:
        time.sleep(max(0.0, moment - time.monotonic()))


def report(
    arguments: argparse.Namespace, calm: dict[str, Any], disturbed: dict[str, Any], played: Disturbed
) -> str:
    """What happened, what was decided and why, and whether both end alike."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    minutes = (played.lines[-1].at + played.lines[-1].settled) / 60
    equal = "equal" if calm == disturbed else "NOT equal"
    chain = "DOES NOT HOLD: " + "; ".join(played.problems) if played.problems else "holds"
    lines = [
        f"# The closed loop, disturbed, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"`benchmarks/closed_loop/run.py --minutes {arguments.minutes:g} --seed {arguments.seed}` at "
        f"{commit.stdout.strip()}; {os.cpu_count()} CPU cores ({platform.machine()}); Python "
        f"{platform.python_version()}; {packages}; Label Studio {VERSION}.",
        "",
        f"**The final states are {equal}** after {minutes:.0f} minutes, {played.watcher.kills} kills of the "
        f"watcher and {played.watcher.starts} starts of it. The audit log's chain {chain}.",
        "",
        "| minute | what happens | what goes wrong | rounds after it | settled after |",
        "| ---: | --- | --- | ---: | ---: |",
        *(
            f"| {line.at / 60:.1f} | {line.what} | {line.disturbed_by} | {line.rounds} "
            f"| {line.settled:.0f} s |"
            for line in played.lines
        ),
        "",
        "| final state | left alone | disturbed |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {_shown(calm[name])} | {_shown(disturbed[name])} |"
            for name in ("tasks", "annotations", "predictions", "version", "models", "rounds")
        ),
        "",
        "Every decision of the disturbed one, by `goldloop watch --decisions`:",
        "",
        "| at (UTC) | decision | why |",
        "| --- | --- | --- |",
        *(
            f"| {entry.ended[11:19]} | {entry.outputs.get('decision', entry.outcome)} "
            f"| {entry.outputs.get('reason', '')} |"
            for entry in played.entries
        ),
    ]
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(_each(part) for part in value)
    return str(value)[:16]


def _each(part: Sequence[Any]) -> str:
    told = ("+".join(each) if isinstance(each, list) else str(each) for each in part)
    return " ".join(word for word in told if word)


if __name__ == "__main__":
    main()
