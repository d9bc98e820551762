"""`conll`: a token and its tag on each line, a blank line after each sentence; each sentence is a text.

    Empire  B-location        Columns are separated by tabs, or by blanks on lines without a tab. The first is
    State   I-location        the token and the last its tag, unless the recipe says otherwise.
    =       O

A text is its tokens with one blank between them: the files know nothing of what stood there. BIO (IOB2),
IOB1, BIOES and BILOU are all read by one rule, conlleval's: `I` goes on with a span of its class, and begins
one where there is none. BIO is written. A span that ends inside a word cuts the word in two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import override

from goldloop.errors import ItemError, SourceError
from goldloop.formats._folders import CLASSES, classes_of, files, split_within, write_classes
from goldloop.formats.base import Format, FormatConfig, Sample
from goldloop.records import Quarantined
from goldloop.tasks.base import Task

_EXTENSIONS = frozenset({".conll", ".annotated", ".bio", ".iob", ".iob2", ".bioes", ".tsv", ".txt"})
_BEGIN, _GO_ON, _END, _SINGLE = "B", "IM", "EL", "SUW"
_DOCUMENT = "-DOCSTART-"
_Token = tuple[str, str]
_BLANKS = re.compile("[ \t\r\n]")
"""What parts words; any other sign, odd blanks too, is part of a word."""


class Conll(Format):
    """Tokens and tags in columns."""

    kinds = frozenset({"token-classification"})

    class Config(FormatConfig):
        """What a recipe says of it."""

        token_column: int = 0
        """From 0; negative numbers count from the last."""
        tag_column: int = -1

    @override
    def task_fields(self, folder: Path, kind: str) -> dict[str, Any]:
        entries = (entry for entry in self.read(folder, kind) if isinstance(entry, Sample))
        return {
            "classes": classes_of(_home(folder), (span["label"] for each in entries for span in each.target))
        }

    @override
    def read(self, folder: Path, kind: str) -> Iterator[Sample | Quarantined]:
        paths = [folder] if folder.is_file() else files(folder, _EXTENSIONS)
        paths = [
            path for path in paths if path.name != CLASSES and path.stem.lower() not in ("readme", "license")
        ]
        if not paths:
            raise SourceError("no CoNLL file is there", where=folder, expected=", ".join(sorted(_EXTENSIONS)))
        for path in paths:
            name = path.relative_to(_home(folder)).as_posix()
            split = split_within(path.stem) or split_within(path.parent.name)
            for first, lines in _sentences(path):
                yield self._sample(name, split, first, lines)

    def _sample(
        self, name: str, split: str | None, first: int, lines: Sequence[bytes]
    ) -> Sample | Quarantined:
        tokens = []
        for number, line in enumerate(lines, start=first):
            try:
                tokens.append(self._token(line))
            except ItemError as error:
                # A sentence is named by its first line, as a good one is, so that each has one name.
                return Quarantined(uri=f"{name}#line-{first}", reason=f"{name}, line {number}: {error}")
        text, spans = _joined(tokens)
        return Sample(name=f"{name}#line-{first}", content=text, target=spans, split=split)

    def _token(self, line: bytes) -> _Token:
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise ItemError("not UTF-8 text", found=f"byte 0x{line[error.start]:02x}") from error
        columns = text.split("\t") if "\t" in text else text.split()
        try:
            token, tag = columns[self.config.token_column], columns[self.config.tag_column]
        except IndexError:
            token = tag = ""
        if len(columns) < 2 or not token:
            raise ItemError("a token and its tag were expected", found=repr(text))
        if tag != "O" and not (tag[0:1] in set("BIMELSUW") and tag[1:2] == "-" and tag[2:]):
            raise ItemError("unknown tag", found=repr(tag), expected="O, or B-CLASS, I-CLASS, E-, L-, S-, U-")
        return token, tag

    @override
    def lost(self, task: Task[Any], sample: Sample) -> Iterator[str]:
        text, spans = str(sample.content), sample.target
        _, kept = _cut(text, spans)
        if len(kept) < len(spans):
            yield "spans that overlap another, of which only the longest is kept"
        if "" in _BLANKS.split(text) or any(blank in text for blank in "\t\r\n"):
            yield "blanks in the text other than one between two words"
        if any(_is_inside(text, span) for span in kept):
            yield "spans that begin or end inside a word, which is cut in two"
        if any(_BLANKS.match(text[edge]) for span in kept for edge in (span["start"], span["end"] - 1)):
            yield "spans that begin or end with a blank, which is left out"
        if text.strip() == _DOCUMENT or text.startswith("\ufeff"):
            yield f"texts taken for a mark: {_DOCUMENT} alone, or with a byte-order mark at the start"

    @override
    def write_into(self, folder: Path, task: Task[Any], samples: Iterable[Sample]) -> None:
        write_classes(folder, task.classes)
        for sample in samples:
            tokens, _ = _cut(str(sample.content), sample.target)
            with (folder / f"{sample.split or 'all'}.conll").open("a", encoding="utf-8", newline="") as file:
                file.writelines(f"{token}\t{tag}\n" for token, tag in tokens)
                file.write("\n")


def _home(folder: Path) -> Path:
    return folder.parent if folder.is_file() else folder


def _sentences(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """The lines of each sentence, and the number of the first; marks of documents and comments are left out.

    Lines end with a line feed alone: a tweet may hold what Python takes for a line's end.
    """
    first, lines = 1, list[bytes]()
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            line = raw.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf" if number == 1 else b"")
            if line.strip(b"\t "):
                if line.startswith(b"# ") and b"\t" not in line and not lines:
                    continue
                first = first if lines else number
                lines.append(line)
            elif lines:
                if not _is_mark(lines):
                    yield first, lines
                lines = []
    if lines and not _is_mark(lines):
        yield first, lines


def _is_mark(lines: Sequence[bytes]) -> bool:
    return len(lines) == 1 and re.split(rb"[ \t]", lines[0])[0] == _DOCUMENT.encode()


def _joined(tokens: Sequence[_Token]) -> tuple[str, list[dict[str, Any]]]:
    """The text of some tokens and its spans."""
    text = " ".join(token for token, _ in tokens)
    spans: list[dict[str, Any]] = []
    opened: str | None = None
    place = 0
    for token, tag in tokens:
        role, label = (tag[0], tag[2:]) if tag != "O" else ("O", None)
        if label is not None:
            if role in _BEGIN + _SINGLE or opened != label:
                spans.append({"label": label, "start": place})
            spans[-1]["end"] = place + len(token)
        opened = label if role in _BEGIN + _GO_ON else None
        place += len(token) + 1
    return text, [{**span, "text": text[span["start"] : span["end"]]} for span in spans]


def _cut(text: str, spans: Sequence[Mapping[str, Any]]) -> tuple[list[_Token], list[Mapping[str, Any]]]:
    """Words with their tags, and the spans that are kept: of those that overlap, the longest."""
    kept: list[Mapping[str, Any]] = []
    for span in sorted(spans, key=lambda span: (span["start"] - span["end"], span["start"])):
        if all(span["end"] <= other["start"] or other["end"] <= span["start"] for other in kept):
            kept.append(span)
    kept.sort(key=lambda span: span["start"])
    tokens: list[_Token] = []
    done = 0
    for span in kept:
        tokens += [(word, "O") for word in _words(text[done : span["start"]])]
        words = _words(text[span["start"] : span["end"]])
        tokens += [(word, f"{'I' if number else 'B'}-{span['label']}") for number, word in enumerate(words)]
        done = span["end"]
    tokens += [(word, "O") for word in _words(text[done:])]
    return tokens, kept


def _words(text: str) -> list[str]:
    return [word for word in _BLANKS.split(text) if word]


def _is_inside(text: str, span: Mapping[str, Any]) -> bool:
    """Whether a word goes on beyond one of a span's ends."""
    before = text[span["start"] - 1 : span["start"]] if span["start"] else ""
    after = text[span["end"] : span["end"] + 1]
    inner = (text[span["start"]], text[span["end"] - 1])
    return any(
        outside and not _BLANKS.match(outside) and not _BLANKS.match(inside)
        for outside, inside in zip((before, after), inner, strict=True)
    )
