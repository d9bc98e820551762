"""Texts that were written again are found; those that say something else are not."""

from __future__ import annotations

import random

import pytest

from goldloop.errors import VersionError

LONG = "Why was my card declined at the shop, although there is more than enough money on my account?"


@pytest.mark.parametrize(
    "other",
    [
        "why was my card declined at the shop although there is more than enough money on my account",
        f"\r\n{LONG.upper()} !!!",
        LONG.replace(" ", "\N{NO-BREAK SPACE}").replace("w", "w\N{ZERO WIDTH SPACE}"),
    ],
)
@pytest.mark.parametrize("rule", ["near", "exact"])
def test_case_punctuation_and_blanks_make_no_other_text(find, other, rule):
    assert find({"one": LONG, "other": other}, rule) == [("one", "other")]


def test_a_word_more_is_near_and_not_exact(find):
    texts = {"one": LONG, "other": LONG.replace("more than", "far more than")}
    assert find(texts) == [("one", "other")]
    assert find(texts, "exact", where="exact") == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Invoice 17 of the third of May was not paid.", "Invoice 18 of the third of May was not paid."),
        ("It costs 3.50 at the station", "It costs 350 at the station"),
        ("yes", "no"),
        ("\N{THUMBS UP SIGN}", "\N{THUMBS DOWN SIGN}"),
        ("?!", "..."),
    ],
)
def test_what_says_something_else_is_another_text(find, one, other):
    assert find({"one": one, "other": other}) == []


def test_the_same_text_many_times_is_one_set(find):
    texts = {f"{number:03}": f"{'!' * number}Where is my card?" for number in range(200)}
    assert find(texts) == [tuple(sorted(texts))]


def test_texts_from_one_mould_are_refused_with_what_to_do(find, monkeypatch):
    from goldloop.duplicates.texts import NearTexts

    monkeypatch.setattr(NearTexts, "most_pairs", 100)
    names = ["".join(random.Random(number).choices("abcdefgh", k=3)) for number in range(60)]
    mould = "Dear {}, your parcel could not be delivered today, so please do call us back soon."
    texts = {name: mould.format(name) for name in names}
    with pytest.raises(VersionError, match=r"more than 100 pairs.*texts: exact"):
        find(texts)
    assert find(texts, "exact", where="exact") == []
