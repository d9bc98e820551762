"""Lists of class names: what a recipe may say, and what a task does with names and ids."""

from __future__ import annotations

import difflib
import numbers
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator
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
    renamed: dict[str, str] = Field(default_factory=dict)
    """What a class was called before -> what it is called now; several may become one. Recorded with every
    version: answers given by the old name count for the new one, and ids do not move."""
    divided: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """A class that is no more -> those that took its place; items that were given it are to be annotated
    again."""

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

    @model_validator(mode="after")
    def _leads_to_classes(self) -> Self:
        for name in self.renamed:
            if self.present_name(name) not in self.classes:
                raise ValueError(f"renamed: {name!r} leads to {self.present_name(name)!r}, which is no class")
        for name, parts in self.divided.items():
            strange = [part for part in parts if part not in self.classes]
            if strange or len(parts) < 2 or name in self.renamed:
                raise ValueError(f"divided: {name!r} must lead to two classes or more, not {list(parts)}")
        return self

    def present_name(self, name: str) -> str:
        """What a class is called now; the name itself if it never had another."""
        for _ in self.renamed:
            name = self.renamed.get(name, name)
        return name


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
        if not (isinstance(name, str) or is_number):
            raise AnnotationError(
                "a class is given by its name", where=where, found=repr(name), expected="a text"
            )
        present = self.config.present_name(str(name))
        if present in self.config.divided:
            raise AnnotationError(
                f"class {present!r} was divided",
                where=where,
                expected=f"one of {', '.join(self.config.divided[present])}",
                remedy="Annotate the item again",
            )
        if present in self.classes:
            return present
        # Some file systems decompose accents in folder names; the class is the same.
        composed = unicodedata.normalize("NFC", present)
        for known in self.classes:
            if unicodedata.normalize("NFC", known) == composed:
                return known
        raise unknown_class(present, self.classes, where)

    def only_class(self, names: Any, where: str) -> str:
        """The class of a region, which Label Studio gives as a list of one.

        Raises:
            AnnotationError: none, several, or one that the task does not have.
        """
        if not isinstance(names, list | tuple) or len(names) != 1:
            raise AnnotationError(
                "a region has exactly one class",
                where=where,
                found=repr(names)[:80],
                expected="[CLASS]",
                remedy="Correct the region in Label Studio and update the annotation",
            )
        return self.known_class(names[0], where)

    @override
    def registry(self, known: Sequence[str]) -> tuple[str, ...]:
        """The class registry after this recipe: ids never move and names are never lost.

        A class that was renamed keeps its id under its new name. Where several became one, that one is
        a class of its own, and theirs, like every class that the recipe no longer has, keep their ids:
        labels in older versions mean what they meant.
        """
        leading = Counter(self.config.present_name(name) for name in known)
        kept = []
        for name in known:
            present = self.config.present_name(name)
            kept.append(present if leading[present] == 1 else name)
        return (*kept, *(name for name in self.classes if name not in kept))

    @override
    def present(self, target: T) -> T:
        renamed: T = self._present(target)
        return renamed

    @override
    def about(self, target: T, name: str) -> T:
        part: T = _part(target, name)
        return part

    def _present(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.config.present_name(value)
        if isinstance(value, list):
            return [self._present(part) for part in value]
        if isinstance(value, dict):
            return {
                name: self._present(part) if name == "label" or isinstance(part, list | dict) else part
                for name, part in value.items()
            }
        return value

    def class_features(self) -> datasets.ClassLabel:
        """The feature of a column of class ids."""
        import datasets

        return datasets.ClassLabel(names=list(self.classes))


def _part(value: Any, name: str) -> Any:
    """What of an answer names a class: entries of a list, wherever in the answer it stands."""
    if isinstance(value, list):
        return [entry for entry in value if (entry["label"] if isinstance(entry, dict) else entry) == name]
    if isinstance(value, dict):
        return {field: _part(part, name) if isinstance(part, list) else part for field, part in value.items()}
    return value


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
