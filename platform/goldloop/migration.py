"""Classes that are renamed, merged and split: `goldloop classes`.

What a class was called before, and what took its place, stands in the recipe (`renamed`, `divided`); these
commands write it there, with the recipe's comments kept, and record who did so beside the versions. Ids in
versions never move, and versions from before load as they were.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from goldloop.acts import recorded
from goldloop.changed_recipe import write
from goldloop.dataset import history
from goldloop.dataset import version as versions
from goldloop.dataset.division import read_items
from goldloop.dataset.migrations import Migration, migrations, record
from goldloop.errors import RecipeError
from goldloop.recipe import Recipe, in_yaml, load
from goldloop.tasks import tasks
from goldloop.tasks._classes import ClassesConfig, unknown_class
from goldloop.workspace import Workspace

__all__ = ["ClassEntry", "classes", "merge_classes", "migrations", "rename_class", "split_class"]


@dataclass(frozen=True, slots=True)
class ClassEntry:
    """One class of the registry.

    Attributes:
        id: which it keeps for ever.
        name: as it is called now.
        count: how often the labels of the latest version name it.
        former: what it was called before, or what was merged into it.
        state: empty for a class of the recipe; else what became of it.
    """

    id: int
    name: str
    count: int
    former: tuple[str, ...]
    state: str

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Lists:
    """The fields of a recipe's task that a migration changes."""

    classes: tuple[str, ...]
    renamed: Mapping[str, str]
    divided: Mapping[str, tuple[str, ...]]

    def overrides(self, before: _Lists) -> list[str]:
        """As `load` takes them; what stays as it was is left out."""
        values: dict[str, Any] = {
            "classes": list(self.classes),
            "renamed": dict(self.renamed),
            "divided": {name: list(parts) for name, parts in self.divided.items()},
        }
        return [
            f"task.{name}={in_yaml(value)}"
            for name, value in values.items()
            if getattr(self, name) != getattr(before, name)
        ]


def classes(recipe: Path | str, workspace: Workspace | None = None) -> list[ClassEntry]:
    """The class registry of a recipe by id: that of its versions, and what the recipe adds to it.

    Raises:
        RecipeError: it cannot be read, or its task has no classes.
    """
    workspace = workspace or Workspace.open()
    read = load(recipe)
    config = _config(read)
    counts = _counts(read, workspace)
    return [
        ClassEntry(
            number,
            name,
            counts[name],
            tuple(old for old in config.renamed if config.present_name(old) == name),
            _state(config, name),
        )
        for number, name in enumerate(_registry(read, workspace))
    ]


@recorded
def rename_class(
    recipe: Path | str, old: str, new: str, *, dry_run: bool = False, workspace: Workspace | None = None
) -> Migration:
    """Call a class by another name from now on; it keeps its id, and answers by its former name count.

    Args:
        recipe: its file, which is changed.
        old: the present name.
        new: one that no other class has or had.
        dry_run: only tell what would change.
        workspace: where the versions are.

    Raises:
        RecipeError: there is no such class, or the new name means something else already.
    """

    def renamed(lists: _Lists, known: Sequence[str]) -> _Lists:
        _require(lists, [old])
        if new in lists.classes:
            raise RecipeError(
                f"{new!r} is a class already",
                where=str(recipe),
                remedy=f"`goldloop classes merge RECIPE {old} {new} --into {new}` makes one of both",
            )
        _require_free(lists, known, [new])
        return _led(lists, [old], new)

    return _migrate(recipe, "rename", (old,), (new,), renamed, dry_run, workspace)


@recorded
def merge_classes(
    recipe: Path | str,
    old: Sequence[str],
    into: str,
    *,
    dry_run: bool = False,
    workspace: Workspace | None = None,
) -> Migration:
    """Make one class of several; their ids stay theirs in versions from before.

    Args:
        recipe: its file, which is changed.
        old: the classes.
        into: one of them, another class, or a new name.
        dry_run: only tell what would change.
        workspace: where the versions are.

    Raises:
        RecipeError: there is no such class, or the name means something else already.
    """

    def merged(lists: _Lists, known: Sequence[str]) -> _Lists:
        _require(lists, old)
        if len({*old, into}) < 2 or (into not in lists.classes and len(set(old)) < 2):
            raise RecipeError("a merge needs two classes or more", where=str(recipe), found=", ".join(old))
        undone = set(lists.divided.get(into, ())) == set(old)
        if into not in lists.classes and not undone:
            _require_free(lists, known, [into])
        return _led(lists, [name for name in dict.fromkeys(old) if name != into], into)

    return _migrate(recipe, "merge", tuple(old), (into,), merged, dry_run, workspace)


@recorded
def split_class(
    recipe: Path | str,
    old: str,
    into: Sequence[str],
    *,
    by: Path | None = None,
    dry_run: bool = False,
    workspace: Workspace | None = None,
) -> Migration:
    """Put several classes in the place of one.

    Items that were given it are to be labelled again, except for those of which a file tells the part: what
    people said of these counts for it from the next commit on.

    Args:
        recipe: its file, which is changed.
        old: the class.
        into: two or more, new ones or ones that the recipe has.
        by: a CSV file with the columns `key` and `class`, one of `into`.
        dry_run: only tell what would change.
        workspace: where the versions are.

    Raises:
        RecipeError: there is no such class, or a name means something else already, or the file is wrong.
    """
    items = {} if by is None else read_items(Path(by), into)

    def divided(lists: _Lists, known: Sequence[str]) -> _Lists:
        _require(lists, [old])
        parts = tuple(dict.fromkeys(into))
        if len(parts) < 2 or old in parts:
            raise RecipeError(
                "a class is split into two others or more", where=str(recipe), found=", ".join(into)
            )
        _require_free(lists, known, [name for name in parts if name not in lists.classes])
        fresh = [name for name in parts if name not in lists.classes]
        place = lists.classes.index(old)
        # What was once renamed to it, or merged into it, was split with it.
        leading = [name for name in lists.renamed if _end(lists.renamed, name) == old]
        return _Lists(
            (*lists.classes[:place], *fresh, *lists.classes[place + 1 :]),
            {name: to for name, to in lists.renamed.items() if name not in leading},
            {
                **{name: _in_place(each, [old], parts) for name, each in lists.divided.items()},
                **dict.fromkeys([*leading, old], parts),
            },
        )

    return _migrate(recipe, "split", (old,), tuple(into), divided, dry_run, workspace, items)


