"""Precision, recall and F1 of what was found, from how often it was right."""

from __future__ import annotations


def precision_recall(hits: int, answers: int, truth: int) -> dict[str, float]:
    """`precision`, `recall` and `f1` in [0, 1], and `support`; where nothing is to divide by, 0.

    Args:
        hits: answers that are right.
        answers: all that were given.
        truth: all that are true.
    """
    return {
        "precision": hits / answers if answers else 0.0,
        "recall": hits / truth if truth else 0.0,
        "f1": 2 * hits / (answers + truth) if answers + truth else 0.0,
        "support": float(truth),
    }
