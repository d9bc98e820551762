"""Parts of the items that have something in common, on which a model may be worse than on the whole.

    items --circumstances--> slices -> mean agreement of each, its interval, and whether it is low by chance

A slice is made of the items that share a value (a source, a class) or whose number lies between two bounds
(a quarter of the lengths). With many slices one of them is always low; so each is asked how often the lowest
of all would be as low if errors fell on items by lot (Westfall and Young, Resampling-based multiple testing,
1993): that chance holds for all slices together.

N = items, S = slices, R = resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from goldloop.evaluation.judged import Estimate, Judged

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST = 10
"""Items that a slice has at least: fewer tell nothing."""

UNLIKELY = 0.05
"""A slice whose lowness is less likely by chance is told of as weak."""

_RESAMPLES = 2000
_QUARTERS = (0.25, 0.5, 0.75)
_MOST_VALUES = 100
_NUMBERS_AT_ONCE = 4_000_000
_DAY = len("2026-11-25")


class Slice(BaseModel):
    """The items that have something in common, and how a model does on them.

    Attributes:
        circumstance: what they have in common, such as `source` or `length`.
        value: its value; None where it is a range.
        low, high: the bounds of a range, both included; None where it is a value.
        items: how many.
        agreement: mean agreement on them, with its 95% interval.
        rest: mean agreement on all other items.
        chance: how often, were errors spread by lot, the lowest of all slices would be as low, in (0, 1].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    circumstance: str
    value: str | None = None
    low: float | None = None
    high: float | None = None
    items: int
    agreement: Estimate
    rest: float
    chance: float

    @property
    def name(self) -> str:
        """In words, such as `length 12 to 40`."""
        if self.value is not None:
            return f"{self.circumstance} {self.value!r}"
        if self.low == self.high:
            return f"{self.circumstance} {_short(self.low)}"
        return f"{self.circumstance} {_short(self.low)} to {_short(self.high)}"

    @property
    def is_weak(self) -> bool:
        """Whether the model is worse here than elsewhere, and that is hardly chance."""
        return self.agreement.value < self.rest and self.chance <= UNLIKELY

    def holds(self, item: Judged) -> bool:
        """Whether an item belongs to it."""
        found = item.circumstances.get(self.circumstance)
        if self.value is not None:
            return _in_words(found) == self.value
        number, low, high = _number(found), self.low, self.high
        return number is not None and low is not None and high is not None and low <= number <= high


def slices_of(items: Sequence[Judged], seed: int = 0) -> tuple[Slice, ...]:
    """The slices of judged items, the weakest first.

    Args:
        items: N of them, with their circumstances.
        seed: of the resampling.
    """
    import numpy

    drafts = list(_drafts(items))
    if not drafts:
        return ()
    agreement = numpy.array([item.agreement for item in items])
    members = numpy.array([[draft.holds(item) for item in items] for draft in drafts])
    chances = _chances(agreement, members, seed)
    generator = numpy.random.default_rng(seed)
    found = []
    for draft, inside, chance in zip(drafts, members, chances.tolist(), strict=True):
        own = agreement[inside]
        figure = _interval(own, generator)
        rest = float(agreement[~inside].mean())
        found.append(draft.model_copy(update={"agreement": figure, "rest": rest, "chance": chance}))
    return tuple(sorted(found, key=lambda slice_: (slice_.chance, slice_.agreement.value, slice_.name)))


def _chances(agreement: NDArray[Any], members: NDArray[Any], seed: int) -> NDArray[Any]:
    """How often the lowest slice is as low as each slice is, with agreement dealt out anew, `(S,)`.

    Args:
        agreement: of each item, `(N,)`.
        members: boolean `(S, N)`, which items belong to which slice.
        seed: of the dealing.
    """
    import numpy

    generator = numpy.random.default_rng(seed)
    counts = members.sum(axis=1)
    weights = (members / counts[:, None]).T
    # A mean of few items varies more: slices are compared by how many of their deviations they are off.
    scale = agreement.std() * numpy.sqrt(1 / counts - 1 / len(agreement))
    scale[scale <= 0] = numpy.inf
    observed = (agreement @ weights - agreement.mean()) / scale
    as_low = numpy.ones(len(observed))
    at_once = max(1, _NUMBERS_AT_ONCE // len(agreement))
    for start in range(0, _RESAMPLES, at_once):
        size = min(at_once, _RESAMPLES - start)
        dealt = generator.permuted(numpy.tile(agreement, (size, 1)), axis=1)
        least = ((dealt @ weights - agreement.mean()) / scale).min(axis=1)
        as_low += (least[:, None] <= observed + 1e-9).sum(axis=0)
    found: NDArray[Any] = as_low / (1 + _RESAMPLES)
    return found


def _interval(own: NDArray[Any], generator: Any) -> Estimate:
    """Mean agreement with its percentile interval; where nothing varies, Clopper and Pearson's."""
    import numpy

    value = float(own.mean())
    if numpy.ptp(own) == 0:
        reach = 0.025 ** (1 / len(own))
        low, high = (value * reach, value) if value > 0 else (0.0, 1 - reach)
        return Estimate(value=value, low=low, high=high)
    values, counts = numpy.unique(own, return_counts=True)
    draws = generator.multinomial(len(own), counts / len(own), size=_RESAMPLES) @ values / len(own)
    low, high = numpy.percentile(draws, [2.5, 97.5]).tolist()
    return Estimate(value=value, low=min(low, value), high=max(high, value))


def _drafts(items: Sequence[Judged]) -> Iterator[Slice]:
    """Slices of which nothing but their members is known yet."""
    for name in sorted({name for item in items for name in item.circumstances}):
        known = [item.circumstances.get(name) for item in items]
        numbers = [number for value in known if (number := _number(value)) is not None]
        if len(numbers) > len(known) / 2:
            yield from _ranges(name, numbers, len(items))
        else:
            yield from _values(name, known)


def _values(name: str, known: Sequence[Any]) -> Iterator[Slice]:
    counts = Counter(word for value in known if (word := _in_words(value)) is not None)
    for value, count in sorted(counts.most_common(_MOST_VALUES)):
        if FEWEST <= count < len(known):
            yield _draft(circumstance=name, value=value, items=count)


def _ranges(name: str, numbers: Sequence[float], whole: int) -> Iterator[Slice]:
    """Quarters; where many items have one number, fewer ranges."""
    import numpy

    ordered = numpy.sort(numpy.asarray(numbers, dtype=float))
    cuts = numpy.unique(numpy.quantile(ordered, _QUARTERS, method="higher"))
    for part in numpy.split(ordered, numpy.searchsorted(ordered, cuts, side="right")):
        if FEWEST <= len(part) < whole:
            yield _draft(circumstance=name, low=float(part[0]), high=float(part[-1]), items=len(part))


def _draft(**fields: Any) -> Slice:
    unknown = Estimate(value=0, low=0, high=0)
    return Slice(**fields, agreement=unknown, rest=0, chance=1)


def _short(number: float | None) -> str:
    """Whole numbers whole, others to four digits."""
    if number is None:
        return "-"
    return f"{number:.0f}" if number == round(number) else f"{number:.4g}"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _in_words(value: Any) -> str | None:
    """A value as slices are named; a moment counts by its month."""
    if value is None or isinstance(value, Mapping):
        return None
    text = str(value)
    return text[: len("2026-11")] if _is_moment(text) else text


def _is_moment(text: str) -> bool:
    from datetime import date

    try:
        date.fromisoformat(text[:_DAY])
    except ValueError:
        return False
    return len(text) == _DAY or text[_DAY : _DAY + 1] in ("T", " ")
