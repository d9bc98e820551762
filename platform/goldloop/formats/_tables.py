"""Tables: a row for each sample, images beside the table."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml
from typing_extensions import override

from goldloop.errors import ItemError, SourceError
from goldloop.formats._folders import classes_of, files, put, split_named, split_within, write_classes
from goldloop.formats._targets import classes_in, has_classes, has_keypoints, keypoints_in
from goldloop.formats.base import Format, FormatConfig, Sample, bad
from goldloop.records import Quarantined
from goldloop.tasks import tasks
from goldloop.tasks.base import Task

TASK = "task.yaml"
"""The task's section of a recipe, beside a table that goldloop wrote."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row and the line that it ends on; `values` is an error where it cannot be read."""

    line: int
    values: Mapping[str, Any] | str


class TableConfig(FormatConfig):
    """Which column is what; columns that are none of these are metadata."""

    text: str = "text"
    texts: tuple[str, ...] = ()
    """Columns that together are the text of one sample, for `text-pairs` and its kin."""
    image: str = "image"
    """An image's path, relative to the table."""
    label: str = "label"
    split: str = "split"
    group: str = "group"


class Table(Format):
    """What the kinds of tables have in common. A table is one file or several, such as one for each split."""

    Config = TableConfig
    config: TableConfig
    holds_group = True
    extensions: ClassVar[frozenset[str]]

    @abstractmethod
    def rows(self, path: Path) -> Iterator[Row]:
        """The rows of a file."""

    @abstractmethod
    def label_of(self, value: Any, kind: str) -> Any:
        """The target in a label's column; None where there is none."""

    @abstractmethod
    def write_rows(self, path: Path, rows: Iterator[Mapping[str, Any]], columns: list[str]) -> None:
        """Write a file."""

    @override
    def kind_of(self, folder: Path) -> str:
        section = read_section(folder)
        return str(section["kind"]) if section else super().kind_of(folder)

    @override
    def task_fields(self, folder: Path, kind: str) -> dict[str, Any]:
        section = read_section(folder)
        if section.get("kind") == kind:
            return {name: value for name, value in section.items() if name != "kind"}
        targets = [
            entry.target
            for entry in self.read(folder, kind)
            if isinstance(entry, Sample) and entry.target is not None
        ]
        fields: dict[str, Any] = {}
        if has_classes(kind):
            names = (name for target in targets for name in classes_in(target))
            fields["classes"] = classes_of(_home(folder), names)
        if has_keypoints(kind):
            fields["keypoints"] = keypoints_in(targets)
        return fields

    @override
    def read(self, folder: Path, kind: str) -> Iterator[Sample | Quarantined]:
        modality = tasks.get(kind).modality
        paths = [folder] if folder.is_file() else files(folder, self.extensions)
        if not paths:
            raise SourceError("no table is there", where=folder, expected=", ".join(sorted(self.extensions)))
        for path in paths:
            name = path.relative_to(_home(folder)).as_posix()
            split = split_within(path.stem)
            for row in self.rows(path):
                if isinstance(row.values, str):
                    yield bad(name, row.values, row.line)
                    continue
                try:
                    yield self._sample(
                        row.values, f"{name}#line-{row.line}", split, kind, modality, path.parent
                    )
                except ItemError as error:
                    yield bad(name, error, row.line)

    def _sample(
        self, row: Mapping[str, Any], name: str, split: str | None, kind: str, modality: str, beside: Path
    ) -> Sample:
        config = self.config
        used = {config.label, config.split, config.group, *config.texts}
        used.add(config.text if modality == "text" and not config.texts else config.image)
        if config.label not in row:
            raise ItemError(f"there is no column {config.label!r}", found=", ".join(row))
        content = self._text(row) if modality == "text" else _image(row.get(config.image), beside)
        group = row.get(config.group)
        named = row.get(config.split)
        return Sample(
            name=name,
            content=content,
            target=self.label_of(row[config.label], kind),
            split=(split_named(named) if isinstance(named, str) else None) or split,
            group=None if group in (None, "") else str(group),
            metadata={column: value for column, value in row.items() if column not in used},
        )

    def _text(self, row: Mapping[str, Any]) -> str:
        columns = self.config.texts or (self.config.text,)
        values = [row.get(column) for column in columns]
        for column, value in zip(columns, values, strict=True):
            if not isinstance(value, str):
                raise ItemError(f"column {column!r} has no text", found=repr(value))
        return json.dumps(values, ensure_ascii=False) if self.config.texts else str(values[0])

    @override
    def write_into(self, folder: Path, task: Task[Any], samples: Iterable[Sample]) -> None:
        if task.classes:
            write_classes(folder, task.classes)
        section = task.config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        put(folder / TASK, yaml.safe_dump(section, sort_keys=False, allow_unicode=True))
        content = self.config.text if task.modality == "text" else self.config.image
        columns = [content, self.config.label, self.config.split, self.config.group]
        extension = min(self.extensions)
        self.write_rows(folder / f"data{extension}", self._written(folder, task, samples), columns)

    def _written(
        self, folder: Path, task: Task[Any], samples: Iterable[Sample]
    ) -> Iterator[Mapping[str, Any]]:
        config = self.config
        for sample in samples:
            if isinstance(sample.content, str):
                content = {config.text: sample.content}
            else:
                place = f"images/{sample.name}"
                put(folder / place, sample.content)
                content = {config.image: place}
            known = {config.label: sample.target, config.split: sample.split, config.group: sample.group}
            yield {**sample.metadata, **content, **known}


def _home(folder: Path) -> Path:
    return folder.parent if folder.is_file() else folder


def read_section(folder: Path) -> dict[str, Any]:
    """The task that goldloop wrote beside a table; empty where it did not."""
    path = _home(folder) / TASK
    if not path.is_file():
        return {}
    try:
        section = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SourceError("this is not YAML", where=path, found=" ".join(str(error).split())) from error
    if not isinstance(section, dict) or not isinstance(section.get("kind"), str):
        raise SourceError("this is no task", where=path, expected="`kind:` and its fields")
    return section


def _image(value: Any, beside: Path) -> Path:
    if not isinstance(value, str) or not value:
        raise ItemError("the image's path is missing", found=repr(value))
    path = (beside / value).resolve()
    if not path.is_relative_to(beside.resolve()) or not path.is_file():
        raise ItemError("the image is missing", found=value, expected="a file beside the table or below it")
    return path
