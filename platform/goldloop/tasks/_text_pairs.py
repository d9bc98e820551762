"""Texts that are judged together: two, or two answers to a prompt.

    item.text: a JSON array of the texts -> side by side in Label Studio
                                         -> [CLS] first [SEP] second [SEP] for the network (a cross-encoder)

The array is in one form, `pair_text`, since an item's identity is its content. A prompt goes before the first
answer, with a blank line between: the network reads `[CLS] prompt, first [SEP] second [SEP]`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, model_validator

from goldloop.errors import ItemError, ModelError
from goldloop.records import Item, content_key
from goldloop.tasks._checkpoints import Checkpoint, Problem
from goldloop.tasks._regions import shown_text
from goldloop.tasks._texts import text_model
from goldloop.tasks.base import Model, TaskConfig

if TYPE_CHECKING:
    pass

PAIR = ("first", "second")
"""The names of two texts: of the tags that show them, and of their fields in a Label Studio task."""
ANSWERS = ("prompt", "first", "second")
"""The same of two answers to a prompt."""


def _one_line(heading: str) -> str:
    if not heading.strip() or not heading.isprintable():
        raise ValueError(f"a heading is one line of text, not {heading!r}")
    return heading


Heading = Annotated[str, AfterValidator(_one_line)]
"""What stands above a text."""

_SIDE_BY_SIDE = "display: flex; gap: 1.5em"
_AFTER_PROMPT = "\n\n"


class PairConfig(TaskConfig):
    """A task about texts that are shown together."""

    headings: tuple[Heading, ...] = ()
    """What stands above each text, such as `[Premise, Hypothesis]`."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the texts that an item is made of."""
        return PAIR

    @model_validator(mode="after")
    def _one_heading_for_each_text(self) -> Self:
        if self.headings and len(self.headings) != len(self.names):
            raise ValueError(f"headings: {len(self.headings)} for {len(self.names)} texts")
        return self


def pair_text(texts: Sequence[str]) -> str:
    """The text of an item that is made of several."""
    return json.dumps(list(texts), ensure_ascii=False)


def texts_of(text: str | None, names: Sequence[str]) -> list[str]:
    """The texts that an item is made of, one for each name.

    Raises:
        ItemError: the item is no JSON array of that many texts.
    """
    try:
        parts = json.loads(text or "")
    except ValueError:
        parts = None
    if (
        not isinstance(parts, list)
        or len(parts) != len(names)
        or not all(isinstance(part, str) for part in parts)
    ):
        raise ItemError(
            "the item is not made of the texts that the task asks about",
            found=repr(text)[:80],
            expected=f"a JSON array of {len(names)} texts: {', '.join(names)}",
            remedy="With `kind: table`, name the columns: `text: [COLUMN, COLUMN]`",
        )
    return parts


def pair_view(config: PairConfig, headings: Sequence[str]) -> str:
    """The tags that show the texts: the last two side by side, a prompt above them.

    Args:
        config: has the texts' names, and perhaps headings of its own.
        headings: by default.
    """
    shown = config.headings or headings
    blocks = [_text_tags(name, heading) for name, heading in zip(config.names, shown, strict=True)]
    columns = [f'    <View style="flex: 1">\n{block}\n    </View>' for block in blocks[-2:]]
    return "\n".join([*blocks[:-2], f'  <View style="{_SIDE_BY_SIDE}">', *columns, "  </View>"])


def _text_tags(name: str, heading: str) -> str:
    # Without the value type a server in secure mode takes the text for an address.
    return (
        f'  <Header value="{shown_text(heading)}"/>\n'
        f'  <Text name="{name}" value="${name}" valueType="text" saveTextResult="no"/>'
    )


def pair_model(
    checkpoint: Checkpoint,
    outputs: Sequence[str],
    names: Sequence[str],
    texts: Sequence[str],
    settings: Mapping[str, Any] | None,
    problem: Problem = "single_label_classification",
) -> Model:
    """A network that reads both texts at once; `Task.model` says what the arguments mean.

    Args:
        checkpoint: a folder, a hub id, or what to make a fresh network from.
        outputs: the names of its outputs in id order.
        names: of the texts that an item is made of.
        texts: the items' texts, from which a fresh network's tokenizer is learned.
        settings: what a recipe sets, or a saved model's own.
        problem: what the outputs mean.

    Raises:
        ModelError: the checkpoint cannot be loaded, or does not fit.
    """
    learned = [part for text in texts for part in texts_of(text, names)]
    model = text_model(checkpoint, outputs, learned, settings, problem)
    least = model.processor.num_special_tokens_to_add(pair=True) + len(names)
    if model.settings["max_length"] < least:
        raise ModelError(
            "there is no room for two texts",
            found=f"{model.settings['max_length']} tokens",
            expected=f"{least} or more",
        )
    return model


