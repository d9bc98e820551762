"""Lists of class names: what a recipe may say, and what a task does with names and ids."""

from __future__ import annotations

import difflib
import numbers
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from pydantic import ValidationError, field_validator
from typing_extensions import override

from goldloop.errors import AnnotationError, RecipeError, VersionError
from goldloop.tasks.base import Task, TaskConfig

if TYPE_CHECKING:
    import datasets

T = TypeVar("T")


class ClassesConfig(TaskConfig):
    """A task with a list of classes."""

    fewest_classes: ClassVar[int] = 1

    classes: tuple[str, ...]
    """Class names in id order."""

    @field_validator("classes")
    @classmethod
    def _can_be_told_apart(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(classes) < cls.fewest_classes:
            raise ValueError(f"the task needs at least {cls.fewest_classes} classes, found {len(classes)}")
        for name in classes:
            _check_name(name)
        names = Counter(unicodedata.normalize("NFC", name) for name in classes)
        twice = sorted(name for name, count in names.items() if count > 1)
        if twice:
            raise ValueError(f"a class is named twice: {', '.join(map(repr, twice))}")
        return classes


class ClassesTask(Task[T]):
    """A task whose answers name classes of a fixed list; ids, positions in it, stay in rows and networks."""

    config: ClassesConfig

    @property
    @override
    def classes(self) -> tuple[str, ...]:
        return self.config.classes

    @override
    def with_classes(self, classes: Sequence[str]) -> Self:
        try:
            config = type(self.config).model_validate({**self.config.model_dump(), "classes": tuple(classes)})
        except ValidationError as error:
            raise RecipeError(error.errors()[0]["msg"], where=f"classes {list(classes)!r}") from error
        return type(self)(config)

    def class_id(self, name: str, where: str | None = None) -> int:
        """The id of a class.

        Raises:
            AnnotationError: the task has no such class.
        """
        try:
            return self.classes.index(name)
        except ValueError:
            raise unknown_class(name, self.classes, where) from None

    def class_name(self, identity: Any, where: str | None = None) -> str:
        """The class of an id that a row holds.

        Raises:
            VersionError: the row's id is none of the registry's.
        """
        if not isinstance(identity, numbers.Integral) or int(identity) not in range(len(self.classes)):
            raise VersionError(
                "a row has an unknown class id",
                where=where,
                found=repr(identity),
                expected=f"0 to {len(self.classes) - 1}",
            )
        return self.classes[int(identity)]

    def known_class(self, name: Any, where: str | None = None) -> str:
        """The class that a source means by a name, accents composed or not.

        Raises:
            AnnotationError: the task has no such class; names the nearest.
        """
        is_number = isinstance(name, numbers.Integral) and not isinstance(name, bool)
        name = str(name) if is_number else name
        if not isinstance(name, str):
            raise AnnotationError(
                "a class is given by its name", where=where, found=repr(name), expected="a text"
            )
        if name in self.classes:
            return name
        # Some file systems decompose accents in folder names; the class is the same.
        composed = unicodedata.normalize("NFC", name)
        for known in self.classes:
            if unicodedata.normalize("NFC", known) == composed:
                return known
        raise unknown_class(name, self.classes, where)

    def class_features(self) -> datasets.ClassLabel:
        """The feature of a column of class ids."""
        import datasets

        return datasets.ClassLabel(names=list(self.classes))


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
