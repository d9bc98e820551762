"""Texts that a recipe leaves out: too short, too long, in another language, or read in a wrong encoding."""

from __future__ import annotations

from functools import cache
from typing import Any

from goldloop.cleaning.config import TextCleaning
from goldloop.errors import Dropped

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def check(text: str, config: TextCleaning) -> None:
    """Raise Dropped if a text is not wanted."""
    length = len(text.strip())
    if config.min_characters is not None and length < config.min_characters:
        raise _dropped("too short", f"{length} characters", f"at least {config.min_characters}")
    if config.max_characters is not None and length > config.max_characters:
        raise _dropped("too long", f"{length} characters", f"at most {config.max_characters}")
    if not config.mojibake:
        _check_encoding(text)
    if config.languages is not None and sum(map(str.isalpha, text)) >= config.min_language_characters:
        found = language_of(text)
        if found not in config.languages:
            raise _dropped("another language", found, " or ".join(config.languages))


def language_of(text: str) -> str:
    """The ISO 639-1 code of the language that a text is most likely in."""
    code, _ = _identifier().classify(text)
    return str(code)


def _check_encoding(text: str) -> None:
    from ftfy.badness import is_bad

    lost = text.count(_REPLACEMENT)
    if lost:
        raise _dropped("lost characters", f"{lost} times U+FFFD", "none, as the encoding was a wrong one")
    if is_bad(text):
        raise _dropped("mojibake", repr(text.strip()[:40]), "a text that was read in its own encoding")


@cache
def _identifier() -> Any:
    # Its model is in the package: nothing is downloaded, and nothing unpickled.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=False)


def _dropped(problem: str, found: str, expected: str) -> Dropped:
    return Dropped(problem, found=found, expected=expected)