def prepare_pairs(texts: Sequence[str], names: Sequence[str], model: Model) -> list[dict[str, Any]]:
    """Token ids of each item, special tokens included, and how many were cut off.

    Of texts that are too long together the longest is cut first, at its end.

    Returns:
        `input_ids`, `truncated_tokens` and, where the network tells the texts apart by them,
        `token_type_ids`.

    Raises:
        ItemError: an item is not made of such texts.
    """
    segments = _has_segments(model.network)
    return [_prepared(texts_of(text, names), segments, model) for text in texts]


def _prepared(parts: list[str], segments: bool, model: Model) -> dict[str, Any]:
    full = _encoded(parts, model, segments)
    kept, length = full, model.settings["max_length"]
    if len(full["input_ids"]) > length:
        if len(parts) > len(PAIR):
            parts = _shortened(parts, model)
        kept = _encoded(parts, model, segments, truncation="longest_first", max_length=length)
    return {
        "input_ids": list(kept["input_ids"]),
        "truncated_tokens": max(0, len(full["input_ids"]) - len(kept["input_ids"])),
        **({"token_type_ids": list(kept["token_type_ids"])} if segments else {}),
    }


def _encoded(parts: Sequence[str], model: Model, segments: bool, **cut: Any) -> Mapping[str, Any]:
    first = _AFTER_PROMPT.join(parts[:-1])
    encoded: Mapping[str, Any] = model.processor(
        first,
        parts[-1],
        return_attention_mask=False,
        return_token_type_ids=segments,
        padding=False,
        verbose=False,
        **{"truncation": False, **cut},
    )
    return encoded


def _shortened(parts: Sequence[str], model: Model) -> list[str]:
    """A prompt and two answers, each cut to an equal share of the room if it is longer than that.

    The tokenizer sees two texts, prompt and first answer in one, and would cut off that answer alone.
    """
    tokenizer = model.processor
    if not tokenizer.is_fast:
        return list(parts)
    room = model.settings["max_length"] - tokenizer.num_special_tokens_to_add(pair=True)
    room -= len(tokenizer(_AFTER_PROMPT, add_special_tokens=False)["input_ids"])
    spans = [
        tokenizer(part, add_special_tokens=False, return_offsets_mapping=True, verbose=False)[
            "offset_mapping"
        ]
        for part in parts
    ]
    shares = _shares([len(span) for span in spans], max(room, len(parts)))
    return [
        part if len(span) <= share else part[: span[share - 1][1]]
        for part, span, share in zip(parts, spans, shares, strict=True)
    ]


def _shares(lengths: Sequence[int], room: int) -> list[int]:
    """How much of the room each may have, at least 1: what the short ones leave is for the long ones."""
    shares = [0] * len(lengths)
    for left, number in enumerate(sorted(range(len(lengths)), key=lengths.__getitem__)):
        shares[number] = max(1, min(lengths[number], room // (len(lengths) - left)))
        room -= shares[number]
    return shares


def _has_segments(network: Any) -> bool:
    """Whether the network has learned, or can learn, to tell two texts apart by `token_type_ids`."""
    accepted = "token_type_ids" in inspect.signature(network.forward).parameters
    return accepted and getattr(network.config, "type_vocab_size", 0) > 1


def pair_item(texts: Sequence[str], place: str) -> Item:
    """An item made in code."""
    text = pair_text(texts)
    key = content_key(text.encode())
    return Item(
        key=key,
        modality="text",
        uri=f"example:{place}",
        group=key,
        source="0:examples",
        text=text,
        media_type="text/plain",
    )


def tiny_pair_checkpoint() -> Mapping[str, Any]:
    """What to make a network from that learns examples in a few steps."""
    tiny = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    return {"from-config": {"model_type": "bert", "vocab_size": 400, **tiny}}
