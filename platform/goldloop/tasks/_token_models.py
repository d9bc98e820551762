"""Networks that name the class of each token: texts of any length in windows, tags and spans.

B = texts in a batch, W = windows, T = tokens of the longest window, K = tags. Tag 0 is no class, 2 c + 1
begins class c and 2 c + 2 goes on with it (BIO). Windows overlap by a quarter, and each token is read in the
window where it stands furthest from an edge: no token is lost, and none is read without what is around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.tasks._packing import packed_inputs
from goldloop.tasks._segments import SEGMENTS, lay_out
from goldloop.tasks._spans import Span, without_overlaps
from goldloop.tasks._texts import text_model
from goldloop.tasks.base import Batch, Model

if TYPE_CHECKING:
    import numpy
    import torch
    from numpy.typing import NDArray

HEAD = "AutoModelForTokenClassification"
IGNORED = -100
MOST_WINDOWS = 64
"""Windows that a network reads at once."""

_OVERLAP = 4
_MULTIPLE = 8


def tags_of(classes: Sequence[str]) -> list[str]:
    """The names of a network's outputs."""
    return ["O", *(f"{role}-{name}" for name in classes for role in "BI")]


def token_model(
    checkpoint: str | Path | Mapping[str, Any],
    classes: Sequence[str],
    texts: Sequence[str],
    settings: Mapping[str, Any] | None,
) -> Model:
    """A token classifier; `Task.model` says what the arguments mean.

    Raises:
        ModelError: the checkpoint cannot be loaded, or does not fit, or its tokenizer tells no places.
    """
    model = text_model(checkpoint, tags_of(classes), texts, settings, head=HEAD)
    model.settings["classes"] = list(classes)
    return model


def tokenize(texts: Sequence[str], model: Model) -> list[tuple[list[int], NDArray[numpy.int64]]]:
    """Token ids of each text without special tokens, and their places in code points, `(T, 2)`."""
    import numpy

    found = model.processor(
        list(texts),
        add_special_tokens=False,
        truncation=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=True,
        verbose=False,
    )
    rows = []
    for text, ids, offsets in zip(texts, found["input_ids"], found["offset_mapping"], strict=True):
        places = numpy.array(offsets, dtype=numpy.int64).reshape(-1, 2)
        rows.append((list(ids), _without_blanks(text, places)))
    return rows


def _without_blanks(text: str, places: NDArray[numpy.int64]) -> NDArray[numpy.int64]:
    """Places of tokens without the blanks at their ends, which byte-level tokenizers count in."""
    for place in places:
        start, end = int(place[0]), int(place[1])
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        place[0], place[1] = start, end
    return places


def tag_tokens(places: NDArray[numpy.int64], spans: Sequence[Mapping[str, Any]]) -> NDArray[numpy.int64]:
    """The tag of each token, `(T,)`: a token belongs to the span that it shares a character with.

    Args:
        places: of the tokens, in code points.
        spans: `label` (class id), `start` and `end`, none overlapping.
    """
    import numpy

    tags = numpy.zeros(len(places), dtype=numpy.int64)
    for span in spans:
        inside = (places[:, 0] < span["end"]) & (places[:, 1] > span["start"])
        positions = numpy.flatnonzero(inside)
        if len(positions):
            tags[positions] = 2 * span["label"] + 2
            tags[positions[0]] = 2 * span["label"] + 1
    return tags


def torn(places: NDArray[numpy.int64], spans: Sequence[Mapping[str, Any]]) -> int:
    """How many spans begin or end inside a token, so that a network cannot find them exactly."""
    starts, ends = set(places[:, 0].tolist()), set(places[:, 1].tolist())
    return sum(span["start"] not in starts or span["end"] not in ends for span in spans)


def windows_of(tokens: int, length: int) -> list[tuple[int, int]]:
    """Where windows of at most `length` tokens begin and end so that they cover all, a quarter twice."""
    if tokens <= length:
        return [(0, tokens)]
    step = length - length // _OVERLAP
    starts = list(range(0, tokens - length, step))
    return [(start, start + length) for start in [*starts, tokens - length]]


