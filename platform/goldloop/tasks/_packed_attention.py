"""Attention within each text of a packed batch, as transformers' networks call it.

On a GPU in half precision it is `varlen_attn` of PyTorch. Elsewhere texts of one length, which lie together,
are seen as a rectangle without copying. No attention weight is dropped on any device, since `varlen_attn` has
no dropout: a packed network trains without attention dropout, its other dropout stays.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from inspect import signature
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "goldloop_packed"
"""The attention implementation by its name in transformers."""

_WIDEST_HEAD = 256
_AMPERE = (8, 0)
_TAKES = frozenset(signature(varlen_attn).parameters)
"""Of `varlen_attn`: `scale` and `window_size` came with PyTorch 2.11, `enable_gqa` after it."""
_NOT_HEEDED = ("softcap", "position_bias", "s_aux", "head_mask")


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    segments: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it; with `segments`, of `lay_out`, within each text.

    Args:
        module: the layer.
        query: `(1, H, T, D)` of a packed batch, else `(B, H, T, D)`.
        key: may have fewer heads.
        value: as `key`.
        attention_mask: of a batch that is not packed.
        dropout: has no effect.
        scaling: of the products; by default `D ** -0.5`.
        sliding_window: a token sees those nearer than so many places.
        is_causal: whether a token sees what stands behind it; by default what the layer says.
        segments: where texts begin and end.
        options: what else the layer says.

    Returns:
        `(1, T, H, D)`, and no attention weights.

    Raises:
        ValueError: the layer changes attention in a way that is not known here.
    """
    if segments is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, 0.0, scaling, is_causal, **options
        )
    unknown = [name for name in _NOT_HEEDED if options.get(name) is not None]
    if unknown:
        raise ValueError(f"its attention has {', '.join(unknown)}")
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    # Rotary embeddings may have left queries and keys in full precision under autocast.
    lines = [tensor.squeeze(0).transpose(0, 1).to(value.dtype) for tensor in (query, key, value)]
    window = -1 if sliding_window is None else sliding_window - 1
    if _has_kernel(value):
        return _by_kernel(lines, segments, scaling, causal, window).unsqueeze(0), None
    full = not value.is_cuda
    if full:
        # On a CPU attention in half precision is slower than in full, its backward pass many times.
        lines = [line.float() for line in lines]
    with torch.autocast("cpu", enabled=False) if full else nullcontext():
        if segments["runs"]:
            found = _by_runs(lines, segments["runs"], scaling, causal, window)
        else:
            found = _by_mask(lines, segments["bounds"], scaling, causal, window)
    return found.to(value.dtype).unsqueeze(0), None


def _has_kernel(value: torch.Tensor) -> bool:
    head = value.shape[-1]
    return (
        value.is_cuda
        and {"scale", "window_size"} <= _TAKES
        and value.dtype in (torch.float16, torch.bfloat16)
        and head <= _WIDEST_HEAD
        and head % 8 == 0
        and _is_recent(value.device.index or 0)
    )


@cache
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _is_recent(device: int) -> bool:
    return torch.version.hip is None and torch.cuda.get_device_capability(device) >= _AMPERE


def _by_kernel(
    lines: list[torch.Tensor], segments: dict[str, Any], scaling: float | None, causal: bool, window: int
) -> torch.Tensor:
    query, key, value = lines
    bounds, longest = segments["bounds"], segments["longest"]
    grouped: dict[str, Any] = {"enable_gqa": True} if query.shape[1] != key.shape[1] else {}
    if grouped and not grouped.keys() <= _TAKES:
        shared = query.shape[1] // key.shape[1]
        key, value = (line.repeat_interleave(shared, dim=1) for line in (key, value))
        grouped = {}
    found: torch.Tensor = varlen_attn(  # type: ignore[assignment]
        query,
        key,
        value,
        bounds,
        bounds,
        longest,
        longest,
        scale=scaling,
        window_size=(window, 0 if causal else window),
        **grouped,
    )
    return found


def _by_runs(
    lines: list[torch.Tensor], runs: list[list[int]], scaling: float | None, causal: bool, window: int
) -> torch.Tensor:
    """Each run of segments of one length as a rectangle."""
    sizes = [texts * length for texts, length in runs]
    found = []
    for (texts, length), *parts in zip(runs, *(torch.split(line, sizes) for line in lines), strict=True):
        query, key, value = (
            part.view(texts, length, *part.shape[1:]).transpose(1, 2)
            if texts > 1
            else part.transpose(0, 1)[None]
            for part in parts
        )
        narrow = -1 < window < length - 1
        seen = scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=_near(length, window, causal, query.device) if narrow else None,
            is_causal=causal and not narrow,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        found.append(seen.transpose(1, 2).flatten(0, 1))
    return torch.cat(found)


def _near(length: int, window: int, causal: bool, device: torch.device) -> torch.Tensor:
    """Which of the places of a text sees which, boolean `(length, length)`."""
    places = torch.arange(length, device=device)
    return _seen(places[:, None] - places, causal, window)


def _seen(distance: torch.Tensor, causal: bool, window: int) -> torch.Tensor:
    """Whether a token sees another that stands so many places before it."""
    seen = distance >= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
    return seen if window < 0 else seen & (distance.abs() <= window)


def _by_mask(
    lines: list[torch.Tensor], bounds: torch.Tensor, scaling: float | None, causal: bool, window: int
) -> torch.Tensor:
    """All segments at once: for batches of one shape where there is no kernel for them."""
    query, key, value = (line.transpose(0, 1)[None] for line in lines)
    places = torch.arange(query.shape[2], device=query.device)
    own = torch.searchsorted(bounds, places.to(bounds.dtype), right=True)
    mask = (own[:, None] == own) & _seen(places[:, None] - places, causal, window)
    found = scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
    )
    return found[0].transpose(0, 1)


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
