"""What the gates said of a model, kept with it: as tags, as files of its run, as its model card."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldloop.evaluation.gates.base import Verdict
from goldloop.evaluation.report import Report
from goldloop.registry.card import CARD_FILE, model_card, write_card
from goldloop.registry.entry import ModelVersion

_LONGEST_TAG = 5000


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a model was judged by, and how.

    Attributes:
        verdicts: what the gates said.
        report: what they judged.
        override: who let the model through in spite of them, and why.
    """

    verdicts: Sequence[Verdict]
    report: Report
    override: tuple[str, str] | None

    @property
    def refused(self) -> list[Verdict]:
        """The verdicts against the model."""
        return [verdict for verdict in self.verdicts if not verdict.passed]

    @property
    def lets_through(self) -> bool:
        """Whether the model may become champion."""
        return not self.refused or self.override is not None


def keep(client: Any, model: ModelVersion, folder: Path, judgement: Judgement) -> None:
    """Keep a judgement with a model; a later one on the same split takes its place.

    Args:
        client: an `MlflowClient`.
        model: which.
        folder: the model's on this machine; it gets the model card.
        judgement: what to keep.
    """
    number = str(model.number)
    for name, value in _tags(judgement).items():
        client.set_model_version_tag(model.name, number, name, value[:_LONGEST_TAG])
    report = judgement.report
    card = model_card(model.ref, folder, report, judgement.verdicts, judgement.override)
    run = client.get_model_version(model.name, number).run_id
    place = f"judged/{report.version.rpartition('@')[2][:12]}-{report.split}"
    with tempfile.TemporaryDirectory() as aside:
        facts = json.dumps(_facts(model, judgement), indent=1, ensure_ascii=False)
        (Path(aside) / "gates.json").write_text(facts + "\n", encoding="utf-8")
        (Path(aside) / CARD_FILE).write_text(card, encoding="utf-8")
        report.save(Path(aside) / "report", judgement.verdicts)
        client.log_artifacts(run, aside, place)
    write_card(folder, card)


def _tags(judgement: Judgement) -> dict[str, str]:
    said = (f"{verdict.gate}: {'passed' if verdict.passed else 'refused'}" for verdict in judgement.verdicts)
    override = judgement.override
    return {
        "goldloop.test": judgement.report.headline(),
        "goldloop.gates": "; ".join(said),
        "goldloop.override": f"{override[0]}: {override[1]}" if override is not None else "",
    }


def _facts(model: ModelVersion, judgement: Judgement) -> dict[str, Any]:
    report, override = judgement.report, judgement.override
    return {
        "model": model.ref,
        "version": report.version,
        "split": report.split,
        "report": report.headline(),
        "verdicts": [verdict.model_dump() for verdict in judgement.verdicts],
        "override": {"by": override[0], "reason": override[1]} if override is not None else None,
        "promoted": judgement.lets_through,
    }
