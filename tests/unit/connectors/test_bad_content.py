"""What cannot be used is quarantined with its reason, and the rest goes on."""

from __future__ import annotations

import csv
import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from goldloop.connectors import connectors
from goldloop.errors import SourceError
from goldloop.records import Item, Quarantined, content_key

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared/data beside the repository")


def _image(form: str = "PNG", size: tuple[int, int] = (8, 6), **options) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (10, 200, 30)).save(buffer, format=form, **options)
    return buffer.getvalue()


def _huge_png() -> bytes:
    """A PNG whose header claims 10,000 x 10,000 pixels and that has none."""
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def _files(folder: Path, **options) -> dict[str, Item | Quarantined]:
    connector = connectors.create({"kind": "files", "url": str(folder), **options})
    return {Path(entry.uri).name: entry for entry in connector.items()}


def _table(path: Path, **options) -> list[Item | Quarantined]:
    return list(connectors.create({"kind": "table", "url": str(path), "text": "text", **options}).items())


BAD_FILES = {
    "empty.png": (b"", "empty"),
    "cut.jpg": (_image("JPEG", (200, 200))[:900], "decoded"),
    "page.jpg": (b"<!DOCTYPE html><html></html>", "HTML page"),
    "huge.png": (_huge_png(), "100 megapixels"),
    "program.exe": (b"MZ", "not a kind of file"),
    "latin.txt": ("größe".encode("latin-1"), "offset 2"),
    "nothing.txt": (b"", "empty"),
    "blank.txt": (b" \n\t ", "blank"),
    "nul.txt": (b"a\0b", "NUL"),
    "long.txt": (b"x" * 5_000_000, "5.0 MB"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_quarantined_and_the_good_one_beside_it_is_not(tmp_path, name):
    content, reason = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    (tmp_path / "good.png").write_bytes(_image())
    found = _files(tmp_path)
    assert isinstance(found["good.png"], Item)
    bad = found[name]
    assert isinstance(bad, Quarantined)
    assert reason in bad.reason


def test_a_file_that_cannot_be_opened_is_quarantined(tmp_path):
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "good.png").write_bytes(_image())
    found = _files(tmp_path)
    assert isinstance(found["good.png"], Item)
    assert not isinstance(found.get("gone.png"), Item)


def test_the_bytes_say_what_an_image_is_and_not_its_name(tmp_path):
    (tmp_path / "really.jpg").write_bytes(_image("PNG"))
    item = _files(tmp_path)["really.jpg"]
    assert isinstance(item, Item)
    assert item.media_type == "image/png"


def test_an_image_lying_on_its_side_is_measured_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "turned.jpg").write_bytes(_image("JPEG", (8, 6), exif=exif))
    item = _files(tmp_path)["turned.jpg"]
    assert isinstance(item, Item)
    assert (item.width, item.height) == (6, 8)


def test_of_several_frames_the_item_says_how_many(tmp_path):
    frames = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in (0, 120, 250)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    item = _files(tmp_path)["moving.gif"]
    assert isinstance(item, Item)
    assert item.metadata["frames"] == 3


def test_a_text_is_kept_to_the_character_but_for_its_byte_order_mark(tmp_path):
    text = "\t two\r\nlines \N{PILE OF POO}\u200d"
    (tmp_path / "a.txt").write_bytes(text.encode("utf-8-sig"))
    item = _files(tmp_path)["a.txt"]
    assert isinstance(item, Item)
    assert item.text == text
    assert item.key == content_key(text.encode())


def test_the_same_bytes_in_two_places_have_one_key(tmp_path):
    for name in ("one.png", "two.png"):
        (tmp_path / name).write_bytes(_image())
    one, two = _files(tmp_path).values()
    assert isinstance(one, Item)
    assert isinstance(two, Item)
    assert one.key == two.key
    assert one.uri != two.uri


def test_hidden_files_and_litter_are_not_looked_at(tmp_path):
    for name in (".DS_Store", "Thumbs.db", "a.txt"):
        (tmp_path / name).write_bytes(b"text")
    assert list(_files(tmp_path)) == ["a.txt"]


