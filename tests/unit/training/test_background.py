from __future__ import annotations

import threading
from contextlib import closing

import pytest

from goldloop.training.background import Background


@pytest.fixture
def background():
    with closing(Background("test")) as one:
        yield one


def test_work_is_done_beside_the_caller_and_one_after_another(background):
    go_on, done = threading.Event(), []
    background.start(lambda: (go_on.wait(60), done.append("first"))[1])
    background.check()
    assert not done
    go_on.set()
    background.start(lambda: done.append("second"))
    background.wait()
    assert done == ["first", "second"]


def test_an_error_is_raised_once_where_one_looks_next(background):
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise OSError("no room")

    background.start(fail)
    assert failed.wait(60)
    with pytest.raises(OSError, match="no room"):
        _look_again_and_again(background)
    background.check()
    background.wait()


def _look_again_and_again(background: Background) -> None:
    while True:
        background.check()


@pytest.mark.parametrize("look", [lambda one: one.wait(), lambda one: one.start(lambda: None)])
def test_whoever_waits_for_work_hears_that_it_failed(background, look):
    def fail() -> None:
        raise OSError("no room")

    background.start(fail)
    with pytest.raises(OSError, match="no room"):
        look(background)


def test_closing_waits_for_what_was_begun_and_raises_nothing():
    one, done = Background("test"), []

    def fail() -> None:
        done.append(threading.current_thread())
        raise OSError("no room")

    one.start(fail)
    one.close()
    (thread,) = done
    assert not thread.is_alive()
