"""What a report tells of the dataset version that judges: how far its labels can be trusted."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class JudgingData(BaseModel):
    """Facts of the version's certificate, and of the version that the model was trained on.

    Attributes:
        agreement: of annotators, mean over items, in [0, 1]; None where no item has two answers.
        alpha: Krippendorff's: 1 is perfect, 0 what chance gives; None where it says nothing.
        items_compared: items with two answers or more.
        checks: what was checked of the version from its bytes.
        seen: keys of judged items that the model was trained or chosen on; None where the version that it
            was trained on is not at hand.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    agreement: float | None = None
    alpha: float | None = None
    items_compared: int = 0
    checks: tuple[str, ...] = ()
    seen: tuple[str, ...] | None = None
