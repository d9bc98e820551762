"""What networks write, found greedily: the likeliest token, one after another, so always the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from goldloop.errors import ModelError
from goldloop.records import Prediction
from goldloop.tasks._adapters import plain
from goldloop.tasks.base import Model

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Written:
    """What a network wrote about a batch.

    Attributes:
        texts: one of each example.
        log_probabilities: of each example, the mean over its tokens.
    """

    texts: list[str]
    log_probabilities: list[float]


def write(model: Model, inputs: Mapping[str, Any]) -> Written:
    """What the network writes when it has read some inputs."""
    import torch
    from transformers import LogitsProcessor, LogitsProcessorList

    steps: list[torch.Tensor] = []

    class Watch(LogitsProcessor):
        """Keeps how likely each token was; whole scores would be as large as the vocabulary."""

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            steps.append(scores.float().log_softmax(-1).amax(-1))
            return scores

    network = plain(model.network)
    tokenizer = getattr(model.processor, "tokenizer", model.processor)
    ids = network.generate(
        **inputs,
        max_new_tokens=model.settings["max_new_tokens"],
        logits_processor=LogitsProcessorList([Watch()]),
    )
    written, likely = ids[:, -len(steps) :], torch.stack(steps, 1)
    ends = network.generation_config.eos_token_id
    is_end = torch.isin(written, torch.tensor(ends, device=written.device))
    kept = (is_end.cumsum(1) - is_end.long()) == 0
    # `where` and not a product: what follows an end may be infinite.
    means = likely.where(kept, 0.0).sum(1) / kept.sum(1)
    rows = [row[keep].tolist() for row, keep in zip(written.cpu(), kept.cpu(), strict=True)]
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Written(list(texts), means.tolist())


def predictions(written: Written) -> list[Prediction[str]]:
    """The texts, as sure as their tokens were likely (the geometric mean).

    Raises:
        ModelError: the network answers with something other than numbers.
    """
    if not all(map(math.isfinite, written.log_probabilities)):
        raise ModelError(
            "the network answers with something other than numbers",
            found="NaN or infinite logits",
            remedy="Train again with a lower learning rate or without mixed precision",
        )
    pairs = zip(written.texts, written.log_probabilities, strict=True)
    return [Prediction(target=text, confidence=min(math.exp(value), 1.0)) for text, value in pairs]
