import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldloop.dataset.digest import canonical, digits_for, leaf_of, row_digest, row_end, version_digest

ROWS = [("b" * 64, "test", {"label": 1}), ("a" * 64, "train", {"label": 0})]
HEAD = '{"classes":["Katze","Ä\N{CAT FACE}"],"format":2,"task":"image-classification"}\n'


def line(key: str, split: str, label: int) -> str:
    return f'{{"key":"{key}","split":"{split}","target":{{"label":{label}}}}}\n'


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def test_the_digest_is_what_its_documentation_says():
    leaves = [sha256(line("a" * 64, "train", 0).encode()), sha256(line("b" * 64, "test", 1).encode())]
    expected = sha256(HEAD.encode() + sha256(b"\x01" + b"".join(leaves))).hex()
    assert version_digest("image-classification", ["Katze", "Ä\N{CAT FACE}"], ROWS) == expected
    # The test vector: this must never change while the format is 2.
    assert expected == "873cfaf491c2ac69306cab14fa1b2e1165d58f447e58783798558e0f6126aa50"


def test_many_rows_lie_in_buckets_by_the_first_digits_of_their_keys():
    rows = [(sha256(b"%d" % number).hex(), "train", number % 2) for number in range(2_000)]
    buckets = [b"" for _ in range(256)]
    for key, split, label in sorted(rows):
        buckets[int(key[:2], 16)] += sha256(line(key, split, label).encode())
    every = b"".join(sha256(b"\x01" + bucket) if bucket else bytes(32) for bucket in buckets)
    expected = sha256(HEAD.encode() + every).hex()
    columns = [(key, split, {"label": label}) for key, split, label in rows]
    assert version_digest("image-classification", ["Katze", "Ä\N{CAT FACE}"], columns) == expected


def test_a_bucket_without_rows_is_zeros():
    rows = [(f"0{number:063}", "train", {"label": 0}) for number in range(65)]
    leaves = b"".join(row_digest(*row) for row in rows)
    head = b'{"classes":[],"format":2,"task":"t"}\n'
    assert version_digest("t", [], rows) == sha256(head + sha256(b"\x01" + leaves) + bytes(15 * 32)).hex()


@pytest.mark.parametrize(
    ("rows", "digits"), [(0, 0), (64, 0), (65, 1), (1024, 1), (1025, 2), (100_000, 3), (1_000_000, 4)]
)
def test_buckets_stay_small_as_rows_grow(rows, digits):
    assert digits_for(rows) == digits


@given(st.permutations([(f"{number:064}", "train", {"label": number % 3, "x": 1}) for number in range(8)]))
def test_the_order_of_rows_does_not_matter(rows):
    assert version_digest("t", ["a", "b", "c"], rows) == version_digest("t", ["a", "b", "c"], rows[::-1])


@pytest.mark.parametrize(
    ("task", "classes", "rows"),
    [
        ("other", ["a", "b"], ROWS),
        ("t", ["b", "a"], ROWS),
        ("t", ["a", "b", "c"], ROWS),
        ("t", ["a", "b"], ROWS[:1]),
        ("t", ["a", "b"], [("b" * 64, "train", {"label": 1}), ROWS[1]]),
        ("t", ["a", "b"], [("b" * 64, "test", {"label": 0}), ROWS[1]]),
        ("t", ["a", "b"], [("c" * 64, "test", {"label": 1}), ROWS[1]]),
    ],
    ids=["task", "class order", "class added", "row missing", "split", "label", "content"],
)
def test_what_makes_a_version_another_one_changes_its_digest(task, classes, rows):
    assert version_digest(task, classes, rows) != version_digest("t", ["a", "b"], ROWS)


@given(st.text(), st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none()))
def test_the_end_of_a_row_gives_its_leaf_whatever_its_key(key, target):
    assert leaf_of(key, row_end("train", target)) == row_digest(key, "train", target)


def test_a_key_that_is_none_makes_another_digest():
    assert version_digest("t", ["a"], [("no key", "train", {})]) != version_digest("t", ["a"], [])


def test_a_row_has_a_digest_of_its_own():
    assert row_digest(*ROWS[0]) != row_digest(*ROWS[1])


def test_a_number_that_json_cannot_say_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        canonical({"x": float("nan")})
