"""Places in texts: counted alike by the browser, Python and the tokenizer, or not believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldloop.errors import AnnotationError
from goldloop.tasks._spans import from_utf16, overlapping, quote, read_span, without_overlaps

PIECES = st.one_of(
    st.characters(exclude_categories=("Cs",)),
    st.sampled_from(["\N{GRINNING FACE}", "\u200d", "\u0301", "\r\n", "\t", " ", "\ufeff", "\U0001d4b3"]),
)
ODD = st.lists(PIECES, min_size=1, max_size=60).map("".join)


@st.composite
def marked(draw):
    text = draw(ODD)
    start = draw(st.integers(0, len(text) - 1))
    return text, start, draw(st.integers(start + 1, len(text)))


@given(marked())
def test_code_points_with_the_quote_of_the_editor_are_the_span(place):
    text, start, end = place
    for said in (text[start:end], quote(text[start:end])):
        found = read_span("a", {"start": start, "end": end, "text": said}, text, "here")
        assert (found["start"], found["end"], found["text"]) == (start, end, text[start:end])


@given(marked())
def test_utf16_units_are_told_by_the_quote(place):
    text, start, end = place
    units = [len(text[:edge].encode("utf-16-le")) // 2 for edge in (start, end)]
    value = {"start": units[0], "end": units[1], "text": text[start:end]}

    found = read_span("a", value, text, "here")

    # Where both ways of counting fit, the same words stand in both places.
    assert found["text"] == text[start:end] or quote(found["text"]) == text[start:end]
    assert [from_utf16(text, count) for count in units] == [start, end]


def test_a_place_inside_a_character_is_none():
    assert from_utf16("a\N{GRINNING FACE}b", 2) is None
    assert from_utf16("a\N{GRINNING FACE}b", 3) == 2
    assert from_utf16("ab", 3) is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"start": 0, "end": 3, "text": "two"}, "quote is not what stands there"),
        ({"start": 3, "end": 3}, "nothing inside"),
        ({"start": 0, "end": 99, "text": "one"}, "`end` is no place"),
        ({"start": 0, "end": 12}, "ends behind the text"),
        ({"start": -1, "end": 3}, "`start` is no place"),
        ({"start": 0.5, "end": 3}, "`start` is no place"),
        ({"start": True, "end": 3}, "`start` is no place"),
        ({"end": 3}, "`start` is no place"),
    ],
)
def test_what_marks_nothing_is_refused_by_name(value, problem):
    with pytest.raises(AnnotationError, match=rf"{problem}.*") as caught:
        read_span("a", value, "one two", "item k, region r")
    assert "item k, region r" in str(caught.value)


def test_of_spans_that_overlap_the_longest_is_kept():
    def span(start, end):
        return {"label": "a", "start": start, "end": end, "text": "x" * (end - start)}

    spans = [span(0, 4), span(2, 9), span(8, 12), span(12, 13)]

    assert overlapping(spans) == (0, 1)
    assert overlapping([span(0, 9), span(2, 3)]) == (0, 1)
    assert overlapping([span(0, 4), span(4, 5)]) is None
    assert without_overlaps(spans) == [span(2, 9), span(12, 13)]
