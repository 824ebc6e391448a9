"""How kernels share work among threads."""

import threading

import loopnest as ln
import numpy as np
import pytest
from loopnest.backends.threads import processors, share, share_elements, threads_wanted


@pytest.fixture(params=[1, 2, 7])
def count(request):
    """A number of threads, in force while the test runs."""
    usual = ln.num_threads()
    ln.set_num_threads(request.param)
    yield request.param
    ln.set_num_threads(usual)


@pytest.mark.parametrize(("length", "piece"), [(0, 1), (1, 1), (10, 3), (10, 10), (10, 99), (1000, 1)])
def test_pieces_cover_the_range_once(count, length, piece):
    taken = np.zeros(length, int)

    def work(start, stop):
        assert 0 < stop - start <= piece
        taken[start:stop] += 1

    share(work, length, piece)
    assert (taken == 1).all()


@pytest.mark.parametrize("shape", [(1, 1000), (1000, 1), (30, 40), (3, 400), (1, 1)])
@pytest.mark.parametrize("least", [1, 64, 10_000])
def test_pieces_cover_the_elements_once(count, shape, least):
    x, y = np.random.default_rng(0).standard_normal(shape), np.zeros(shape)

    def work(x, y):
        y += x

    share_elements(work, least, x, y)
    np.testing.assert_array_equal(y, x)


def test_an_error_in_a_piece_reaches_the_caller(count):
    def work(start, stop):
        if start == 5:
            raise ZeroDivisionError("piece 5")

    with pytest.raises(ZeroDivisionError, match="piece 5"):
        share(work, 10, 1)
    share(lambda start, stop: None, 10, 1)  # and the pool goes on


def test_shared_work_may_share_its_own(count):
    total = np.zeros((8, 8), int)

    def row(i, _):
        share(lambda j, _: total.__setitem__((i, j), 1), 8, 1)

    share(row, 8, 1)
    assert total.all()


def test_several_threads_take_part():
    usual = ln.num_threads()
    ln.set_num_threads(3)
    try:
        meeting = threading.Barrier(3)
        share(lambda start, stop: meeting.wait(timeout=30), 3, 1)  # passes only where all three are there at once
    finally:
        ln.set_num_threads(usual)


def test_the_number_of_threads_is_set_by_a_call_or_the_environment(monkeypatch):
    monkeypatch.delenv("LOOPNEST_NUM_THREADS", raising=False)
    assert threads_wanted() == processors() >= 1
    monkeypatch.setenv("LOOPNEST_NUM_THREADS", "3")
    assert threads_wanted() == 3
    for wrong in ("0", "-1", "two", ""):
        monkeypatch.setenv("LOOPNEST_NUM_THREADS", wrong)
        with pytest.raises(ValueError, match=f"LOOPNEST_NUM_THREADS is '{wrong}', expected a whole number from 1 up"):
            threads_wanted()
    with pytest.raises(ValueError, match="set_num_threads: count is 0, expected a whole number from 1 up"):
        ln.set_num_threads(0)