def _migrate(
    path: Path | str,
    act: str,
    old: tuple[str, ...],
    new: tuple[str, ...],
    change: Callable[[_Lists, Sequence[str]], _Lists],
    dry_run: bool,
    workspace: Workspace | None,
    items: Mapping[str, str] | None = None,
) -> Migration:
    workspace = workspace or Workspace.open()
    path = Path(path)
    recipe = load(path)
    config = _config(recipe)
    _check_weights(recipe, old, new)
    with workspace.lock(recipe.name):
        before = _Lists(config.classes, config.renamed, config.divided)
        overrides = change(before, _registry(recipe, workspace)).overrides(before)
        load(path, overrides)
        counts = _counts(recipe, workspace)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = {name: counts[name] for name in old}
        done = Migration(act, old, new, rows, now, workspace.actor, items=items or {})
        if act == "split":
            leading = (name for name in before.renamed if _end(before.renamed, name) in old)
            done = replace(done, names=(*leading, *old))
        if dry_run:
            return done
        remark = f"{now[:10]}: {act} {', '.join(old)} to {', '.join(new)}."
        kept = write(path, path, overrides, " ".join(json.dumps(remark, ensure_ascii=False)[1:-1].split()))
        done = replace(done, comments_kept=kept)
        record(workspace.versions / recipe.name, done)
    return done


def _check_weights(recipe: Recipe, old: Sequence[str], new: Sequence[str]) -> None:
    """Refuse to take a class away that the training names."""
    weights = None if recipe.training is None else recipe.training.class_weights
    for name in sorted(set(old) - set(new)):
        if isinstance(weights, Mapping) and name in weights:
            raise RecipeError(
                f"`training.class_weights` names {name!r}, too",
                where=recipe.name,
                remedy="Take it out there first, and set what takes its place afterwards",
            )


def _config(recipe: Recipe) -> ClassesConfig:
    if not isinstance(recipe.task, ClassesConfig):
        raise RecipeError("the task has no classes", where=recipe.name, found=recipe.task.kind)
    return recipe.task


def _registry(recipe: Recipe, workspace: Workspace) -> tuple[str, ...]:
    commits = history.commits(workspace.versions / recipe.name)
    return tasks.create(recipe.task).registry(commits[-1].classes if commits else ())


def _counts(recipe: Recipe, workspace: Workspace) -> Counter[str]:
    """Class -> how often the labels of the latest version name it, by its place in the present registry."""
    counts: Counter[str] = Counter()
    if not history.commits(workspace.versions / recipe.name):
        return counts
    latest = versions.load(workspace.versions, recipe.name)
    names = dict(zip(latest.classes, _registry(recipe, workspace), strict=False))
    for found in latest.class_counts.values():
        for name, count in found.items():
            counts[names.get(name, name)] += count
    return counts


def _state(config: ClassesConfig, name: str) -> str:
    if name in config.classes:
        return ""
    if name in config.divided:
        return f"split into {', '.join(config.divided[name])}"
    if name in config.renamed:
        return f"merged into {config.present_name(name)}"
    return "not in the recipe any more"


def _require(lists: _Lists, names: Sequence[str]) -> None:
    for name in names:
        if name not in lists.classes:
            error = unknown_class(name, lists.classes, None)
            raise RecipeError(
                "unknown class", found=error.found, expected=error.expected, remedy=error.remedy
            )


def _require_free(lists: _Lists, known: Sequence[str], names: Sequence[str]) -> None:
    """Refuse names that labels in versions, or answers, have with another meaning."""
    for name in names:
        if name in known or name in lists.divided:
            raise RecipeError(
                f"{name!r} was a class with another meaning",
                remedy="Choose a name that no class ever had: labels by that name mean what they meant",
            )


def _led(lists: _Lists, old: Sequence[str], new: str) -> _Lists:
    """The lists once some classes are called by one name, which may be one of the others."""
    found = _in_place(lists.classes, old, (new,))
    divided = {name: _in_place(parts, old, (new,)) for name, parts in lists.divided.items()}
    whole = {name: new for name, parts in divided.items() if len(parts) == 1 and name != new}
    led = {name: to for name, to in lists.renamed.items() if name != new}
    return _Lists(
        found,
        {**led, **dict.fromkeys(old, new), **whole},
        {name: parts for name, parts in divided.items() if len(parts) > 1},
    )


def _in_place(names: Sequence[str], old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """The names with new ones where the first of the old ones was; each once."""
    found: list[str] = []
    for name in names:
        found += new if name in old else [name]
    return tuple(dict.fromkeys(found))


def _end(renamed: Mapping[str, str], name: str) -> str:
    for _ in renamed:
        name = renamed.get(name, name)
    return name
