from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from goldloop.connectors import connectors
from goldloop.connectors.base import Found, Kept, NothingKnown
from goldloop.errors import SourceError
from goldloop.records import Item, Quarantined


def _png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


def _shard(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as shard:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
    return path


def _sample(name: str, shade: int, **fields) -> list[tuple[str, bytes]]:
    return [
        (f"{name}.png", _png(shade)),
        (f"{name}.cls", b"cat\n"),
        (f"{name}.json", json.dumps(fields).encode()),
        (f"{name}.pyd", b"cos\nsystem\n(S'exit 1'\ntR."),
    ]


def _read(known=None, **section) -> list[Found | Kept]:
    return list(connectors.create({"kind": "webdataset", **section}).read(known or NothingKnown()))


def test_members_of_one_name_are_one_sample_with_fields(tmp_path):
    _shard(
        tmp_path / "train-000.tar",
        [*_sample("d/0001", 1, year=2020, who="ann"), *_sample("d/0002", 2, year=1999)],
    )
    label = {"from": "cls", "use": "imported"}
    found = _read(url=str(tmp_path / "*.tar"), label=label, metadata=["year"], group="who")
    one, two = (each.entry for each in found)
    assert one.uri == f"{tmp_path}/train-000.tar#d/0001"
    assert (one.content, one.label, one.metadata, one.group) == (_png(1), "cat", {"year": 2020}, "ann")
    assert two.group == two.key
    assert [each.entry.uri for each in _read(url=str(tmp_path), filter="year < 2000")] == [two.uri]


def test_a_caption_beside_an_image_is_no_item_unless_it_is_asked_for(tmp_path):
    _shard(tmp_path / "a.tar", [("1.txt", b"a cat"), ("1.png", _png(1))])
    assert _read(url=str(tmp_path / "a.tar"))[0].entry.modality == "image"
    assert _read(url=str(tmp_path / "a.tar"), content="txt")[0].entry.text == "a cat"


def test_what_cannot_be_used_is_quarantined_and_the_rest_goes_on(tmp_path):
    members = [
        ("1.json", b"{"), ("1.png", _png(1)), ("2.cls", b"cat"), ("3.png", b"no image"), ("4.png", _png(4)),
        ("5.png", _png(5)), ("4.png", _png(6)),
    ]  # fmt: skip
    found = [each.entry for each in _read(url=str(_shard(tmp_path / "a.tar", members)))]
    reasons = {
        entry.uri.rpartition("#")[2]: entry.reason for entry in found if isinstance(entry, Quarantined)
    }
    assert list(reasons) == ["1", "2", "3", "4@again"]
    for name, said in (("1", ".json"), ("2", "no member"), ("3", "no image"), ("4@again", "this name too")):
        assert said in reasons[name]
    assert [entry.uri.rpartition("#")[2] for entry in found if isinstance(entry, Item)] == ["4", "5"]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_shard_that_is_cut_off_gives_what_comes_before_and_says_so(tmp_path, mode):
    members = [(f"{number:03}.png", _png(number % 250)) for number in range(200)]
    whole = _shard(tmp_path / "a.tar", members, mode).read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[: len(whole) // 2])
    _shard(tmp_path / "b.tar", members[:1], mode)
    found = [each.entry for each in _read(url=str(tmp_path))]
    (broken,) = (entry for entry in found if isinstance(entry, Quarantined))
    assert "cannot be read on from here" in broken.reason
    assert found.index(broken) > 50
    assert found[-1].uri == f"{tmp_path}/b.tar#000"


def test_only_shards_that_have_changed_are_read_again(tmp_path):
    for name in ("a", "b"):
        _shard(tmp_path / f"{name}.tar", [("1.png", _png(ord(name)))])
    marks = {each.part: each.mark for each in _read(url=str(tmp_path))}

    class _Before:
        bookmark = None

        def unchanged(self, asked, *, many=False):
            return {part for part, mark in asked.items() if many and marks[part] == mark}

    _shard(tmp_path / "b.tar", [("1.png", _png(1)), ("2.png", _png(2))])
    kept, *anew = _read(_Before(), url=str(tmp_path))
    assert kept == Kept(f"{tmp_path}/a.tar", marks[f"{tmp_path}/a.tar"], many=True)
    assert [each.number for each in anew] == [0, 1]


def test_a_folder_without_shards_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no shard"):
        _read(url=str(tmp_path))
