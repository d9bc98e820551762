from itertools import pairwise

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.tasks._segments import SEGMENTS, answers, lay_out
from goldloop.tasks.base import Batch

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@settings(deadline=None, max_examples=100)
@given(lengths=lengths)
def test_every_text_stands_whole_in_the_line_and_nothing_stands_between(lengths):
    layout = lay_out(lengths)
    parts = [[number * 100 + place for place in range(length)] for number, length in enumerate(lengths)]
    line = layout.line(parts, -1)[0].tolist()

    assert len(line) == layout.width == layout.tokens == sum(lengths)
    assert -1 not in line
    for part, start in zip(parts, layout.starts.tolist(), strict=True):
        assert line[start : start + len(part)] == part
    positions = layout.line([range(length) for length in lengths])
    assert torch.equal(layout.positions(), positions)


@settings(deadline=None, max_examples=100)
@given(lengths=lengths)
def test_what_the_network_is_told_agrees(lengths):
    layout = lay_out(lengths)
    segments = layout.segments
    bounds = segments["bounds"].tolist()

    assert segments["bounds"].dtype == torch.int32
    assert [end - start for start, end in pairwise(bounds)] == sorted(lengths, reverse=True)
    assert segments["starts"].tolist() == layout.starts.tolist()
    assert segments["longest"] == max(lengths)
    assert [length for count, length in segments["runs"] for _ in range(count)] == sorted(
        lengths, reverse=True
    )
    assert [lengths[row] for row in layout.order] == sorted(lengths, reverse=True)


@settings(deadline=None, max_examples=100)
@given(lengths=lengths, room=st.integers(0, 300), texts=st.integers(0, 5))
def test_batches_of_a_fixed_shape_have_the_same_shapes_and_texts_as_others(lengths, room, texts):
    shape = (sum(lengths) + room, len(lengths) + texts)
    plain, layout = lay_out(lengths), lay_out(lengths, shape, 60)
    segments = layout.segments
    bounds = segments["bounds"].numpy()

    assert layout.width == shape[0]
    assert len(bounds) == shape[1] + -(-shape[0] // 60) + 1
    assert (segments["longest"], segments["runs"]) == (60, [])
    assert segments["starts"].shape == (shape[1],)
    assert segments["starts"][: len(lengths)].tolist() == plain.starts.tolist()
    assert bounds[: len(lengths) + 1].tolist() == plain.segments["bounds"].tolist()
    assert bounds[-1] == shape[0]
    assert 0 <= numpy.diff(bounds).min() <= numpy.diff(bounds).max() <= 60
    assert layout.tokens == plain.tokens
    assert 0 <= layout.positions().min() <= layout.positions().max() < 60
    assert layout.line([[1] * length for length in lengths]).sum() == sum(lengths)


@pytest.mark.parametrize("shape", [(9, 5), (40, 1), None], ids=["tokens", "texts", "none"])
def test_what_does_not_fit_the_shape_is_laid_out_without_it(shape):
    assert lay_out([5, 5], shape, 60).width == 10


def test_a_text_longer_than_all_should_be_is_laid_out_without_the_shape():
    assert lay_out([5, 61], (200, 5), 60).width == 66


def test_only_the_answers_about_texts_are_kept():
    logits = torch.arange(6).view(3, 2)
    packed = Batch({SEGMENTS: {"starts": torch.arange(3)}}, None, ("a", "b"))

    assert answers(logits, packed).tolist() == [[0, 1], [2, 3]]
    with pytest.raises(AssertionError, match="2 answers about 3 packed texts"):
        answers(logits[:2], packed)
    assert answers(logits, Batch({}, None, ())) is logits
