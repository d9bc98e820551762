from __future__ import annotations

import io

import numpy
import pytest
from PIL import Image

from goldloop.evaluation.robustness import MOST, corruptions_of
from goldloop.records import Prediction
from goldloop.tasks import tasks

CHOICE = tasks.create({"kind": "text-classification", "classes": ["loud", "quiet"]})
TEXTS = [f"Hello there, number {number}!" for number in range(40)]


def by_name(found):
    return {each.name: each for each in found}


def test_a_model_that_heeds_capitals_alone_loses_by_capitals_alone():
    def predict(texts):
        return [Prediction(target="loud" if text.isupper() else "quiet", confidence=1.0) for text in texts]

    found = corruptions_of(CHOICE, predict, TEXTS, ["quiet"] * len(TEXTS))
    assert found[0].name == "in capitals"
    assert (found[0].agreement.value, found[0].loss.value) == (0, 1)
    assert {each.name for each in found[1:]} == {"in small letters", "typing errors", "without punctuation"}
    assert all(each.loss.value == 0 and each.items == len(TEXTS) for each in found[1:])


def test_each_change_does_what_it_says_and_the_same_each_time():
    asked = []

    def predict(texts):
        asked.append(list(texts))
        return [Prediction(target="quiet", confidence=1.0) for _ in texts]

    corruptions_of(CHOICE, predict, TEXTS, ["quiet"] * len(TEXTS))
    again = asked.copy()
    asked.clear()
    corruptions_of(CHOICE, predict, TEXTS, ["quiet"] * len(TEXTS))
    assert asked == again
    assert asked[0] == TEXTS
    typos = next(texts for texts in asked[1:] if sorted(texts[0]) == sorted(TEXTS[0]))
    assert any(one != other for one, other in zip(typos, TEXTS, strict=True))
    assert [text.replace(",", "").replace("!", "") for text in TEXTS] in asked


def test_no_more_items_are_asked_about_than_tell_something():
    sizes = []

    def predict(texts):
        sizes.append(len(texts))
        return [Prediction(target="quiet", confidence=1.0) for _ in texts]

    corruptions_of(CHOICE, predict, TEXTS * 10, ["quiet"] * 400)
    assert set(sizes) == {MOST}


def photo(shade: int) -> bytes:
    pixels = numpy.full((40, 60, 3), shade, dtype=numpy.uint8)
    pixels[10:30, 20:40] = 255 - shade
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "turned"), [("image-classification", True), ("object-detection", False)])
def test_an_image_is_turned_only_where_answers_have_no_places_in_it(kind, turned):
    task = tasks.create(tasks.get(kind).example_config())
    target = task.examples()[0].target
    seen = []

    def predict(contents):
        seen.extend(Image.open(io.BytesIO(content)).size for content in contents)
        return [Prediction(target=target, confidence=1.0) for _ in contents]

    found = by_name(corruptions_of(task, predict, [photo(10), photo(200)], [target, target]))
    assert {"out of focus", "strongly compressed", "dark"} <= set(found)
    assert ("turned by 10 degrees" in found) == turned
    assert set(seen) == {(60, 40)}, "answers have places, which must stay where they are"
    assert all(each.loss.value == 0 for each in found.values())


def test_places_in_texts_would_move_so_nothing_is_asked():
    task = tasks.create(tasks.get("token-classification").example_config())
    assert corruptions_of(task, lambda texts: pytest.fail("asked"), TEXTS, [[]] * len(TEXTS)) == ()
