"""What becomes of a model's answers when contents come as production brings them.

Images: out of focus, compressed, dark, a little turned; texts: with typing errors, in capitals, in small
letters, without punctuation. Each is done to the same items, and the answers are held against the same
labels. What would change the label itself is left out: an image is turned only where answers have no places
in it, and texts are changed only where answers are classes.
"""

from __future__ import annotations

import io
import random
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from goldloop.evaluation.judged import Estimate
from goldloop.tasks.base import Task

if TYPE_CHECKING:
    from PIL import Image

    from goldloop.records import Prediction

MOST = 200
"""Items that are asked about again: more cost time and tell hardly more."""

_RESAMPLES = 2000
_TYPO_EVERY = 20
_BLUR = 2.0
_QUALITY = 15
_DARK = 0.4
_TURN = 10

Predict = Callable[[Sequence[bytes | str]], Sequence["Prediction[Any]"]]
Change = Callable[[Any], Any]


class Corruption(BaseModel):
    """What one way to spoil a content does to the answers.

    Attributes:
        name: in words.
        items: how many were asked about.
        agreement: mean agreement with the labels, with its 95% interval over resampled items.
        loss: how much less that is than of the same items as they are, with its interval.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    items: int
    agreement: Estimate
    loss: Estimate


def corruptions_of(
    task: Task[Any], predict: Predict, contents: Sequence[bytes | str], expected: Sequence[Any]
) -> tuple[Corruption, ...]:
    """Ask a model about spoiled contents; what costs most comes first.

    Args:
        task: compares answers.
        predict: answers a list of contents.
        contents: images' bytes or texts; no more than 200 are asked about.
        expected: the labels' targets.
    """
    import numpy

    contents, expected = contents[:MOST], expected[:MOST]
    changes = _changes(task)
    if not contents or not changes:
        return ()

    def agreements(asked: Sequence[bytes | str]) -> Any:
        answers = [task.present(prediction.target) for prediction in predict(asked)]
        return numpy.array([task.agreement(*pair) for pair in zip(answers, expected, strict=True)])

    clean = agreements(contents)
    drawn = numpy.random.default_rng(0).integers(len(clean), size=(_RESAMPLES, len(clean)))

    def estimate(figures: Any) -> Estimate:
        low, high = numpy.percentile(figures[drawn].mean(axis=1), [2.5, 97.5]).tolist()
        return Estimate(value=float(figures.mean()), low=low, high=high)

    found = []
    for name, change in changes.items():
        spoiled = agreements([change(content) for content in contents])
        found.append(
            Corruption(
                name=name, items=len(clean), agreement=estimate(spoiled), loss=estimate(clean - spoiled)
            )
        )
    return tuple(sorted(found, key=lambda each: (-each.loss.value, each.name)))


def _changes(task: Task[Any]) -> Mapping[str, Change]:
    if task.modality == "text":
        return _TEXTS if task.answers_are_classes else {}
    return _IMAGES if task.needs_size else {**_IMAGES, f"turned by {_TURN} degrees": _image(_turned)}


def _typing_errors(text: str) -> str:
    """One pair of neighboring letters in twenty is exchanged, the same ones each time."""
    chance = random.Random(text)  # noqa: S311
    letters = list(text)
    for place in range(len(letters) - 1):
        if letters[place].isalpha() and letters[place + 1].isalpha() and chance.random() < 1 / _TYPO_EVERY:
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


def _without_punctuation(text: str) -> str:
    return "".join(letter for letter in text if not unicodedata.category(letter).startswith("P"))


def _image(change: Callable[[Image.Image], Image.Image], quality: int = 95) -> Change:
    """A change of an image as one of its file's bytes, upright."""

    def changed(content: bytes) -> bytes:
        from PIL import Image, ImageOps

        with Image.open(io.BytesIO(content)) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        buffer = io.BytesIO()
        change(upright).save(buffer, "JPEG", quality=quality)
        return buffer.getvalue()

    return changed


def _blurred(image: Image.Image) -> Image.Image:
    from PIL import ImageFilter

    return image.filter(ImageFilter.GaussianBlur(_BLUR))


def _dark(image: Image.Image) -> Image.Image:
    from PIL import ImageEnhance

    return ImageEnhance.Brightness(image).enhance(_DARK)


def _turned(image: Image.Image) -> Image.Image:
    from PIL import Image

    return image.rotate(_TURN, resample=Image.Resampling.BILINEAR)


_TEXTS: Mapping[str, Change] = {
    "typing errors": _typing_errors,
    "in capitals": str.upper,
    "in small letters": str.lower,
    "without punctuation": _without_punctuation,
}
_IMAGES: Mapping[str, Change] = {
    "out of focus": _image(_blurred),
    "strongly compressed": _image(lambda image: image, _QUALITY),
    "dark": _image(_dark),
}
