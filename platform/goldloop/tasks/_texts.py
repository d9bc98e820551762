"""Text classifiers: from a text to token ids, and batches padded no further than they must be.

A checkpoint brings its tokenizer. A network from a configuration learns one from the training texts:
byte-level BPE, lower case, so every text of any script can be told, and none needs an unknown token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.errors import ModelError
from goldloop.tasks._adapters import adapted
from goldloop.tasks._checkpoints import (
    Checkpoint,
    Problem,
    folder_of,
    fresh_config,
    fresh_network,
    read_network,
)
from goldloop.tasks._packing import packed_inputs
from goldloop.tasks._segments import lay_out
from goldloop.tasks.base import Model

if TYPE_CHECKING:
    import torch

SMALL_ENCODER = {
    "model_type": "bert",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "vocab_size": 4000,
}
"""A `from-config` that trains on a CPU."""

_HEAD = "AutoModelForSequenceClassification"
_SETTINGS = {"max_length", "classes", "lora"}
_VOCABULARY = 4000
_SPECIAL = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
_FORMS = ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
_WRITING = {"pad_token": "[PAD]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
_FORMS_OF_WRITING = ("$A [EOS]", "$A [EOS] $B:1 [EOS]:1")
_TOKENIZER_FILES = {"tokenizer.json", "vocab.txt", "vocab.json", "tekken.json"}
_MULTIPLE = 8


def text_model(
    checkpoint: Checkpoint,
    classes: Sequence[str],
    texts: Sequence[str],
    settings: Mapping[str, Any] | None,
    problem: Problem = "single_label_classification",
    head: str = _HEAD,
) -> Model:
    """A text classifier, of whole texts or of tokens; `Task.model` says what the arguments mean.

    Args:
        checkpoint: a folder, a hub id, or what to make a fresh network from.
        classes: the network's outputs by name.
        texts: what a fresh network's tokenizer is learned from.
        settings: what a recipe sets, or a saved model's own.
        problem: what the outputs mean.
        head: the auto class of transformers.

    Raises:
        ModelError: the checkpoint cannot be loaded, or does not fit, or there are no texts to learn from.
    """
    chosen = dict(settings or {})
    unknown = sorted(set(chosen) - _SETTINGS)
    if unknown:
        raise ModelError("a text model has no such setting", found=", ".join(unknown))
    if isinstance(checkpoint, Mapping):
        tokenizer = learn_tokenizer(texts, vocabulary_size(checkpoint))
        network = fresh_network(head, _fitting_config(checkpoint, classes, tokenizer, problem))
        # Whoever reads the model by transformers alone asks it of no text that it cannot take.
        tokenizer.model_max_length = min(_positions(network), tokenizer.model_max_length)
    else:
        folder = folder_of(checkpoint)
        tokenizer = read_tokenizer(folder)
        network = read_network(head, folder, classes, exact="classes" in chosen, problem=problem)
    config: Any = network.config
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
    length = _length(network, tokenizer, chosen.get("max_length"))
    whole = adapted(network, chosen.get("lora"), head=True)
    return Model(whole, tokenizer, {"max_length": length, "classes": list(classes)})


def learn_tokenizer(
    texts: Sequence[str], vocabulary_size: int = _VOCABULARY, *, reversible: bool = False
) -> Any:
    """A tokenizer with at most `vocabulary_size` tokens; the same texts give the same one.

    Args:
        texts: what it learns from.
        vocabulary_size: special tokens and the 256 bytes included.
        reversible: for networks that write: every text comes back from its tokens as it was, and ends with
            an end token. Otherwise texts lose their case, and stand between two special tokens.

    Raises:
        ModelError: no texts, or a vocabulary too small for the 256 bytes.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    if not texts:
        raise ModelError(
            "there are no texts to learn a tokenizer from",
            where="from-config",
            remedy="Label more items, or train from a checkpoint that has its own tokenizer",
        )
    special = _WRITING if reversible else _SPECIAL
    if vocabulary_size < 256 + len(special):
        raise ModelError(
            "the vocabulary is too small",
            where="from-config",
            found=f"vocab_size {vocabulary_size}",
            expected=f"at least {256 + len(special)}",
        )
    tokenizer = Tokenizer(models.BPE())
    if not reversible:
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=not reversible)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        special_tokens=list(special.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(texts), trainer)
    names = ("[EOS]",) if reversible else ("[CLS]", "[SEP]")
    single, pair = _FORMS_OF_WRITING if reversible else _FORMS
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(token, tokenizer.token_to_id(token)) for token in names]
    )
    wrapper: Any = PreTrainedTokenizerFast
    # A text that says `[EOS]` itself must not end there.
    kept = {"split_special_tokens": True, "clean_up_tokenization_spaces": False} if reversible else {}
    return wrapper(tokenizer_object=tokenizer, **special, **kept)


def vocabulary_size(checkpoint: Mapping[str, Any]) -> int:
    """How many tokens a `from-config` wants."""
    size = (checkpoint.get("from-config") or {}).get("vocab_size", _VOCABULARY)
    if not isinstance(size, int):
        raise ModelError("vocab_size is no whole number", where="from-config", found=repr(size))
    return size


