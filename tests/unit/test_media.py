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
