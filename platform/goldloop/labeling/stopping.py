"""When enough is labelled."""

from __future__ import annotations

from collections.abc import Sequence

from goldloop.labeling.config import Stop


def reason_to_stop(
    stop: Stop, labelled: int, values: Sequence[float], at_most: float | None = None
) -> str | None:
    """Why no more is sent to annotators; None while more is wanted.

    Args:
        stop: the recipe's rule.
        labelled: tasks that have their answers.
        values: the validation figure of each model so far, the oldest first.
        at_most: what as many more labels as the rule names would gain at most, nine times of ten; None where
            that is not known.
    """
    if stop.labels is not None and labelled >= stop.labels:
        return f"{labelled:,} items are labelled, {stop.labels:,} are wanted (labeling.stop.labels)"
    if stop.worth is not None and at_most is not None and at_most < stop.worth.gain:
        return (
            f"{stop.worth.labels:,} more labels would gain {100 * max(at_most, 0):.1f} points at most, "
            f"{100 * stop.worth.gain:g} are wanted (labeling.stop.worth)"
        )
    if stop.gain is None or len(values) <= stop.models:
        return None
    before, since = max(values[: -stop.models]), max(values[-stop.models :])
    if since - before >= stop.gain:
        return None
    return (
        f"the last {stop.models} models reach {since:.4f}, those before {before:.4f}: "
        f"less than {stop.gain:g} better (labeling.stop.gain)"
    )
