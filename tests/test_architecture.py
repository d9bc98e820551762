"""The shape of the house: imports go down only, and nothing slow is loaded before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "platform" / "goldloop"

LAYERS: list[set[str]] = [
    {"__main__", "examples"},
    {"cli"},
    {"governance", "erasure"},
    {"tracing"},
    {"holders"},
    {"workbench", "hosting", "deploying", "exchange", "comparison", "migration", "storage", "exporting"},
    {
        "simulation",
        "state",
        "examination",
        "blank_recipe",
        "changed_recipe",
        "tuning",
        "estimation",
        "planning",
        "watching",
    },
    {"controlling"},
    {"deciding"},
    {"relabeling", "assessment", "attribution", "drifting"},
    {"suspicion", "appraisal", "champion_view"},
    {"loop"},
    {"acts", "committing", "production", "champions", "judging", "selecting", "suggesting"},
    {"budgeting", "alike"},
    {"wiring", "results"},
    {"recipe"},
    {"serving", "registry", "proxy"},
    {"training", "evaluation", "labeling", "dataset", "quality", "learning_curve", "monitoring", "rounds"},
    {"inference"},
    {"connectors", "cleaning"},
    {"formats"},
    {"tasks"},
    {"workspace"},
    {"audit_log"},
    {"duplicates"},
    {"media", "media_keys", "catalog", "plugins", "progress", "pages"},
    {"export_records"},
    {"durable"},
    {"ahead", "process_memory", "records", "settings", "source_digest", "sqlite_files"},
    {"errors"},
]
"""From the top down. A package may import from lines below its own, and from itself."""

HEIGHT = {room: -depth for depth, line in enumerate(LAYERS) for room in line}


def _modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("goldloop.")}
    return rooms - {"__version__"}


def test_there_are_modules_to_check():
    assert len(_modules()) > 40


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_only(path: Path):
    room = _room(path)
    if room == "__init__":
        return
    assert room in HEIGHT, f"{room} has no place in LAYERS"
    wrong = {other for other in _imported_rooms(path) if other != room and HEIGHT[other] >= HEIGHT[room]}
    assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}, which is not below it"


def test_only_one_package_line_is_crossed_by_plain_values():
    """Packages on one line meet in loop.py alone: the check above must hold for the design's own lines."""
    assert HEIGHT["training"] == HEIGHT["labeling"] == HEIGHT["dataset"] == HEIGHT["evaluation"]
    assert HEIGHT["connectors"] > HEIGHT["formats"] > HEIGHT["tasks"]


def test_platform_is_a_source_root_and_no_package():
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_only_the_client_imports_the_sdk():
    importers = {
        str(path.relative_to(SOURCE))
        for path in _modules()
        if "label_studio_sdk" in path.read_text(encoding="utf-8")
    }
    assert importers == {"labeling/client.py"}


def _loaded(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after some code."""
    program = f"{code}\nimport sys\nprint('\\n'.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


SLOW = {
    "torch", "torchvision", "transformers", "accelerate", "datasets", "mlflow", "label_studio_sdk",
    "sklearn", "matplotlib", "pandas", "scipy", "fastapi", "uvicorn",
}  # fmt: skip


def test_help_imports_nothing_slow():
    code = (
        "import sys; sys.argv = ['goldloop', '--help']\n"
        "from goldloop.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )
    assert not _loaded(code) & SLOW


def test_loading_a_recipe_imports_nothing_slow():
    code = f"import goldloop\ngoldloop.load({str(ROOT / 'configs' / 'digits.yaml')!r})"
    assert not _loaded(code) & SLOW


@pytest.mark.parametrize("package", ["training.run", "tasks", "dataset.version", "inference"])
def test_a_bare_gpu_node_can_train(package: str):
    code = (
        "import sys\n"
        "for name in ('label_studio_sdk', 'mlflow'):\n    sys.modules[name] = None\n"
        f"import goldloop.{package}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_resolves():
    import goldloop

    assert goldloop.__all__
    for name in goldloop.__all__:
        assert getattr(goldloop, name) is not None
