from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldloop.cleaning.personal import Edit, Scrubbed, find, scrub

ALL = ("email", "phone", "card", "iban")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to ann@example.org.", "write to [email]."),
        ("(bob.o'neil+x@mail.example.co.uk)", "([email])"),
        ("über@bücher.example, danke", "[email], danke"),
        ("call +49 30 901820 or +1 (212) 736-5000!", "call [phone] or [phone]!"),
        ("card 4111 1111 1111 1111, until 12/30", "card [card], until 12/30"),
        ("5500-0000-0000-0004", "[card]"),
        ("IBAN DE89 3704 0044 0532 0130 00 please", "IBAN [iban] please"),
        ("GB82WEST12345698765432", "[iban]"),
    ],
)
def test_what_is_personal_is_replaced_by_a_word_for_it(text, expected):
    assert scrub(text, ALL).text == expected


@pytest.mark.parametrize(
    "text",
    [
        "a@b", "me @home", "version 1.2.3-4", "4111 1111 1111 1112", "order 1234567890123456",
        "12/30/2024 10:45",
        "DE88 3704 0044 0532 0130 00", "the year 2024", "[email] and [phone]", "", "0000 0000 0000 0000",
    ],
)  # fmt: skip
def test_what_is_not_valid_stays(text):
    assert scrub(text, ALL).text == text


def test_only_what_is_asked_for_is_looked_for():
    text = "ann@example.org, +49 30 901820"
    assert scrub(text, ("phone",)).text == "ann@example.org, [phone]"
    assert scrub("030 901820", ("phone",)).text == "030 901820"
    assert scrub("030 901820", ("phone",), "DE").text == "[phone]"


def test_of_a_text_that_is_made_of_several_each_is_scrubbed_and_it_stays_one():
    parts = ['say "hi"\nann@example.org', "x\\ +49 30 901820"]
    done = scrub(json.dumps(parts, ensure_ascii=False), ALL)
    assert json.loads(done.text) == ['say "hi"\n[email]', "x\\ [phone]"]
    assert done.counts() == {"email": 1, "phone": 1}


WORDS = st.lists(
    st.sampled_from(
        [
            "Ann",
            "ann@example.org",
            "+49 30 901820",
            "4111 1111 1111 1111",
            "in",
            "DE89370400440532013000",
            "😀",
            ".",
            "\n",
        ]
    ),
    max_size=9,
)


@given(WORDS)
def test_scrubbed_twice_a_text_is_the_same(words):
    once = scrub(" ".join(words), ALL).text
    assert scrub(once, ALL).text == once


@given(WORDS, st.data())
def test_a_span_is_moved_to_where_its_words_are(words, data):
    text = " ".join(words)
    done = scrub(text, ALL)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    new_start, new_end = done.moved(start, end)
    assert 0 <= new_start <= new_end <= len(done.text)
    inside = [edit for edit in done.edits if edit.start < end and start < edit.end]
    expected = text[start:end]
    if not inside:
        assert done.text[new_start:new_end] == expected
    else:
        kept = scrub(text[min(start, inside[0].start) : max(end, inside[-1].end)], ALL).text
        assert done.text[new_start:new_end] == kept


def test_a_span_that_cuts_through_has_the_whole_replacement():
    done = Scrubbed("a [email] b", [Edit(2, 17, "email")])
    assert done.moved(5, 19) == (2, 11)
    assert done.moved(0, 5) == (0, 9)
    assert done.moved(2, 17) == (2, 9)
    assert done.moved(18, 19) == (10, 11)


def test_finds_are_in_order_and_do_not_overlap():
    edits = find("GB82WEST12345698765432 +49 30 901820 ann@example.org", ALL)
    assert [edit.kind for edit in edits] == ["iban", "phone", "email"]
    assert all(one.end <= other.start for one, other in pairwise(edits))
