"""Calls from many threads at once, and in a child process after a fork."""

import multiprocessing
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ladders import rungs
from loopnest.lab.verify import Case, compare, exact_and_bound, results_of

FLOAT32 = np.dtype(np.float32)


def mistakes(case, implementation):
    """What a call gets wrong, without anything that threads would share."""
    arguments = case.arguments()
    exact, bound = exact_and_bound(case)
    returned = implementation(*arguments.inputs, **arguments.options)
    results = results_of(implementation.operation, arguments.inputs, returned)
    return [p for result, *right in zip(results, exact, bound, strict=True) for p in compare(result, *right, FLOAT32)]


def cases(operation):
    """Eight calls of different sizes."""
    axes = operation.contract.workloads[0].shape
    return [Case(operation, FLOAT32, tuple((axis, 20 + i + j) for j, axis in enumerate(axes))) for i in range(8)]


@rungs()
def test_eight_threads_at_once(implementation):
    todo = cases(implementation.operation)
    start = threading.Barrier(len(todo))

    def work(case):
        start.wait()
        return [problem for _ in range(3) for problem in mistakes(case, implementation)]

    for case in todo[:1]:  # compiled before, where it is compiled at the first call
        assert mistakes(case, implementation) == []
    with ThreadPoolExecutor(len(todo)) as threads:
        assert list(threads.map(work, todo)) == [[]] * len(todo)


@pytest.mark.skipif(sys.platform != "linux", reason="fork without exec is not safe on this system")
@rungs()
def test_in_a_child_after_a_fork(implementation):
    """The child has a copy of the parent's memory, but none of its threads."""
    first, second, *_ = cases(implementation.operation)
    assert mistakes(first, implementation) == []
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(mistakes(second, implementation)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads forks is what is tested
        child.start()
    sender.close()
    try:
        assert receiver.poll(60), "the child hangs"
        assert receiver.recv() == []
    except EOFError:
        child.join()
        pytest.fail(f"the child ended with exit code {child.exitcode}")
    finally:
        child.kill()
        child.join()
