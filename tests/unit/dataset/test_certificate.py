"""What is changed in a version after it was made is found and named."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from goldloop.dataset.certificate import CERTIFICATE, DESCRIPTION, require, verify
from goldloop.dataset.policies import read_policies
from goldloop.dataset.version import Version
from goldloop.errors import CertificateError

SHARD = "data/train-00000-of-00001.parquet"


@pytest.fixture
def version(make_texts) -> Version:
    return make_texts().commit()


def found(folder: Path) -> list[str]:
    return [str(fault) for fault in verify(folder)]


def rewrite(folder: Path, change: Callable[[list[dict]], list[dict]]) -> list[dict]:
    """A shard written anew with other rows; returns those it had."""
    table = parquet.read_table(folder / SHARD)
    rows = table.to_pylist()
    changed = change([dict(row) for row in rows])
    parquet.write_table(pyarrow.Table.from_pylist(changed, schema=table.schema), folder / SHARD)
    return rows


def test_a_version_proves_itself(version):
    assert verify(version.folder) == []
    require(version.folder)


def test_the_certificate_says_what_was_checked_and_who_labelled(version):
    content = json.loads((version.folder / CERTIFICATE).read_text())
    assert content["digest"] == version.digest
    assert content["rows"] == 58
    assert content["ledger"] == {"pull": {"pulled": 60}, "commit": {"labelled": 58, "open": 2}}
    assert content["annotators"] == {"ann-1": 58, "ann-2": 58}
    assert content["provenance"] == {"human": 58}
    assert all(check["passed"] for check in content["checks"])
    counts = {check["name"]: check["count"] for check in content["checks"]}
    assert counts["every item has exactly one outcome"] == 60
    assert counts["content has the key that names it"] == 58
    assert SHARD in content["files"]


def test_a_missing_certificate_is_refused(version):
    (version.folder / CERTIFICATE).unlink()
    with pytest.raises(CertificateError, match=r"certificate\.json: is missing.*commit again"):
        require(version.folder)


@pytest.mark.parametrize("field", ["rows", "digest", "files", "annotators", "checks"])
def test_an_edited_certificate_is_refused(version, field):
    path = version.folder / CERTIFICATE
    content = json.loads(path.read_text())
    content[field] = type(content[field])()
    path.write_text(json.dumps(content))
    assert found(version.folder) == [f"{CERTIFICATE}: was edited: its seal does not fit"]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"seal": 1}', "\ud83d"])
def test_a_certificate_that_is_none_is_refused(version, content):
    (version.folder / CERTIFICATE).write_bytes(content.encode("utf-8", "surrogatepass"))
    (fault,) = verify(version.folder)
    assert fault.where == CERTIFICATE


def test_every_flipped_byte_of_a_shard_is_found_and_the_shard_named(version):
    shard = version.folder / SHARD
    whole = shard.read_bytes()
    places = range(0, len(whole), len(whole) // 40)
    assert len(places) >= 40
    for place in places:
        shard.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        assert f"{SHARD}: was changed: its digest is not the certificate's" in found(version.folder), place
    shard.write_bytes(whole)
    assert verify(version.folder) == []


def test_changed_content_names_its_item(version):
    def change(rows):
        rows[4]["text"] += "!"
        return rows

    key = rewrite(version.folder, change)[4]["key"]
    assert f"{SHARD} row {key}: its content has another digest than its key" in found(version.folder)


def test_a_changed_label_names_its_item(version):
    def change(rows):
        rows[4]["label"] = (rows[4]["label"] + 1) % 3
        return rows

    key = rewrite(version.folder, change)[4]["key"]
    faults = found(version.folder)
    assert f"{SHARD} row {key}: its label or its split is not what was settled" in faults
    assert "data: the rows do not have the version's digest" in faults
    with pytest.raises(CertificateError, match=f"{key}.*Bring the folder back"):
        require(version.folder)


def test_a_label_that_no_class_has_names_its_item(version):
    def change(rows):
        rows[4]["label"] = 17
        return rows

    key = rewrite(version.folder, change)[4]["key"]
    assert any(
        fault.startswith(f"{SHARD} row {key}: its label means nothing") for fault in found(version.folder)
    )


def test_a_missing_row_is_named(version):
    key = rewrite(version.folder, lambda rows: rows[1:])[0]["key"]
    faults = found(version.folder)
    assert f"row {key}: is missing" in faults
    assert "data: 57 rows, the certificate says 58" in faults


def test_a_row_that_stands_twice_is_named(version):
    key = rewrite(version.folder, lambda rows: [*rows, rows[0]])[0]["key"]
    assert f"{SHARD} row {key}: stands in {SHARD} too" in found(version.folder)


def test_a_row_that_stands_in_two_splits_is_named(version):
    other = version.folder / "data" / "test-00000-of-00001.parquet"
    train, test = parquet.read_table(version.folder / SHARD), parquet.read_table(other)
    parquet.write_table(pyarrow.concat_tables([test, train.slice(0, 1)]), other)
    key = train["key"][0].as_py()
    faults = found(version.folder)
    assert f"{SHARD} row {key}: stands in data/test-00000-of-00001.parquet too" in faults
    assert f"data/test-00000-of-00001.parquet row {key}: belongs to train" in faults
    assert f"group {key}: is in test and in train" in faults


def test_a_row_moved_into_another_group_is_named(version):
    other = next(f"group {number}" for number in range(99) if _split(f"group {number}", version) == "test")

    def change(rows):
        rows[0]["group"] = other
        return rows

    key = rewrite(version.folder, change)[0]["key"]
    assert f"{SHARD} row {key}: is of the group {other}, in the ledger of {key}" in found(version.folder)


def test_a_group_that_is_torn_apart_is_named(version):
    test = version.dataset("test")[0]

    def change(rows):
        rows[0]["group"] = test["group"]
        return rows

    rewrite(version.folder, change)
    assert f"group {test['group']}: is in test and in train" in found(version.folder)


def test_a_missing_shard_says_how_many_rows_are_gone(version):
    (version.folder / SHARD).unlink()
    faults = found(version.folder)
    assert f"{SHARD}: is missing" in faults
    assert f"data: {58 - version.counts['train']} rows, the certificate says 58" in faults


def test_an_unreadable_shard_is_one_fault_and_not_one_for_each_row(version):
    (version.folder / SHARD).write_bytes(b"PAR1 nothing PAR1")
    faults = found(version.folder)
    assert f"data: {version.counts['train']} of 58 rows cannot be read" in faults
    assert len(faults) < 8


def test_a_shard_of_a_type_that_nobody_knows_is_a_fault(version):
    shard = version.folder / SHARD
    schema = parquet.read_schema(shard).remove_metadata()
    assert schema.field("label").type == pyarrow.int64()
    content = shard.read_bytes()
    (written,) = re.findall(rb"ARROW:schema.{2,3}?(/////[A-Za-z0-9+/]+=*)", content, re.DOTALL)
    wider = base64.b64decode(written).replace((64).to_bytes(4, "little"), (128).to_bytes(4, "little"))
    shard.write_bytes(content.replace(written, base64.b64encode(wider)))
    faults = found(version.folder)
    assert any(re.match(f"{SHARD}: cannot be read: .*more than 64 bits", fault) for fault in faults), faults


@pytest.mark.parametrize("field", ["digest", "task", "policies", "duplicates"])
def test_a_description_that_lacks_a_field_is_named(version, field):
    path = version.folder / DESCRIPTION
    fields = json.loads(path.read_text())
    del fields[field]
    path.write_text(json.dumps(fields))
    assert f"{DESCRIPTION}: cannot be read: {field!r}" in found(version.folder)


@pytest.mark.parametrize(
    "name", ["data/train-00001-of-00002.parquet", "data/x.py", "goldloop/more.json", "x"]
)
def test_a_file_that_does_not_belong_is_named(version, name):
    (version.folder / name).write_bytes(b"print()")
    assert f"{name}: does not belong to the version" in found(version.folder)


@pytest.mark.parametrize(
    "name",
    ["README.md", "goldloop/version.json", "goldloop/manifest.json", "goldloop/ledger-00000.arrow"],
)
def test_any_other_file_that_is_changed_or_missing_is_named(version, name):
    path = version.folder / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert f"{name}: was changed: its digest is not the certificate's" in found(version.folder)
    path.write_bytes(b"")
    assert f"{name}: was changed: its digest is not the certificate's" in found(version.folder)
    path.unlink()
    assert f"{name}: is missing" in found(version.folder)


def _split(group: str, version: Version) -> str | None:
    (policy,) = read_policies({"policies": version.policies})
    return policy.place(group, None)
