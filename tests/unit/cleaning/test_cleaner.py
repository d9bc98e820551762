from __future__ import annotations

import io

import pytest
from PIL import Image, ImageDraw, ImageFilter

from goldloop.cleaning.cleaner import Cleaner
from goldloop.cleaning.config import CleaningConfig
from goldloop.cleaning.images import look
from goldloop.cleaning.texts import language_of
from goldloop.errors import Dropped, RecipeError
from goldloop.recipe import parse
from goldloop.records import Item, content_key
from goldloop.tasks import tasks


def _bytes(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def _board(size: tuple[int, int] = (200, 150)) -> Image.Image:
    """Sharp, of middle brightness, full of edges."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for x in range(0, size[0], 20):
        for y in range(0, size[1], 20):
            if (x + y) // 20 % 2:
                draw.rectangle((x, y, x + 19, y + 19), fill="black")
    return image


IMAGES = {
    "good": _board(),
    "small": _board((30, 200)),
    "thin": _board((400, 60)),
    "dark": _board().point(lambda value: value // 20),
    "bright": _board().point(lambda value: 240 + value // 17),
    "blank": Image.new("RGB", (100, 100), (120, 120, 120)),
    "blurred": _board().filter(ImageFilter.GaussianBlur(8)),
}


def _item(content: bytes | None = None, text: str | None = None, size=(0, 0), **fields) -> Item:
    key = content_key(content if content is not None else (text or "").encode())
    return Item(
        key=key,
        modality="image" if content else "text",
        uri="u",
        group=key,
        source="",
        text=text,
        content=content,
        media_type="image/png" if content else "text/plain",
        width=size[0] or None,
        height=size[1] or None,
        **fields,
    )


def _cleaner(kind: str = "text-classification", **section) -> Cleaner:
    return Cleaner(CleaningConfig.model_validate(section), tasks.create(tasks.get(kind).example_config()))


def _image(name: str) -> Item:
    return _item(_bytes(IMAGES[name]), size=IMAGES[name].size)


THRESHOLDS = {
    "small": ({"min_side": 32}, r"too small \(found 30 x 200 pixels, expected at least 32"),
    "thin": ({"max_aspect": 5}, "too long and thin"),
    "dark": ({"min_brightness": 20}, r"too dark \(found brightness \d"),
    "bright": ({"max_brightness": 235}, "too bright"),
    "blank": ({"min_contrast": 2}, r"blank \(found contrast 0\.0"),
    "blurred": ({"min_sharpness": 50}, "blurred"),
}


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_threshold_leaves_out_what_it_is_for_and_nothing_else(name):
    threshold, said = THRESHOLDS[name]
    cleaner = _cleaner(images=threshold)
    assert cleaner.clean(_image("good")) == (_image("good"), "")
    with pytest.raises(Dropped, match=said):
        cleaner.clean(_image(name))


@pytest.mark.parametrize("name", IMAGES)
def test_without_a_threshold_nothing_is_left_out(name):
    assert _cleaner().clean(_image(name))[0] == _image(name)


def test_what_is_measured_is_the_same_in_every_mode():
    grey = look(_bytes(_board()))
    for image in (
        _board().convert("L"),
        _board().convert("P"),
        _board().convert("RGBA"),
        _board().convert("CMYK"),
    ):
        form = "JPEG" if image.mode == "CMYK" else "PNG"
        assert look(_bytes(image, form)).brightness == pytest.approx(grey.brightness, abs=3)
    deep = Image.new("I;16", (20, 20), 257 * 100)
    assert look(_bytes(deep)).brightness == pytest.approx(100, abs=1)
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    assert look(_bytes(clear)).brightness == 255


TEXTS = {
    "Where is my parcel? It should have come on Monday.": {},
    "ok": {"min_characters": 3},
    "word " * 100: {"max_characters": 200},
    "Wo bleibt mein Paket? Es hätte am Montag kommen sollen.": {"languages": ["en", "fr"]},
    "The schÃ¶nste cafÃ© is closed": {"mojibake": False},
    "lost \ufffd\ufffd characters here": {"mojibake": False},
}


@pytest.mark.parametrize(("text", "section"), [(text, section) for text, section in TEXTS.items() if section])
def test_a_text_is_left_out_by_its_threshold_and_the_good_one_is_not(text, section):
    cleaner = _cleaner(texts=section)
    good = _item(text=next(iter(TEXTS)))
    assert cleaner.clean(good) == (good, "")
    with pytest.raises(Dropped) as caught:
        cleaner.clean(_item(text=text))
    assert str(caught.value).startswith(("too", "another language", "mojibake", "lost"))


def test_languages_are_told_apart_and_short_texts_are_in_any():
    sentences = {
        "en": "I would like to change my password, please.",
        "de": "Ich möchte bitte mein Kennwort ändern.",
        "fr": "Je voudrais changer mon mot de passe, s'il vous plaît.",
        "es": "Quisiera cambiar mi contraseña, por favor.",
    }
    assert {language_of(text): text for text in sentences.values()} == sentences
    cleaner = _cleaner(texts={"languages": ["en"]})
    for text in ("ja", "Danke!", "12345 67890 12345 67890 12345"):
        assert cleaner.clean(_item(text=text))[0].text == text


def test_text_that_is_well_is_not_taken_for_mojibake():
    cleaner = _cleaner(texts={"mojibake": False})
    for text in (
        "größer als naïve cafés",
        "価格は¥500です",
        "«Привет»",
        "😀 \N{EN DASH} “quoted” … ½ € ™",
        "a\r\n\tb",
    ):
        assert cleaner.clean(_item(text=text))[0].text == text


def test_a_scrubbed_item_is_another_one_and_so_is_its_metadata():
    item = _item(text="ann@example.org asks", metadata={"from": "ann@example.org", "n": [1, "b@example.org"]})
    cleaner = _cleaner(scrub=["email"])
    new, note = cleaner.clean(item)
    assert (new.text, new.key, new.group) == (
        "[email] asks",
        content_key(b"[email] asks"),
        content_key(b"[email] asks"),
    )
    assert new.metadata == {"from": "[email]", "n": [1, "[email]"]}
    assert note == "scrubbed: 1 email"
    assert cleaner.clean(new) == (new, "")


def test_spans_of_a_scrubbed_text_are_where_their_words_are():
    text = "Mail ann@example.org in London, tell +49 30 901820 of Berlin"
    marked = [("London", "LOC"), ("ann@example.org", "PER"), ("Berlin", "LOC")]
    config = tasks.get("token-classification").example_config() | {"classes": ["PER", "LOC"]}
    task = tasks.create(config)
    spans = [
        {"label": label, "start": text.index(words), "end": text.index(words) + len(words), "text": words}
        for words, label in marked
    ]
    label = task.parse(spans, _item(text=text))
    cleaner = Cleaner(CleaningConfig(scrub=("email", "phone")), task)
    new, _ = cleaner.clean(_item(text=text, label=label, label_use="imported"))
    assert [(span["text"], span["label"]) for span in new.label] == [
        ("[email]", "PER"),
        ("London", "LOC"),
        ("Berlin", "LOC"),
    ]
    assert all(new.text[span["start"] : span["end"]] == span["text"] for span in new.label)
    assert task.parse(new.label, new) == new.label


def test_an_answer_that_is_a_text_is_scrubbed_too():
    cleaner = _cleaner("text-generation", scrub=["email"])
    new, _ = cleaner.clean(
        _item(text="from ann@example.org", label="write to ann@example.org", label_use="truth")
    )
    assert new.label == "write to [email]"


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"images": {"min_brightness": 50, "max_brightness": 20}}, "nothing fits"),
        ({"texts": {"languages": ["english"]}}, "ISO 639-1"),
        ({"images": {"min_sharpnes": 5}}, "did you mean 'min_sharpness'"),
        ({"scrub": ["name"]}, "email"),
    ],
)
def test_what_cannot_be_is_refused_in_the_recipe(section, said):
    with pytest.raises(RecipeError, match=said):
        parse(
            {
                "name": "pets",
                "sources": [{"kind": "files", "url": "photos"}],
                "task": {"kind": "image-classification", "classes": ["cat", "dog"]},
                "cleaning": section,
            }
        )
