"""Calls from many threads at once, beside other work in Python, and in a child process after a fork."""

import ctypes
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import loopnest as ln
import numpy as np
import pytest
from ladders import HERE, OPERATIONS, rungs
from loopnest.verify import Case, answer_of, compare, results_of

FLOAT32 = np.dtype(np.float32)
COMPILED = ("numba", "cpp", "torch")
SHARED = 9_400_000
"""The least work that two threads share in every kernel that shares some: adam's traffic for 335,000 elements."""


def mistakes(case, implementation):
    """What a call gets wrong, without anything that threads would share."""
    arguments = case.arguments()
    exact, bound = answer_of(case)
    returned = implementation(*arguments.inputs, **arguments.options)
    results = results_of(implementation.operation, arguments.inputs, returned)
    return [p for result, *right in zip(results, exact, bound, strict=True) for p in compare(result, *right, FLOAT32)]


def cases(implementation):
    """Small calls of different sizes and, of compiled rungs, a large one, for which those that use threads do so."""
    axes = implementation.operation.contract.workloads[0].shape
    for i in range(8):
        yield Case(implementation.operation, FLOAT32, tuple((axis, 20 + i + j) for j, axis in enumerate(axes)))
    if implementation.backend in COMPILED:
        yield Case.of_work(SHARED, implementation.operation, FLOAT32)


@rungs()
def test_many_threads_at_once(implementation):
    todo = list(cases(implementation))
    start = threading.Barrier(len(todo))

    def work(case):
        start.wait()
        return [problem for _ in range(1 if case is todo[-1] else 5) for problem in mistakes(case, implementation)]

    with ThreadPoolExecutor(len(todo)) as threads:
        assert list(threads.map(work, todo)) == [[]] * len(todo)


@rungs(of=("numba", "cpp"))
def test_more_threads_than_processors(implementation):
    usual = ln.num_threads()
    try:
        ln.set_num_threads(7)
        for case in cases(implementation):
            assert mistakes(case, implementation) == []
    finally:
        ln.set_num_threads(usual)


@pytest.mark.skipif(sys.platform != "linux", reason="fork without exec is not safe on this system")
@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(o, id=name, marks=[] if name in ("matmul", "gelu") else pytest.mark.slow)
        for name, o in OPERATIONS.items()
    ],
)
def test_in_a_child_after_a_fork(operation):
    """The child has a copy of the parent's memory, but none of its threads."""
    backends = ("cpp",) if "LOOPNEST_SANITIZED" in os.environ else HERE
    todo = [(k, list(cases(k))[-1]) for k in operation if k.backend in backends and k.available()]
    for implementation, case in todo:
        assert mistakes(case, implementation) == []
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: [sender.send(mistakes(case, k)) for k, case in todo])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads forks is what is tested
        child.start()
    sender.close()
    try:
        for implementation, _ in todo:
            assert receiver.poll(60), f"the child hangs in {implementation.id}"
            assert receiver.recv() == [], implementation.id
    except EOFError:
        child.join()
        pytest.fail(f"the child ended in {implementation.id} with exit code {child.exitcode}")
    finally:
        child.kill()
        child.join()


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np, loopnest as ln
class Alarm(Exception): pass
def ring(*_): raise Alarm
signal.signal(signal.SIGALRM, ring)
ln.set_num_threads(3)
a = np.linspace(-1, 1, 500 * 500, dtype=np.float32).reshape(500, 500)
out = np.empty_like(a)
rungs = [ln.matmul["cpp.parallel"], ln.matmul["numba.parallel"]]
right = [rung(a, a) for rung in rungs]
rang = 0
for rung, expected in zip(rungs, right):
    for i in range(10):
        signal.setitimer(signal.ITIMER_REAL, 0.001 + 0.0005 * i)
        try:
            while True:
                rung(a, a, out=out)
        except Alarm:
            rang += 1
    assert np.array_equal(rung(a, a, out=out.fill(0) or out), expected)
assert rang == 20

ended = []
def work():
    mine = np.empty_like(a)
    while not ended:
        for rung in rungs:
            rung(a, a, out=mine)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for i in range(8):
    time.sleep(0.002 * i)
    child = os.fork()
    if not child:  # in the middle of other threads' calls
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)
        os._exit(not all(np.array_equal(rung(a, a), expected) for rung, expected in zip(rungs, right)))
    assert os.waitpid(child, 0)[1] == 0, i
ended.append(True)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or "LOOPNEST_SANITIZED" in os.environ, reason="forks in the middle of calls"
)
def test_signals_and_forks_in_the_middle_of_calls():
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", INTERRUPTED], capture_output=True, timeout=200)
    assert run.returncode == 0, run.stderr.decode()


@rungs("matmul", "mlp_forward", of=("numba", "cpp"))
def test_a_call_releases_the_gil(implementation):
    """While a call runs in another thread, this one goes on; with the GIL held it would stand still all the while."""
    length = 200
    while (share := standstill(implementation, length)) is None:
        length = length * 3 // 2
    assert min(share, standstill(implementation, length) or 1) < 0.5  # once, the system may have stopped this thread


def test_a_call_that_holds_the_gil_is_found_out():
    @ln.matmul.register("mine.selfish")
    def selfish(a, b, out):
        ctypes.PyDLL(None).usleep(100_000)  # PyDLL, unlike CDLL, keeps the GIL

    try:
        assert standstill(ln.matmul["mine.selfish"], 2) > 0.5
    finally:
        ln.matmul.unregister("mine.selfish")


def standstill(implementation, length):
    """The longest pause of this thread during a call in another, as a share of the call; None for a call too short."""
    axes = implementation.operation.contract.workloads[0].shape
    arguments = Case(implementation.operation, FLOAT32, tuple((axis, length) for axis in axes)).arguments()
    implementation(*arguments.inputs, **arguments.options)  # compiles
    began, ended = [], []

    def call():
        began.append(time.perf_counter())
        implementation(*arguments.inputs, **arguments.options)
        ended.append(time.perf_counter())

    thread = threading.Thread(target=call)
    ticks = [time.perf_counter()]
    thread.start()
    while not ended:
        ticks.append(time.perf_counter())
    ticks.append(time.perf_counter())
    thread.join()
    seconds = ended[0] - began[0]
    return max(np.diff(ticks)) / seconds if seconds > 0.05 else None
