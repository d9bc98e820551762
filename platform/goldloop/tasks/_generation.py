"""Networks that write: an encoder with a decoder, or a decoder alone that goes on from a prompt.

A decoder alone reads prompt and answer as one text in training, and learns the answer only.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from goldloop.errors import ModelError
from goldloop.tasks._adapters import adapted, plain
from goldloop.tasks._checkpoints import (
    Checkpoint,
    folder_of,
    fresh_config,
    fresh_network,
    read_config,
    read_whole_network,
)
from goldloop.tasks._packing import packed_inputs
from goldloop.tasks._segments import lay_out
from goldloop.tasks._texts import learn_tokenizer, read_tokenizer, vocabulary_size
from goldloop.tasks.base import Batch, Model

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""The label of a token that is not learned."""

_SEQUENCES, _CAUSAL = "AutoModelForSeq2SeqLM", "AutoModelForCausalLM"
_SETTINGS = {"max_length", "prompt", "max_new_tokens", "lora"}
_LENGTH = 512
_MULTIPLE = 8
_SLOT = "{text}"


def text_generator(
    checkpoint: Checkpoint,
    texts: Sequence[str],
    settings: Mapping[str, Any] | None,
    prompt: str,
    max_new_tokens: int,
) -> Model:
    """A network that answers a text with a text; `Task.model` says what the first arguments mean.

    Args:
        checkpoint: a folder, a hub id, or what to make a fresh network from.
        texts: what a fresh network's tokenizer is learned from.
        settings: what a recipe sets, or a saved model's own.
        prompt: what the network reads; `{text}` stands for the text.
        max_new_tokens: the longest answer.

    Raises:
        ModelError: the checkpoint cannot be loaded, or does not fit, or there are no texts to learn from.
    """
    chosen = dict(settings or {})
    unknown = sorted(set(chosen) - _SETTINGS)
    if unknown:
        raise ModelError("a network that writes has no such setting", found=", ".join(unknown))
    if isinstance(checkpoint, Mapping):
        tokenizer = learn_tokenizer(texts, vocabulary_size(checkpoint), reversible=True)
        network = _fresh(checkpoint, tokenizer)
    else:
        folder = folder_of(checkpoint)
        tokenizer = read_tokenizer(folder)
        network = read_whole_network(_head(read_config(folder)), folder)
    set_decoding(network, tokenizer)
    length = _length(network, tokenizer, chosen.get("max_length"), max_new_tokens)
    kept = {"max_length": length, "prompt": prompt, "max_new_tokens": max_new_tokens}
    model = Model(adapted(network, chosen.get("lora"), head=False), tokenizer, kept)
    around = len(_prompt(model, ""))
    if around >= length:
        raise ModelError(
            "the prompt leaves no room for a text",
            where="task.prompt",
            found=f"{around} tokens",
            expected=f"fewer than {length}",
            remedy="Shorten the prompt, or raise `training.max_length`",
        )
    return model


def _fresh(checkpoint: Mapping[str, Any], tokenizer: Any) -> torch.nn.Module:
    described = {**(checkpoint.get("from-config") or {})}
    described.pop("vocab_size", None)
    ids = {"vocab_size": len(tokenizer), **special_ids(tokenizer)}
    config = fresh_config({"from-config": described}, (), **ids)
    return fresh_network(_head(config), config)


def special_ids(tokenizer: Any) -> dict[str, Any]:
    """A learned tokenizer's special tokens, by the names of a transformers configuration."""
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
        "forced_eos_token_id": None,
    }


def _head(config: Any) -> str:
    return _SEQUENCES if getattr(config, "is_encoder_decoder", False) else _CAUSAL


def has_encoder(model: Model) -> bool:
    """Whether the network has an encoder of its own for what it reads."""
    return bool(getattr(plain(model.network).config, "is_encoder_decoder", False))


def set_decoding(network: Any, tokenizer: Any) -> None:
    """Let a network write greedily, whatever its checkpoint prefers, with the tokenizer's special tokens."""
    from transformers import GenerationConfig

    known, config = network.generation_config, network.config
    if tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no token that ends a text", expected="an eos_token")
    ends = known.eos_token_id if isinstance(known.eos_token_id, list) else [known.eos_token_id]
    ends = sorted({tokenizer.eos_token_id, *(end for end in ends if end is not None)})
    start = known.decoder_start_token_id
    if getattr(config, "is_encoder_decoder", False):
        start = getattr(config, "decoder_start_token_id", None) if start is None else start
        config.decoder_start_token_id = tokenizer.pad_token_id if start is None else start
        start = _first_of_decoder(network, tokenizer)
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = tokenizer.pad_token_id
    config_of: Any = GenerationConfig
    network.generation_config = config_of(
        do_sample=False,
        num_beams=1,
        bos_token_id=known.bos_token_id,
        eos_token_id=ends[0] if len(ends) == 1 else ends,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=start,
        forced_bos_token_id=known.forced_bos_token_id,
    )


