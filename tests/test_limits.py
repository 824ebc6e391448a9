"""The machine's limits: that the loops do what they say, and that what they measure is a limit."""

import os
from functools import partial

import loopnest as ln
import numpy as np
import pytest
from ladders import dtypes
from loopnest import _core
from loopnest.machine import limits
from loopnest.timing.turns import Turn, calibrate, run_rounds

timed = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="a sanitized build is slow in its own way")
SIZES = [0, 1, 3, 4, 7, 16, 63, 64, 65, 255, 256, 257, 1000, 4099]


@pytest.fixture(params=ln.isa_levels())
def level(request):
    active = ln.isa()
    ln.set_isa(request.param)
    yield request.param
    ln.set_isa(active)


@dtypes
def test_the_loop_counts_its_flops(dtype, level):
    loop = _core.limits["peak"]["multiply_add"]
    one, thousand = (loop(np.array([1, 0.001, 0], dtype), rounds) for rounds in (1, 1000))
    assert one > 0
    assert thousand == 1000 * one


@dtypes
def test_reading_sums_every_element(dtype, level):
    for size in SIZES:
        x = np.arange(size, dtype=dtype) % 7
        for passes in (1, 2):
            assert _core.limits["read"]["read"](x, passes) == passes * x.sum()


@dtypes
@pytest.mark.parametrize("way", _core.limits["copy"])
def test_copying_copies_every_element_and_no_more(way, dtype, level):
    for size in SIZES:
        for offset in (0, 1, 3):
            x, y = np.arange(size, dtype=dtype), np.full(size + 8, -1, dtype)
            _core.limits["copy"][way](x, y[offset : offset + size], 1)
            np.testing.assert_array_equal(y[offset : offset + size], x)
            assert (y[:offset] == -1).all()
            assert (y[offset + size :] == -1).all()


@dtypes
@pytest.mark.parametrize("way", _core.limits["triad"])
def test_the_triad_fills_every_element_and_no_more(way, dtype, level):
    for size in SIZES:
        for offset in (0, 1, 3):
            x, y, z = np.arange(size, dtype=dtype), np.arange(size, dtype=dtype) % 7, np.full(size + 8, -1, dtype)
            _core.limits["triad"][way](x, y, z[offset : offset + size], 1)
            np.testing.assert_array_equal(z[offset : offset + size], x + 3 * y)
            assert (z[:offset] == -1).all()
            assert (z[offset + size :] == -1).all()


def rates_of(seconds=1.0, **work):
    """The best rates of calls that are timed in turn: each is a call and the amount of its work."""
    turns = [Turn(name, call, clock="processor") for name, (call, _) in work.items()]
    calibrate(turns, longest=20e-3)
    run_rounds(turns, seconds=seconds)
    return {turn.name: work[turn.name][1] / turn.best for turn in turns}


def multiply_adds(dtype=np.float32):
    piece = limits.multiply_adds(dtype)
    return piece.run, piece.amount


@timed
def test_no_product_passes_the_peak():
    a, b, c = np.ones((3, 256, 256), np.float32)
    found = rates_of(product=(partial(ln.matmul["cpp.packed"], a, b, out=c), 2 * 256**3), peak=multiply_adds())
    assert found["product"] < 1.02 * found["peak"]


@timed
def test_bandwidths_are_those_of_the_cache_that_holds_the_array_and_of_memory():
    small, large = (np.ones(size, np.float32) for size in (1 << 16, 1 << 25))
    rates = [limits.best_rate([limits.reading(array)], seconds=0.05) for array in (small, large)]
    assert rates[0] > rates[1]
    x, y = np.ones((2, 1 << 24), np.float32)
    ways = {f"way {i}": (piece.run, piece.amount) for i, piece in enumerate(limits.copying(x, y))}
    found = rates_of(numpy=(partial(np.copyto, y, x), 2 * x.nbytes), **ways)
    assert max(found[way] for way in ways) > 0.9 * found["numpy"]


def test_every_thread_does_the_whole_piece_and_all_flops_count():
    piece = limits.multiply_adds(threads=3)
    flops = piece.run()
    assert len(flops) == 3
    assert sum(flops) == piece.amount == 3 * flops[0]
