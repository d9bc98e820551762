from inspect import signature
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import goldloop.tasks._packed_attention as module_
from goldloop.tasks._packed_attention import packed_attention
from goldloop.tasks._segments import lay_out

HEADS, SIZE = 4, 8


def module(*, causal):
    return SimpleNamespace(is_causal=causal, training=True, num_key_value_groups=1)


def drawn(tokens, key_heads=HEADS):
    generator = torch.Generator().manual_seed(tokens)
    return [
        torch.randn(1, heads, tokens, SIZE, generator=generator, requires_grad=True)
        for heads in (HEADS, key_heads, key_heads)
    ]


def expected(query, key, value, lengths, causal, window):
    """Softmax attention, text by text, written out."""
    parts, start = [], 0
    for length in lengths:
        chosen = [part[0, :, start : start + length] for part in (query, key, value)]
        key_, value_ = (part.repeat_interleave(HEADS // part.shape[0], 0) for part in chosen[1:])
        places = torch.arange(length)
        apart = places[:, None] - places
        hidden = torch.zeros(length, length, dtype=torch.bool)
        if causal:
            hidden |= apart < 0
        if window is not None:
            hidden |= apart.abs() >= window
        scores = (chosen[0] @ key_.transpose(1, 2) * 0.5).masked_fill(hidden, float("-inf"))
        parts.append((scores.softmax(-1) @ value_).transpose(0, 1))
        start += length
    return torch.cat(parts)[None]


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 24), min_size=1, max_size=10),
    causal=st.booleans(),
    window=st.none() | st.integers(1, 30),
    key_heads=st.sampled_from([1, 2, HEADS]),
    fixed=st.booleans(),
)
def test_a_token_sees_what_it_should_of_its_own_text_and_nothing_else(
    lengths, causal, window, key_heads, fixed
):
    lengths = sorted(lengths, reverse=True)
    tensors = drawn(sum(lengths), key_heads)
    # A shape without room for more differs in the way that attention is computed.
    layout = lay_out(lengths, (sum(lengths), len(lengths)) if fixed else None, 24)
    found, weights = packed_attention(
        module(causal=causal), *tensors, None, 0.5, 0.5, window, segments=layout.segments
    )

    assert weights is None
    truth = expected(*tensors, lengths, causal, window)
    torch.testing.assert_close(found, truth, atol=1e-5, rtol=1e-5)
    change = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad((found * change).sum(), tensors)
    for one, other in zip(gradients, torch.autograd.grad((truth * change).sum(), tensors), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_attention_that_is_changed_in_unknown_ways_is_refused():
    layout = lay_out([3, 2])

    with pytest.raises(ValueError, match="its attention has softcap"):
        packed_attention(module(causal=False), *drawn(5), None, segments=layout.segments, softcap=30.0)


def test_a_batch_that_is_not_packed_is_seen_through_its_mask_and_nothing_is_dropped():
    query, key, value = (part.expand(2, -1, -1, -1) for part in drawn(6))
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])[:, None, None]

    found, _ = packed_attention(module(causal=False), query, key, value, mask, 0.5, 0.5)

    torch.testing.assert_close(found[:1], expected(*drawn(6), [6], False, None), atol=1e-5, rtol=1e-5)
    short = [part[:, :, :4] for part in drawn(6)]
    torch.testing.assert_close(found[1:, :4], expected(*short, [4], False, None), atol=1e-5, rtol=1e-5)


def kernel_of_2_11(query, key, value, bounds, _bounds, longest, _longest, *, scale, window_size):
    """What PyTorch 2.11 has: as many heads everywhere."""
    assert query.shape == key.shape == value.shape
    before, after = window_size
    return module_._by_mask([query, key, value], bounds, scale, after == 0, before)


def kernel_of_2_12(*arguments, enable_gqa=False, scale, window_size):
    query, key, value, bounds = arguments[:4]
    assert enable_gqa == (query.shape != key.shape)
    before, after = window_size
    return module_._by_mask([query, key, value], bounds, scale, after == 0, before)


@pytest.mark.parametrize("kernel", [kernel_of_2_11, kernel_of_2_12])
@pytest.mark.parametrize("key_heads", [1, 2, HEADS])
@pytest.mark.parametrize(("causal", "window"), [(True, None), (False, None), (False, 3)])
def test_each_release_of_the_kernel_is_asked_in_the_way_it_knows(
    kernel, key_heads, causal, window, monkeypatch
):
    monkeypatch.setattr(module_, "_has_kernel", lambda value: True)
    monkeypatch.setattr(module_, "varlen_attn", kernel)
    monkeypatch.setattr(module_, "_TAKES", frozenset(signature(kernel).parameters))
    tensors = drawn(12, key_heads)
    layout = lay_out([7, 5])

    found, _ = packed_attention(
        module(causal=causal), *tensors, None, 0.5, 0.5, window, segments=layout.segments
    )

    torch.testing.assert_close(found, expected(*tensors, [7, 5], causal, window), atol=1e-5, rtol=1e-5)
