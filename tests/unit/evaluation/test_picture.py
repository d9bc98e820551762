from __future__ import annotations

import io

import numpy
import pytest
from PIL import Image

from goldloop.evaluation.picture import confusion_picture


def picture(confusion, names):
    return Image.open(io.BytesIO(confusion_picture(confusion, names)))


@pytest.mark.parametrize("classes", [1, 3, 10, 77, 130])
def test_a_picture_is_large_enough_for_its_classes_and_not_huge(classes):
    confusion = numpy.eye(classes, dtype=int) * 5
    image = picture(confusion.tolist(), [f"class number {number}" for number in range(classes)])
    assert image.format == "PNG"
    assert 4 * classes < min(image.size)
    assert max(image.size) < 3000


@pytest.mark.parametrize("name", ["$x_1^2$", "$", "<b>", "صنف", "クラス", "😀", "a\nb", "x" * 300, "%s {0}"])
def test_a_class_may_have_any_name(name):
    assert picture([[1, 0], [1, 3]], [name, "other"]).size[0] > 100


def test_a_class_that_never_occurs_is_an_empty_row():
    assert picture([[0, 0], [0, 0]], ["a", "b"]).size[0] > 100


def test_errors_are_seen_in_the_cell_where_they_are():
    right, wrong = picture([[9, 0], [0, 9]], ["a", "b"]), picture([[9, 0], [9, 0]], ["a", "b"])
    assert right.size == wrong.size
    changed = numpy.asarray(right.convert("L")).astype(int) - numpy.asarray(wrong.convert("L"))
    rows, columns = numpy.nonzero(numpy.abs(changed) > 100)
    assert rows.min() > right.size[1] * 0.25
    assert columns.max() - columns.min() > right.size[0] * 0.2


def test_drawing_leaves_no_trace_in_pyplot():
    import sys

    had = "matplotlib.pyplot" in sys.modules
    picture([[1]], ["a"])
    assert ("matplotlib.pyplot" in sys.modules) == had
