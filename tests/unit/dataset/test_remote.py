"""Versions travel to any file system and back: only what is missing, whole or not at all, checked."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from goldloop.dataset import version as versions
from goldloop.dataset.certificate import verify
from goldloop.dataset.remote import Remote
from goldloop.dataset.travel import bring, files_of
from goldloop.dataset.version import Version
from goldloop.errors import CertificateError, VersionError


@pytest.fixture
def made(make_texts) -> list[Version]:
    """Three versions, each with one label changed."""
    material = make_texts(count=300)
    found = []
    for place in range(3):
        material.labels[place] = replace(material.labels[place], target="1" if place < 2 else "yes")
        found.append(material.commit(message=f"number {place}"))
    assert len({version.digest for version in found}) == 3
    return found


@pytest.fixture(params=["file", "memory", "s3"])
def url(request, tmp_path, monkeypatch):
    """An empty place on a file system of each kind."""
    if request.param == "file":
        yield str(tmp_path / "place")
    elif request.param == "memory":
        yield f"memory://{uuid4().hex}"
    else:
        yield from _bucket(monkeypatch)


def _bucket(monkeypatch):
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "hush-hush",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        bucket = f"data-{uuid4().hex[:8]}"  # moto's servers share what they hold
        client.create_bucket(Bucket=bucket)
        client.close()
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield f"s3://{bucket}/sets"
    finally:
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        server.stop()


def publish(version: Version, url: str) -> tuple[int, int]:
    return Remote(url).publish(version.name, version.digest, version.folder)


def test_what_was_published_is_fetched_as_it_was(made, url, tmp_path):
    for version in made:
        publish(version, url)
    there = tmp_path / "there" / "signs"
    whole, files, size = bring(there, Remote(url), "latest")
    assert whole == made[2].digest
    assert files == len(files_of(made[2].folder))
    assert size == sum(path.stat().st_size for path in made[2].folder.rglob("*") if path.is_file())
    fetched = versions.load(there.parent, "signs")
    assert replace(fetched, folder=made[2].folder) == made[2]
    assert verify(fetched.folder) == []
    for split in fetched.counts:
        assert fetched.dataset(split).to_list() == made[2].dataset(split).to_list()


def test_only_what_is_missing_travels(made, url, tmp_path):
    first, _ = publish(made[0], url)
    assert first == len(set(files_of(made[0].folder).values()))
    new = set(files_of(made[1].folder).values()) - set(files_of(made[0].folder).values())
    assert publish(made[1], url) == (len(new), sum(stored.bytes for stored in new))
    assert publish(made[1], url) == (0, 0)
    there = tmp_path / "there" / "signs"
    bring(there, Remote(url), made[0].digest)
    _, files, size = bring(there, Remote(url), made[1].digest[:10])
    assert (files, size) == (len(new), sum(stored.bytes for stored in new))
    assert bring(there, Remote(url), made[1].digest)[1:] == (0, 0)


def test_an_older_version_can_be_fetched_after_a_newer_one(made, tmp_path):
    url = str(tmp_path / "place")
    there = tmp_path / "there" / "signs"
    for version in made:
        publish(version, url)
    for version in (made[2], made[0], made[1]):
        bring(there, Remote(url), version.digest)
    listed = versions.versions(there.parent, "signs")
    assert {version.digest for version in listed} == {version.digest for version in made}
    assert all(verify(version.folder) == [] for version in listed)


def test_what_is_not_there_is_said_with_what_is(made, url, tmp_path):
    with pytest.raises(VersionError, match=r"no such version is published here.*none of that name"):
        bring(tmp_path / "there" / "signs", Remote(url), "latest")
    publish(made[0], url)
    with pytest.raises(VersionError, match=f"no such version.*signs@{made[0].digest[:12]}"):
        bring(tmp_path / "there" / "signs", Remote(url), made[1].digest)
    assert versions.names(tmp_path / "there") == []


def test_a_file_that_did_not_arrive_whole_is_sent_again(made, url):
    publish(made[0], url)
    system, root = fsspec.core.url_to_fs(url)
    shard = files_of(made[0].folder)["data/train-00000-of-00001.parquet"]
    path = f"{root}/objects/{shard.sha256[:2]}/{shard.sha256}"
    system.pipe_file(path, system.cat_file(path)[:-1])
    assert publish(made[0], url) == (1, shard.bytes)


def test_a_byte_that_was_flipped_there_is_noticed_here_and_the_rest_goes_on_later(made, url, tmp_path):
    publish(made[0], url)
    system, root = fsspec.core.url_to_fs(url)
    shard = files_of(made[0].folder)["data/train-00000-of-00001.parquet"]
    path = f"{root}/objects/{shard.sha256[:2]}/{shard.sha256}"
    content = system.cat_file(path)
    system.pipe_file(path, content[:99] + bytes([content[99] ^ 1]) + content[100:])
    there = tmp_path / "there" / "signs"
    with pytest.raises(CertificateError, match=r"train-00000-of-00001\.parquet.*did not arrive as it was"):
        bring(there, Remote(url), "latest")
    assert versions.names(there.parent) == []
    system.pipe_file(path, content)
    assert bring(there, Remote(url), "latest")[1] == 1
    assert verify(versions.load(there.parent, "signs").folder) == []


def test_a_version_that_does_not_hold_is_not_listed(made, tmp_path):
    """Whoever writes there can make files and list fit; the certificate does not."""
    url = str(tmp_path / "place")
    publish(made[0], url)
    forged = made[0].folder / "README.md"
    forged.write_text(forged.read_text() + "forged\n")
    remote = Remote(url)
    remote.publish("signs", made[0].digest, made[0].folder)
    path = Path(url) / "signs" / f"{made[0].digest}.json"
    told = json.loads(path.read_text())
    content = forged.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    told["files"]["README.md"] = {"sha256": digest, "bytes": len(content)}
    path.write_text(json.dumps(told))
    (Path(url) / "objects" / digest[:2]).mkdir(exist_ok=True)
    (Path(url) / "objects" / digest[:2] / digest).write_bytes(content)
    there = tmp_path / "there" / "signs"
    with pytest.raises(CertificateError, match=r"README\.md: was changed"):
        bring(there, remote, "latest")
    assert versions.names(there.parent) == []
    assert list(there.iterdir()) == []


@pytest.mark.parametrize("path", ["../x", "/etc/x", "data/../../x", "data/.x", "x.py", "goldloop/a/b"])
def test_a_list_that_names_a_file_outside_is_refused(made, tmp_path, path):
    url = str(tmp_path / "place")
    publish(made[0], url)
    listing = Path(url) / "signs" / f"{made[0].digest}.json"
    told = json.loads(listing.read_text())
    told["files"][path] = told["files"]["README.md"]
    listing.write_text(json.dumps(told))
    with pytest.raises(VersionError, match="does not belong into a version"):
        bring(tmp_path / "there" / "signs", Remote(url), "latest")


def test_a_version_whose_class_ids_mean_something_else_is_refused(made, make_texts, tmp_path):
    url = str(tmp_path / "place")
    publish(made[0], url)
    other = make_texts("other", classes=("no", "yes", "1"))
    mine = other.commit()
    with pytest.raises(VersionError, match=r"other ids.*yes, no, 1.*no, yes, 1.*GOLDLOOP_HOME"):
        bring(mine.folder.parent, Remote(url), "latest")
    assert versions.versions(other.versions, "signs") == [mine]


def test_commits_go_on_where_a_fetched_version_ends(made, make_texts, tmp_path):
    url = str(tmp_path / "place")
    publish(made[2], url)
    material = make_texts("elsewhere", count=300)
    bring(material.versions / "signs", Remote(url), "latest")
    material.labels[5] = replace(material.labels[5], target="1" if material.labels[5].target != "1" else "no")
    version = material.commit()
    assert version.parent == made[2].digest
    assert verify(version.folder) == []


def test_a_place_that_takes_nothing_says_why(made):
    with pytest.raises(VersionError, match="the place cannot be reached"):
        publish(made[0], "/proc/nothing/here")


def test_no_secret_of_an_address_is_told(made):
    with pytest.raises(VersionError) as caught:
        Remote("nosuch://somebody:hush-hush@place/x")
    assert "hush" not in str(caught.value)


def test_a_fetch_goes_on_with_what_has_arrived(made, tmp_path):
    url = str(tmp_path / "place")
    publish(made[0], url)
    objects = Path(url) / "objects"
    missing = files_of(made[0].folder)["README.md"].sha256
    (objects / missing[:2] / missing).rename(tmp_path / "kept")
    there = tmp_path / "there" / "signs"
    with pytest.raises(VersionError, match=r"README\.md"):
        bring(there, Remote(url), "latest")
    shutil.move(tmp_path / "kept", objects / missing[:2] / missing)
    assert bring(there, Remote(url), "latest")[1] == 1
