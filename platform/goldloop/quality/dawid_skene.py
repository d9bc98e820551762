"""Dawid and Skene's consensus (1979): answers weigh as much as their annotators have shown to be worth.

By crowd-kit, from all answers of a dataset at once; the same answers give the same result. Each annotator has
a table of what they say of items of each class; with few answers for its many cells one number, how often the
annotator is right, takes its place (`one-coin`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_ANSWERS_PER_CELL = 5
_ITERATIONS = 200

Posterior = Mapping[str, float]
"""Class name -> probability that it is the true one, adding up to 1."""


def posteriors(answers: Mapping[str, Mapping[str, str]]) -> dict[str, Posterior]:
    """What each item's class is, as far as all answers tell.

    Args:
        answers: key -> annotator -> class name; in any order.

    Returns:
        key -> its posterior. It is surer than it should be where annotators share few items.
    """
    import pandas
    from crowdkit.aggregation.classification.dawid_skene import DawidSkene, OneCoinDawidSkene

    rows = [
        (key, annotator, name)
        for key, given in sorted(answers.items())
        for annotator, name in sorted(given.items())
    ]
    if not rows:
        return {}
    table = pandas.DataFrame(rows, columns=["task", "worker", "label"])
    names = table["label"].nunique()
    if names == 1:
        return {key: {rows[0][2]: 1.0} for key in answers}
    fewest = int(table["worker"].value_counts().min())
    form = DawidSkene if fewest >= _ANSWERS_PER_CELL * names**2 else OneCoinDawidSkene
    found: Any = form(n_iter=_ITERATIONS).fit(table).probas_
    classes = [str(name) for name in found.columns]
    return {
        str(key): dict(zip(classes, map(float, row), strict=True))
        for key, row in zip(found.index, found.to_numpy(), strict=True)
    }


def class_sets(
    answers: Mapping[str, Mapping[str, Sequence[str]]], classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Of answers that are sets of classes: key -> class name -> probability that the item has it.

    Each class is a question of its own, to be answered by yes or no.
    """
    found: dict[str, dict[str, float]] = {key: {} for key in answers}
    for name in classes:
        asked = {
            key: {who: "yes" if name in chosen else "no" for who, chosen in given.items()}
            for key, given in answers.items()
        }
        for key, posterior in posteriors(asked).items():
            found[key][name] = posterior.get("yes", 0.0)
    return found


def most_likely(posterior: Posterior) -> tuple[str, float] | None:
    """The class with more than half of the probability, and how much; None where none has."""
    name, probability = max(posterior.items(), key=lambda each: (each[1], each[0]))
    return (name, probability) if probability > 0.5 + 1e-6 else None


def likely_set(shares: Mapping[str, float]) -> tuple[list[str], float] | None:
    """The classes that an item has, and how sure the least sure question is; None where one is open."""
    least: Any = min((max(share, 1 - share) for share in shares.values()), default=1.0)
    if least <= 0.5 + 1e-6:
        return None
    return [name for name, share in shares.items() if share > 0.5], float(least)
