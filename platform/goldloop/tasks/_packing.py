"""Packing: texts of a batch one behind the other without padding, in networks that can read them so.

    rows -> lay_out -> input_ids (1, T), position_ids (1, T), segments -> network -> logits

A network of transformers is given `packed_attention`, and hooks: its base is told no padding and counts
positions as it is used to, and where a head reads each text's first token, it is shown those alone,
`(B, 1, H)`. What the last layer would do to the other tokens after its attention nobody reads, so in layers
like BERT's it is not done. Where texts begin and end goes with the batch as the keyword argument `segments`,
through all layers, so that threads, checkpointed layers and processes need nothing else. Without it the
network is as it was, but for attention dropout.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from goldloop.tasks._segments import SEGMENTS, Layout, lay_out

if TYPE_CHECKING:
    import torch

    from goldloop.tasks.base import Model

Reads = Literal["text", "token"]
"""What a network has an answer for: each text, by its first token, or each token."""

_TRIAL_LENGTHS = (5, 1, 11, 5)
_LONGEST_TRIAL = 192
_TOLERANCE = 1e-4
_HALF_TOLERANCE = 5e-2
_POOLINGS = ("cls", "mean")
_FAILURES = (TypeError, ValueError, RuntimeError, LookupError, AttributeError)


def pack_network(model: Model, reads: Reads) -> str | None:
    """Have a network read packed batches, if it then answers as it does to padded ones; sets `model.packed`.

    The attention dropout that it has by its configuration is no longer applied, see `packed_attention`.

    Args:
        model: its network is of transformers; may be packed already.
        reads: what it has an answer for.

    Returns:
        why not, in which case the network is as it was; None where it does.
    """
    if model.packed:
        return None
    network: Any = getattr(model.network, "adapted", model.network)
    reason = _unsuited(network)
    if reason is not None:
        return reason
    attention = _last_attention(network) if reads == "text" else None
    if attention is not None and _packed(model, network, reads, attention) is None:
        return None
    return _packed(model, network, reads, None)


def _packed(model: Model, network: Any, reads: Reads, narrowed: Any) -> str | None:
    """Pack it, `narrowed` as for `_hook`, if it then answers as before; or why not."""
    from goldloop.tasks._packed_attention import NAME

    before = network.config._attn_implementation
    hooks: list[Any] = []
    try:
        with _asked_exactly(network):
            trial = _Trial(network, reads)
            expected = trial.padded()
            network.set_attn_implementation(NAME)
            _hook(network, reads, narrowed, hooks)
            reason = trial.differs(trial.packed(), expected) or trial.differs(trial.padded(), expected)
            model.packed = reason is None
    except _FAILURES as error:
        reason = f"the network cannot be asked about packed texts: {type(error).__name__}: {error}"
    finally:
        if not model.packed:
            for hook in hooks:
                hook.remove()
            network.set_attn_implementation(before)
    return reason


def _last_attention(network: Any) -> Any:
    """The attention of the last layer, if all that follows it there is done token by token: as in BERT's.

    Their attention adds what it was given to what it found before it gives out the sum.
    """
    layers = getattr(getattr(network.base_model, "encoder", None), "layer", None)
    if not layers or getattr(network.config, "classifier_pooling", "cls") != "cls":
        return None
    last = layers[-1]
    like_bert = all(hasattr(last, part) for part in ("attention", "intermediate", "output"))
    return last.attention if like_bert and not getattr(last, "add_cross_attention", False) else None


@contextmanager
def _asked_exactly(network: torch.nn.Module) -> Iterator[None]:
    """In evaluation mode, with products in full precision, and without warnings of transformers'."""
    import torch
    import transformers.utils

    logs: Any = transformers.utils.logging
    shown, precision = logs.get_verbosity(), torch.get_float32_matmul_precision()
    modes = [(module, module.training) for module in network.modules()]
    logs.set_verbosity_error()
    torch.set_float32_matmul_precision("highest")
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
        torch.set_float32_matmul_precision(precision)
        logs.set_verbosity(shown)


