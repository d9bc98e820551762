"""Shortcuts: does anything besides the content tell the label? Then a model may learn that instead.

A small decision tree is asked to tell the label from one circumstance alone (source, folder, size, time,
length, brightness ...), cross-validated by group, and the same is done many times with the labels shuffled:
the share of shuffles that do as well is the p-value (Ojala and Garriga, Permutation tests for studying
classifier performance, 2010), corrected for the number of circumstances (Holm 1979).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from goldloop.quality.findings import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PERMUTATIONS_EACH = 25
"""Shuffles for each circumstance: enough that the correction for their number leaves a p-value below 5%."""
_FOLDS = 5
_FEWEST = 40
_MOST = 1_000
"""Items that are looked at: more cost time and tell hardly more."""
_DEPTH = 4
_LEVEL = 0.05
_STRONG = 0.25
"""Of the way from chance to certainty, from which on a circumstance tells the label all too well."""
_WEAK = 0.05
_MOST_VALUES = 50
_EVERYDAY = frozenset({"length", "words", "file size", "contrast"})
"""What differs between classes by nature: worth a look, but no fault by itself."""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """What one circumstance tells of the label.

    Attributes:
        name: the circumstance.
        accuracy: balanced over classes, in [0, 1], cross-validated.
        chance: what shuffled labels give in the mean.
        p_value: corrected.
    """

    name: str
    accuracy: float
    chance: float
    p_value: float

    @property
    def strength(self) -> float:
        """How far of the way from chance to certainty, at most 1."""
        return (self.accuracy - self.chance) / max(1 - self.chance, 1e-9)


def shortcuts(
    circumstances: Mapping[str, Sequence[Any]], labels: Sequence[str], groups: Sequence[str], seed: int = 0
) -> Finding:
    """Circumstances that tell the label.

    Args:
        circumstances: name -> its value for each of N items: a number, a text, or None where it is not known.
        labels: of each item, in a word.
        groups: of each item.
        seed: of the shuffling.
    """
    found = find(circumstances, labels, groups, seed)
    if found is None:
        return Finding(
            kind="shortcuts",
            state="unknown",
            title="Too few items to tell whether anything besides the content tells the label",
            meaning="",
            certainty=f"{len(labels)} items; it takes {_FEWEST}, and two labels with {_FOLDS} items each",
            remedy="Label more items",
        )
    telling = [each for each in found if each.p_value <= _LEVEL and each.strength >= _WEAK]
    strong = [each for each in telling if each.strength >= _STRONG and each.name not in _EVERYDAY]
    names = ", ".join(each.name for each in telling)
    return Finding(
        kind="shortcuts",
        state="act" if strong else "look" if telling else "fine",
        title=f"The label can be guessed from {names}, without the content"
        if telling
        else "Nothing but the content tells the label",
        meaning="A model may learn this instead of what you mean: it then does well here and fails where the "
        "circumstance is another."
        if telling
        else "",
        certainty=f"Small decision trees on {min(len(labels), _MOST):,} items, cross-validated, against "
        f"shuffled labels; p-values are corrected for {len(found)} circumstances.",
        remedy="Collect items of each class under all circumstances; look at the report by these "
        "slices before "
        "you trust a figure. Of lengths, file sizes and contrast it may lie in the nature of the classes."
        if telling
        else "",
        columns=("circumstance", "guessed right", "by chance", "p"),
        rows=[
            (each.name, f"{each.accuracy:.0%}", f"{each.chance:.0%}", f"{each.p_value:.2f}") for each in found
        ],
        count=len(telling),
    )


def find(
    circumstances: Mapping[str, Sequence[Any]], labels: Sequence[str], groups: Sequence[str], seed: int = 0
) -> list[Shortcut] | None:
    """What each circumstance tells, the most telling first; None with too few items."""
    import numpy

    common = {name for name, count in Counter(labels).items() if count >= _FOLDS}
    places = [place for place, label in enumerate(labels) if label in common]
    if len(common) < 2 or len(places) < _FEWEST:
        return None
    if len(places) > _MOST:
        chosen = numpy.random.default_rng(seed).choice(len(places), _MOST, replace=False)
        places = [places[place] for place in sorted(chosen.tolist())]
    names = numpy.array([labels[place] for place in places])
    owners = numpy.array([groups[place] for place in places])
    if len(set(owners.tolist())) < _FOLDS:
        return None
    columns = {
        name: features
        for name, values in circumstances.items()
        if (features := _features([values[place] for place in places])) is not None
    }
    shuffles = _PERMUTATIONS_EACH * len(columns) - 1
    found = [_tested(name, column, names, owners, shuffles, seed) for name, column in columns.items()]
    return sorted(_corrected(found), key=lambda each: (-each.strength, each.name))


def _features(values: Sequence[Any]) -> NDArray[Any] | None:
    """Numbers as they are, a column for each frequent text; None where all are alike."""
    import numpy

    known = [value for value in values if value is not None]
    if len(set(map(str, known))) < 2 and len(known) == len(values):
        return None
    if not known:
        return None
    numbers = [_number(value) for value in values]
    if all(number is not None for number, value in zip(numbers, values, strict=True) if value is not None):
        middle = float(numpy.median([number for number in numbers if number is not None]))
        column = [middle if number is None else number for number in numbers]
        return numpy.array([column, [number is None for number in numbers]], dtype=float).T
    frequent = [text for text, _ in Counter(map(str, known)).most_common(_MOST_VALUES)]
    if Counter(map(str, known))[frequent[0]] < 2:
        # A name of its own for each item tells nothing that could be learned.
        return None
    return numpy.array([[str(value) == text for text in frequent] for value in values], dtype=float)


def _number(value: Any) -> float | None:
    """A number, or a moment in seconds."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        try:
            return float(value)
        except ValueError:
            return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _tested(
    name: str,
    features: NDArray[Any],
    labels: NDArray[Any],
    groups: NDArray[Any],
    shuffles: int,
    seed: int,
) -> Shortcut:
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_score, permutation_test_score
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(
        max_depth=max(_DEPTH, len(set(labels.tolist())).bit_length()),
        min_samples_leaf=2,
        class_weight="balanced",
        random_state=seed,
    )
    with warnings.catch_warnings():
        # A class that a fold has too few of says so each time.
        warnings.simplefilter("ignore", UserWarning)
        folds = list(
            StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed).split(features, labels, groups)
        )
        asked: dict[str, Any] = {"cv": folds, "scoring": "balanced_accuracy"}
        score = float(cross_val_score(tree, features, labels, **asked).mean())
        chance = 1 / len(set(labels.tolist()))
        if (score - chance) / (1 - chance) < _WEAK:
            # Too little to matter, whether or not it is chance.
            return Shortcut(name, score, chance, 1.0)
        score, shuffled, p_value = permutation_test_score(
            tree, features, labels, n_permutations=shuffles, random_state=seed, **asked
        )
    return Shortcut(name, float(score), float(shuffled.mean()), float(p_value))


def _corrected(found: Sequence[Shortcut]) -> list[Shortcut]:
    """With Holm's correction: the k-th smallest of n p-values times n - k, never smaller than one before."""
    ordered = sorted(found, key=lambda each: each.p_value)
    corrected, least = [], 0.0
    for place, each in enumerate(ordered):
        least = max(least, min(1.0, each.p_value * (len(ordered) - place)))
        corrected.append(Shortcut(each.name, each.accuracy, each.chance, least))
    return corrected
