from __future__ import annotations

from datetime import date

import pytest

from goldloop.connectors._expression import Expression
from goldloop.errors import ItemError

FIELDS = {
    "year": 2021,
    "language": "en",
    "name": "p12_003.jpg",
    "a b": 7,
    "when": date(2024, 2, 3),
    "tags": ["x"],
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('year >= 2020 and language in ["en", "de"]', True),
        ("not (year < 2000 or 'y' in tags)", True),
        ('matches(name, "^p[0-9]+_")', True),
        ("matches(missing, 'x')", False),
        ('name.split("_")[0]', "p12"),
        ('fields["a b"] * 2', 14),
        ("when.year == 2024 and when.month", 2),
        ("missing == None", True),
        ("len([tag for tag in tags if tag != 'y'])", 1),
        ("'a' if year else 'b'", "a"),
    ],
)
def test_an_expression_has_its_value(text, value):
    assert Expression(text)(FIELDS) == value


def test_the_names_are_those_of_fields_alone():
    text = "len([each for each in tags if each != year]) and matches(name, 'x') and fields['a b']"
    assert Expression(text).names == {"tags", "year", "name"}


@pytest.mark.parametrize(
    "text",
    [
        "year > 'x'", "year.real", "name.__class__", "tags.append(1)", "(lambda: 1)()",
        "'{}'.format(year)", "1 / 0", "matches(name, '(')", "tags[9]", "'a' * 1000000000", "9 ** 99999999999",
    ],
)  # fmt: skip
def test_what_has_no_value_says_why(text):
    with pytest.raises(ItemError, match="no value"):
        Expression(text)(FIELDS)


@pytest.mark.parametrize(
    "text", ["", "year >", "import os", "x = 1", "open('/etc/passwd')", "__import__('os')", "eval('1')"]
)
def test_what_is_no_expression_is_refused_before_anything_is_read(text):
    with pytest.raises(ValueError, match=r"no expression|no function"):
        Expression(text)
