"""`kind: text-multilabel`: any number of classes per text, none included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from goldloop.records import Item, content_key
from goldloop.tasks._multiple_choice import ChoicesConfig, ClassSetTask
from goldloop.tasks._packing import pack_network
from goldloop.tasks._texts import SMALL_ENCODER, prepare_texts, text_inputs, text_model
from goldloop.tasks.base import Batch, Example, Model

if TYPE_CHECKING:
    import datasets

_FORMS = (
    "This one is about {}.",
    "Please help 😀👩‍👩‍👧 with {}!",
    "First line\r\nsecond line: {}\nthird",
    "<b>{}</b> &amp; <script>alert(1)</script> & $text",
    "שלום עולם, {} مرحبا",
    "{} and e\u0301 is é, 東京 \U0001d4b3, a tab\there",
)
_EXAMPLES = 16


class TextMultilabel(ClassSetTask):
    """Any number of classes per text: a customer's request, and all that it is about."""

    class Config(ChoicesConfig):
        """What a recipe says under `task:`."""

    modality = "text"
    suggested_checkpoint = "sentence-transformers/all-MiniLM-L6-v2"
    small_network = SMALL_ENCODER
    object_name = "text"

    @override
    def label_config(self) -> str:
        # Without the value type a server in secure mode takes the text for an address.
        shown = '  <Text name="text" value="$text" valueType="text" saveTextResult="no"/>'
        return f"<View>\n{shown}\n{self.choices()}\n</View>"

    @override
    def task_data(self, item: Item, address: str | None) -> dict[str, Any]:
        return {"text": item.text}

    @override
    def features(self) -> datasets.Features:
        import datasets

        return datasets.Features({"text": datasets.Value("string"), **self.labels_features()})

    @override
    def model(
        self,
        checkpoint: str | Path | Mapping[str, Any],
        *,
        texts: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Model:
        return text_model(checkpoint, self.classes, texts, settings, "multi_label_classification")

    @override
    def prepare(self, model: Model, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows with `input_ids` and `truncated_tokens` where the text was."""
        tokenized = prepare_texts([row["text"] for row in rows], model)
        return [{**self.carried(row), **tokens} for row, tokens in zip(rows, tokenized, strict=True)]

    @override
    def pack(self, model: Model) -> str | None:
        return pack_network(model, "text")

    @override
    def batch(self, rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
        """`input_ids` and `attention_mask`, int64 `(B, T)`; if packed, see `packed_inputs`."""
        inputs, tokens, padded = text_inputs(rows, model)
        keys = tuple(row.get("key", "") for row in rows)
        return Batch(inputs, self.targets_of(rows), keys, tokens, padded)

    @classmethod
    @override
    def example_config(cls) -> dict[str, Any]:
        return {"kind": "text-multilabel", "classes": ["billing", "delivery", "returns"]}

    @override
    def examples(self) -> list[Example[list[str]]]:
        """Texts that name their classes, in forms that are easily damaged on the way; the first has none."""
        return [_example(self.classes, variant) for variant in range(_EXAMPLES)]

    @override
    def example_model(self) -> Model:
        """A tiny network with fresh weights, which learns `examples` in a few steps."""
        tiny = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
        texts = [example.item.text or "" for example in self.examples()]
        checkpoint = {"from-config": {"model_type": "bert", "vocab_size": 400, **tiny}}
        return self.model(checkpoint, texts=texts, settings={"max_length": 64})


def _example(classes: Sequence[str], variant: int) -> Example[list[str]]:
    # The bits of the variant tell which classes there are.
    target = [name for number, name in enumerate(classes) if variant >> number % 4 & 1]
    text = f"{variant}: " + _FORMS[variant % len(_FORMS)].format(" + ".join(target) or "nothing")
    key = content_key(text.encode())
    item = Item(
        key=key,
        modality="text",
        uri=f"example:{variant}",
        group=key,
        source="0:examples",
        text=text,
        media_type="text/plain",
    )
    return Example(item, target)
