"""Versions on the Hub: the layout of `push_to_hub`, one commit each, only what is missing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from goldloop.dataset import version as versions
from goldloop.dataset.certificate import verify
from goldloop.dataset.hub import Hub
from goldloop.dataset.manifest import Manifest
from goldloop.dataset.travel import bring, files_of
from goldloop.dataset.version import Version
from goldloop.errors import VersionError

URL = "hf://datasets/me/signs"

# The Hub's client uploads in a way that httpx is about to give up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def server():
    spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub_server.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.serving() as hub:
        yield hub


@pytest.fixture
def hub(server, tmp_path, monkeypatch) -> Hub:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    return Hub(URL, HfApi(endpoint=server.url, token="hf_secret"))


@pytest.fixture
def made(make_texts) -> list[Version]:
    material = make_texts(count=300)
    first = material.commit(message="first")
    material.labels[3] = replace(material.labels[3], target="1" if material.labels[3].target != "1" else "no")
    return [first, material.commit(message="second")]


def publish(hub: Hub, version: Version) -> tuple[int, int]:
    return hub.publish(version.name, version.digest, version.folder)


def test_what_a_version_shows_there_is_its_folder_and_the_repository_is_private(hub, server, made):
    for version in made:
        publish(hub, version)
        shown = server.commits[-1]
        assert shown == {
            path.relative_to(version.folder).as_posix(): path.read_bytes()
            for path in version.folder.rglob("*")
            if path.is_file()
        }
    assert [told["visibility"] for told in server.created] == ["private", "private"]
    assert set(server.tags) == {version.digest[:16] for version in made}


def test_only_shards_that_are_missing_travel(hub, server, made):
    publish(hub, made[0])
    before = set(server.objects)
    publish(hub, made[1])
    manifest = Manifest.load(made[1].folder)
    known = {part.sha256 for part in Manifest.load(made[0].folder).parts()}
    assert set(server.objects) - before == {part.sha256 for part in manifest.parts()} - known
    assert len(set(server.objects) - before) == 2  # a shard and lines of the ledger


def test_publishing_again_changes_nothing(hub, server, made):
    publish(hub, made[0])
    shown = dict(server.commits[-1])
    publish(hub, made[0])
    assert server.commits[-1] == shown
    assert len(server.tags) == 1


def test_files_that_are_not_ours_stay(hub, server, made):
    server.commits[0].update({"LICENSE": b"mine", "data/train-00000-of-00009.parquet": b"old"})
    publish(hub, made[0])
    assert server.commits[-1]["LICENSE"] == b"mine"
    assert "data/train-00000-of-00009.parquet" not in server.commits[-1]


def test_any_version_is_fetched_as_it_was(hub, made, tmp_path):
    for version in made:
        publish(hub, version)
    there = tmp_path / "there" / "signs"
    whole, files, _ = bring(there, hub, made[0].digest[:9])
    assert (whole, files) == (made[0].digest, len(files_of(made[0].folder)))
    whole, files, _ = bring(there, hub, "latest")
    assert whole == made[1].digest
    assert files < len(files_of(made[1].folder))
    listed = versions.versions(there.parent, "signs")
    assert [each.digest for each in listed] == [each.digest for each in made]
    assert all(verify(each.folder) == [] for each in listed)


def test_what_is_not_there_is_said(hub, made, tmp_path):
    publish(hub, made[0])
    with pytest.raises(VersionError, match=f"no such version.*{made[0].digest[:16]}"):
        bring(tmp_path / "there" / "signs", hub, made[1].digest)


def test_the_layout_is_that_of_push_to_hub_and_plain_datasets_loads_it(made, tmp_path):
    """From a copy, as the Hub would hand it out; rows that a later commit took back are not among them."""
    from datasets.arrow_dataset import PUSH_TO_HUB_WITHOUT_METADATA_CONFIGS_SPLIT_PATTERN_SHARDED as PATTERN

    copy = tmp_path / "copy"
    version = made[1]
    for path in files_of(version.folder):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_bytes((version.folder / path).read_bytes())
    names = {path.relative_to(copy).as_posix() for path in copy.glob("data/*")}
    for split in version.counts:
        pattern = PATTERN.replace("{split}", split)
        assert {name for name in names if Path(name).match(pattern)} == {
            name for name in names if name.startswith(f"data/{split}-")
        }
    program = (
        "import datasets, json, sys\n"
        "sys.modules['goldloop'] = None\n"
        "plain = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])\n"
        "streamed = datasets.load_dataset(sys.argv[1], streaming=True)\n"
        "tell = lambda rows: sorted((row['key'], row['label']) for row in rows)\n"
        "both = [{split: tell(rows) for split, rows in each.items()} for each in (plain, streamed)]\n"
        "print(json.dumps(both))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(copy), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        check=False,
        env={"HF_HOME": str(tmp_path / "home"), "HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    expected = {
        split: sorted([row["key"], row["label"]] for row in version.dataset(split))
        for split in version.counts
    }
    assert json.loads(done.stdout) == [expected, expected]
    assert Manifest.load(version.folder).dead


def test_without_a_network_it_is_refused_with_what_to_do(made, tmp_path):
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from goldloop.dataset.hub import Hub\n"
        "from goldloop.errors import VersionError\n"
        "try:\n"
        f"    Hub({URL!r}).publish('signs', sys.argv[2], Path(sys.argv[1]))\n"
        "except VersionError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(made[0].folder), made[0].digest],
        capture_output=True,
        text=True,
        check=False,
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{URL}: the Hub cannot be reached, or refuses")
    assert "HF_HUB_OFFLINE" in done.stdout


def test_a_hub_that_does_not_answer_is_said(made):
    hub = Hub(URL, HfApi(endpoint="http://127.0.0.1:9", token="hf_secret"))
    with pytest.raises(VersionError, match="the Hub cannot be reached") as caught:
        publish(hub, made[0])
    assert "hf_secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["hf://datasets/signs", "hf://me/signs", "hf://datasets/a/b/c", "hf://datasets/../x"]
)
def test_an_address_without_repository_is_refused(url):
    with pytest.raises(VersionError, match=r"no dataset repository.*hf://datasets/USER/NAME"):
        Hub(url)
