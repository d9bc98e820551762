"""Plugins found by file name, imported on demand.

`connectors/sql_query.py` is the connector of `kind: sql-query`; nothing registers it. A package from
elsewhere adds one by an entry point in the family's group (`goldloop.connectors`, `goldloop.tasks`,
`goldloop.evaluation.gates`), whose name is the kind and whose value is the class.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from goldloop.errors import PluginError, RecipeError


class PluginConfig(BaseModel):
    """What a recipe may say about a plugin; every plugin nests its own, derived from this one."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kind: str


class Plugin:
    """One implementation of a family. Its nested `Config` is its schema in a recipe."""

    Config: ClassVar[type[PluginConfig]] = PluginConfig

    def __init__(self, config: Any) -> None:
        self.config = config


P = TypeVar("P", bound=Plugin)


class Plugins(Generic[P]):
    """All plugins of one family.

    Args:
        family: what one of them is called in messages, such as "connector".
        package: the package whose modules are the family's built-in kinds.
        base: the class that each must derive from.
    """

    def __init__(self, family: str, package: str, base: type[P]) -> None:
        self.family = family
        self.package = package
        self.base = base

    def names(self) -> list[str]:
        """All known kinds, sorted; nothing is imported to list them."""
        return sorted({*self._modules(), *self._entry_points()})

    def get(self, kind: str) -> type[P]:
        """The class of a kind.

        Raises:
            PluginError: no such kind (the known ones are listed), or its package is not installed.
        """
        if kind in self._modules():
            return self._from_module(kind)
        entry = self._entry_points().get(kind)
        if entry is None:
            raise PluginError(
                f"unknown {self.family} kind",
                found=repr(kind),
                expected="one of " + ", ".join(self.names()),
                remedy=_did_you_mean(kind, self.names()),
            )
        plugin = entry.load()
        if not (inspect.isclass(plugin) and issubclass(plugin, self.base)):
            raise PluginError(
                f"entry point {entry.value!r} is no {self.family}",
                found=repr(plugin),
                expected=f"a subclass of {self.base.__name__}",
            )
        return plugin

    def config(self, value: PluginConfig | Mapping[str, Any]) -> PluginConfig:
        """The validated configuration of `{"kind": ..., ...}`; a validated one passes through.

        Raises:
            PluginError: no such kind.
            RecipeError: no `kind` at all.
            pydantic.ValidationError: a field that the kind does not know, or a value it cannot take.
        """
        if isinstance(value, PluginConfig):
            return value
        if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
            raise RecipeError(
                f"a {self.family} needs a kind",
                found=repr(value),
                expected="a mapping with `kind:` one of " + ", ".join(self.names()),
            )
        return self.get(value["kind"]).Config.model_validate(dict(value))

    def create(self, value: PluginConfig | Mapping[str, Any]) -> P:
        """The plugin that a configuration describes.

        Raises:
            PluginError: no such kind.
            RecipeError: a configuration that the kind does not accept.
        """
        try:
            config = self.config(value)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            kind = value["kind"] if isinstance(value, Mapping) else value.kind
            # Not from the error, which shows all that was given, and with it what should not have been.
            raise RecipeError(first["msg"], where=f"{self.family} {kind!r}: {place}") from None
        return self.get(config.kind)(config)

    def _modules(self) -> dict[str, str]:
        package = importlib.import_module(self.package)
        return {
            module.name.replace("_", "-"): f"{self.package}.{module.name}"
            for module in pkgutil.iter_modules(package.__path__)
            if not module.name.startswith("_") and module.name != "base"
        }

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=self.package)}

    def _from_module(self, kind: str) -> type[P]:
        name = self._modules()[kind]
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] == "goldloop":
                raise
            raise PluginError(
                f"{self.family} {kind!r} needs the package {error.name.split('.')[0]!r}",
                remedy=f"Install it with `pip install 'goldloop[{kind}]'`",
            ) from error
        own = [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, self.base)
            and value.__module__ == name
            and not value.__name__.startswith("_")
        ]
        if len(own) != 1:
            raise PluginError(
                f"{name} must define one public subclass of {self.base.__name__}",
                found=[value.__name__ for value in own],
            )
        return own[0]


def _did_you_mean(name: str, known: list[str]) -> str | None:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else None
