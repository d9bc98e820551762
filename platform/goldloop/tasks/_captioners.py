"""Networks that write about an image: GIT, BLIP, or an encoder for images with a decoder for text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from goldloop.tasks._generation import set_decoding, special_ids
from goldloop.tasks._images import ImageProcessor, image_processor, saved_settings
from goldloop.tasks._texts import learn_tokenizer, read_tokenizer, vocabulary_size
from goldloop.tasks.base import Model

_HEAD = "AutoModelForImageTextToText"
_PROCESSORS = {
    "git": "CLIPImageProcessor",
    "blip": "BlipImageProcessor",
    "vision-encoder-decoder": "ViTImageProcessor",
}
_FRESH = ("git", "blip")
_SETTINGS = {"image_size", "mean", "std", "prompt", "max_new_tokens", "lora"}


@dataclass(frozen=True, slots=True)
class CaptionProcessor:
    """What turns images into a network's input, and its tokens into text."""

    images: ImageProcessor
    tokenizer: Any

    def save_pretrained(self, folder: str | Path) -> None:
        """Write what both need."""
        self.images.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def captioner(
    checkpoint: Checkpoint,
    texts: Sequence[str],
    settings: Mapping[str, Any] | None,
    prompt: str,
    max_new_tokens: int,
) -> Model:
    """A network that answers an image with a text; `Task.model` says what the first arguments mean.

    Args:
        checkpoint: a folder, a hub id, or what to make a fresh network from.
        texts: what a fresh network's tokenizer is learned from.
        settings: what a recipe sets, or a saved model's own.
        prompt: what every answer goes on from.
        max_new_tokens: the longest answer.

    Raises:
        ModelError: the checkpoint cannot be loaded, or does not fit, or there are no texts to learn from.
    """
    chosen = dict(settings or {})
    unknown = sorted(set(chosen) - _SETTINGS)
    if unknown:
        raise ModelError("a network that writes about images has no such setting", found=", ".join(unknown))
    network: Any
    if isinstance(checkpoint, Mapping):
        tokenizer = learn_tokenizer(texts, vocabulary_size(checkpoint), reversible=True)
        config = _fresh_config(checkpoint, tokenizer, chosen.get("image_size"))
        network, saved = fresh_network(_HEAD, config), {}
    else:
        folder = folder_of(checkpoint)
        _check_kind(read_config(folder).model_type, tuple(_PROCESSORS), folder)
        tokenizer = read_tokenizer(folder)
        network, saved = read_whole_network(_HEAD, folder), saved_settings(folder)
    _set_ends(network, tokenizer)
    kind = _PROCESSORS[network.config.model_type]
    images = image_processor(seeing(network.config), chosen, saved, kind, fixed=True)
    model = Model(
        adapted(network, chosen.get("lora"), head=False),
        CaptionProcessor(images, tokenizer),
        {
            "image_size": images.size,
            "mean": list(images.mean),
            "std": list(images.std),
            "prompt": prompt,
            "max_new_tokens": max_new_tokens,
        },
    )
    _check_room(model)
    return model


def _check_kind(kind: str, known: Sequence[str], where: object) -> None:
    if kind not in known:
        raise ModelError(
            "the model type does not write about images here",
            where=where,
            found=kind,
            expected="one of " + ", ".join(known),
        )


def _fresh_config(checkpoint: Mapping[str, Any], tokenizer: Any, image_size: int | None) -> Any:
    chosen = dict(checkpoint.get("from-config") or {})
    kind = str(chosen.get("model_type"))
    _check_kind(kind, _FRESH, "from-config")
    chosen.pop("vocab_size", None)
    ids: dict[str, Any] = {"vocab_size": len(tokenizer), **special_ids(tokenizer)}
    if image_size is not None:
        chosen["vision_config"] = {"image_size": image_size, **chosen.get("vision_config", {})}
    if kind == "git":
        return fresh_config({"from-config": {**chosen, "vocab_size": len(tokenizer)}}, (), **ids)
    ids["sep_token_id"] = tokenizer.eos_token_id
    return fresh_config(
        {"from-config": {**chosen, "text_config": {**chosen.get("text_config", {}), **ids}}}, ()
    )


def seeing(config: Any) -> Any:
    """The configuration of the part of a network that sees the image."""
    return config.vision_config if hasattr(config, "vision_config") else config.encoder


def writing(config: Any) -> Any:
    """The configuration of the part of a network that writes."""
    return {"git": lambda: config, "blip": lambda: config.text_config}.get(
        config.model_type, lambda: config.decoder
    )()


def _set_ends(network: Any, tokenizer: Any) -> None:
    """Tokens that begin and end a text, whether the tokenizer calls them so or as BERT does."""
    if tokenizer.eos_token_id is None:
        tokenizer.eos_token = tokenizer.sep_token
    if tokenizer.bos_token_id is None:
        tokenizer.bos_token = tokenizer.cls_token or tokenizer.eos_token
    set_decoding(network, tokenizer)
    if network.config.model_type == "blip":
        set_decoding(network.text_decoder, tokenizer)


def opening_ids(model: Model) -> list[int]:
    """What a decoder without an encoder of its own goes on from: a beginning, and the prompt."""
    tokenizer, config = model.processor.tokenizer, plain(model.network).config
    # BLIP begins with a token of its own, whatever it is given.
    start = config.text_config.bos_token_id if config.model_type == "blip" else tokenizer.bos_token_id
    prompt = model.settings["prompt"]
    ids = tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"] if prompt else []
    return [start, *ids]


def _check_room(model: Model) -> None:
    """Whether prompt and answer fit in the positions that the network has."""
    positions = getattr(writing(plain(model.network).config), "max_position_embeddings", None)
    needed = len(opening_ids(model)) + model.settings["max_new_tokens"]
    if positions is not None and needed > positions:
        raise ModelError(
            "the network cannot write texts that long",
            where="task.max_new_tokens",
            found=f"{needed} tokens with the prompt",
            expected=f"at most {positions}",
        )
