"""Lists of class names: what a recipe may say, and what to answer to a name that is not in the list."""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Sequence

from pydantic import field_validator

from goldloop.errors import AnnotationError
from goldloop.tasks.base import TaskConfig


class ClassesConfig(TaskConfig):
    """A task with a list of classes."""

    classes: tuple[str, ...]
    """Class names in id order."""

    @field_validator("classes")
    @classmethod
    def _can_be_told_apart(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(classes) < 2:
            raise ValueError(f"a choice needs at least 2 classes, found {len(classes)}")
        for name in classes:
            _check_name(name)
        names = Counter(unicodedata.normalize("NFC", name) for name in classes)
        twice = sorted(name for name, count in names.items() if count > 1)
        if twice:
            raise ValueError(f"a class is named twice: {', '.join(map(repr, twice))}")
        return classes


def _check_name(name: str) -> None:
    if not name.strip():
        raise ValueError("a class name is empty")
    if name != name.strip():
        raise ValueError(f"class name {name!r} begins or ends with a blank")
    if any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or sign in "\ufffe\uffff" for sign in name):
        raise ValueError(f"class name {name!r} has a line break or another character that XML cannot carry")


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known class that someone who wrote `name` most likely meant; None if none is near."""
    folded = {candidate.casefold(): candidate for candidate in reversed(known)}
    near = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.5)
    return folded[near[0]] if near else None


def unknown_class(name: str, known: Sequence[str], where: str | None) -> AnnotationError:
    """The error for a class that the task does not have; it names the nearest that it has."""
    near = nearest(name, known)
    shown = ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
    return AnnotationError(
        "unknown class",
        where=where,
        found=repr(name),
        expected=f"one of {shown}",
        remedy=(f"Did you mean {near!r}? " if near else "") + "Add it to the task's `classes` if it is meant",
    )
