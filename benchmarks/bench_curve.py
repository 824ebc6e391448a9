"""Every rung of one operation from small sizes to large, and JAX where a product is asked for: `loopnest bench curve`.

NumPy's and torch's own functions are rungs of most ladders; gelu's and the product of JAX are added here.
"""

import importlib.util

import loopnest as ln
import pytest
from bench_gelu import F_GELU, OUTSIDE
from loopnest.backends.rung import Backend

SQUARES = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
EXPONENTS = range(8, 25)
"""Of the elements of an elementwise operation's operand, as powers of two."""


def workloads(operation, quick):
    """Squares for a product, matrices and vectors of powers of two for others; the MLP's own for the MLP."""
    axes = list(operation.contract.workloads[0].shape)
    if axes == ["m", "k", "n"]:
        shapes = [(n, n, n) for n in (SQUARES[1:11] if quick else SQUARES)]
    elif len(axes) <= 2:
        exponents = EXPONENTS[2:13:2] if quick else EXPONENTS
        shapes = [(1 << e // 2, 1 << e - e // 2) if len(axes) == 2 else (1 << e,) for e in exponents]
    else:
        return list(operation.contract.workloads)
    return [operation.workload("x".join(map(str, shape))) for shape in shapes]


def jax_product(problem):
    """The product on JAX's arrays, which has memory of its own for the result."""
    import jax

    a, b = map(jax.numpy.array, problem.inputs)
    product = jax.jit(lambda a, b: a @ b)
    return lambda: product(a, b).block_until_ready()


JAX = Backend("JAX", "JAX on the CPU", -1).rung(lambda a, b, out: ln.matmul["numpy"].kernel(a, b, out), "matmul")
JAX.operation = ln.matmul


def pytest_generate_tests(metafunc):
    operation = ln.OPERATIONS[metafunc.config.getoption("op") or "matmul"]
    peers = [F_GELU, *([JAX] if importlib.util.find_spec("jax") else [])]
    params = [
        pytest.param(workload, rung, id=f"{operation.name}-{workload}-{rung.id}")
        for workload in workloads(operation, metafunc.config.getoption("quick"))
        for rung in (*operation, *peers)
        if rung.operation is operation and not rung.study
    ]
    metafunc.parametrize(("workload", "implementation"), params)


def test_curve(measure, implementation, workload):
    how = {"timed": jax_product} if implementation is JAX else {}
    how |= {"outside": OUTSIDE} if implementation is F_GELU else {}
    measure(implementation, workload, study=f"{implementation.operation.name} over its size", **how)
