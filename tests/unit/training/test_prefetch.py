from __future__ import annotations

import threading

import pytest

from goldloop.training.prefetch import cores, gather_threads, prefetched


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order(threads):
    assert list(prefetched((lambda n=n: n for n in range(50)), threads)) == list(range(50))


@pytest.mark.parametrize("threads", [1, 3])
def test_an_exception_comes_where_its_result_would_have_come(threads):
    def fail():
        raise OSError("gone")

    found = prefetched([lambda: 1, fail, lambda: 3], threads)
    assert next(found) == 1
    with pytest.raises(OSError, match="gone"):
        next(found)


def test_work_is_done_ahead_and_no_further_than_it_should_be():
    begun = []
    third = threading.Event()

    def job(number):
        begun.append(number)
        if number == 2:
            third.set()
        return number

    found = prefetched((lambda n=n: job(n) for n in range(50)), 1)
    assert next(found) == 0
    assert third.wait(30)
    assert begun == [0, 1, 2]
    found.close()


def test_several_threads_work_at_once():
    together = threading.Barrier(3)
    assert len(list(prefetched([lambda: together.wait(30)] * 3, 3))) == 3


def test_closing_ends_its_threads_and_begins_nothing_more():
    before = threading.active_count()
    done = []
    found = prefetched((lambda n=n: done.append(n) for n in range(1000)), 2)
    next(found)
    found.close()
    assert threading.active_count() == before
    assert len(done) <= 5


def test_texts_are_gathered_by_one_thread_and_images_by_no_more_than_there_are_cores():
    assert gather_threads("text") == 1
    assert 1 <= gather_threads("image") <= cores()
