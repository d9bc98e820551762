"""Copies of images are found however they were stored; different images are not taken for copies."""

from __future__ import annotations

import random

import pytest
from pictures import COPIES, cut, scene, stored
from PIL import Image, ImageDraw, ImageOps

COUNT = 24


@pytest.fixture(scope="module")
def originals():
    return {f"{number:02}": scene(number) for number in range(COUNT)}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_found_and_nothing_else_is(find, originals, copy):
    contents = {name: stored(picture) for name, picture in originals.items()}
    contents |= {f"{name} copy": COPIES[copy](picture) for name, picture in originals.items()}
    found = find(contents)
    true = [(name, f"{name} copy") for name in originals]
    assert set(found) <= set(true)
    assert len(found) >= COUNT - 1


def test_copies_are_found_whichever_of_them_came_first(find, originals):
    picture = originals["00"]
    part = COPIES["a crop to 80%"](picture)
    assert find({"whole": stored(picture)}, where="one") == []
    assert find({"whole": stored(picture), "part": part}, where="one") == [("part", "whole")]
    assert find({"part": part}, where="other") == []
    assert find({"whole": stored(picture), "part": part}, where="other") == [("part", "whole")]


def test_it_depends_on_the_two_alone(find, originals):
    contents = {name: stored(picture) for name, picture in originals.items()}
    contents |= {f"{name} copy": COPIES["all of it"](picture) for name, picture in originals.items()}
    together = find(contents, where="together")
    names = sorted(contents, key=lambda name: (name[::-1], name))
    grown: list[tuple[str, ...]] = []
    for number in range(0, len(names), 11):
        grown = find({name: contents[name] for name in names[: number + 11]}, where="grown")
    assert grown == together
    for pair in together[:3]:
        assert find({name: contents[name] for name in pair}, where=pair[0]) == [pair]


def test_what_is_turned_by_its_exif_is_the_same_picture(find):
    picture = scene(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = stored(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif.tobytes())
    assert find({"upright": stored(picture), "turned": turned}) == [("turned", "upright")]


def test_another_color_is_another_picture(find):
    grey = ImageOps.grayscale(scene(1))
    tinted = [ImageOps.colorize(grey, "black", tone) for tone in ("orange", "skyblue")]
    assert find({"one": stored(tinted[0]), "other": stored(tinted[1])}) == []


def test_a_picture_with_one_more_thing_in_it_is_another(find):
    picture = scene(1)
    other = picture.copy()
    ImageDraw.Draw(other).rectangle((60, 40, 100, 80), fill="white")
    assert find({"one": stored(picture), "other": stored(other)}) == []


def test_too_small_a_part_is_another_picture(find):
    part = cut(scene(2), 0.4, random.Random(0))
    assert find({"whole": stored(scene(2)), "part": stored(part)}) == []


def test_flat_and_broken_images_are_like_nothing(find):
    flat = [stored(Image.new("RGB", (32, 32), tone)) for tone in ("red", "darkred")]
    contents = {"one": flat[0], "other": flat[1], "broken": b"no image", "cut": stored(scene(1))[:300]}
    assert find(contents) == []