def _first_of_decoder(network: Any, tokenizer: Any) -> int:
    """What a decoder's input begins with in training, and so when it writes."""
    ids = list(_ids(tokenizer, "a", text_target=True))
    ids += [tokenizer.eos_token_id] if ids[-1] != tokenizer.eos_token_id else []
    return int(decoder_targets(network, [ids], len(ids))["inputs"]["decoder_input_ids"][0, 0])


def _length(network: Any, tokenizer: Any, chosen: int | None, new: int) -> int:
    """The most tokens of a prompt: what was chosen, else what network and tokenizer can take."""
    config = network.config
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        limit = chosen or min(_LENGTH, tokenizer.model_max_length)
    else:
        limit = positions if config.is_encoder_decoder else positions - new
    if positions is not None and config.is_encoder_decoder and new > positions:
        raise ModelError(
            "the network cannot write texts that long",
            where="task.max_new_tokens",
            found=new,
            expected=f"at most {positions}",
        )
    if limit < 1 or (chosen is not None and chosen > limit):
        raise ModelError(
            "the network cannot read and write texts that long",
            found=f"max_length {chosen or 'by default'}, max_new_tokens {new}",
            expected=f"at most {positions} tokens",
        )
    return int(min(limit, tokenizer.model_max_length) if chosen is None else chosen)


def prompt_ids(model: Model, texts: Sequence[str]) -> list[tuple[list[int], int]]:
    """The token ids of each text's prompt, and how many of its tokens were cut off.

    What is cut is the text's end: what the prompt says around it stays.
    """
    tokenizer, length = model.processor, model.settings["max_length"]
    found = []
    for text in texts:
        whole = kept = _prompt(model, text)
        if len(whole) > length:
            pieces = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            ends = [end for _, end in pieces["offset_mapping"]]
            count = len(ends)
            while len(kept) > length and count > 0:
                count = max(count - (len(kept) - length), 0)
                kept = _prompt(model, text[: ends[count - 1]] if count else "")
        found.append((kept or [tokenizer.eos_token_id], len(whole) - len(kept)))
    return found


def _prompt(model: Model, text: str) -> list[int]:
    tokenizer = model.processor
    ids = list(_ids(tokenizer, model.settings["prompt"].replace(_SLOT, text)))
    # A decoder that goes on from the prompt must not find it ended.
    return ids if has_encoder(model) or ids[-1:] != [tokenizer.eos_token_id] else ids[:-1]


def answer_ids(model: Model, answers: Sequence[str], *, special: bool) -> list[tuple[list[int], int]]:
    """The token ids of each answer with the token that ends it, and how many were cut off.

    Args:
        model: its tokenizer, and the longest answer.
        answers: as they were written.
        special: whether the tokenizer's further special tokens belong to an answer.
    """
    tokenizer, most = getattr(model.processor, "tokenizer", model.processor), model.settings["max_new_tokens"]
    found = []
    for answer in answers:
        ids = list(_ids(tokenizer, answer, text_target=True, special=special))
        if ids[-1:] != [tokenizer.eos_token_id]:
            ids.append(tokenizer.eos_token_id)
        found.append((ids[:most], max(len(ids) - most, 0)))
    return found


def _ids(tokenizer: Any, text: str, *, text_target: bool = False, special: bool = True) -> Sequence[int]:
    argument = {"text_target": text} if text_target else {"text": text}
    ids: Sequence[int] = tokenizer(**argument, add_special_tokens=special, verbose=False)["input_ids"]
    return ids


