"""A few of what was dropped, small, for people to look at; the rest is kept nowhere."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import warnings
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from goldloop import durable
from goldloop.records import Item

_OF_EACH = 12
_SIDE = 200
_LONGEST_TEXT = 400


def problem_of(reason: str) -> str:
    """What a reason of a drop begins with: the same for all that a threshold leaves out."""
    return reason.partition(" (")[0]


@dataclass(frozen=True, slots=True)
class Example:
    """One entry that was dropped.

    Attributes:
        subject: its source and address, as in the ledger.
        reason: why.
        key: the content's, so that it can be found and erased.
        text: the beginning of a text, without what is scrubbed.
        picture: of an image, a small JPEG in base64.
    """

    subject: str
    reason: str
    key: str
    text: str | None = None
    picture: str | None = None


class Examples:
    """A folder of examples.

    Args:
        folder: made on first use.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: Counter[str] = Counter()

    def keep(self, subject: str, item: Item, reason: str) -> None:
        """Keep an example, while there are few of its kind."""
        problem = problem_of(reason)
        if self._kept[problem] >= _OF_EACH:
            return
        self._kept[problem] += 1
        text = None if item.text is None else item.text[:_LONGEST_TEXT]
        picture = None if item.content is None else _small(item.content)
        content = json.dumps(asdict(Example(subject, reason, item.key, text, picture)), ensure_ascii=False)
        self._folder.mkdir(parents=True, exist_ok=True)
        durable.replace(self._path(subject), content.encode("utf-8", "backslashreplace"))

    def read(self, dropped: Collection[str] | None = None) -> list[Example]:
        """The examples, by problem and address; those of subjects that are dropped no more are deleted."""
        examples = []
        for path in sorted(self._folder.glob("*.json")):
            example = Example(**json.loads(path.read_text(encoding="utf-8")))
            if dropped is None or example.subject in dropped:
                examples.append(example)
            else:
                path.unlink()
        return sorted(examples, key=lambda example: (problem_of(example.reason), example.subject))

    def with_content(self, key: str) -> list[Path]:
        """The files that show a content."""
        return [self._path(example.subject) for example in self.read() if example.key == key]

    def subjects(self) -> list[str]:
        """Of what there are examples."""
        return [example.subject for example in self.read()]

    def _path(self, subject: str) -> Path:
        return self._folder / f"{hashlib.sha256(subject.encode()).hexdigest()[:24]}.json"


def _small(content: bytes) -> str:
    from PIL import Image, ImageOps

    with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as opened:
        warnings.simplefilter("ignore")
        opened.draft("RGB", (_SIDE * 2, _SIDE * 2))
        small = ImageOps.exif_transpose(opened).convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode()
