from __future__ import annotations

import io
from dataclasses import replace

import pytest
from PIL import Image

from goldloop.catalog import ledger
from goldloop.catalog.content import items_of
from goldloop.connectors._intake import Intake, fingerprint
from goldloop.connectors.base import Connector, ConnectorConfig
from goldloop.errors import AnnotationError
from goldloop.progress import Silent
from goldloop.records import Item, Quarantined, content_key
from goldloop.settings import Settings
from goldloop.workspace import Workspace

CLASSES = ("cat", "dog")


class _Listed(Connector):
    """A source whose entries are given."""

    def __init__(self, *entries: Item | Quarantined, mark: str | None = "mark") -> None:
        super().__init__(ConnectorConfig(kind="listed"))
        self._entries = entries
        self._mark = mark

    def items(self):
        yield from self._entries

    def fingerprint(self):
        return self._mark


def _parse(value, item):
    if value not in CLASSES:
        raise AnnotationError("unknown class", found=repr(value), expected="cat or dog")
    return value


def _png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, shade, shade)).save(buffer, format="PNG")
    return buffer.getvalue()


def _image(uri: str, shade: int = 0, label: str | None = None) -> Item:
    content = _png(shade)
    key = content_key(content)
    return Item(
        key=key, modality="image", uri=uri, group=key, source="listed", media_type="image/png", width=4,
        height=4, label=label, label_use="imported" if label else None, content=content,
    )  # fmt: skip


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path, Settings())


def _take_in(workspace, *sources: _Listed):
    intake = Intake(workspace.media, "image", _parse)
    intake.read([(f"{number}:listed", source) for number, source in enumerate(sources)], Silent())
    return intake.store(workspace.engine, "pets", "inputs")


def _items(workspace):
    with workspace.engine.connect() as connection:
        return list(items_of(connection, "pets"))


def _reasons(workspace, outcome):
    with workspace.engine.connect() as connection:
        return {entry.subject: entry.reason for entry in ledger.entries(connection, "pets", "pull", outcome)}


def test_every_address_has_an_outcome_and_every_content_is_kept_once(workspace):
    books = _take_in(
        workspace,
        _Listed(_image("a", 1), _image("b", 1), _image("c", 2), Quarantined(uri="d", reason="cut off")),
    )
    assert str(books) == "4 = 1 duplicate + 2 pulled + 1 quarantined"
    assert {item.uri for item in _items(workspace)} == {"a", "c"}
    assert _reasons(workspace, "duplicate") == {"0:listed b": "the same content as a"}
    assert _reasons(workspace, "quarantined") == {"0:listed d": "cut off"}


def test_images_are_in_the_workspace_and_the_catalog_carries_none(workspace):
    _take_in(workspace, _Listed(_image("a", 7)))
    (item,) = _items(workspace)
    assert item.content is None
    assert workspace.media.read(item) == _png(7)


def test_one_address_in_two_sources_has_an_outcome_in_each(workspace):
    books = _take_in(workspace, _Listed(_image("a", 1)), _Listed(_image("a", 1)))
    assert str(books) == "2 = 1 duplicate + 1 pulled"


def test_a_class_that_the_recipe_does_not_know_is_quarantined(workspace):
    books = _take_in(workspace, _Listed(_image("a", 1, "cat"), _image("b", 2, "cow")))
    assert str(books) == "2 = 1 pulled + 1 quarantined"
    assert "'cow'" in _reasons(workspace, "quarantined")["0:listed b"]


def test_the_wrong_modality_is_quarantined(workspace):
    text = replace(_image("t", 1), modality="text", text="words", media_type="text/plain", content=None)
    books = _take_in(workspace, _Listed(text, _image("a", 2)))
    assert str(books) == "2 = 1 pulled + 1 quarantined"


def test_two_addresses_that_contradict_each_other_leave_no_label(workspace):
    _take_in(workspace, _Listed(_image("a", 1, "cat"), _image("b", 1, "dog")))
    (item,) = _items(workspace)
    assert (item.label, item.label_use) == (None, None)
    assert "neither is used" in _reasons(workspace, "duplicate")["0:listed b"]


def test_a_pull_that_breaks_off_leaves_the_catalog_as_it_was(workspace):
    _take_in(workspace, _Listed(_image("a", 1)))

    class _Breaks(_Listed):
        def items(self):
            yield _image("z", 9)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _take_in(workspace, _Breaks())
    assert [item.uri for item in _items(workspace)] == ["a"]


def test_a_fingerprint_needs_every_source_to_have_one():
    one, none = _Listed(mark="1"), _Listed(mark=None)
    assert fingerprint([("0:listed", one)]) == "0:listed 1"
    assert fingerprint([("0:listed", one), ("1:listed", none)]) is None
