"""Squares, and the way back to the image."""

from __future__ import annotations

import io

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from goldloop.tasks._images import ImageProcessor
from goldloop.tasks._letterbox import into_square, letterbox, out_of_square

PROCESSOR = ImageProcessor(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def picture(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, format="PNG")
    return buffer.getvalue()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 300), st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_points_come_back_to_where_they_were(width, height, x, y):
    _, frame = letterbox(picture(width, height), PROCESSOR)
    point = numpy.array([x * width, y * height])

    assert out_of_square(into_square(point, frame), frame) == pytest.approx(point, abs=1e-6)


def test_the_aspect_is_kept_and_the_rest_is_the_mean_colour():
    pixels, frame = letterbox(picture(200, 100), PROCESSOR)

    assert pixels.shape == (3, 64, 64)
    assert pixels[:, 32, 32].tolist() == [255, 0, 0]
    assert pixels[:, 2, 32].tolist() == [128, 128, 128]
    assert frame.tolist() == [0.32, 0.32, 0, 16, 200, 100]


def test_what_lies_outside_comes_back_to_the_edge():
    _, frame = letterbox(picture(200, 100), PROCESSOR)

    assert out_of_square(numpy.array([[-5.0, 0.0], [64.0, 64.0]]), frame).tolist() == [[0, 0], [200, 100]]
