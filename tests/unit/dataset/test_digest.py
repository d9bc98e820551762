import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldloop.dataset.digest import canonical, row_digest, version_digest

ROWS = [("b" * 64, "test", {"label": 1}), ("a" * 64, "train", {"label": 0})]


def test_the_digest_is_of_the_lines_that_its_documentation_shows():
    lines = (
        '{"classes":["Katze","Ä\N{CAT FACE}"],"format":1,"task":"image-classification"}\n'
        f'{{"key":"{"a" * 64}","split":"train","target":{{"label":0}}}}\n'
        f'{{"key":"{"b" * 64}","split":"test","target":{{"label":1}}}}\n'
    )
    expected = hashlib.sha256(lines.encode("utf-8")).hexdigest()
    assert version_digest("image-classification", ["Katze", "Ä\N{CAT FACE}"], ROWS) == expected


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


def test_a_row_has_a_digest_of_its_own():
    assert row_digest(*ROWS[0]) != row_digest(*ROWS[1])


def test_a_number_that_json_cannot_say_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        canonical({"x": float("nan")})
