"""`kind: text-similarity`: a number on a scale for a pair of texts, such as how alike they are in meaning.

A target is a float on the scale, rounded to 6 decimals. Annotators and models answer in whole steps: Label
Studio takes no other number, so a suggestion between two steps could not be submitted. What several
annotators say together, or a source, may lie between two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import override

from goldloop.errors import AnnotationError
from goldloop.records import Item, Prediction
from goldloop.tasks._logits import finite_logits
from goldloop.tasks._packing import pack_network
from goldloop.tasks._regions import new_region, region_id, region_value
from goldloop.tasks._segments import answers
from goldloop.tasks._text_pairs import (
    PAIR,
    PairConfig,
    pair_item,
    pair_model,
    pair_view,
    prepare_pairs,
    texts_of,
    tiny_pair_checkpoint,
)
from goldloop.tasks._texts import SMALL_ENCODER, text_inputs
from goldloop.tasks.base import PLAIN_LOSS, Batch, ConsensusPolicy, Example, LossOptions, Model, Task

if TYPE_CHECKING:
    import datasets
    import torch

CONTROL = "score"
"""The name of the Number tag, of the target's column and of its key in a prepared row."""

_DECIMALS = 6
_EXAMPLES = 12


class Scale(BaseModel):
    """The numbers that annotators choose from."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    least: float = 0
    most: float = 5
    step: float = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.most - self.least < self.step:
            raise ValueError(f"a scale from {self.least:g} to {self.most:g} has no step of {self.step:g}")
        return self

    @property
    def width(self) -> float:
        """From end to end."""
        return self.most - self.least


class TextSimilarity(Task[float]):
    """A number for each pair of texts; an item's text is a JSON array of the two."""

    class Config(PairConfig):
        """What a recipe says under `task:`."""

        scale: Scale = Scale()
        tolerance: float | None = Field(default=None, ge=0)
        """How far apart two answers may be that mean the same; by default one step of the scale."""

    config: Config
    modality = "text"
    metric = "spearman"
    suggested_checkpoint = "sentence-transformers/all-MiniLM-L6-v2"
    small_network = SMALL_ENCODER
    loss_options = frozenset()

    @property
    @override
    def classes(self) -> tuple[str, ...]:
        return ()

    @override
    def with_classes(self, classes: Sequence[str]) -> Self:
        return self

    @override
    def label_config(self) -> str:
        scale = self.config.scale
        shown = pair_view(self.config, ("First text", "Second text"))
        number = (
            f'  <Number name="{CONTROL}" toName="{PAIR[0]}" min="{scale.least:.12g}" max="{scale.most:.12g}" '
            f'step="{scale.step:.12g}" required="true" requiredMessage="Give a number, or skip the task"/>'
        )
        heading = f"{scale.least:.12g} to {scale.most:.12g}"
        return f'<View>\n{shown}\n  <Header value="{heading}"/>\n{number}\n</View>'

    @override
    def check(self, item: Item) -> None:
        texts_of(item.text, PAIR)

    @override
    def task_data(self, item: Item, address: str | None) -> dict[str, Any]:
        return dict(zip(PAIR, texts_of(item.text, PAIR), strict=True))

    @override
    def parse(self, value: Any, item: Item) -> float:
        """A number on the scale, or a text that is one."""
        return self._number(value, f"item {item.key}")

    def _number(self, value: Any, where: str) -> float:
        scale = self.config.scale
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        # Written so that NaN is refused.
        if not scale.least <= number <= scale.most:
            raise AnnotationError(
                "the answer is no number on the scale",
                where=where,
                found=repr(value)[:80],
                expected=f"{scale.least:g} to {scale.most:g}",
                remedy="Correct the number, or the task's `scale`",
            )
        return self._on_scale(number)

    def _on_scale(self, number: float) -> float:
        """A number rounded and within the scale; never -0."""
        scale = self.config.scale
        return min(max(round(number, _DECIMALS), scale.least), scale.most) + 0.0

    @override
    def decode(self, results: Sequence[Mapping[str, Any]], item: Item) -> float:
        regions = ", ".join(region_id(region) for region in results)
        where = f"item {item.key}, regions {regions}" if regions else f"item {item.key}"
        if len(results) != 1:
            raise AnnotationError(
                "the answer is not one number",
                where=where,
                found=f"{len(results)} regions",
                expected="exactly one",
                remedy="Give one number in Label Studio and update the annotation, or skip the task",
            )
        value = region_value(results[0], CONTROL, PAIR[0], "number", where)
        number = value.get("number")
        return self._number(None if isinstance(number, str) else number, where)

    @override
    def encode(self, target: float, item: Item) -> list[dict[str, Any]]:
        number = self._number(target, f"item {item.key}")
        # As the browser writes it: 3, not 3.0.
        value = {"number": int(number) if number.is_integer() else number}
        return [new_region(item, 0, CONTROL, PAIR[0], "number", value)]

    @override
    def features(self) -> datasets.Features:
        import datasets

        return datasets.Features({"text": datasets.Value("string"), CONTROL: datasets.Value("float64")})

    @override
    def to_row(self, target: float) -> dict[str, Any]:
        return {CONTROL: self._number(target, "the label")}

    @override
    def from_row(self, row: Mapping[str, Any]) -> float:
        return float(row[CONTROL])

    @override
    def agreement(self, a: float, b: float) -> float:
        """1 for equal answers, 0 for the two ends of the scale."""
        return 1 - min(abs(a - b) / self.config.scale.width, 1.0)

    @override
    def consensus(self, targets: Sequence[float], policy: ConsensusPolicy) -> float | None:
        """The median, where more than half of the answers lie within the tolerance of it.

        `unanimous`: where no two answers are further apart than the tolerance.
        """
        if not targets:
            return None
        middle = float(median(targets))
        tolerance = self.config.scale.step if self.config.tolerance is None else self.config.tolerance
        # A hair more, since decimal fractions have no exact binary form.
        tolerance += 10**-_DECIMALS / 2
        if policy == "unanimous":
            together = max(targets) - min(targets) <= tolerance
        else:
            together = 2 * sum(abs(target - middle) <= tolerance for target in targets) > len(targets)
        return self._on_scale(middle) if together else None

    @override
    def model(
        self,
        checkpoint: str | Path | Mapping[str, Any],
        *,
        texts: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Model:
        return pair_model(checkpoint, [CONTROL], PAIR, texts, settings, "regression")

    @override
    def prepare(self, model: Model, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows with the tokens of both texts, see `prepare_pairs`, where the text was."""
        tokenized = prepare_pairs([row["text"] for row in rows], PAIR, model)
        return [
            {**{name: row[name] for name in ("key", CONTROL) if row.get(name) is not None}, **tokens}
            for row, tokens in zip(rows, tokenized, strict=True)
        ]

    @override
    def pack(self, model: Model) -> str | None:
        return pack_network(model, "text")

    @override
    def batch(self, rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
        """As for `text-pairs`; targets float32 `(B,)`, the scale from 0 to 1."""
        inputs, tokens, padded = text_inputs(rows, model)
        keys = tuple(row.get("key", "") for row in rows)
        return Batch(inputs, self._targets(rows), keys, tokens, padded)

    def _targets(self, rows: Sequence[Mapping[str, Any]]) -> torch.Tensor | None:
        import torch

        known = [float(row[CONTROL]) for row in rows if row.get(CONTROL) is not None]
        if not known:
            return None
        if len(known) < len(rows):
            raise ValueError(f"{len(rows) - len(known)} of {len(rows)} rows have no label")
        scale = self.config.scale
        return (torch.tensor(known, dtype=torch.float32) - scale.least) / scale.width

    @override
    def loss(self, outputs: Any, batch: Batch, options: LossOptions = PLAIN_LOSS) -> torch.Tensor:
        """The mean squared error, on a scale from 0 to 1."""
        from torch.nn.functional import mse_loss

        return mse_loss(answers(outputs.logits, batch).float().squeeze(-1), batch.targets)

    @override
    def predict(self, model: Model, outputs: Any) -> list[Prediction[float]]:
        """The nearest number that people may give; surer, the nearer it is."""
        scale = self.config.scale
        last = math.floor(scale.width / scale.step + 1e-9)
        predictions = []
        for output in finite_logits(outputs).squeeze(-1).tolist():
            steps = min(max(output * scale.width / scale.step, 0.0), float(last))
            target = self._on_scale(scale.least + round(steps) * scale.step)
            predictions.append(Prediction(target=target, confidence=1 - 2 * abs(steps - round(steps))))
        return predictions

    @override
    def summarize(self, tallies: Sequence[Any]) -> dict[str, float]:
        """Spearman's and Pearson's correlation in [-1, 1], and 1 - mean error as a share of the scale.

        Where one side is constant, correlation is not defined: 1 if all answers are right, else 0.
        """
        import numpy
        from scipy.stats import rankdata

        predicted, expected = numpy.asarray(tallies, dtype=numpy.float64).T
        same = bool((predicted == expected).all())
        return {
            "spearman": 1.0 if same else _correlation(rankdata(predicted), rankdata(expected)),
            "pearson": 1.0 if same else _correlation(predicted, expected),
            "closeness": 1 - float(numpy.abs(predicted - expected).mean()) / self.config.scale.width,
        }

    @override
    def describe(self, target: float) -> str:
        return f"{target:g}"

    @classmethod
    @override
    def example_config(cls) -> dict[str, Any]:
        return {"kind": "text-similarity", "scale": {"least": 0, "most": 5, "step": 1}}

    @override
    def examples(self) -> list[Example[float]]:
        """Pairs that share more or fewer words."""
        return [self._example(number) for number in range(_EXAMPLES)]

    def _example(self, number: int) -> Example[float]:
        scale = self.config.scale
        steps = int(scale.width / scale.step + 1e-9) + 1
        share = number % steps / max(1, steps - 1)
        words = ["é", "😀👩‍👩‍👧", "东京", "שלום", "<b>&amp;"]
        same = round(share * len(words))
        second = [*words[:same], *("other" for _ in words[same:])]
        item = pair_item([f"{number}\r\n" + " ".join(words), "\t" + " ".join(second)], str(number))
        return Example(item, self._on_scale(scale.least + number % steps * scale.step))

    @override
    def example_model(self) -> Model:
        """A tiny network with fresh weights, which learns `examples` in a few steps."""
        texts = [example.item.text or "" for example in self.examples()]
        return self.model(tiny_pair_checkpoint(), texts=texts, settings={"max_length": 96})


def _correlation(one: Any, other: Any) -> float:
    import numpy

    if (one == one[0]).all() or (other == other[0]).all():
        return 0.0
    return float(numpy.corrcoef(one, other)[0, 1].clip(-1, 1))
