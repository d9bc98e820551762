"""Every case of the table, in its order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from cases import (
    Annotated,
    Case,
    Draw,
    box,
    case_of,
    drawn,
    image,
    mask,
    polygon,
    pose,
    span,
)

_SIZE = (240, 160)
_PLACE = (30.0, 20.0, 100.0, 60.0)
_CORNERS = ((30.5, 20.25), (140.0, 35.0), (120.0, 90.0), (45.0, 110.75))
_POINTS = {"nose": (50.25, 40.0), "tail": (120.0, 70.5)}
_LONG = (
    "Ada \N{GRINNING FACE}\N{GRINNING FACE} met Lima today",
    "Hi \N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL} from Lima today",
    "cafe\N{COMBINING ACUTE ACCENT} e\N{COMBINING ACUTE ACCENT} in Lima today",
    "first line\r\nthen Lima today\r\n",
    "\tone\t\ttwo Lima\ttoday",
    "    \n  in Lima today",
)
_WORDS = "as tagged words"
_TEXT_TITLES = ("emoji", "ZWJ family", "combining marks", "CRLF", "tabs", "leading blanks")


def cases() -> Iterator[Case]:
    """All but the large mask."""
    yield from _boxes()
    yield from _masks()
    yield from _orientations()
    yield from _texts()
    yield from _people()
    yield from _names()


def large_mask() -> Case:
    """A mask of 4096 x 4096 pixels: thousands of discs."""
    rows, columns = np.ogrid[:4096, :4096]
    pixels = ((rows % 64 - 32) ** 2 + (columns % 64 - 32) ** 2) < 25**2
    pair = drawn("large.jpg", (4096, 4096), mask(pixels))
    return case_of("mask of 4096 x 4096", "masks", [pair], most_formats=1)


def _boxes() -> Iterator[Case]:
    yield case_of("upright box", "boxes", [drawn("a.jpg", _SIZE, box(_PLACE))])
    turned = box((400.0, 100.0, 200.0, 100.0), 45.0)
    yield case_of("box turned by 45 degrees, 1000 x 500", "boxes", [drawn("a.jpg", (1000, 500), turned)])
    turned = box((120.0, 30.0, 80.0, 40.0), 30.0)
    yield case_of("box turned by 30 degrees", "boxes", [drawn("a.jpg", _SIZE, turned)])


def _ring() -> np.ndarray:
    rows, columns = np.ogrid[:160, :240]
    distance = (rows - 80) ** 2 + (columns - 120) ** 2
    return (distance < 60**2) & (distance > 25**2)


def _masks() -> Iterator[Case]:
    yield case_of("brush mask with a hole", "masks", [drawn("a.jpg", _SIZE, mask(_ring()))])
    parts = np.zeros((160, 240), dtype=bool)
    parts[20:60, 20:90] = parts[90:140, 150:220] = True
    yield case_of("one object of two parts", "masks", [drawn("a.jpg", _SIZE, mask(parts))])


def _orientations() -> Iterator[Case]:
    drawings: dict[str, tuple[str, Draw]] = {
        "box": ("boxes", box(_PLACE)),
        "polygon": ("polygons", polygon(_CORNERS)),
        "keypoints": ("keypoints", pose(_POINTS, _PLACE)),
        "mask": ("masks", mask(_ring())),
    }
    for title, (kind, draw) in drawings.items():
        pairs = [drawn(f"turned-{turn}.jpg", _SIZE, draw, turn) for turn in range(1, 9)]
        yield case_of(f"{title}, 8 EXIF orientations", kind, pairs)


def _spans(
    title: str,
    text: str,
    places: list[tuple[int, int]],
    offsets: bool,
    label: str = "cat",
    classes: tuple[str, ...] = ("cat", "dog"),
) -> Case:
    marked = [span(text, *place, label=label, number=number) for number, place in enumerate(places)]
    results = [region for regions, _ in marked for region in regions]
    truth = [region for _, regions in marked for region in regions]
    entry = {"name": "", "content": text, "regions": truth}
    return Case(title, "spans", [Annotated("", text, [results])], [entry], classes, offsets=offsets)


def _texts() -> Iterator[Case]:
    for offsets, form in ((True, "by offsets"), (False, _WORDS)):
        for title, text in zip(_TEXT_TITLES, _LONG, strict=True):
            start = text.index("Lima")
            yield _spans(f"span after {title}, {form}", text, [(start, start + 4)], offsets)
        inside = "the superlative (Lima)-based team"
        yield _spans(f"spans inside of words, {form}", inside, [(9, 15), (17, 21)], offsets)
        yield _spans(f"overlapping spans, {form}", "the New York Times said", [(4, 12), (4, 18)], offsets)


def _people() -> Iterator[Case]:
    one, truth = box(_PLACE)(_SIZE)
    other, _ = box((31.0, 20.0, 99.0, 61.0))(_SIZE)
    entry = {"name": "a.jpg", "width": _SIZE[0], "height": _SIZE[1], "regions": truth}
    picture = image(_SIZE)
    # The third is first or last, so that neither the first nor the last answer is right by luck.
    three = [Annotated("a.jpg", picture, [other, one, one]), Annotated("b.jpg", picture, [one, one, other])]
    yield Case("two of three annotators agree", "boxes", three, [entry, {**entry, "name": "b.jpg"}])
    nothing = {**entry, "name": "empty.jpg", "regions": []}
    yield Case(
        "skipped, draft, and an empty answer",
        "boxes",
        [
            Annotated("a.jpg", picture, [one]),
            Annotated("skipped.jpg", picture, [one], skipped=True),
            Annotated("draft.jpg", picture, draft=one),
            Annotated("empty.jpg", picture, [[]]),
        ],
        [entry, nothing],
    )


def _names() -> Iterator[Case]:
    upright = drawn("a.jpg", _SIZE, box(_PLACE))
    yield case_of(
        "class order changed: ids", "boxes", [upright], classes=("dog", "cat"), before=("cat", "dog")
    )
    yield case_of(
        "a class added in front: ids",
        "boxes",
        [upright],
        classes=("ant", "cat", "dog"),
        before=("cat", "dog"),
    )
    names = ("big, red cat", "chien é \N{CAT FACE}")
    pairs = [drawn(f"{number}.jpg", _SIZE, box(_PLACE, label=name)) for number, name in enumerate(names)]
    yield case_of("class names with blanks, commas, unicode", "boxes", pairs, classes=names)
    text = "a cat named Tom"
    yield _spans(
        f"class names with blanks, {_WORDS}", text, [(2, 5)], offsets=False, classes=names, label=names[0]
    )
    pairs = [
        drawn("left/same.jpg", _SIZE, box(_PLACE)),
        drawn("right/same.jpg", (200, 100), box((10.0, 10.0, 50.0, 40.0), label="dog")),
    ]
    yield case_of("two images of one base name", "boxes", pairs)
    empty = {"name": "none.jpg", "width": _SIZE[0], "height": _SIZE[1], "regions": []}
    bare = Annotated("none.jpg", image(_SIZE), [[]])
    yield Case("an image without any region", "boxes", [upright[0], bare], [upright[1], empty])
    points = drawn("a.jpg", _SIZE, pose(_POINTS, None))
    yield case_of("keypoints alone", "keypoints", [points], alone=True)
