"""A model card from facts: what the model does, how well by which data, what the gates said, how to use it.

The form is the Hugging Face Hub's, so that the model's folder can be uploaded as it is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.errors import ModelError
from goldloop.evaluation.gates.base import Verdict
from goldloop.evaluation.report import Report

if TYPE_CHECKING:
    import jinja2

CARD_FILE = "README.md"

_PIPELINES = {"semantic-segmentation": "image-segmentation"}
"""What the Hub calls a task where it does not call it as goldloop does."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~])")
_WEAKEST = 5


def model_card(
    ref: str,
    folder: Path,
    report: Report,
    verdicts: Sequence[Verdict] = (),
    override: tuple[str, str] | None = None,
) -> str:
    """A model card as Markdown with the Hub's metadata.

    Args:
        ref: which model, such as `signs/3`.
        folder: its folder, as `save_model` wrote it.
        report: how it did.
        verdicts: what the gates said.
        override: who let it through in spite of them, and why.

    Raises:
        ModelError: the folder holds no model of goldloop's.
    """
    from huggingface_hub import EvalResult, ModelCardData

    kind = report.task["kind"]
    pipeline = _PIPELINES.get(kind, kind)
    base = _base_model(folder)
    from_hub = base is not None and _is_hub_id(base)
    results = [
        EvalResult(
            task_type=pipeline,
            dataset_type=report.name,
            dataset_name=report.version,
            dataset_split=report.split,
            metric_type=name,
            metric_value=round(figure.value, 6),
        )
        for name, figure in report.metrics.items()
    ]
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=pipeline,
        tags=["goldloop"],
        model_name=report.name,
        base_model=base if from_hub else None,
        eval_results=results,
    )
    return _template().render(
        metadata=data.to_yaml(),
        ref=ref,
        kind=kind,
        pipeline=pipeline,
        base=base if base is None or from_hub else Path(base).name,
        report=report,
        verdicts=verdicts,
        override=override,
        weakest=_weakest(report),
        plain=_plain,
    )


def write_card(folder: Path, card: str) -> None:
    """Put a card into a model's folder; the whole of it or nothing."""
    aside = folder / f".{CARD_FILE}.{os.getpid()}"
    try:
        aside.write_text(card, encoding="utf-8")
        aside.replace(folder / CARD_FILE)
    finally:
        aside.unlink(missing_ok=True)


@cache
def _template() -> jinja2.Template:
    import jinja2

    # Markdown, not HTML: what comes from data goes through `_plain`.
    environment = jinja2.Environment(  # noqa: S701
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    source = Path(__file__).with_name("card.md.jinja").read_text(encoding="utf-8")
    return environment.from_string(source)


def _base_model(folder: Path) -> str | None:
    """The checkpoint that training began from; None where it began from fresh weights."""
    from goldloop.inference import MODEL_FILE

    file = folder / MODEL_FILE
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
        training = content["facts"].get("recipe", {}).get("training") or {}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(
            "the folder holds no model of goldloop's", where=file, found=type(error).__name__
        ) from error
    checkpoint = training.get("checkpoint")
    return checkpoint if isinstance(checkpoint, str) else None


def _is_hub_id(checkpoint: str) -> bool:
    return re.fullmatch(r"[\w.-]+/[\w.-]+", checkpoint) is not None and not Path(checkpoint).exists()


def _weakest(report: Report) -> list[tuple[str, float, int]]:
    """Name, recall and support of the classes that the model misses most."""
    held = [
        (name, figures["recall"], int(figures["support"]))
        for name, figures in report.per_class.items()
        if figures["support"] > 0 and figures["recall"] < 1
    ]
    return sorted(held, key=lambda each: (each[1], each[0]))[:_WEAKEST]


def _plain(text: object) -> str:
    """Words that Markdown shows as they are."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))
