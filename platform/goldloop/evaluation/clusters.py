"""Parts of the items that nobody thought of: what a model's mistakes have in common, as the model sees it.

    half of the items -> their mistakes in groups -> regions of mistakes -> the other half's items in them

A region is found on one half of the items, dealt by their keys, and only items of the other half belong to
it: whether it is worse than elsewhere is then asked of items that had no say in where it lies, by the test
that all slices go through together (`slices.py`). To an item a region is one more circumstance.

N = items, D = width of a point.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from goldloop.errors import ModelError
from goldloop.evaluation.judged import Judged

if TYPE_CHECKING:
    from numpy.typing import NDArray

CIRCUMSTANCE = "like"
"""What regions are called as a circumstance: `like 'card, arrive'`."""

MOST = 4000
"""So many items are looked at."""

Place = Callable[[Sequence[bytes | str]], "NDArray[Any]"]
"""Contents -> what the network makes of each, `(n, D)`."""

_FEWEST = 10
"""Mistakes that a group has at least, and items that a region has in the half that shows it."""
_MOST_GROUPS = 8
_PER_GROUP = 12
_WORDS = 3
_WORD = re.compile(r"[^\W\d_]{3,}")
_LONGEST_TEXT = 4000


@dataclass(slots=True)
class Seen:
    """What is known of the items for this: takes them a chunk at a time.

    Attributes:
        place: makes points of contents; None: nothing is looked at.
        keys, points, words: of each item; an image has no words.
    """

    place: Place | None
    keys: list[str] = field(default_factory=list)
    points: list[NDArray[Any]] = field(default_factory=list)
    words: list[frozenset[str]] = field(default_factory=list)

    def take(self, keys: Sequence[str], contents: Sequence[bytes | str]) -> None:
        """The next items."""
        room = MOST - len(self.keys)
        if self.place is None or room <= 0:
            return
        try:
            self.points += list(self.place(contents[:room]))
        except ModelError:
            # A network whose body gives no point says nothing here, and can be judged all the same.
            self.place = None
            return
        self.keys += keys[:room]
        self.words += [_words(content) for content in contents[:room]]


def regions(seen: Seen, judged: Sequence[Judged], seed: int = 0) -> dict[str, str]:
    """Key -> name of the region of mistakes that an item lies in; of the half alone that did not show it.

    Args:
        seen: what is known of the items.
        judged: the same items, in any order.
        seed: of the grouping.
    """
    import numpy

    by_key = {item.key: item for item in judged}
    if not seen.keys:
        return {}
    points = numpy.stack(seen.points).astype(float)
    points /= numpy.maximum(numpy.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    agreement = numpy.array([by_key[key].agreement for key in seen.keys])
    shows = numpy.array([_half(key) for key in seen.keys])
    wrong = shows & (agreement < 1)
    if wrong.sum() < _FEWEST or (shows & ~wrong).sum() < _FEWEST:
        return {}
    mistakes = _centres(points[wrong], seed)
    others = _centres(points[shows & ~wrong], seed)
    nearest = _nearest(points, numpy.concatenate([mistakes, others]))
    mean = agreement[shows].mean()
    found: dict[str, str] = {}
    names: dict[frozenset[str] | str, str] = {}
    for number in range(len(mistakes)):
        inside = nearest == number
        own = inside & shows
        if own.sum() < _FEWEST or agreement[own].mean() >= mean:
            continue
        words, otherwise = _typical(seen, own, shows), _mistaken(seen, by_key, own)
        # Regions that are called alike are one.
        name = names.setdefault(frozenset(words) or otherwise, ", ".join(words) or otherwise)
        found |= {seen.keys[place]: name for place in numpy.flatnonzero(inside & ~shows)}
    return found


def _half(key: str) -> bool:
    """Whether an item is of the half that shows regions; by its key alone."""
    return hashlib.sha256(f"clusters:{key}".encode()).digest()[0] < 128


def _centres(points: NDArray[Any], seed: int) -> NDArray[Any]:
    from sklearn.cluster import KMeans

    count = min(max(len(points) // _PER_GROUP, 1), _MOST_GROUPS)
    centres: NDArray[Any] = KMeans(count, n_init=4, random_state=seed).fit(points).cluster_centers_
    return centres


def _nearest(points: NDArray[Any], centres: NDArray[Any]) -> NDArray[Any]:
    """The nearest centre of each point, `(N,)`."""
    squares = (centres * centres).sum(1)
    found: NDArray[Any] = (squares[None, :] - 2 * points @ centres.T).argmin(1)
    return found


def _words(content: bytes | str) -> frozenset[str]:
    if isinstance(content, bytes):
        return frozenset()
    return frozenset(word.lower() for word in _WORD.findall(content[:_LONGEST_TEXT]))


def _typical(seen: Seen, own: NDArray[Any], shows: NDArray[Any]) -> list[str]:
    """The words that are more frequent in a region than elsewhere, the most typical first."""
    import numpy

    inside, outside = numpy.flatnonzero(own), numpy.flatnonzero(shows & ~own)
    here = Counter(word for place in inside for word in seen.words[place])
    there = Counter(word for place in outside for word in seen.words[place])

    def typical(word: str) -> float:
        return here[word] / len(inside) - there[word] / max(len(outside), 1)

    # A word of one text alone would tell of that text.
    common = sorted((word for word in here if here[word] > 1), key=lambda word: (-typical(word), word))
    return [word for word in common[:_WORDS] if typical(word) > 0]


def _mistaken(seen: Seen, judged: dict[str, Judged], own: NDArray[Any]) -> str:
    """The mistake that is the most frequent in a region."""
    import numpy

    items = (judged[seen.keys[place]] for place in numpy.flatnonzero(own))
    made = Counter(f"{item.expected} taken for {item.predicted}" for item in items if item.wrong)
    return made.most_common(1)[0][0]
