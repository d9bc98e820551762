import pytest

from goldloop.dataset.history import Commit, add, commits, insert
from goldloop.errors import VersionError

FIRST = Commit("a" * 64, "2026-01-01T00:00:00+00:00", "one\nline\u2028more", None, ("x", "é"))
SECOND = Commit("b" * 64, "2026-01-02T00:00:00+00:00", None, "a" * 64, ("x", "é", "z"))


def test_commits_are_read_in_their_order_whatever_their_messages(tmp_path):
    assert commits(tmp_path) == []
    add(tmp_path, FIRST)
    add(tmp_path, SECOND)
    assert commits(tmp_path) == [FIRST, SECOND]
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_broken_line_is_named(tmp_path):
    add(tmp_path, FIRST)
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text() + '{"digest": ')
    with pytest.raises(VersionError, match=r"log\.jsonl, line 2"):
        commits(tmp_path)


def test_a_commit_made_elsewhere_stands_where_its_time_is(tmp_path):
    third = Commit("c" * 64, "2026-01-03T00:00:00+00:00", None, "b" * 64, SECOND.classes)
    for commit in (third, FIRST, SECOND):
        insert(tmp_path, commit)
    assert commits(tmp_path) == [FIRST, SECOND, third]


def test_a_commit_made_elsewhere_takes_no_class_away(tmp_path):
    add(tmp_path, SECOND)
    insert(tmp_path, Commit("d" * 64, "2026-01-09T00:00:00+00:00", None, None, ("x",)))
    assert commits(tmp_path)[-1].classes == SECOND.classes
