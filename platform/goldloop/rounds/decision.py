"""Whether a round of the loop is to begin now: a function of what is known, and of nothing else.

what speaks for a round      first, items, labels, idle, drift, schedule
what speaks against it       cool-down, rounds, seconds      (only where something speaks for it)
a round that was cut off     goes on, as long as there are seconds for it and it was not cut off too often
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from goldloop.rounds.config import WatchConfig

Action = Literal["begin", "go-on", "give-up", "wait"]

DAY = 86_400.0
FAILED = frozenset({"failed", "given-up"})
"""Outcomes of rounds that did not come to their end."""
MOST_ATTEMPTS = 3
"""A round that was cut off so often is given up: what cuts it off is likely itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round.

    Attributes:
        number: from 1.
        began: seconds since the epoch.
        ended: the same; None while it goes on, or since it was cut off.
        seconds: that it took, of all its attempts.
        attempts: how often it was begun.
        reasons: why it was begun.
        outcome: what came of it; see `controlling`.
        champion: the model that was champion before it; None without one.
    """

    number: int
    began: float
    ended: float | None = None
    seconds: float = 0.0
    attempts: int = 1
    reasons: tuple[str, ...] = ()
    outcome: str | None = None
    champion: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Drift that was seen.

    Attributes:
        version: what it was held against, `NAME@DIGEST`.
        names: what has drifted.
        came: how many items came since that version.
    """

    version: str
    names: tuple[str, ...]
    came: int

    def beyond(self, answered: Seen | None, fewest: int) -> tuple[str, ...]:
        """What of it no round has answered yet: another thing drifts, or as many items more do.

        Args:
            answered: what the last round did that drift began.
            fewest: items that are worth another one.
        """
        if answered is None or answered.version != self.version or self.came - answered.came >= fewest:
            return self.names
        return tuple(name for name in self.names if name not in answered.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known when it is decided.

    Attributes:
        now: seconds since the epoch.
        items: how many came since the last round.
        labels: how many no model has been trained with.
        idle: annotators have nothing left to do, and items wait for them.
        drift: what has drifted since the last round that drift began.
        rounds: those that have ended, the latest last: the last 24 hours of them, or more.
        cut_off: one that has begun and has not ended, though nobody is at it.
    """

    now: float
    items: int = 0
    labels: int = 0
    idle: bool = False
    drift: tuple[str, ...] = ()
    rounds: Sequence[Round] = ()
    cut_off: Round | None = None

    @property
    def of_today(self) -> list[Round]:
        """The rounds of the last 24 hours."""
        return [each for each in self.rounds if each.began > self.now - DAY]

    @property
    def seconds(self) -> float:
        """What rounds took in the last 24 hours."""
        spent = sum(each.seconds for each in self.of_today)
        return spent + (self.cut_off.seconds if self.cut_off is not None else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done, and why.

    Attributes:
        action: `begin` a round, `go-on` with one that was cut off, `give-up` on it, or `wait`.
        reasons: what speaks for a round, by name.
        against: what holds it back, by name; of `wait` without a reason, what is too little yet.
        told: the same in a sentence.
        figures: the numbers that it rests on.
    """

    action: Action
    reasons: tuple[str, ...]
    against: tuple[str, ...]
    told: str
    figures: Mapping[str, Any]

    @property
    def same(self) -> tuple[Any, ...]:
        """What is equal for decisions that need not be told twice."""
        return (self.action, self.reasons, self.against)


def decide(facts: Facts, config: WatchConfig) -> Decision:
    """What to do now."""
    if facts.cut_off is not None:
        return _of_cut_off(facts, facts.cut_off, config)
    reasons = _reasons(facts, config)
    against = _against(facts, config) if reasons else {}
    if reasons and not against:
        return _decided("begin", reasons, {}, "; ".join(reasons.values()), facts)
    if reasons:
        told = f"{'; '.join(against.values())} (though {'; '.join(reasons.values())})"
        return _decided("wait", reasons, against, told, facts)
    little = _too_little(facts, config)
    return _decided("wait", {}, little, "; ".join(little.values()) or "nothing is new", facts)


def _of_cut_off(facts: Facts, cut_off: Round, config: WatchConfig) -> Decision:
    reason = {"cut-off": f"round {cut_off.number} was cut off after {cut_off.seconds:.0f} s"}
    if cut_off.attempts >= MOST_ATTEMPTS:
        told = f"round {cut_off.number} was cut off {cut_off.attempts} times"
        return _decided("give-up", reason, {}, told, facts)
    over = _seconds_spent(facts, config)
    if over:
        return _decided("wait", reason, {"seconds": over}, f"{over} (though {reason['cut-off']})", facts)
    return _decided("go-on", reason, {}, reason["cut-off"], facts)


def _reasons(facts: Facts, config: WatchConfig) -> dict[str, str]:
    """What speaks for a round: its name -> in words."""
    found = {}
    if all(each.outcome in FAILED for each in facts.rounds):
        found["first"] = "no round has come to its end yet"
    if config.new_items is not None and facts.items >= config.new_items:
        found["items"] = f"{facts.items} new items"
    if config.new_labels is not None and facts.labels >= config.new_labels:
        found["labels"] = f"{facts.labels} new labels"
    if facts.idle and facts.labels:
        found["idle"] = "annotators have nothing left to do, and items wait"
    if facts.drift:
        found["drift"] = f"drift of {', '.join(facts.drift)}"
    last = facts.rounds[-1].began if facts.rounds else None
    if config.every_hours is not None and last is not None and facts.now - last >= config.every_hours * 3600:
        found["schedule"] = f"the last round began {(facts.now - last) / 3600:.1f} h ago"
    return found


def _against(facts: Facts, config: WatchConfig) -> dict[str, str]:
    """What holds a round back: its name -> in words."""
    found = {}
    ended = facts.rounds[-1].ended if facts.rounds else None
    rest = 0.0 if ended is None else ended + config.cool_down_minutes * 60 - facts.now
    if rest > 0:
        found["cool-down"] = f"the last round ended {config.cool_down_minutes * 60 - rest:.0f} s ago"
    if config.rounds_per_day is not None and len(facts.of_today) >= config.rounds_per_day:
        found["rounds"] = f"{len(facts.of_today)} rounds in 24 hours, at most {config.rounds_per_day}"
    over = _seconds_spent(facts, config)
    if over:
        found["seconds"] = over
    return found


def _seconds_spent(facts: Facts, config: WatchConfig) -> str:
    limit = config.seconds_per_day
    if limit is None or facts.seconds < limit:
        return ""
    return f"rounds took {facts.seconds:.0f} s in 24 hours, at most {limit:g}"


def _too_little(facts: Facts, config: WatchConfig) -> dict[str, str]:
    """What there is some of, and not enough for a round."""
    found = {}
    if facts.labels and config.new_labels is not None:
        found["too-few-labels"] = f"{facts.labels} of {config.new_labels} new labels"
    if facts.items and config.new_items is not None:
        found["too-few-items"] = f"{facts.items} of {config.new_items} new items"
    return found


def _decided(
    action: Action, reasons: Mapping[str, str], against: Mapping[str, str], told: str, facts: Facts
) -> Decision:
    figures = {
        "items": facts.items,
        "labels": facts.labels,
        "rounds": len(facts.of_today),
        "seconds": round(facts.seconds, 1),
    }
    return Decision(action=action, reasons=tuple(reasons), against=tuple(against), told=told, figures=figures)
