"""A recipe's file with other settings: its comments and its order stay where they can."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from goldloop.errors import RecipeError
from goldloop.recipe import assignment, in_yaml, load, read


def write(source: Path, target: Path, overrides: Iterable[str], remark: str) -> bool:
    """Write `target`: the recipe in `source` with some fields set; it is that file itself, or a new one.

    Args:
        source: a recipe's file.
        target: where to write; a file that is there already is replaced only if it is `source`.
        overrides: `a.b=c`, as `load` takes them.
        remark: a line that says where the settings come from.

    Returns:
        whether the source's comments are in it.

    Raises:
        RecipeError: `target` is another file that is there already, or cannot be written.
    """
    overrides = list(overrides)
    wanted = load(source, overrides)
    if target.exists() and not target.samefile(source):
        raise RecipeError("the file is there already", where=target, remedy="Choose another name")
    marked = _changed(source.read_text(encoding="utf-8"), overrides, remark)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if marked is not None:
            aside.write_text(marked, encoding="utf-8")
        if marked is None or load(aside) != wanted:
            marked = None
            fields = read(source, overrides)
            aside.write_text(
                f"# {remark}\n# Written anew from {source.name}, whose comments are there.\n"
                + yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=110),
                encoding="utf-8",
            )
            load(aside)
        aside.replace(target)
    except OSError as error:
        raise RecipeError("the recipe cannot be written", where=target, found=error.strerror) from error
    finally:
        aside.unlink(missing_ok=True)
    return marked is not None


def _changed(text: str, overrides: Sequence[str], remark: str) -> str | None:
    """The text with fields set where they stand; None where that cannot be done."""
    fields = {place.partition(".")[0] for place, _ in map(assignment, overrides)}
    for override in overrides:
        place, value = assignment(override)
        edited = _assigned(text, place.split("."), value)
        if edited is None:
            return None
        text = edited
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for key, _ in root.value:
        if key.value in fields:
            start = key.start_mark.index
            return f"{text[:start]}# {remark}\n{text[start:]}"
    return None


def _assigned(text: str, parts: list[str], value: Any) -> str | None:
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for number, part in enumerate(parts):
        found = _part(node, part)
        if found is None:
            for outer in reversed(parts[number + 1 :]):
                value = {outer: value}
            return _added(text, node, part, value)
        node = found
        if isinstance(node, yaml.ScalarNode) and number + 1 < len(parts):
            # `augment: true` and `lora: null` have no fields yet.
            for outer in reversed(parts[number + 1 :]):
                value = {outer: value}
            break
    if isinstance(value, list) and isinstance(node, yaml.SequenceNode) and not node.flow_style:
        return _listed(text, node, value)
    if not _on_one_line(node):
        return None
    start, end = node.start_mark.index, node.end_mark.index
    space = " " if start == end else ""
    return f"{text[:start]}{space}{in_yaml(value)}{text[end:]}"


def _listed(text: str, node: yaml.SequenceNode, values: list[Any]) -> str | None:
    """The text with other values in a list of a line each: lines of values that stay are left as they are."""
    entries = node.value
    if not all(isinstance(entry, yaml.ScalarNode) and _on_one_line(entry) for entry in entries):
        return None
    old = [yaml.safe_load(text[entry.start_mark.index : entry.end_mark.index]) for entry in entries]
    changes = difflib.SequenceMatcher(None, list(map(repr, old)), list(map(repr, values)), autojunk=False)
    for _, first, last, start, end in reversed(
        [each for each in changes.get_opcodes() if each[0] != "equal"]
    ):
        fresh = [in_yaml(value) for value in values[start:end]]
        if first == last:
            # Behind the value before, whose line is there; at the front, before the first.
            place = _line_end(text, entries[first - 1]) if first else _line_start(text, entries[0])
        else:
            place = _line_end(text, entries[last - 1])
        dash = text[_line_start(text, entries[0]) : entries[0].start_mark.index]
        kept = min(last - first, len(fresh))
        text = text[:place] + "".join(f"{dash}{value}\n" for value in fresh[kept:]) + text[place:]
        for number in reversed(range(first, last)):
            entry = entries[number]
            if number - first < kept:
                begin, stop, said = entry.start_mark.index, entry.end_mark.index, fresh[number - first]
            else:
                begin, stop, said = _line_start(text, entry), _line_end(text, entry), ""
            text = text[:begin] + said + text[stop:]
    return text


def _line_start(text: str, node: yaml.Node) -> int:
    return text.rfind("\n", 0, node.start_mark.index) + 1


def _line_end(text: str, node: yaml.Node) -> int:
    end = text.find("\n", node.end_mark.index)
    return len(text) if end < 0 else end + 1


def _part(node: Any, part: str) -> Any:
    if isinstance(node, yaml.SequenceNode) and part.isdecimal():
        return node.value[int(part)] if int(part) < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    return None


def _added(text: str, node: Any, name: str, value: Any) -> str | None:
    """The text with a field more in a mapping, behind the others."""
    if not isinstance(node, yaml.MappingNode):
        return None
    field = f"{name}: {in_yaml(value)}"
    if node.flow_style:
        end = node.end_mark.index - 1
        return f"{text[:end].rstrip()}{', ' if node.value else ''}{field}{text[end:]}"
    last = node.value[-1]
    if not _on_one_line(last[1]):
        start = node.value[0][0].start_mark
        return f"{text[: start.index]}{field}\n{' ' * start.column}{text[start.index :]}"
    end = text.find("\n", last[1].end_mark.index)
    end = len(text) if end < 0 else end
    return f"{text[:end]}\n{' ' * last[0].start_mark.column}{field}{text[end:]}"


def _on_one_line(node: Any) -> bool:
    if isinstance(node, yaml.ScalarNode):
        return node.style not in ("|", ">")
    return bool(node.flow_style)
