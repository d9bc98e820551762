"""One pass of `goldloop watch`: look at the sources and at Label Studio, decide, do a round if it is time.

    pull (now and then) -> collect -> what is known -> decision -> round, `goldloop run` -> what came of it

Killed at any moment and begun again, a pass goes on: a round is written down as open before its first stage,
and every stage can be done again. What came of a round:

    promoted    the challenger is champion; open tasks are pre-annotated by it, the most useful first
    refused     by which gates
    unchanged   nothing new could be learned       committed   the recipe trains no model
    waiting     nothing is labelled yet            failed, given-up
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from goldloop import deciding, loop, wiring
from goldloop.catalog.answered import ever_came
from goldloop.deciding import Memory
from goldloop.errors import GoldloopError, LabelStudioError, SourceError, WorkspaceBusy
from goldloop.progress import Progress
from goldloop.recipe import Recipe
from goldloop.results import CollectedBooks, Turn
from goldloop.rounds.decision import Decision, Facts, Round, decide
from goldloop.workspace import Workspace

PASSING = (LabelStudioError, WorkspaceBusy)
"""What a round is not given up for: the same may go well in a while."""
_SIGN_OF_LIFE = 5.0
_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Passed:
    """What a pass did.

    Attributes:
        decision: what was decided.
        round: the round that it did; None where it did none.
        collected: what it collected; None where nobody is asked.
    """

    decision: Decision
    round: Round | None
    collected: CollectedBooks | None

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        decision, done = self.decision, self.round
        return {
            "decision": decision.action,
            "reason": decision.told,
            "because": list(decision.reasons),
            "against": list(decision.against),
            "figures": dict(decision.figures),
            "round": None if done is None else {"number": done.number, "outcome": done.outcome},
        }


def foresee(recipe: Recipe, workspace: Workspace, progress: Progress) -> Decision:
    """What a pass would decide by what was pulled and collected last; nothing is changed.

    A pass pulls and collects first, if it is time to.

    Raises:
        WorkspaceBusy: a pass goes on.
    """
    with workspace.lock(f"{recipe.name}.watch"):
        facts, _ = deciding.facts_of(recipe, workspace, progress, Memory.of(recipe, workspace))
    return decide(facts, recipe.watch)


def one_pass(
    recipe: Recipe,
    workspace: Workspace,
    progress: Progress,
    *,
    collected: Callable[[CollectedBooks], None] = lambda books: None,
    wanted: Callable[[], bool] = lambda: True,
) -> Passed:
    """Look, decide, and do what was decided.

    Args:
        recipe: whose.
        workspace: where.
        progress: where to tell what happens.
        collected: told of the collection.
        wanted: asked before a round whether it is still wanted.

    Raises:
        LabelStudioError: the server is down or refuses us; a round that has begun stays open.
        WorkspaceBusy: somebody else works on the recipe, or watches it.
    """
    with workspace.lock(f"{recipe.name}.watch"):
        memory = _pulled(recipe, workspace, progress, Memory.of(recipe, workspace))
        books = None
        if wiring.asks_annotators(recipe, workspace):
            books = loop.collect(recipe, workspace, progress)
            collected(books)
        facts, memory = deciding.facts_of(recipe, workspace, progress, memory)
        decision = decide(facts, recipe.watch)
        if not wanted():
            return Passed(decision, None, books)
        memory = deciding.say(recipe, workspace, progress, decision, memory).keep(recipe, workspace)
        if decision.action == "wait":
            return Passed(decision, None, books)
        opened = _opened(recipe, workspace, facts, decision)
        if decision.action == "give-up":
            ended = replace(opened, ended=facts.now, outcome="given-up")
            told = f"round {ended.number}: {decision.told}"
            return Passed(decision, _end(recipe, workspace, progress, memory, ended, told), books)
        return Passed(decision, _round(recipe, workspace, progress, memory, opened), books)


def _pulled(recipe: Recipe, workspace: Workspace, progress: Progress, memory: Memory) -> Memory:
    """Look through the sources, if it is time to; one that cannot be read now may be the next time."""
    minutes, now = recipe.watch.pull_minutes, time.time()
    if minutes is None or now - memory.pulled_at < minutes * _MINUTE:
        return memory
    try:
        loop.pull(recipe, workspace, progress)
    except SourceError as error:
        progress.say(f"watch: {error}; looking again in {minutes:g} min")
    return replace(memory, pulled_at=now)


def _opened(recipe: Recipe, workspace: Workspace, facts: Facts, decision: Decision) -> Round:
    """The round that is to be done: the one that was cut off, or the next."""
    if facts.cut_off is not None:
        return facts.cut_off
    champion = wiring.registry(workspace).champion(recipe.name) if recipe.training is not None else None
    return Round(
        number=facts.rounds[-1].number + 1 if facts.rounds else 1,
        began=facts.now,
        attempts=0,
        reasons=decision.reasons,
        champion=None if champion is None else champion.ref,
    )


def _round(recipe: Recipe, workspace: Workspace, progress: Progress, memory: Memory, opened: Round) -> Round:
    """Do a round, and write down what came of it."""
    began = time.time()
    attempt = replace(opened, attempts=opened.attempts + 1)
    memory = replace(memory, open=attempt, attempt_began=began).keep(recipe, workspace)
    more: dict[str, Any] = {}
    try:
        with _signs_of_life(recipe, workspace):
            turn = loop.run(recipe, workspace, progress)
    except PASSING as error:
        # It stays open, and is not one attempt more: nothing of it was at fault.
        spent = attempt.seconds + time.time() - began
        waits = replace(attempt, seconds=spent, attempts=opened.attempts)
        replace(memory, open=waits, attempt_began=time.time()).keep(recipe, workspace)
        progress.say(f"watch: round {attempt.number} waits: {error}")
        raise
    except GoldloopError as error:
        # Without what was found: that may be content.
        outcome, told = "failed", f"{type(error).__name__}: {error.problem}"
        progress.say(f"watch: round {attempt.number} failed: {error}")
    else:
        outcome, told, more = _outcome(turn, attempt)
        memory = _answered(recipe, workspace, memory, attempt, began)
    now = time.time()
    ended = replace(attempt, ended=now, seconds=attempt.seconds + now - began, outcome=outcome)
    return _end(recipe, workspace, progress, memory, ended, f"round {ended.number}: {told}", **more)


def _end(
    recipe: Recipe,
    workspace: Workspace,
    progress: Progress,
    memory: Memory,
    ended: Round,
    told: str,
    **more: Any,
) -> Round:
    """Write down that a round has ended: in the audit log, then in mind."""
    figures = {"round": ended.number, "seconds": round(ended.seconds, 1), "attempts": ended.attempts}
    # An attempt that was killed here may have told it already.
    if ended.attempts == 1 or not deciding.is_told(recipe, workspace, ended.number):
        deciding.write_down(recipe, workspace, str(ended.outcome), told, figures, **more)
    rounds = (*memory.rounds, ended)
    replace(memory, rounds=rounds, open=None, told=()).keep(recipe, workspace)
    progress.say(f"watch: {told}")
    return ended


def _outcome(turn: Turn, attempt: Round) -> tuple[str, str, dict[str, Any]]:
    """What came of a round: in a word, in a sentence without content, and what names it."""
    if turn.waiting is not None:
        return "waiting", "nothing is labelled yet", {}
    version = "" if turn.version is None else turn.version.ref
    if turn.promotion is None:
        return "committed", f"{version} was committed", {"version": version}
    model, verdicts = turn.promotion.model.ref, turn.promotion.verdicts
    more = {"version": version, "model": model, "preannotated": turn.preannotated}
    if not turn.promotion.promoted:
        gates = [f"{each.gate} (measured {_figure(each.figure)})" for each in verdicts if not each.passed]
        return "refused", f"{model} was refused by {'; '.join(gates)}", more
    if model == attempt.champion:
        return "unchanged", f"{model} stays champion", more
    tasks = f"{turn.preannotated} open tasks pre-annotated"
    return "promoted", f"{model} passed {len(verdicts)} gates and is champion; {tasks}", more


def _figure(figure: float | None) -> str:
    return "nothing" if figure is None else f"{figure:.4g}"


def _answered(recipe: Recipe, workspace: Workspace, memory: Memory, attempt: Round, began: float) -> Memory:
    """What was there when a round came to its end begins no other."""
    with workspace.engine.connect() as connection:
        items = ever_came(connection, recipe.name)
    drift = memory.seen if "drift" in attempt.reasons else memory.answered
    return replace(memory, items=items, answered=drift, pulled_at=began)


@contextmanager
def _signs_of_life(recipe: Recipe, workspace: Workspace) -> Iterator[None]:
    """Touch a file now and then: of a round that is killed it tells how long it had lasted."""
    path, over = deciding.alive(recipe, workspace), threading.Event()
    path.touch()

    def go_on() -> None:
        while not over.wait(_SIGN_OF_LIFE):
            path.touch()

    thread = threading.Thread(target=go_on, name="goldloop-alive", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
