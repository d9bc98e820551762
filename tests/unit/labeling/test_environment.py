from pathlib import Path

import pytest

from goldloop.errors import LabelStudioError
from goldloop.labeling.environment import CONSTRAINTS, VERSION, located, prepare, process_variables


def test_the_pins_name_every_package_with_one_version_and_nothing_else() -> None:
    pins = CONSTRAINTS.read_text().splitlines()
    assert f"label-studio=={VERSION}" in pins
    assert any(pin.startswith("waitress==") for pin in pins)
    assert [pin for pin in pins if pin.count("==") != 1 or set(pin) & set("/@ ;")] == []


def test_a_complete_environment_is_taken_as_it_is(tmp_path: Path) -> None:
    environment = located(tmp_path)
    environment.python.parent.mkdir(parents=True)
    environment.python.touch()
    environment.template.touch()
    lines: list[str] = []
    assert prepare(tmp_path, lines.append) == environment
    assert lines == []


def test_a_migration_that_fails_says_why_and_leaves_no_template(tmp_path: Path) -> None:
    environment = located(tmp_path)
    environment.python.parent.mkdir(parents=True)
    environment.python.write_text("#!/bin/sh\necho from https://me:secret@index.example/simple; exit 3\n")
    environment.python.chmod(0o755)
    with pytest.raises(LabelStudioError, match=r"//\*\*\*@index\.example"):
        prepare(tmp_path, lambda line: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        environment.python.parents[1].name,
        f"{environment.python.parents[1].name}.lock",
    ]


def test_what_killed_attempts_left_is_cleared_away(tmp_path: Path) -> None:
    environment = located(tmp_path)
    left = tmp_path / f".{environment.template.name}.making-killed"
    left.mkdir()
    environment.python.parent.mkdir(parents=True)
    environment.python.write_text('#!/bin/sh\necho made > "$4/label_studio.sqlite3"\n')
    environment.python.chmod(0o755)
    lines: list[str] = []
    assert prepare(tmp_path, lines.append).template.read_text() == "made\n"
    assert not left.exists()
    assert lines[0].startswith("Label Studio: making its database")


def test_the_process_inherits_no_setting_or_secret_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "SECRET_KEY", "POSTGRE_PASSWORD", "LABEL_STUDIO_API_KEY", "DATABASE_NAME"):
        monkeypatch.setenv(name, "from-the-shell")
    variables = process_variables(EXTRA="1")
    assert variables["EXTRA"] == "1"
    assert "PATH" in variables
    assert "from-the-shell" not in variables.values()
