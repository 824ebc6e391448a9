"""What a call from Python costs, with all checks and a new array for the result, on arrays so small that this shows.

The tables also have the kernel alone, called as in the other suites, and the calls of NumPy and torch, on one thread.
Every time includes 50 ns for the loop and the partial around a call.
"""

from functools import partial

import loopnest as ln
import numpy as np
import pytest
from loopnest.operation import Workload
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    if ln.matmul["torch.eager"].available():
        import torch  # noqa: F401  # only what is loaded can be limited
    with threadpool_limits(1):
        yield


def calls(cases):
    """Parameters of a test: an implementation's id, its name in the table, and a function that makes the timed call of
    a problem, None for the kernel alone."""
    rows = [(id, case, timed) for id, timed_cases in cases.items() for case, timed in timed_cases.items()]
    ids = [f"{id}-{case}".replace(" ", "") for id, case, _ in rows]
    return pytest.mark.parametrize(("id", "case", "timed"), rows, ids=ids)


def lengths(*values):
    return pytest.mark.parametrize("n", values)


def measure_call(measure, operation, id, n, case, timed):
    axes = operation.contract.workloads[0].shape
    workload = Workload(f"square-{n}", dict.fromkeys(axes, n))
    measure(operation[id], workload, study=f"calls of {operation.name}, {n} x {n}", case=case, timed=timed)


def tensors(problem):
    import torch

    return map(torch.from_numpy, problem.inputs)


def call_torch(name, **options):
    """A call of torch's function of this name; torch is imported when it runs."""

    def make(problem):
        import torch

        function = getattr(torch, name, None) or getattr(torch.nn.functional, name)
        return partial(function, *tensors(problem), **options)

    return make


MATMUL = {
    ln.matmul.fastest().id: {
        "the kernel alone": None,
        "ln.matmul(a, b)": lambda p: partial(ln.matmul, *p.inputs),
        "… with out=c": lambda p: partial(ln.matmul, *p.inputs, out=p.out),
        "… with impl='cpp'": lambda p: partial(ln.matmul, *p.inputs, impl="cpp"),
        "… through Python": lambda p: partial(ln.matmul, p.inputs[0], b=p.inputs[1]),  # the fast path declines names
        "… with tensors": lambda p: partial(ln.matmul, *tensors(p)),
    },
    "numpy.matmul": {
        "np.matmul(a, b)": lambda p: partial(np.matmul, *p.inputs),
        "… with out=c": lambda p: partial(np.matmul, *p.inputs, out=p.out),
    },
    "torch.eager": {"torch.matmul(a, b)": call_torch("matmul")},
}


@lengths(4, 16, 64)
@calls(MATMUL)
def test_matmul(measure, id, n, case, timed):
    measure_call(measure, ln.matmul, id, n, case, timed)


RELU = {
    ln.relu.fastest().id: {
        "the kernel alone": None,
        "ln.relu(x)": lambda p: partial(ln.relu, *p.inputs),
        "… with tensors": lambda p: partial(ln.relu, *tensors(p)),
    },
    "numpy": {"np.maximum(x, 0)": lambda p: partial(np.maximum, *p.inputs, 0)},
    "torch.eager": {"torch.relu(x)": call_torch("relu")},
}


@lengths(16)
@calls(RELU)
def test_relu(measure, id, n, case, timed):
    measure_call(measure, ln.relu, id, n, case, timed)


GELU = {
    ln.gelu.fastest().id: {
        "the kernel alone": None,
        "ln.gelu(x)": lambda p: partial(ln.gelu, *p.inputs),
        "… with tensors": lambda p: partial(ln.gelu, *tensors(p)),
    },
    "torch.composed": {"torch's F.gelu(x)": call_torch("gelu", approximate="tanh")},
}


@lengths(16)
@calls(GELU)
def test_gelu(measure, id, n, case, timed):
    measure_call(measure, ln.gelu, id, n, case, timed)
