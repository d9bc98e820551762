"""`kind: text-generation`: a text written in answer to each text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from pydantic import field_validator
from typing_extensions import override

from goldloop.records import Item, content_key
from goldloop.tasks._free_text import CONTROL, FreeTextConfig, FreeTextTask
from goldloop.tasks._generation import answer_ids, has_encoder, prompt_ids, text_batch, text_generator
from goldloop.tasks._packing import pack_network
from goldloop.tasks.base import Batch, Example, Model

if TYPE_CHECKING:
    import datasets
    from numpy.typing import NDArray

_EXAMPLES = (
    ("The parcel came two days late and the box was torn.", "Late, torn parcel"),
    ("<b>Refund</b> &amp; $text please, I paid twice!", "Paid twice: refund"),
    ("First line\r\nsecond line 😀👩‍👩‍👧\nthird", "Three lines\nwith an emoji 😀"),
    ("שלום עולם, where is my order?", "Asks for the order (שלום)"),
    ("e\u0301 is é, 東京 \U0001d4b3, a tab\there", "  Two spaces and 東京 "),
    ("This text needs no answer.", ""),
)


class TextGeneration(FreeTextTask):
    """A text for each text: a customer's request, and its summary in a line."""

    class Config(FreeTextConfig):
        """What a recipe says under `task:`."""

        prompt: str = "{text}"
        """What the network reads; `{text}` stands for the item's text."""

        @field_validator("prompt")
        @classmethod
        def _has_a_place_for_the_text(cls, prompt: str) -> str:
            if prompt.count("{text}") != 1:
                raise ValueError("prompt needs `{text}` exactly once, where the item's text belongs")
            return prompt

    config: Config
    modality = "text"
    suggested_checkpoint = "google/flan-t5-small"
    small_network = {
        "model_type": "t5",
        "d_model": 128,
        "d_kv": 32,
        "d_ff": 256,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "vocab_size": 4000,
    }
    object_name = "text"

    @override
    def label_config(self) -> str:
        # Without the value type a server in secure mode takes the text for an address.
        shown = '  <Text name="text" value="$text" valueType="text" saveTextResult="no"/>'
        return f"<View>\n{shown}\n{self.text_area()}\n</View>"

    @override
    def task_data(self, item: Item, address: str | None) -> dict[str, Any]:
        return {"text": item.text}

    @override
    def features(self) -> datasets.Features:
        import datasets

        return datasets.Features({"text": datasets.Value("string"), CONTROL: self.answer_features()})

    @override
    def training_texts(self, rows: datasets.Dataset) -> Sequence[str]:
        return [*rows["text"][:], *rows[CONTROL][:]]

    @override
    def model(
        self,
        checkpoint: str | Path | Mapping[str, Any],
        *,
        texts: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Model:
        config = self.config
        return text_generator(checkpoint, texts, settings, config.prompt, config.max_new_tokens)

    @override
    def prepare(self, model: Model, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows with `input_ids` where the text was and `labels` where the answer was, and what was cut."""
        prepared = []
        prompts = prompt_ids(model, [row["text"] for row in rows])
        # A decoder alone goes on from the prompt, which has the special tokens that open a text.
        special = has_encoder(model)
        for row, (ids, cut) in zip(rows, prompts, strict=True):
            kept = {"key": row["key"]} if row.get("key") is not None else {}
            kept |= {"input_ids": numpy.asarray(ids, dtype=numpy.int64)}
            if row.get(CONTROL) is not None:
                [(labels, more)] = answer_ids(model, [row[CONTROL]], special=special)
                kept |= {"labels": numpy.asarray(labels, dtype=numpy.int64)}
                cut += more
            prepared.append({**kept, "truncated_tokens": cut})
        return prepared

    @override
    def pack(self, model: Model) -> str | None:
        """For a decoder alone in training, where it reads prompt and answer as one."""
        return pack_network(model, "token")

    @override
    def packed_lengths(
        self, model: Model, lengths: Callable[[str], NDArray[Any]]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        tokens = lengths("input_ids") + lengths("labels")
        return tokens, tokens * 0 + 1

    @override
    def batch(self, rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
        """`input_ids` and `attention_mask`, int64 `(B, T)`: what is read before anything is written."""
        return text_batch(rows, model)

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """A `task:` section of a recipe that works."""
        return {"kind": "text-generation", "max_new_tokens": 48}

    @override
    def examples(self) -> list[Example[str]]:
        """Texts and answers in forms that are easily damaged on the way."""
        return [_example(text, answer, number) for number, (text, answer) in enumerate(_EXAMPLES)]

    def example_model(self) -> Model:
        """A tiny network with fresh weights, which learns `examples` in a few steps."""
        tiny = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2, "vocab_size": 300}
        texts = [text for pair in _EXAMPLES for text in pair]
        return self.model(
            {"from-config": {"model_type": "t5", "dropout_rate": 0.0, **tiny}},
            texts=texts,
            settings={"max_length": 96},
        )


def _example(text: str, answer: str, number: int) -> Example[str]:
    key = content_key(text.encode())
    item = Item(
        key=key,
        modality="text",
        uri=f"example:{number}",
        group=key,
        source="0:examples",
        text=text,
        media_type="text/plain",
    )
    return Example(item, answer)
