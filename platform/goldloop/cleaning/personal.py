"""Personal data in texts: found by libraries that validate them, and replaced by a word for what they were.

    Write to ann@example.org or +49 30 901820.  ->  Write to [email] or [phone].

What is found is valid: an address that can be written so, a number that can be dialled, a card or an account
whose check digits are right. Names and places are not looked for. Scrubbed twice, a text is the same.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from goldloop.cleaning.config import PersonalKind

_EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+", re.UNICODE)
_CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])")
_IBAN = re.compile(r"(?<!\w)[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,30}(?!\w)")
_PUNCTUATION = ".!?'*/&"


@dataclass(frozen=True, slots=True)
class Edit:
    """One stretch of a text that was replaced, in code points of the text before."""

    start: int
    end: int
    kind: PersonalKind

    @property
    def replacement(self) -> str:
        """What stands there instead."""
        return f"[{self.kind}]"


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """A text without its personal data.

    Attributes:
        text: the new text.
        edits: what was replaced, in order; none overlaps another.
    """

    text: str
    edits: Sequence[Edit]

    def moved(self, start: int, end: int) -> tuple[int, int]:
        """Where a span of the old text is in the new one; what it cuts through is in it as a whole."""
        return self._place(start, after=False), self._place(end, after=True)

    def counts(self) -> Counter[str]:
        """How many of each kind were replaced."""
        return Counter(edit.kind for edit in self.edits)

    def _place(self, place: int, *, after: bool) -> int:
        shift = 0
        for edit in self.edits:
            if place >= edit.end:
                shift += len(edit.replacement) - (edit.end - edit.start)
            elif place > edit.start:
                return edit.start + shift + (len(edit.replacement) if after else 0)
        return place + shift


def scrub(text: str, kinds: Sequence[PersonalKind], region: str | None = None) -> Scrubbed:
    """Replace what is personal in a text.

    Args:
        text: any; of a JSON array of texts, each is scrubbed by itself, and it stays one.
        kinds: what to look for.
        region: the country (ISO 3166-1, such as `DE`) whose telephone numbers may lack their `+49`.
    """
    parts = _parts(text)
    if parts is None:
        edits = find(text, kinds, region)
        return Scrubbed(_replaced(text, edits), edits)
    cleaned = [_replaced(part, find(part, kinds, region)) for part in parts]
    edits = [edit for part in parts for edit in find(part, kinds, region)]
    return Scrubbed(json.dumps(cleaned, ensure_ascii=False), edits)


def find(text: str, kinds: Sequence[PersonalKind], region: str | None = None) -> list[Edit]:
    """What is personal in a text, in order; of two finds that overlap, the kind that is surer."""
    found: list[Edit] = []
    for kind in ("iban", "card", "email", "phone"):
        if kind in kinds:
            # What is found already is out of sight: a number before a card's is else taken for a part of it.
            found += _FINDERS[kind](_hidden(text, found), region)
    return sorted(found, key=lambda edit: edit.start)


def _hidden(text: str, edits: Sequence[Edit]) -> str:
    """The text with something of the same length in place of what is replaced."""
    for edit in edits:
        text = text[: edit.start] + "[" + "x" * (edit.end - edit.start - 2) + "]" + text[edit.end :]
    return text


def _replaced(text: str, edits: Sequence[Edit]) -> str:
    for edit in reversed(edits):
        text = text[: edit.start] + edit.replacement + text[edit.end :]
    return text


def _parts(text: str) -> list[str] | None:
    """The texts of an item that is made of several: see `joined_texts`."""
    if not text.startswith('["'):
        return None
    try:
        parts = json.loads(text)
    except ValueError:
        return None
    whole = isinstance(parts, list) and all(isinstance(part, str) for part in parts)
    return parts if whole and json.dumps(parts, ensure_ascii=False) == text else None


def _emails(text: str, _region: str | None) -> Iterator[Edit]:
    from email_validator import EmailNotValidError, validate_email

    if "@" not in text:
        return
    for match in _EMAIL.finditer(text):
        address = match[0].rstrip(_PUNCTUATION)
        start = match.start() + len(address) - len(address.lstrip(_PUNCTUATION))
        address = address.lstrip(_PUNCTUATION)
        try:
            validate_email(address, check_deliverability=False, globally_deliverable=False)
        except EmailNotValidError:
            continue
        yield Edit(start, start + len(address), "email")


def _phones(text: str, region: str | None) -> Iterator[Edit]:
    import phonenumbers

    if sum(map(str.isdigit, text)) < 5:
        return
    for match in phonenumbers.PhoneNumberMatcher(text, region):
        yield Edit(match.start, match.end, "phone")


def _cards(text: str, _region: str | None) -> Iterator[Edit]:
    from stdnum import luhn

    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        # The networks' numbers begin so; other numbers pass the check by chance, one in ten.
        if digits[0] in "23456" and luhn.is_valid(digits):
            yield Edit(match.start(), match.end(), "card")


def _ibans(text: str, _region: str | None) -> Iterator[Edit]:
    from stdnum import iban

    for match in _IBAN.finditer(text):
        candidate = match[0]
        while len(candidate) >= 15:
            if iban.is_valid(candidate):
                yield Edit(match.start(), match.start() + len(candidate), "iban")
                break
            # The words behind it look like groups of it.
            shorter = candidate.rpartition(" ")[0]
            candidate = shorter


_FINDERS: dict[str, Any] = {"email": _emails, "phone": _phones, "card": _cards, "iban": _ibans}
