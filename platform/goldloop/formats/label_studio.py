"""`label-studio`: Label Studio's JSON export, and what its import takes.

    tasks.json   label_config.xml   images/NAME.jpg   task.yaml

A task's answer is that of its annotations that were not skipped; where several people gave one, what most of
them say, and no label where that is nothing. Drafts and predictions are no answers. Control tags may have
other names than goldloop's own, as long as there is one of each type. Images are looked for in the folder by
the end of their address; Label Studio finds those of an export once the folder is a local storage of the
project.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml
from typing_extensions import override

from goldloop.errors import AnnotationError, ItemError, SourceError
from goldloop.formats._folders import classes_of, files, put, upright_size
from goldloop.formats._tables import TASK, read_section
from goldloop.formats._targets import has_classes, has_keypoints
from goldloop.formats.base import Format, FormatConfig, Sample
from goldloop.records import Item, Quarantined, content_key
from goldloop.tasks import tasks
from goldloop.tasks.base import Task

_TASKS, _CONFIG = "tasks.json", "label_config.xml"
_KNOWN = ("split", "group", "metadata")
_POINTS = "keypointlabels"


class LabelStudio(Format):
    """Tasks with their annotations."""

    kinds = None
    holds_group = True
    holds_metadata = True

    class Config(FormatConfig):
        """What a recipe says of it."""

        content: str | None = None
        """The field of `data` with the text or the image; by default the only one, or what is named so."""

    @override
    def kind_of(self, folder: Path) -> str:
        section = read_section(folder)
        return str(section["kind"]) if section else super().kind_of(folder)

    @override
    def task_fields(self, folder: Path, kind: str) -> dict[str, Any]:
        section = read_section(folder)
        if section.get("kind") == kind:
            return {name: value for name, value in section.items() if name != "kind"}
        named = list(_named(folder))
        points = [name for field, name in named if field == _POINTS]
        fields: dict[str, Any] = {}
        if has_classes(kind):
            others = (name for field, name in named if field != _POINTS or not has_keypoints(kind))
            fields["classes"] = classes_of(_home(folder), others)
        if has_keypoints(kind):
            fields["keypoints"] = list(dict.fromkeys(points))
        return fields

    @override
    def read(self, folder: Path, kind: str) -> Iterator[Sample | Quarantined]:
        # What overlaps is kept here: whether it may, the recipe's own task decides.
        kept = {"overlaps": "keep"} if "overlaps" in tasks.get(kind).Config.model_fields else {}
        task = tasks.create({"kind": kind, **kept, **self.task_fields(folder, kind)})
        controls = controls_of(task)
        for name, number, entry in _entries(folder):
            place = f"{name}#task-{entry.get('id', number) if isinstance(entry, dict) else number}"
            try:
                yield self._sample(task, controls, folder, place, entry)
            except (ItemError, AnnotationError) as error:
                yield Quarantined(uri=place, reason=f"{place}: {error}")

    def _sample(
        self, task: Task[Any], controls: Mapping[str, tuple[str, str]], folder: Path, place: str, entry: Any
    ) -> Sample:
        if not isinstance(entry, dict) or not isinstance(entry.get("data"), dict):
            raise ItemError("a task has no `data`", found=repr(entry)[:60])
        data = entry["data"]
        content, item = self._content(task, _home(folder), data)
        answers = [
            task.decode([renamed(region, controls) for region in annotation.get("result") or ()], item)
            for annotation in entry.get("annotations") or ()
            if not annotation.get("was_cancelled")
        ]
        target = task.consensus(answers, "majority") if answers else None
        known = (entry.get("meta") or {}).get("goldloop") or {}
        metadata = dict(known.get("metadata") or {})
        if len(answers) > 1:
            metadata["answers"] = len(answers)
        return Sample(
            name=place,
            content=content,
            target=target,
            split=known.get("split"),
            group=known.get("group"),
            metadata=metadata,
        )

    def _content(self, task: Task[Any], home: Path, data: Mapping[str, Any]) -> tuple[Path | str, Item]:
        if task.modality == "text":
            text = self._text(task, data)
            return text, _item(task, text.encode(), text=text)
        field = self._field(task, data)
        path = _find(home, str(data[field]))
        width, height = upright_size(path)
        # A key of its own is enough to read with: annotations of an export do not carry the content's.
        return path, _item(task, str(path).encode(), width=width, height=height)

    def _text(self, task: Task[Any], data: Mapping[str, Any]) -> str:
        names = _shown(task)
        if len(names) > 1 and self.config.content is None:
            missing = [name for name in names if not isinstance(data.get(name), str)]
            if missing:
                raise ItemError("a task has no text", where=f"data.{missing[0]}", found=", ".join(data))
            return json.dumps([data[name] for name in names], ensure_ascii=False)
        text = data[self._field(task, data)]
        if not isinstance(text, str):
            raise ItemError("the text is no text", found=repr(text)[:60])
        return text

    def _field(self, task: Task[Any], data: Mapping[str, Any]) -> str:
        fields = [name for name, value in data.items() if isinstance(value, str)]
        for name in (self.config.content, *_shown(task), task.modality):
            if name is not None and name in fields:
                return str(name)
        if len(fields) == 1 and self.config.content is None:
            return fields[0]
        raise ItemError(
            f"nothing tells which field of `data` has the {task.modality}",
            found=", ".join(data),
            remedy="Name it: `content=FIELD`",
        )

    @override
    def write_into(self, folder: Path, task: Task[Any], samples: Iterable[Sample]) -> None:
        section = task.config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        put(folder / TASK, yaml.safe_dump(section, sort_keys=False, allow_unicode=True))
        put(folder / _CONFIG, task.label_config())
        with (folder / _TASKS).open("w", encoding="utf-8", newline="") as file:
            file.write("[")
            for number, sample in enumerate(samples, start=1):
                file.write(",\n" if number > 1 else "\n")
                file.write(json.dumps(_entry(folder, task, sample, number), ensure_ascii=False))
            file.write("\n]\n")


def _entry(folder: Path, task: Task[Any], sample: Sample, number: int) -> dict[str, Any]:
    address = None
    if isinstance(sample.content, str):
        item = _item(task, sample.content.encode(), text=sample.content)
    else:
        place = f"images/{sample.name}"
        put(folder / place, sample.content)
        width, height = upright_size(sample.content)
        content = sample.content.read_bytes() if isinstance(sample.content, Path) else sample.content
        item = _item(task, content, width=width, height=height)
        address = f"/data/local-files/?d={quote(place)}"
    known = {name: value for name in _KNOWN if (value := getattr(sample, name))}
    return {
        "id": number,
        "data": task.task_data(item, address),
        "annotations": [{"result": task.encode(sample.target, item), "was_cancelled": False}],
        "meta": {"goldloop": known},
    }


def _item(task: Task[Any], content: bytes, **fields: Any) -> Item:
    key = content_key(content)
    media_type = "text/plain" if task.modality == "text" else "image/unknown"
    return Item(
        key=key, modality=task.modality, uri="", group=key, source="", media_type=media_type, **fields
    )


def _home(folder: Path) -> Path:
    return folder.parent if folder.is_file() else folder


def _entries(folder: Path) -> Iterator[tuple[str, int, Any]]:
    """File name, number and each task of every export.

    Raises:
        SourceError: there is none, or one cannot be read.
    """
    paths = [folder] if folder.is_file() else files(folder, {".json"})
    none = True
    for path in paths:
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            raise SourceError("this is not JSON", where=path, found=str(error)) from error
        if isinstance(content, list):
            none = False
            name = path.relative_to(_home(folder)).as_posix()
            yield from ((name, number, entry) for number, entry in enumerate(content))
    if none:
        raise SourceError(
            "this is no export of Label Studio", where=folder, expected="a JSON file with a list of tasks"
        )


def _named(folder: Path) -> Iterator[tuple[str, str]]:
    """Each name that a control gave something, with the field of the region that has it."""
    for _, _, entry in _entries(folder):
        annotations = entry.get("annotations") or () if isinstance(entry, dict) else ()
        for annotation in annotations:
            for region in annotation.get("result") or ():
                value = region.get("value") if isinstance(region, dict) else None
                for field, names in value.items() if isinstance(value, dict) else ():
                    if isinstance(names, list) and (field == "choices" or field.endswith("labels")):
                        yield from ((field, str(name)) for name in names)


def controls_of(task: Task[Any]) -> dict[str, tuple[str, str]]:
    """Type of control -> its name and its object's, of those that are there once."""
    from defusedxml import ElementTree

    tags = [tag for tag in ElementTree.fromstring(task.label_config()).iter() if tag.get("toName")]
    counts = Counter(tag.tag for tag in tags)
    return {
        tag.tag.lower(): (str(tag.get("name")), str(tag.get("toName")))
        for tag in tags
        if counts[tag.tag] == 1
    }