def rectangle(rows: Sequence[Any], filler: int, most: int, *, left: bool = False) -> Any:
    """Token ids as one rectangle int64 `(B, T)`, as wide as the longest, rounded up to a multiple of 8.

    Args:
        rows: ids of each example.
        filler: what is put where a row has ended.
        most: T is rounded up to no more than this.
        left: whether rows stand at the right end.

    Returns:
        the ids, and the mask of what is no filling.
    """
    import torch

    longest = max(len(row) for row in rows)
    width = max(longest, min(-(-longest // _MULTIPLE) * _MULTIPLE, most))
    ids = torch.full((len(rows), width), filler, dtype=torch.int64)
    mask = torch.zeros((len(rows), width), dtype=torch.int64)
    for number, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[number, place] = torch.as_tensor(row, dtype=torch.int64)
        mask[number, place] = 1
    return ids, mask


def text_batch(rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
    """What the network reads before it writes; with answers, what it reads and writes in training.

    Returns:
        `input_ids` and `attention_mask` int64 `(B, T)`; as targets `inputs`, which take their place in
        training, and `labels` int64 `(B, L)`, or of a packed decoder `(1, L)` with `weights`.
    """
    tokenizer, settings = model.processor, model.settings
    network = plain(model.network)
    encoder = has_encoder(model)
    prompts = [row["input_ids"] for row in rows]
    ids, mask = rectangle(prompts, tokenizer.pad_token_id, settings["max_length"], left=not encoder)
    inputs = {"input_ids": ids, "attention_mask": mask}
    keys = tuple(row.get("key", "") for row in rows)
    tokens, padded = int(mask.sum()), mask.numel()
    if "labels" not in rows[0]:
        return Batch(inputs, None, keys, tokens, padded)
    answers = [row["labels"] for row in rows]
    if encoder:
        targets = decoder_targets(network, answers, settings["max_new_tokens"])
        tokens, padded = tokens + sum(map(len, answers)), padded + targets["labels"].numel()
    elif model.packed:
        targets, padded = packed_targets(prompts, answers, model)
        tokens = sum(map(len, prompts)) + sum(map(len, answers))
    else:
        most = settings["max_length"] + settings["max_new_tokens"]
        targets = continued_targets(prompts, answers, tokenizer.pad_token_id, most)
        tokens, padded = tokens + sum(map(len, answers)), targets["labels"].numel()
    targets["inputs"].update(without_cache(network))
    return Batch(inputs, targets, keys, tokens, padded)


def decoder_targets(network: Any, answers: Sequence[Any], most: int) -> dict[str, Any]:
    """`inputs` and `labels` of a network with a decoder of its own."""
    import torch

    labels, _ = rectangle(answers, IGNORED, most)
    if hasattr(network, "prepare_decoder_input_ids_from_labels"):
        # Some (mBART) shift by other rules than one place to the right.
        before = network.prepare_decoder_input_ids_from_labels(labels=labels)
    else:
        start = network.config.decoder_start_token_id
        before = torch.cat([torch.full_like(labels[:, :1], start), labels[:, :-1]], 1)
        before = before.masked_fill(before == IGNORED, network.config.pad_token_id)
    return {"inputs": {"decoder_input_ids": before}, "labels": labels}


def continued_targets(
    prompts: Sequence[Any], answers: Sequence[Any], padding: int, most: int
) -> dict[str, Any]:
    """`inputs` and `labels` of a decoder that reads prompt and answer as one: a label is the next token."""
    wholes, following = _wholes(prompts, answers)
    ids, mask = rectangle(wholes, padding, most)
    labels, _ = rectangle(following, IGNORED, most)
    return {"inputs": {"input_ids": ids, "attention_mask": mask}, "labels": labels}


def _wholes(prompts: Sequence[Any], answers: Sequence[Any]) -> tuple[list[list[int]], list[list[int]]]:
    """Prompt and answer as one, and of each of its tokens the next one where that is learned."""
    wholes = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    following = [
        [*[IGNORED] * (len(prompt) - 1), *answer, IGNORED]
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    return wholes, following


def packed_targets(
    prompts: Sequence[Any], answers: Sequence[Any], model: Model
) -> tuple[dict[str, Any], int]:
    """As `continued_targets`, the texts one behind the other.

    Returns:
        `inputs`; `labels` int64 `(1, T)`; `weights` float32 `(1, T)`, which each token's loss has in the mean
        over the texts of the mean over a text's tokens; and T.
    """
    import torch

    settings, (wholes, following) = model.settings, _wholes(prompts, answers)
    longest = settings["max_length"] + settings["max_new_tokens"]
    layout = lay_out([len(whole) for whole in wholes], model.packed_shape, longest)
    inputs = packed_inputs(layout, wholes, filler=model.processor.pad_token_id)
    labels = layout.line(following, IGNORED)
    learned = [[len(answer)] * len(whole) for answer, whole in zip(answers, wholes, strict=True)]
    counts = layout.line(learned, 1).clamp(min=1)
    weights = torch.where(labels == IGNORED, 0.0, 1 / (counts * len(wholes)))
    # In place of the padded prompts' own.
    inputs["attention_mask"] = None
    return {"inputs": inputs, "labels": labels, "weights": weights}, layout.width


def without_cache(network: Any) -> dict[str, Any]:
    """The argument that keeps a network from storing, in training, what only writing needs."""
    return {"use_cache": False} if "use_cache" in inspect.signature(network.forward).parameters else {}


def token_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    label_smoothing: float,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy: the mean over each example's tokens, and of these the mean over the examples.

    Args:
        logits: `(B, T, V)`, of which the last L are scored.
        labels: int64 `(B, L)`, `IGNORED` where a token is not learned.
        label_smoothing: in [0, 1).
        weights: of packed texts, what each token's loss counts in the mean, `(B, L)`.
    """
    from torch.nn.functional import cross_entropy

    scored = logits[:, -labels.shape[1] :].float().transpose(1, 2)
    losses = cross_entropy(
        scored, labels, ignore_index=IGNORED, label_smoothing=label_smoothing, reduction="none"
    )
    if weights is not None:
        return (losses * weights).sum()
    counts = (labels != IGNORED).sum(1).clamp(min=1)
    return (losses.sum(1) / counts).mean()
