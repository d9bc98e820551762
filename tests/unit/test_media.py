from __future__ import annotations

import io

import pytest
from PIL import Image

from goldloop.errors import WorkspaceError
from goldloop.media import MediaStore
from goldloop.records import Item, content_key


def _item(form: str, media_type: str) -> tuple[Item, bytes]:
    buffer = io.BytesIO()
    picture = Image.new("RGB", (6, 3), (200, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(buffer, format=form, exif=exif)
    key = content_key(buffer.getvalue())
    item = Item(key=key, modality="image", uri="u", group=key, source="s", media_type=media_type)
    return item, buffer.getvalue()


def test_bytes_come_back_as_they_went_in_and_are_written_once(tmp_path):
    item, content = _item("JPEG", "image/jpeg")
    store = MediaStore(tmp_path)
    store.put(item, content)
    written = store.path(item).stat().st_mtime_ns
    store.put(item, content)
    assert store.read(item) == content
    assert store.path(item).stat().st_mtime_ns == written
    assert store.preview(item) == store.path(item)
    assert [path.name for path in tmp_path.rglob(".*")] == []


def test_what_browsers_cannot_show_has_an_upright_png_beside_it(tmp_path):
    item, content = _item("TIFF", "image/tiff")
    store = MediaStore(tmp_path)
    store.put(item, content)
    with Image.open(store.preview(item)) as preview:
        assert (preview.format, preview.size) == ("PNG", (3, 6))
    assert store.read(item) == content


def test_a_missing_image_is_an_error_that_says_where_it_came_from(tmp_path):
    item, _ = _item("PNG", "image/png")
    with pytest.raises(WorkspaceError, match="it came from u"):
        MediaStore(tmp_path).read(item)


def _turned(form: str, media_type: str, orientation: int) -> tuple[Item, bytes]:
    buffer = io.BytesIO()
    picture = Image.new("RGB", (6, 3), (200, 10, 10))
    picture.putpixel((0, 0), (10, 10, 200))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(buffer, format=form, exif=exif)
    key = content_key(buffer.getvalue())
    return Item(
        key=key, modality="image", uri="u", group=key, source="s", media_type=media_type
    ), buffer.getvalue()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_image_that_is_turned_has_an_upright_copy_and_another_is_itself(tmp_path, orientation):
    store = MediaStore(tmp_path)
    item, content = _turned("PNG", "image/png", orientation)
    store.put(item, content)
    path, kind = store.upright(item)
    assert kind == "image/png"
    with Image.open(path) as image, Image.open(io.BytesIO(content)) as original:
        assert image.size == ((3, 6) if orientation >= 5 else (6, 3))
        assert not image.getexif()
        from PIL import ImageOps

        assert image.tobytes() == ImageOps.exif_transpose(original).convert("RGB").tobytes()
    written = path.stat().st_mtime_ns
    assert store.upright(item) == (path, kind)
    assert path.stat().st_mtime_ns == written
    straight, content = _turned("PNG", "image/png", 1)
    store.put(straight, content)
    assert store.upright(straight) == (store.path(straight), "image/png")


def test_an_image_in_pieces_is_kept_only_if_it_is_the_one(tmp_path):
    store = MediaStore(tmp_path)
    item, content = _item("PNG", "image/png")
    pieces = [content[:20], content[20:]]
    assert not store.keep(item, [content[:20]], 1000)
    assert not store.keep(item, pieces, len(content) - 1)
    assert not store.path(item).exists()
    assert store.keep(item, pieces, len(content))
    assert store.read(item) == content
    assert list(tmp_path.rglob(".*")) == []


def test_an_upright_copy_of_what_is_gone_is_an_error(tmp_path):
    item, _ = _item("TIFF", "image/tiff")
    with pytest.raises(WorkspaceError, match="missing"):
        MediaStore(tmp_path).upright(item)
