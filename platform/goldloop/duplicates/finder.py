"""Which of some items are near-duplicates: each content is looked at once, each pair is compared once.

Contents that a workspace has seen are remembered with all that they are near to, so that data which grow cost
what is new in them. Memory holds the sketches of some thousands of items at a time, and their keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import filelock
import numpy

from goldloop.duplicates.images import Images
from goldloop.duplicates.likeness import Content, Likeness, Places, Trace
from goldloop.duplicates.store import Store
from goldloop.duplicates.texts import NearTexts, SameTexts
from goldloop.errors import VersionError
from goldloop.progress import Progress, Silent
from goldloop.records import Modality

Rule = Literal["near", "exact"]
Clique = tuple[str, ...]

_SILENT = Silent()
_LEARNT_AT_ONCE = 256
_COMPARED_AT_ONCE = 8_192
_LIKENESSES: Mapping[tuple[Modality, Rule], Callable[[], Likeness]] = {
    ("image", "near"): Images,
    ("text", "near"): NearTexts,
    ("text", "exact"): SameTexts,
}


class Finder:
    """Near-duplicates by one rule.

    Args:
        folder: of the cache; made if need be.
        modality: what the contents are.
        rule: `near`, or for texts `exact`: those that differ in case, punctuation and blanks alone.
    """

    def __init__(self, folder: Path, modality: Modality, rule: Rule) -> None:
        self._likeness = _LIKENESSES[modality, rule]()
        self._store = Store(folder, self._likeness.name)

    def unknown(self, keys: Iterable[str]) -> list[str]:
        """Of content keys those whose contents must be learnt before they can be asked about."""
        known = self._store.classes()
        return [key for key in keys if key not in known]

    def unknown_among(self, keys: Collection[str]) -> list[str]:
        """As `unknown`, of a few keys; the cost is theirs."""
        known = self._store.classes_of(keys)
        return [key for key in keys if key not in known]

    def learn(self, contents: Iterable[tuple[str, Content]]) -> Iterator[str]:
        """Look at contents, by key, a few hundred at a time; gives each key when it is known."""
        remaining = iter(contents)
        while portion := list(islice(remaining, _LEARNT_AT_ONCE)):
            keys = [key for key, _ in portion]
            traces = self._likeness.trace([content for _, content in portion])
            self._store.add(dict(zip(keys, traces, strict=True)))
            yield from keys

    def remind(self, traces: Mapping[str, Trace]) -> None:
        """Learn contents by what was kept of them."""
        self._store.add(traces)

    def traces(self, keys: Iterable[str]) -> dict[str, Trace]:
        """What is kept of contents, by key."""
        return self._store.traces(keys)

    def cliques(self, keys: Collection[str], progress: Progress = _SILENT) -> list[Clique]:
        """Which of these items are near-duplicates.

        Args:
            keys: of contents that were learnt.
            progress: where to tell how far it is.

        Returns:
            sets of keys, sorted: any two in one are near-duplicates. A key may be in several.

        Raises:
            VersionError: the contents are too alike for it to be told in a reasonable time.
        """
        self._compare(progress)
        classes = self._store.classes()
        members: dict[int, list[str]] = defaultdict(list)
        for key in keys:
            members[classes[key]].append(key)
        found = [tuple(sorted(each)) for each in members.values() if len(each) > 1]
        near = ((members.get(one), members.get(other)) for one, other in self._store.pairs())
        found += [tuple(sorted([*one, *other])) for one, other in near if one and other]
        return sorted(found)

    def cliques_about(
        self, keys: Collection[str], present: Callable[[Collection[str]], Container[str]], progress: Progress
    ) -> list[Clique]:
        """Those of `cliques` that have one of a few keys; the cost is theirs.

        Args:
            keys: of contents that were learnt.
            present: of other keys, tells which are asked about too.
            progress: where to tell how far it is.

        Raises:
            VersionError: as `cliques`.
        """
        self._compare(progress)
        own = set(self._store.classes_of(keys).values())
        near = [pair for pair in self._store.pairs() if own.intersection(pair)]
        members = self._store.members(own.union(*near))
        others = {key for every in members.values() for key in every}.difference(keys)
        here = present(others)
        held = {
            number: [key for key in every if key in keys or key in here] for number, every in members.items()
        }
        found = [tuple(sorted(held[number])) for number in own if len(held[number]) > 1]
        found += [
            tuple(sorted([*held[one], *held[other]])) for one, other in near if held[one] and held[other]
        ]
        return sorted(found)

    def _compare(self, progress: Progress) -> None:
        """Compare those that are new with each other and with all that were compared before."""
        with filelock.FileLock(self._store.path.with_suffix(".lock")):
            new = self._store.sketched(compared=False)
            if not new:
                return
            known = self._store.sketched(compared=True)
            asked = 0
            with progress.track("compare", len(new)) as advance:
                for these in _blocks(new, self._likeness.at_once):
                    known += these
                    pairs: set[tuple[int, int]] = set()
                    for candidates in self._candidates(these, known):
                        asked += len(candidates)
                        self._check(asked, len(new))
                        pairs |= self._near(candidates)
                    self._store.relate(pairs, these)
                    advance(len(these))

    def _candidates(self, these: Sequence[int], known: Sequence[int]) -> Iterator[Places]:
        """Pairs of classes and hints, int64 `(P, 3)`; these are the last of those that are known."""
        sketches = self._store.sketches(these)
        own = numpy.array(these)
        for others in _blocks(known, self._likeness.at_once):
            held = numpy.array(others)
            for found in self._likeness.candidates(sketches, self._store.sketches(others)):
                pairs = numpy.stack([own[found.one], held[found.other], found.hint], axis=1)
                # Among those that are new each pair is found from both sides, and each with itself.
                doubled = (pairs[:, 1] >= own[0]) & (pairs[:, 0] <= pairs[:, 1])
                yield pairs[~doubled]

    def _near(self, candidates: Places) -> set[tuple[int, int]]:
        near: set[tuple[int, int]] = set()
        for start in range(0, len(candidates), _COMPARED_AT_ONCE):
            asked = candidates[start : start + _COMPARED_AT_ONCE]
            involved = numpy.unique(asked[:, :2])
            details = self._store.details(involved.tolist())
            places = numpy.searchsorted(involved, asked[:, :2])
            one, other = ([details[place] for place in side] for side in places.T.tolist())
            alike = self._likeness.compare(one, other, asked[:, 2])
            near |= set(map(tuple, asked[alike][:, :2].tolist()))
        return near

    def _check(self, asked: int, new: int) -> None:
        if asked > self._likeness.most_pairs:
            raise VersionError(
                "the items are too alike for near-duplicates to be told apart",
                found=f"more than {self._likeness.most_pairs:,} pairs to be compared, for {new:,} new items",
                remedy=self._likeness.remedy,
            )


def _blocks(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (numbers[start : start + size] for start in range(0, len(numbers), size))