def test_a_folder_is_a_label_and_a_group(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(_image())
    item = _files(tmp_path, label={"from": "folder", "use": "imported"}, group="folder")["a.png"]
    assert isinstance(item, Item)
    assert (item.label, item.label_use, Path(item.group).name) == ("cat", "imported", "cat")


def test_an_empty_folder_and_a_wrong_one_are_errors_with_a_remedy(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(SourceError, match="no file is there"):
        _files(tmp_path / "photos")
    with pytest.raises(SourceError, match=r"Did you mean .*photos"):
        _files(tmp_path / "photso")


def test_fingerprints_tell_when_a_file_changes(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    connector = connectors.create({"kind": "files", "url": str(tmp_path)})
    before = connector.fingerprint()
    assert connector.fingerprint() == before
    (tmp_path / "a.txt").write_text("another")
    assert connector.fingerprint() != before


def test_a_table_without_the_column_says_which_it_has(tmp_path):
    (tmp_path / "t.csv").write_text("txt,label\nhello,a\n")
    with pytest.raises(SourceError, match=r"no column 'text'.*txt, label.*Did you mean 'txt'"):
        _table(tmp_path / "t.csv")


def test_values_stay_the_strings_that_they_are(tmp_path):
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["text"], ["007"], ["NA"], ['two\r\nlines, "quoted"'], ["2024-01-01"]])
    texts = [item.text for item in _table(tmp_path / "t.csv") if isinstance(item, Item)]
    assert texts == ["007", "NA", 'two\r\nlines, "quoted"', "2024-01-01"]


def test_bad_rows_are_quarantined_by_their_line(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"id,text\n1,good\n2,a,b\n3,\xff\n1,again\n4,\n5,fine\n")
    found = _table(tmp_path / "t.csv", id="id")
    reasons = [entry.reason for entry in found if isinstance(entry, Quarantined)]
    assert [entry.text for entry in found if isinstance(entry, Item)] == ["good", "fine"]
    for reason, expected in zip(reasons, ("3 fields", "not UTF-8", "tell rows apart", "empty"), strict=True):
        assert expected in reason


def test_lines_that_are_no_json_are_quarantined(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "good"}\n{"text": \n[1]\n{"text": 3}\n\n{"text": "fine"}\n')
    found = _table(tmp_path / "t.jsonl")
    assert [entry.text for entry in found if isinstance(entry, Item)] == ["good", "fine"]
    assert sum(isinstance(entry, Quarantined) for entry in found) == 3


def test_images_of_a_table_lie_beside_it_and_a_missing_one_is_quarantined(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(_image())
    (tmp_path / "t.csv").write_text("file,class\npictures/a.png,cat\npictures/b.png,dog\n")
    connector = connectors.create(
        {
            "kind": "table",
            "url": str(tmp_path / "t.csv"),
            "image": "file",
            "label": {"from": "class", "use": "truth"},
        }
    )
    one, other = connector.items()
    assert isinstance(one, Item)
    assert one.label == "cat"
    assert isinstance(other, Quarantined)


@pytest.mark.parametrize("name", ["t.tsv", "t.parquet", "t.csv.gz"])
def test_other_kinds_of_tables_give_the_same_items(tmp_path, name):
    import pandas

    frame = pandas.DataFrame({"text": ["one", "two\ttabs", "three"], "n": ["1", "2", "3"]})
    path = tmp_path / name
    if name.endswith("parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if name.endswith("tsv") else ",")
    texts = [item.text for item in _table(path, metadata=["n"]) if isinstance(item, Item)]
    assert texts == ["one", "two\ttabs", "three"]


def test_a_table_that_is_not_there_or_of_no_known_kind_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no file"):
        _table(tmp_path / "none.csv")
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(SourceError, match="not a kind of table"):
        _table(tmp_path / "t.xlsx")


@needs_data
def test_all_photos_of_hand_signs_are_taken():
    url = str(SHARED / "sign-digits" / "Dataset" / "**" / "*.JPG")
    connector = connectors.create({"kind": "files", "url": url, "label": {"from": "folder", "use": "truth"}})
    items = [entry for entry in connector.items() if isinstance(entry, Item)]
    assert len(items) == 2062
    assert {item.label for item in items} == set("0123456789")


@needs_data
def test_all_questions_of_bank_customers_are_taken():
    found = _table(SHARED / "banking77" / "train.csv", label={"from": "category", "use": "truth"})
    items = [entry for entry in found if isinstance(entry, Item)]
    assert len(items) == 10_003
    assert len({item.label for item in items}) == 77


def test_images_in_an_s3_bucket_are_taken_and_no_secret_is_told(tmp_path, monkeypatch):
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
        client.create_bucket(Bucket="photos")
        client.put_object(Bucket="photos", Key="cats/a.png", Body=_image())
        client.close()
        connector = connectors.create({"kind": "files", "url": "s3://photos/cats/*.png"})
        (item,) = connector.items()
        assert isinstance(item, Item)
        assert item.uri == "s3://photos/cats/a.png"
        with pytest.raises(SourceError) as caught:
            list(connectors.create({"kind": "files", "url": "s3://no-such-bucket/x"}).items())
        assert "hush" not in str(caught.value)
    finally:
        server.stop()