def _shown(task: Task[Any]) -> list[str]:
    """The fields of `data` that the labelling interface shows, in its order."""
    from defusedxml import ElementTree

    tags = ElementTree.fromstring(task.label_config()).iter()
    values = [str(tag.get("value") or "") for tag in tags if tag.get("name") and not tag.get("toName")]
    return [value.removeprefix("$") for value in values if value.startswith("$")]


def renamed(region: Any, controls: Mapping[str, tuple[str, str]]) -> Any:
    """A region whose control and object are called as they are here, if there is one control of its type."""
    if not isinstance(region, dict) or str(region.get("type")).lower() not in controls:
        return region
    name, shown = controls[str(region["type"]).lower()]
    return {**region, "from_name": name, "to_name": shown}


def _find(home: Path, address: str) -> Path:
    """The file of an address: `?d=` of a local storage, or what ends like it; never outside of the folder."""
    parts = urlsplit(address)
    named = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    pieces = [piece for piece in posixpath.normpath(named).split("/") if piece not in ("", ".", "..")]
    for start in range(len(pieces)):
        for place in (home, home / "images"):
            path = place.joinpath(*pieces[start:])
            if path.is_file() and path.resolve().is_relative_to(home.resolve()):
                return path
    raise ItemError("the image is missing", found=address, expected=f"a file below {home}")