def tokens_shown(tokens: NDArray[numpy.int64], model: Model) -> NDArray[numpy.int64]:
    """How many tokens the windows of texts of so many tokens show, `(N,)`: those in two count twice."""
    import numpy

    room = _room(model)
    shown = numpy.array(tokens, dtype=numpy.int64)
    for place in numpy.flatnonzero(shown > room):
        shown[place] = sum(end - start for start, end in windows_of(int(shown[place]), room))
    return shown


def windows_shown(tokens: NDArray[numpy.int64], model: Model) -> NDArray[numpy.int64]:
    """How many windows texts of so many tokens have, `(N,)`."""
    import numpy

    room = _room(model)
    return numpy.array([len(windows_of(int(count), room)) for count in tokens], dtype=numpy.int64)


def window_ends(model: Model) -> int:
    """How many special tokens each window has."""
    return sum(map(len, _ends(model.processor)))


def _room(model: Model) -> int:
    """How many tokens of a text a window has room for."""
    return int(model.settings["max_length"]) - window_ends(model)


def batch_of(rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
    """Prepared texts in windows: `input_ids` and `attention_mask` int64 `(W, T)`; targets are tags `(W, T)`.

    Packed where `model.packed`, see `packed_inputs`, with tags `(1, T)`; but for texts with more windows than
    a network reads at once, of which most are full. The context has the rows, and of each window its row,
    where it begins and ends, and where its first token stands: in its own row of the batch, or in the line.
    """
    before, after = _ends(model.processor)
    room = model.settings["max_length"] - len(before) - len(after)
    windows = [
        (number, *window)
        for number, row in enumerate(rows)
        for window in windows_of(len(row["input_ids"]), room)
    ]
    tokens = [
        [*before, *map(int, rows[number]["input_ids"][start:end]), *after] for number, start, end in windows
    ]
    tags = None
    if all("tags" in row for row in rows):
        without = [IGNORED] * len(before), [IGNORED] * len(after)
        tags = [
            [*without[0], *map(int, rows[number]["tags"][start:end]), *without[1]]
            for number, start, end in windows
        ]
    if model.packed and len(windows) <= most_windows(rows):
        layout = lay_out(
            [max(len(ids), 1) for ids in tokens], model.packed_shape, model.settings["max_length"]
        )
        inputs = packed_inputs(layout, tokens, filler=model.processor.pad_token_id)
        targets = None if tags is None else layout.line(tags, IGNORED)
        places = (layout.starts + len(before)).tolist()
        padded = layout.width
    else:
        inputs, targets = _padded(tokens, tags, model)
        places = [len(before)] * len(windows)
        padded = inputs["input_ids"].numel()
    context = {"rows": rows, "windows": windows, "places": places}
    keys = tuple(row.get("key", "") for row in rows)
    return Batch(inputs, targets, keys, sum(map(len, tokens)), padded, context)


def most_windows(rows: Sequence[Any]) -> int:
    """How many windows of these texts a network reads at once."""
    return max(MOST_WINDOWS, len(rows))


def some_windows(batch: Batch, generator: torch.Generator) -> Batch:
    """The batch itself; of more windows than a network reads at once as many of them, drawn at random."""
    import torch

    windows, most = len(batch.context["windows"]), most_windows(batch.keys)
    if windows <= most:
        return batch
    drawn = torch.randperm(windows, generator=generator, device=generator.device)[:most]
    return batch.map(lambda tensor: tensor[drawn.sort().values.to(tensor.device)])


def _padded(
    tokens: Sequence[Sequence[int]], tags: Sequence[Sequence[int]] | None, model: Model
) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
    """Windows as one rectangle, as wide as the longest, rounded up to a multiple of 8."""
    import torch

    longest = max(map(len, tokens))
    width = min(-(-longest // _MULTIPLE) * _MULTIPLE, max(model.settings["max_length"], longest))
    ids = torch.full((len(tokens), width), model.processor.pad_token_id, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    targets = None if tags is None else torch.full_like(ids, IGNORED)
    for place, whole in enumerate(tokens):
        ids[place, : len(whole)] = torch.as_tensor(whole)
        mask[place, : len(whole)] = 1
        if targets is not None and tags is not None:
            targets[place, : len(whole)] = torch.as_tensor(tags[place])
    return {"input_ids": ids, "attention_mask": mask}, targets


def _ends(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that stand before a text and behind it."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for place in range(len(whole) - len(bare) + 1):
        if whole[place : place + len(bare)] == bare:
            return whole[:place], whole[place + len(bare) :]
    return [], []


def read_windows(model: Model, batch: Batch) -> list[torch.Tensor]:
    """The probability of each tag for each token of each text, `(tokens, K)` on the host.

    Each token is read in the window where it stands furthest from an edge.
    """
    import torch

    read = _probabilities(model, batch)
    rows, tags = batch.context["rows"], read[0].shape[-1]
    found = [torch.zeros(len(row["input_ids"]), tags) for row in rows]
    nearest = [torch.full((len(row["input_ids"]),), -1) for row in rows]
    for place, (number, start, end) in enumerate(batch.context["windows"]):
        positions = torch.arange(end - start)
        depth = torch.minimum(
            positions if start else torch.full_like(positions, end),
            positions.flip(0) if end < len(rows[number]["input_ids"]) else torch.full_like(positions, end),
        )
        better = depth > nearest[number][start:end]
        nearest[number][start:end][better] = depth[better]
        first = batch.context["places"][place]
        found[number][start:end][better] = read[place][first : first + end - start][better]
    return found


def _probabilities(model: Model, batch: Batch) -> Sequence[torch.Tensor]:
    """Of each window what the network says of its row of the batch, or of the line, on the host."""
    import torch

    if SEGMENTS in batch.inputs:
        line = model.network(**batch.inputs).logits[0].float().softmax(-1).cpu()
        return [line] * len(batch.context["windows"])
    parts = []
    for start in range(0, len(batch.inputs["input_ids"]), MOST_WINDOWS):
        inputs = {name: tensor[start : start + MOST_WINDOWS] for name, tensor in batch.inputs.items()}
        parts.append(model.network(**inputs).logits.float().softmax(-1).cpu())
    return list(torch.cat(parts))


def spans_in(
    probabilities: torch.Tensor, places: NDArray[numpy.int64], text: str, classes: Sequence[str]
) -> list[Span]:
    """The spans that tags say, each with the mean probability of its class over its tokens.

    A tag that goes on where nothing was begun begins a span, as conlleval reads it. A word is not torn: its
    tokens after the first go on with what the first says.
    """
    spans: list[Span] = []
    sums: list[list[float]] = []
    opened: int | None = None
    tags = probabilities.argmax(-1).tolist()
    by_class = (probabilities[:, 1::2] + probabilities[:, 2::2]).tolist()
    behind = 0
    for position, (start, end) in enumerate(places.tolist()):
        if start >= end:
            continue
        goes_on = position > 0 and start == behind and _is_word(text[start - 1]) and _is_word(text[start])
        behind = end
        tag = tags[position]
        if goes_on and spans and opened is not None:
            tag = 2 * opened + 2
        elif goes_on and opened is None and tag and position and start:
            tag = 0
        if not tag:
            opened = None
            continue
        label = (tag - 1) // 2
        if tag % 2 or opened != label:
            spans.append({"label": classes[label], "start": start, "end": end, "text": ""})
            sums.append([])
        spans[-1]["end"] = end
        sums[-1].append(by_class[position][label])
        opened = label
    for span, parts in zip(spans, sums, strict=True):
        span["text"] = text[span["start"] : span["end"]]
        span["score"] = round(min(sum(parts) / len(parts), 1.0), 6)
    return without_overlaps(spans)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
