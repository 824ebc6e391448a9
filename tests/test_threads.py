"""How kernels share work among threads."""

import os
import subprocess
import sys
import threading

import loopnest as ln
import numpy as np
import pytest
from loopnest.backends import threads
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
    for quota, expected in ((None, processors()), (0.5, 1), (1.0, 1), (1e9, processors())):
        monkeypatch.setattr(threads, "cpu_quota", lambda quota=quota: quota)
        assert threads_wanted() == expected >= 1
    monkeypatch.setenv("LOOPNEST_NUM_THREADS", "3")
    assert threads_wanted() == 3
    for wrong in ("0", "-1", "two", ""):
        monkeypatch.setenv("LOOPNEST_NUM_THREADS", wrong)
        with pytest.raises(ValueError, match=f"LOOPNEST_NUM_THREADS is '{wrong}', expected a whole number from 1 to"):
            threads_wanted()


@pytest.mark.parametrize("count", [0, -1, 2**63 - 1, 10**30, 1 + max(256, os.cpu_count() or 1)])
def test_a_number_of_threads_that_no_machine_needs_is_refused(count, monkeypatch):
    before = ln.num_threads()
    with pytest.raises(ValueError, match=f"set_num_threads: count is {count}, expected a whole number from 1 to "):
        ln.set_num_threads(count)
    assert ln.num_threads() == before
    monkeypatch.setenv("LOOPNEST_NUM_THREADS", str(count))
    with pytest.raises(ValueError, match=f"LOOPNEST_NUM_THREADS is '{count}'"):
        threads_wanted()


FEW = """
import re, resource
import numpy as np, loopnest as ln
rungs = [o[i] for o in (ln.matmul, ln.gelu) for i in ("cpp.parallel", "numba.parallel")]
a = np.linspace(-1, 1, 600 * 600, dtype=np.float32).reshape(600, 600)
inputs, outs = {"matmul": (a, a), "gelu": (a,)}, [np.empty_like(a) for _ in rungs]
ln.set_num_threads(1)
right = [rung(*inputs[rung.operation.name]) for rung in rungs]
for rung, out in zip(rungs, outs):
    rung(*inputs[rung.operation.name], out=out)
size = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + SPARE * 2**20, resource.RLIM_INFINITY))
for _ in range(2):
    ln.set_num_threads(60)  # 8 MiB of stack each
    for rung, out in zip(rungs, outs):
        out.fill(0)
        rung(*inputs[rung.operation.name], out=out)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
for out, expected in zip(outs, right):
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-3)  # other pieces add up in another order
ln.set_num_threads(2)
print("fine")
"""


def python(code, **how):
    """Run Python code in a process of its own, which must end within a minute; its output and errors."""
    how = {"capture_output": True, "text": True, "timeout": 60, **how}
    done = subprocess.run([sys.executable, "-c", code], check=False, **how)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(sys.platform != "linux" or "LOOPNEST_SANITIZED" in os.environ, reason="limits the address space")
@pytest.mark.parametrize("spare", [30, 60, 120])
@pytest.mark.slow
def test_a_process_that_gets_too_few_threads_works_with_those(spare):
    assert python(FEW.replace("SPARE", str(spare))) == (0, "fine\n", "")


AT_THE_END = """
import atexit, threading, time
import numpy as np, loopnest as ln
a = np.ones((512, 512), np.float32)
rungs = [o[i] for o in (ln.matmul, ln.gelu) for i in ("cpp.parallel", "numba.parallel")]
def work():
    for rung in rungs:
        assert np.isfinite(rung(*(a,) * (2 if rung.operation.name == "matmul" else 1))).all()
    print("fine", flush=True)
ln.set_num_threads(4)
work()
atexit.register(work)
def late():
    threading.main_thread().join()
    work()
threading.Thread(target=late).start()
"""


def test_parallel_rungs_work_at_the_interpreters_end():
    assert python(AT_THE_END) == (0, "fine\n" * 3, "")


def test_equal_inputs_of_one_call_give_equal_results_in_the_callers_floating_point_modes():
    torch = pytest.importorskip("torch")
    usual, x = ln.num_threads(), np.full(1 << 24, -13.3, np.float32)
    y = np.empty_like(x)
    ln.set_num_threads(2)
    try:
        ln.gelu(x, approximate="none", impl="cpp.parallel", out=y)  # starts the threads, in the ordinary modes
        torch.set_flush_denormal(True)
        ln.gelu(x, approximate="none", impl="cpp.parallel", out=y)
    finally:
        torch.set_flush_denormal(False)
        ln.set_num_threads(usual)
    assert len(np.unique(y)) == 1
