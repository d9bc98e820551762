"""What finds near-duplicates of a content goes with the content."""

from __future__ import annotations

from pictures import scene, stored

from goldloop.duplicates.finder import Finder
from goldloop.holders.traces import Traces
from goldloop.progress import Silent
from goldloop.records import content_key
from goldloop.settings import Settings
from goldloop.workspace import Workspace


def test_of_a_content_that_is_forgotten_no_byte_is_left(tmp_path):
    workspace = Workspace(tmp_path, Settings())
    folder = workspace.cache / "duplicates"
    contents = {content_key(each): each for each in (stored(scene(number)) for number in range(6))}
    finder = Finder(folder, "image", "near")
    list(finder.learn(contents.items()))
    finder.cliques(list(contents))
    key = next(iter(contents))
    detail = finder.traces([key])[key].detail
    holder = Traces(workspace)
    assert [place.where for place in holder.find(key)] == ["cache/duplicates/images-1.db"]
    assert detail[:64] in b"".join(each.read_bytes() for each in folder.iterdir())
    assert holder.erase(key, Silent()) == []
    kept = b"".join(each.read_bytes() for each in folder.iterdir())
    assert detail[:64] not in kept
    assert bytes.fromhex(key) not in kept
    assert holder.find(key) == []
    assert finder.unknown(contents) == [key]


def test_where_nothing_was_looked_at_there_is_nothing_to_erase(tmp_path):
    holder = Traces(Workspace(tmp_path, Settings()))
    assert holder.find("0" * 64) == []
    assert holder.erase("0" * 64, Silent()) == []
