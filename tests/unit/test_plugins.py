from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest

from goldloop.errors import PluginError, RecipeError
from goldloop.plugins import Plugin, PluginConfig, Plugins


class Animal(Plugin):
    """A family for these tests."""


@pytest.fixture
def animals(tmp_path, monkeypatch) -> Plugins[Animal]:
    package = tmp_path / "zoo_of_tests"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text("")
    (package / "_fur.py").write_text("")
    (package / "polar_bear.py").write_text(
        f"import {__name__} as family\n"
        "from goldloop.plugins import PluginConfig\n"
        "class PolarBear(family.Animal):\n"
        "    class Config(PluginConfig):\n"
        "        weight: int = 400\n"
    )
    (package / "unicorn.py").write_text("import a_package_that_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Animal.__module__])
    yield Plugins("animal", "zoo_of_tests", Animal)
    for name in [name for name in sys.modules if name.startswith("zoo_of_tests")]:
        del sys.modules[name]


def test_a_file_is_a_kind_and_nothing_registers_it(animals):
    assert animals.names() == ["polar-bear", "unicorn"]
    assert animals.create({"kind": "polar-bear", "weight": 500}).config.weight == 500


def test_an_unknown_kind_is_answered_with_the_nearest_and_all_known(animals):
    with pytest.raises(PluginError, match=r"polar-bear, unicorn.*Did you mean 'polar-bear'\?"):
        animals.get("polar-baer")


def test_a_missing_package_is_answered_with_how_to_install_it(animals):
    with pytest.raises(PluginError, match=r"needs the package 'a_package_that_nobody_has'.*pip install"):
        animals.get("unicorn")


def test_a_wrong_field_is_a_recipe_error(animals):
    with pytest.raises(RecipeError, match="wieght"):
        animals.create({"kind": "polar-bear", "wieght": 5})


@pytest.mark.parametrize("value", [{}, {"kind": 3}, "polar-bear", None])
def test_no_kind_is_a_recipe_error_that_lists_the_kinds(animals, value):
    with pytest.raises(RecipeError, match="polar-bear"):
        animals.config(value)


class Penguin(Animal):
    """A plugin from elsewhere."""

    Config = PluginConfig


def test_an_entry_point_adds_a_kind(animals, monkeypatch):
    entry = EntryPoint("penguin", f"{__name__}:Penguin", "zoo_of_tests")
    monkeypatch.setattr("goldloop.plugins.entry_points", lambda group: [entry])
    monkeypatch.setattr(EntryPoint, "load", lambda self: Penguin)
    assert "penguin" in animals.names()
    assert isinstance(animals.create({"kind": "penguin"}), Penguin)


def test_an_entry_point_to_something_else_is_refused(animals, monkeypatch):
    entry = EntryPoint("stone", "builtins:dict", "zoo_of_tests")
    monkeypatch.setattr("goldloop.plugins.entry_points", lambda group: [entry])
    with pytest.raises(PluginError, match="is no animal"):
        animals.get("stone")
