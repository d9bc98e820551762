"""`kind: text-pairs`: one class per pair of texts, such as whether the first entails the second.

Its kin: `text-similarity` for a number on a scale, `text-preference` for which of two answers is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from goldloop.records import Item
from goldloop.tasks._packing import pack_network
from goldloop.tasks._single_choice import ChoiceConfig, ClassTask, carried, targets_of
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
from goldloop.tasks.base import Batch, Example, Model

if TYPE_CHECKING:
    import datasets

_FORMS = (
    ("A man plays a guitar.", "This is {}."),
    ("Two women 😀👩‍👩‍👧 talk.", "It is {}!"),
    ("First line\r\nsecond line", "\tWhat {} means"),
    ("<b>bold</b> &amp; $second", "{} & <script>alert(1)</script>"),
    ("שלום עולם, مرحبا", '{} "quoted" \\ and more'),
    ("e\u0301 is é, 東京", "{} \U0001d4b3"),
)


class TextPairs(ClassTask):
    """One class per pair of texts; an item's text is a JSON array of the two."""

    class Config(PairConfig, ChoiceConfig):
        """What a recipe says under `task:`."""

    config: Config
    modality = "text"
    suggested_checkpoint = "sentence-transformers/all-MiniLM-L6-v2"
    small_network = SMALL_ENCODER
    object_name = PAIR[0]

    @property
    def headings(self) -> tuple[str, ...]:
        """What stands above the texts where the recipe does not say."""
        return ("First text", "Second text")

    @override
    def label_config(self) -> str:
        return f"<View>\n{pair_view(self.config, self.headings)}\n{self.choices()}\n</View>"

    @override
    def check(self, item: Item) -> None:
        texts_of(item.text, self.config.names)

    @override
    def task_data(self, item: Item, address: str | None) -> dict[str, Any]:
        names = self.config.names
        return dict(zip(names, texts_of(item.text, names), strict=True))

    @override
    def features(self) -> datasets.Features:
        import datasets

        return datasets.Features({"text": datasets.Value("string"), "label": self.class_features()})

    @override
    def model(
        self,
        checkpoint: str | Path | Mapping[str, Any],
        *,
        texts: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Model:
        return pair_model(checkpoint, self.classes, self.config.names, texts, settings)

    @override
    def prepare(self, model: Model, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows with the tokens of both texts, see `prepare_pairs`, where the text was."""
        tokenized = prepare_pairs([row["text"] for row in rows], self.config.names, model)
        return [{**carried(row), **tokens} for row, tokens in zip(rows, tokenized, strict=True)]

    @override
    def pack(self, model: Model) -> str | None:
        return pack_network(model, "text")

    @override
    def batch(self, rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
        """`input_ids`, `attention_mask` and perhaps `token_type_ids`, int64 `(B, T)`; see `text_inputs`."""
        inputs, tokens, padded = text_inputs(rows, model)
        keys = tuple(row.get("key", "") for row in rows)
        return Batch(inputs, targets_of(rows), keys, tokens, padded)

    @classmethod
    @override
    def example_config(cls) -> dict[str, Any]:
        return {"kind": "text-pairs", "classes": ["entailment", "neutral", "contradiction"]}

    @override
    def examples(self) -> list[Example[str]]:
        """Pairs whose second text names the class, in forms that are easily damaged on the way."""
        return [
            Example(pair_item([first, second.format(name)], f"{number}-{variant}"), name)
            for number, name in enumerate(self.classes)
            for variant, (first, second) in enumerate(_FORMS)
        ]

    @override
    def example_model(self) -> Model:
        """A tiny network with fresh weights, which learns `examples` in a few steps."""
        texts = [example.item.text or "" for example in self.examples()]
        return self.model(tiny_pair_checkpoint(), texts=texts, settings={"max_length": 96})
