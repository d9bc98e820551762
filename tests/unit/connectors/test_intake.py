from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace

import pytest
from PIL import Image

from goldloop.catalog import ledger
from goldloop.catalog.content import item_states, items_of
from goldloop.catalog.tables import addresses, arrivals, arrived
from goldloop.connectors import _intake as intake
from goldloop.connectors._intake import Intake, Source
from goldloop.connectors.base import Connector, ConnectorConfig, Found, Kept
from goldloop.errors import AnnotationError, LedgerError
from goldloop.progress import Silent
from goldloop.records import Item, Quarantined, content_key
from goldloop.settings import Settings
from goldloop.workspace import Workspace

CLASSES = ("cat", "dog")


class _Listed(Connector):
    """A source whose entries are given; `read_entries` says which were really read."""

    def __init__(
        self,
        *entries: Item | Quarantined,
        mark: str | None = None,
        marks: dict[str, str] | None = None,
        part: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(ConnectorConfig(kind="listed"))
        self._entries, self._mark, self._marks, self._part = entries, mark, marks or {}, part
        self.read_entries: list[str] = []

    def read(self, known):
        if self._part and known.unchanged(dict([self._part]), many=True):
            yield Kept(*self._part, many=True)
            return
        kept = known.unchanged(self._marks)
        for number, entry in enumerate(self._entries):
            if entry.uri in kept:
                yield Kept(entry.uri, self._marks[entry.uri])
                continue
            self.read_entries.append(entry.uri)
            part, mark = self._part or (None, self._marks.get(entry.uri))
            yield Found(entry, number, part, mark)

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


def _take_in(workspace, *sources: _Listed, reading: str = "same", full: bool = False):
    named = [Source(f"{number}:listed", source, reading) for number, source in enumerate(sources)]
    with workspace.engine.connect() as connection:
        looked = intake.look(connection, "pets", named, full=full)
    taker = Intake(workspace.media.put, "image", _parse)
    return intake.pull(workspace.engine, "pets", looked, taker, f"inputs {reading}", Silent())


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

    with pytest.raises(KeyboardInterrupt):
        _take_in(workspace, _Breaks(_image("z", 9)))
    assert [item.uri for item in _items(workspace)] == ["a"]


class _Breaks(_Listed):
    """Is interrupted once all entries were given."""

    def read(self, known):
        yield from super().read(known)
        raise KeyboardInterrupt


def _states(workspace):
    with workspace.engine.connect() as connection:
        states = item_states(connection, "pets")
    return {
        name: states.get(_image("x", shade).key) for name, shade in (("one", 1), ("two", 2), ("three", 3))
    }


def test_an_attempt_that_was_killed_is_gone_on_with(workspace, monkeypatch):
    monkeypatch.setattr("goldloop.catalog.arrivals._CHUNK", 1)
    entries = [_image(name, shade) for name, shade in zip("abcd", range(1, 5), strict=True)]
    marks = {entry.uri: "1" for entry in entries}
    for _ in range(2):
        first = _Breaks(*entries[:2], marks=marks)
        with pytest.raises(KeyboardInterrupt):
            _take_in(workspace, first)
    assert first.read_entries == []
    second = _Listed(*entries, marks={**marks, "b": "2"})
    assert str(_take_in(workspace, second)) == "4 = 4 pulled"
    assert second.read_entries == ["b", "c", "d"]
    with workspace.engine.connect() as connection:
        assert connection.execute(arrivals.select()).first() is None
        assert connection.execute(arrived.select()).first() is None


def test_an_attempt_from_other_inputs_is_begun_anew(workspace):
    entries, marks = [_image("a", 1)], {"a": "1"}
    with pytest.raises(KeyboardInterrupt):
        _take_in(workspace, _Breaks(*entries, marks=marks), reading="before")
    second = _Listed(*entries, marks=marks)
    _take_in(workspace, second)
    assert second.read_entries == ["a"]


def test_whole_parts_of_a_killed_attempt_are_taken_over_and_a_cut_one_is_not(workspace):
    class _Shards(_Breaks):
        def read(self, known):
            for name in ("one", "two"):
                mark = {f"shard-{name}": "1"}
                if known.unchanged(mark, many=True):
                    yield Kept(f"shard-{name}", "1", many=True)
                    continue
                for number in range(2):
                    if (name, number) == ("two", 1) and self.breaks:
                        raise KeyboardInterrupt
                    entry = _image(f"{name}-{number}", len(name) * 7 + number + ord(name[0]))
                    self.read_entries.append(entry.uri)
                    yield Found(entry, number, f"shard-{name}", "1")

    first, second, third = _Shards(), _Shards(), _Shards()
    first.breaks, second.breaks, third.breaks = True, True, False
    for source in (first, second):
        with pytest.raises(KeyboardInterrupt):
            _take_in(workspace, source)
    assert second.read_entries == ["two-0"]
    assert str(_take_in(workspace, third)) == "4 = 4 pulled"
    assert third.read_entries == ["two-0", "two-1"]
    again = _Shards()
    again.breaks = False
    assert str(_take_in(workspace, again)) == "4 = 4 pulled"
    assert again.read_entries == []


def test_only_what_has_changed_is_read_again_and_all_of_it_if_so_asked(workspace):
    entries = [_image("a", 1), _image("b", 2), Quarantined(uri="c", reason="cut off")]
    marks = {"a": "1", "b": "1", "c": "1"}
    before = _take_in(workspace, _Listed(*entries, marks=marks))
    again = _Listed(_image("a", 1), _image("b", 3), entries[2], marks={**marks, "b": "2"})
    assert _take_in(workspace, again) == before
    assert again.read_entries == ["b"]
    assert _states(workspace) == {"one": "current", "two": "superseded", "three": "current"}
    assert _reasons(workspace, "quarantined") == {"0:listed c": "cut off"}
    whole = _Listed(*entries, marks=marks)
    _take_in(workspace, whole, full=True)
    assert whole.read_entries == ["a", "b", "c"]
    other = _Listed(*entries, marks=marks)
    _take_in(workspace, other, reading="another task")
    assert other.read_entries == ["a", "b", "c"]


def test_a_source_with_the_same_fingerprint_is_not_read_though_another_is(workspace):
    one, other = _Listed(_image("a", 1), mark="1"), _Listed(_image("b", 2), mark="1")
    _take_in(workspace, one, other)
    one, other = _Listed(mark="1"), _Listed(_image("b", 3), mark="2")
    assert str(_take_in(workspace, one, other)) == "2 = 2 pulled"
    assert _states(workspace) == {"one": "current", "two": "superseded", "three": "current"}


def test_which_address_comes_first_does_not_depend_on_what_was_pulled_before(workspace, tmp_path):
    marks = {"b": "1"}
    _take_in(workspace, _Listed(replace(_image("b", 1), group="of b"), marks=marks))
    both = _image("a", 1), replace(_image("b", 1), group="of b")
    books = _take_in(workspace, _Listed(*both, marks=marks))
    anew = Workspace(tmp_path / "anew", Settings())
    assert _take_in(anew, _Listed(*both, marks=marks)) == books
    assert _items(workspace) == _items(anew)
    assert _items(workspace)[0].uri == "a"


def test_a_label_that_was_disputed_is_back_when_the_other_address_is_gone(workspace):
    marks = {"a": "1"}
    _take_in(workspace, _Listed(_image("a", 1, "cat"), _image("b", 1, "dog"), marks=marks))
    assert _items(workspace)[0].label is None
    _take_in(workspace, _Listed(_image("a", 1, "cat"), marks=marks))
    assert _items(workspace)[0].label == "cat"


def test_new_content_at_an_old_address_supersedes_unless_it_has_another_address(workspace):
    _take_in(workspace, _Listed(_image("a", 1), _image("b", 2), _image("c", 2)))
    _take_in(workspace, _Listed(_image("a", 3), _image("b", 3), _image("c", 2)))
    assert _states(workspace) == {"one": "superseded", "two": "current", "three": "current"}


def test_content_without_any_address_is_gone_and_can_return(workspace):
    _take_in(workspace, _Listed(_image("a", 1), _image("b", 2)))
    _take_in(workspace, _Listed(_image("b", 2)))
    assert _states(workspace)["one"] == "gone"
    _take_in(workspace, _Listed(_image("a", 1), _image("b", 2)))
    assert _states(workspace)["one"] == "current"


def test_the_addresses_of_a_source_that_left_the_recipe_are_gone(workspace):
    _take_in(workspace, _Listed(_image("a", 1)), _Listed(_image("b", 2)))
    assert str(_take_in(workspace, _Listed(_image("a", 1)))) == "1 = 1 pulled"
    assert _states(workspace)["two"] == "gone"
    with workspace.engine.connect() as connection:
        assert [row.uri for row in connection.execute(addresses.select())] == ["a"]


def test_a_source_that_tells_only_what_is_new_keeps_the_rest(workspace):
    class _Continued(_Listed):
        def bookmark(self):
            return "here"

    assert str(_take_in(workspace, _Continued(_image("a", 1), _image("b", 2)))) == "2 = 2 pulled"
    assert str(_take_in(workspace, _Continued(_image("b", 3)))) == "2 = 2 pulled"
    assert _states(workspace) == {"one": "current", "two": "superseded", "three": "current"}
    assert str(_take_in(workspace, _Continued(_image("b", 3)), full=True)) == "1 = 1 pulled"
    assert _states(workspace)["one"] == "gone"


def test_an_address_that_comes_twice_in_a_source_is_an_error(workspace):
    with pytest.raises(LedgerError, match="two outcomes for one subject"):
        _take_in(workspace, _Listed(_image("a", 1), _image("a", 2)))


def test_memory_does_not_grow_with_the_source(tmp_path):
    def peak(count: int) -> int:
        class _Many(_Listed):
            def read(self, known):
                for number in range(count):
                    text = f"text {number}"
                    key = content_key(text.encode())
                    item = Item(
                        key=key, modality="text", uri=f"row {number}", group=key, source="", text=text,
                        media_type="text/plain",
                    )  # fmt: skip
                    yield Found(item, number, "rows", "1")

        workspace = Workspace(tmp_path / str(count), Settings())
        with workspace.engine.connect() as connection:
            looked = intake.look(connection, "pets", [Source("0:listed", _Many(), "same")])
        taker = Intake(workspace.media.put, "text", _parse)
        tracemalloc.start()
        books = intake.pull(workspace.engine, "pets", looked, taker, "inputs", Silent())
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert books.outcomes == {"pulled": count}
        return highest

    assert peak(12_000) < 1.2 * peak(3_000)
