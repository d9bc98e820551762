"""When enough is labelled."""

from __future__ import annotations

from collections.abc import Sequence

from goldloop.labeling.config import Stop


def reason_to_stop(stop: Stop, labelled: int, values: Sequence[float]) -> str | None:
    """Why no more is sent to annotators; None while more is wanted.

    Args:
        stop: the recipe's rule.
        labelled: tasks that have their answers.
        values: the validation figure of each model so far, the oldest first.
    """
    if stop.labels is not None and labelled >= stop.labels:
        return f"{labelled:,} items are labelled, {stop.labels:,} are wanted (labeling.stop.labels)"
    if stop.gain is None or len(values) <= stop.models:
        return None
    before, since = max(values[: -stop.models]), max(values[-stop.models :])
    if since - before >= stop.gain:
        return None
    return (
        f"the last {stop.models} models reach {since:.4f}, those before {before:.4f}: "
        f"less than {stop.gain:g} better (labeling.stop.gain)"
    )