def _fitting_config(
    checkpoint: Mapping[str, Any], classes: Sequence[str], tokenizer: Any, problem: Problem
) -> Any:
    """The configuration with the tokenizer's own size and special tokens."""
    chosen = {**(checkpoint.get("from-config") or {}), "vocab_size": len(tokenizer)}
    return fresh_config(
        {"from-config": chosen},
        classes,
        problem=problem,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        cls_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder, with a padding token.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    # Without any of these transformers answers with a tokenizer that knows no word.
    if not any(file.name in _TOKENIZER_FILES or file.suffix == ".model" for file in folder.iterdir()):
        raise ModelError(
            "the checkpoint has no tokenizer", where=folder, expected="tokenizer.json or a vocabulary"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise ModelError(
            "the checkpoint has no tokenizer that can be read",
            where=folder,
            found=f"{type(error).__name__}: {error}",
            expected="tokenizer.json",
        ) from error
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise ModelError("the tokenizer has no padding token", where=folder)
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _length(network: Any, tokenizer: Any, chosen: int | None) -> int:
    """The most tokens of a text: what was chosen, else what network and tokenizer can take."""
    limit = min(_positions(network), tokenizer.model_max_length)
    if chosen is not None and chosen > limit:
        raise ModelError(
            "the network cannot read texts that long",
            found=f"max_length {chosen}",
            expected=f"at most {limit}",
        )
    least = tokenizer.num_special_tokens_to_add() + 1
    length = limit if chosen is None else chosen
    if length < least:
        raise ModelError("there is no room for a text", found=f"{length} tokens", expected=f"{least} or more")
    return int(length)


def _positions(network: Any) -> int:
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            # RoBERTa and its kin number positions from behind the padding token's id.
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return int(module.num_embeddings) - first
    return int(getattr(network.config, "max_position_embeddings", 0) or 512)


def prepare_texts(texts: Sequence[str], model: Model) -> list[dict[str, Any]]:
    """Token ids of each text, special tokens included, and how many were cut off.

    Returns:
        `input_ids` (1 to `max_length` ids) and `truncated_tokens` of each text.
    """
    if not texts:
        return []
    length = model.settings["max_length"]
    plain = {
        "return_attention_mask": False,
        "return_token_type_ids": False,
        "padding": False,
        "verbose": False,
    }
    full = model.processor(list(texts), truncation=False, **plain)["input_ids"]
    rows = []
    for text, ids in zip(texts, full, strict=True):
        kept = ids
        if len(ids) > length:
            kept = model.processor(text, truncation=True, max_length=length, **plain)["input_ids"]
        rows.append(
            {
                "input_ids": list(kept) or [model.processor.pad_token_id],
                "truncated_tokens": len(ids) - len(kept),
            }
        )
    return rows


def text_inputs(rows: Sequence[Mapping[str, Any]], model: Model) -> tuple[dict[str, Any], int, int]:
    """Prepared texts as the network is asked about them: packed where `model.packed`, else padded.

    Args:
        rows: with `input_ids`, and perhaps `token_type_ids`.
        model: whose they are.

    Returns:
        what `packed_inputs` or `pad_batch` gives; the real tokens; the tokens with padding.
    """
    import torch

    kinds = [row["token_type_ids"] for row in rows] if "token_type_ids" in rows[0] else None
    if model.packed:
        tokens = [row["input_ids"] for row in rows]
        layout = lay_out([len(ids) for ids in tokens], model.packed_shape, model.settings["max_length"])
        inputs = packed_inputs(layout, tokens, kinds, model.processor.pad_token_id)
        return inputs, layout.tokens, layout.width
    inputs, real, padded = pad_batch(rows, model)
    if kinds is not None:
        inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
        for number, kind in enumerate(kinds):
            inputs["token_type_ids"][number, : len(kind)] = torch.as_tensor(kind)
    return inputs, real, padded


def pad_batch(rows: Sequence[Mapping[str, Any]], model: Model) -> tuple[dict[str, torch.Tensor], int, int]:
    """Prepared texts as one rectangle, as wide as the longest, rounded up to a multiple of 8.

    Returns:
        `input_ids` and `attention_mask`, both int64 `(B, T)`; the real tokens; the tokens with padding.
    """
    import torch

    lengths = [len(row["input_ids"]) for row in rows]
    width = min(-(-max(lengths) // _MULTIPLE) * _MULTIPLE, max(model.settings["max_length"], max(lengths)))
    ids = torch.full((len(rows), width), model.processor.pad_token_id, dtype=torch.int64)
    mask = torch.zeros((len(rows), width), dtype=torch.int64)
    for number, row in enumerate(rows):
        ids[number, : lengths[number]] = torch.as_tensor(row["input_ids"])
        mask[number, : lengths[number]] = 1
    return {"input_ids": ids, "attention_mask": mask}, sum(lengths), ids.numel()