def _unsuited(network: Any) -> str | None:
    """Why a network cannot be packed, as far as can be told without asking it."""
    from transformers import PreTrainedModel

    kind = type(network).__name__
    if not isinstance(network, PreTrainedModel):
        return f"{kind} is no network of transformers"
    if getattr(network.config, "is_encoder_decoder", False):
        return f"{kind} has an encoder and a decoder, whose attention goes from one text to another"
    if not network._can_set_attn_implementation():
        return f"{kind} has an attention of its own, which cannot be told where texts begin"
    if "position_ids" not in inspect.signature(network.base_model.forward).parameters:
        return f"{kind} cannot be told the positions of tokens"
    return None


def _hook(network: Any, reads: Reads, narrowed: Any, hooks: list[Any]) -> None:
    """Put the hooks in; each is added to the list as soon as it is there.

    Args:
        network: whose.
        reads: what it has an answer for.
        narrowed: the attention from which on first tokens alone are worked on, if any.
        hooks: those that are in.
    """
    import torch

    base = network.base_model
    first = _first_position(base)

    def enter(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        if kwargs.get(SEGMENTS) is None:
            return None
        positions = kwargs["position_ids"] + first if first else kwargs["position_ids"]
        # A mask of four dimensions is taken as it is; this one has nothing in it.
        mask = positions.new_empty((1, 1, 1, 0), dtype=torch.bool)
        return args, {**kwargs, "position_ids": positions, "attention_mask": mask}

    hooks.append(base.register_forward_pre_hook(enter, with_kwargs=True))
    if reads == "text":
        pooled = getattr(network.config, "classifier_pooling", "cls")
        if pooled not in _POOLINGS:
            raise ValueError(f"its head pools texts by `{pooled}`")

        def leave(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
            segments = kwargs.get(SEGMENTS)
            if segments is None:
                return None
            states = output[0].squeeze(0)
            if narrowed is None:
                states = (_means if pooled == "mean" else _firsts)(states, segments)
            return _replaced(output, states.unsqueeze(1))

        def narrow(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
            segments = kwargs.get(SEGMENTS)
            if segments is None:
                return None
            return _replaced(output, _firsts(output[0].squeeze(0), segments).unsqueeze(0))

        if narrowed is not None:
            hooks.append(narrowed.register_forward_hook(narrow, with_kwargs=True))

        # A pooler within the base reads first tokens before the base is left.
        within = getattr(base, "pooler", None) is not None
        if within and not hasattr(base, "encoder"):
            raise ValueError(f"{type(base).__name__} has a pooler and no encoder before it")
        hooks.append((base.encoder if within else base).register_forward_hook(leave, with_kwargs=True))


def _first_position(base: Any) -> int:
    """The number of a text's first position: RoBERTa and its kin count from behind the padding token's id."""
    for name, module in base.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            return 0 if module.padding_idx is None else int(module.padding_idx) + 1
    return 0


def _firsts(states: torch.Tensor, segments: Mapping[str, Any]) -> torch.Tensor:
    firsts: torch.Tensor = states.index_select(0, segments["starts"])
    return firsts


def _means(states: torch.Tensor, segments: Mapping[str, Any]) -> torch.Tensor:
    """The mean over each text's tokens, `(B, H)`."""
    import torch

    bounds, starts = segments["bounds"].long(), segments["starts"]
    places = torch.arange(len(states), device=states.device)
    own = torch.searchsorted(bounds, places, right=True) - 1
    sums = torch.zeros(len(bounds) - 1, states.shape[-1], dtype=torch.float32, device=states.device)
    sums = sums.index_add(0, own, states.float())
    means = sums / bounds.diff().clamp(min=1)[:, None]
    # Which segment each row of the batch is.
    chosen: torch.Tensor = means[torch.searchsorted(bounds, starts, right=True) - 1]
    return chosen.to(states.dtype)


def _replaced(output: Any, states: torch.Tensor) -> Any:
    """What a module gave out, with other states in the first place."""
    if isinstance(output, tuple):
        return (states, *output[1:])
    output["last_hidden_state"] = states
    return output


class _Trial:
    """A few texts that a network is asked about, packed and padded."""

    def __init__(self, network: Any, reads: Reads) -> None:
        import numpy

        self.network = network
        self.reads = reads
        config = network.config
        window = getattr(config, "sliding_window", None) or 0
        limit = getattr(config, "max_position_embeddings", None) or _LONGEST_TRIAL
        # Beyond the window of a layer that sees near tokens only.
        longest = min(2 * window + 3, _LONGEST_TRIAL, limit // 2) if window else 0
        lengths = [*_TRIAL_LENGTHS, *([longest] if longest > max(_TRIAL_LENGTHS) else [])]
        special = {config.pad_token_id, getattr(config, "eos_token_id", None)}
        known = [token for token in range(min(config.vocab_size, 1000)) if token not in special]
        draw = numpy.random.default_rng(0)
        self.rows = [draw.choice(known, length) for length in lengths]
        self.filler = 0 if config.pad_token_id is None else int(config.pad_token_id)
        self.device = next(network.parameters()).device

    def padded(self) -> torch.Tensor:
        """Its answers about texts in one rectangle: of each text, or of all tokens in order."""
        import torch

        longest = max(map(len, self.rows))
        ids = torch.full((len(self.rows), longest), self.filler)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(self.rows):
            ids[number, : len(row)] = torch.as_tensor(row)
            mask[number, : len(row)] = 1
        logits = self._ask({"input_ids": ids, "attention_mask": mask})
        return logits if self.reads == "text" else logits[mask.bool().to(logits.device)]

    def packed(self) -> torch.Tensor:
        """The same of packed texts, in the same order."""
        import torch

        layout = lay_out([len(row) for row in self.rows])
        logits = self._ask(packed_inputs(layout, self.rows))
        if self.reads == "text":
            return logits
        starts = layout.starts.tolist()
        places = [range(start, start + len(row)) for start, row in zip(starts, self.rows, strict=True)]
        return logits.squeeze(0)[
            torch.tensor([place for own in places for place in own], device=logits.device)
        ]

    def _ask(self, inputs: dict[str, Any]) -> torch.Tensor:
        from goldloop.tasks.base import Batch

        logits: torch.Tensor = self.network(**Batch(inputs, None, ()).to(self.device).inputs).logits
        return logits.float()

    def differs(self, found: torch.Tensor, expected: torch.Tensor) -> str | None:
        """In how far the answers are not the same; None where they are."""
        import torch

        if found.shape != expected.shape:
            return f"its answers have the shape {tuple(found.shape)} packed, {tuple(expected.shape)} padded"
        whole = next(self.network.parameters()).dtype in (torch.float32, torch.float64)
        scale = float((expected - expected.mean(0)).abs().max())
        if scale == 0:
            return "its answers are the same whatever the text, so that nothing can be compared"
        # Of fresh weights answers are small and differ little: what counts is by how much.
        apart = float((found - expected).abs().max()) / scale
        # Written so that what is no number is refused.
        if apart <= (_TOLERANCE if whole else _HALF_TOLERANCE):
            return None
        return f"its answers about packed texts are others than about padded ones, by {apart:.1e}"


def packed_inputs(
    layout: Layout, tokens: Sequence[Any], kinds: Sequence[Any] | None = None, filler: int = 0
) -> dict[str, Any]:
    """What a packed network is asked with.

    Args:
        layout: of the texts.
        tokens: ids of each text, in the order of the rows.
        kinds: `token_type_ids` of each text, if it has them.
        filler: the token where there is no text.

    Returns:
        `input_ids`, `position_ids` and perhaps `token_type_ids`, int64 `(1, T)`, and `segments`.
    """
    inputs: dict[str, Any] = {
        "input_ids": layout.line(tokens, filler),
        "position_ids": layout.positions(),
        SEGMENTS: layout.segments,
    }
    if kinds is not None:
        inputs["token_type_ids"] = layout.line(kinds)
    return inputs
