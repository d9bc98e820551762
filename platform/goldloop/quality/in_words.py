"""Figures of agreement and doubtful labels as findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from goldloop.quality.findings import Example, Finding
from goldloop.quality.suspects import Suspects
from goldloop.quality.sway import Sway
from goldloop.tasks.base import Task

_RELIABLE, _TENTATIVE = 0.8, 0.667
"""Krippendorff's own limits: labels are reliable from the first on, and from the second for tentative
conclusions (Content Analysis, 2019, chapter 12)."""
_SHOWN = 30
_SWAYED = 0.1


def nothing_known(kind: str, title: str, why: Exception | None) -> Finding:
    """A side from which nothing could be seen."""
    return Finding(
        kind=kind,
        state="unknown",
        title=title,
        meaning="",
        certainty="" if why is None else str(why),
        remedy="",
    )


def agreement_found(agreement: Mapping[str, Any]) -> Finding:
    """How far annotators agree; `agreement` is as a version's certificate has it."""
    mean, alpha = agreement.get("mean"), agreement.get("alpha")
    if mean is None or alpha is None:
        return Finding(
            kind="agreement",
            state="unknown",
            title="Nobody knows how far annotators agree",
            meaning="Where one person answers each item, their mistakes and habits cannot be told "
            "from the truth.",
            certainty="No item was answered by two people, or all gave the same answer to everything",
            remedy="Let two people annotate some of the items: `labeling.annotators_per_item: 2`",
        )
    state: Any = "fine" if alpha >= _RELIABLE else "look" if alpha >= _TENTATIVE else "act"
    bounds = agreement.get("alpha_interval")
    told = "" if bounds is None else f" (95% interval {bounds[0]:.2f} to {bounds[1]:.2f})"
    classes = agreement.get("classes", {})
    weak = sorted(
        (
            name
            for name, facts in classes.items()
            if facts["alpha"] is not None and facts["alpha"] < _RELIABLE
        ),
        key=lambda name: classes[name]["alpha"],
    )
    rows = [
        (
            name,
            f"{classes[name]['alpha']:.2f}",
            "-"
            if classes[name]["interval"] is None
            else "{:.2f} to {:.2f}".format(*classes[name]["interval"]),
            classes[name]["items"],
        )
        for name in (weak or sorted(classes))[:_SHOWN]
        if classes[name]["alpha"] is not None
    ]
    words = {"fine": "reliably", "look": "only roughly", "act": "too little"}[state]
    return Finding(
        kind="agreement",
        state=state,
        title=f"Annotators agree {words}: alpha {alpha:.2f}"
        + (f"; weakest on {', '.join(weak[:3])}" if weak else ""),
        meaning="A model cannot be better than its labels: where people do not agree, it is taught "
        "contradictions, "
        "and its figures are measured against them."
        if state != "fine" or weak
        else "",
        certainty=f"Krippendorff's alpha over {agreement['items']:,} items answered by two or "
        f"more{told}: 1 is "
        f"perfect, 0 what chance gives, from {_RELIABLE} on labels count as reliable. Two answers are "
        "alike by "
        f"{mean:.0%} on average.",
        remedy="Look at items on which they differ, say in the instructions what is meant, and ask "
        "again; a class "
        "that nobody can tell apart may want to be merged."
        if state != "fine" or weak
        else "",
        columns=("class", "alpha", "95% interval", "items"),
        rows=rows,
    )


def suspects_found(found: Suspects, task: Task[Any]) -> Finding:
    """Doubtful labels."""
    flagged = found.flagged
    share = len(flagged) / max(len(found.items), 1)
    examples = [
        Example(
            suspect.key,
            suspect.reason,
            {"labelled": suspect.given, "the model says": suspect.suggested},
        )
        for suspect in flagged[:_SHOWN]
    ]
    return Finding(
        kind="suspects",
        state="act" if share >= 0.01 else "look" if flagged else "fine",
        title=f"{len(flagged):,} of {len(found.items):,} labels are probably wrong ({share:.1%})"
        if flagged
        else "No label is probably wrong",
        meaning="Wrong labels in training teach mistakes; in the test split they make a good model "
        "look bad, and a "
        "bad one good."
        if flagged
        else "",
        certainty=f"Judged by {found.model}, which had not seen the item it judges; its answers are "
        "the labels' with "
        f"{found.metric} {found.value:.2f}. The better it is, the more its doubts mean: expect some of these "
        "labels to be right.",
        remedy="Have them looked at again: `goldloop relabel` sends them back to annotators, the "
        "most doubtful "
        "first; the next commit tells what came of it."
        if flagged
        else "",
        examples=examples,
        count=len(flagged),
    )


def sway_found(found: Sway | None) -> Finding:
    """How far shown suggestions sway annotators."""
    if found is None:
        return Finding(
            kind="sway",
            state="unknown",
            title="Nobody knows how far suggestions sway annotators",
            meaning="Who sees a model's answer may follow it, right or wrong; the next model then learns it.",
            certainty="Too few items were answered both with and without a suggestion",
            remedy="Keep suggestions from annotators on some of the items: `labeling.blind: 0.1`",
        )
    low, high = found.interval or (None, None)
    told = "" if low is None else f" (95% interval {low:+.1%} to {high:+.1%})"
    certain = low is not None and low > 0
    state: Any = "fine" if not certain else "act" if found.difference >= _SWAYED else "look"
    return Finding(
        kind="sway",
        state=state,
        title=f"Shown suggestions sway annotators by {found.difference:+.1%}"
        if certain
        else f"No sign that suggestions sway annotators: {found.difference:+.1%}",
        meaning="So much more often people agree with a model where they see what it says. Its mistakes "
        "become labels."
        if certain
        else "",
        certainty=f"Agreement with the model is {found.shown.agreement:.1%} over {found.shown.items:,} items "
        f"that show its suggestion and {found.blind.agreement:.1%} over {found.blind.items:,} that do not, "
        f"drawn by chance{told}.",
        remedy="Show suggestions on fewer items (`labeling.blind`), or only those that the model is sure of; "
        "tell annotators that they may be wrong."
        if certain
        else "",
        columns=("", "items", "answers", "agree with the model", "seconds"),
        rows=[
            (
                name,
                arm.items,
                arm.answers,
                f"{arm.agreement:.1%}",
                "-" if arm.seconds is None else f"{arm.seconds:.1f}",
            )
            for name, arm in (("shown", found.shown), ("not shown", found.blind))
        ],
    )
