"""Every numba.cuda rung in Numba's simulator, held to its operation's contract. `test_simulator.py` runs this file in a
process of its own, since the simulator has to be chosen before numba is imported.

The simulator runs a Python thread for each CUDA thread, about 3 ms each: the shapes are the smallest that have a ragged
edge in every direction.
"""

import itertools

import numpy as np
import pytest
from loopnest import OPERATIONS
from loopnest.backends import cuda_simulated
from loopnest.verify import LAYOUTS, Case, judge

assert cuda_simulated(), "run tests/cuda/test_simulator.py, which starts this file with NUMBA_ENABLE_CUDASIM=1"

RUNGS = [k for operation in OPERATIONS.values() for k in operation if k.backend == "cuda"]

rungs = pytest.mark.parametrize("rung", RUNGS, ids=lambda k: f"{k.operation.name}-{k.id}")
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

# For up to four axes: one element; ragged beside tiles of 16; no elements on each axis in turn; primes; a tile and one.
SHAPES = [
    (1, 1, 1, 1),
    (5, 7, 3, 4),
    (0, 3, 2, 5),
    (3, 0, 2, 5),
    (3, 2, 0, 5),
    (3, 2, 5, 0),
    (16, 9, 17, 2),
    (17, 33, 5, 3),
]

SHAPES_OF_FLOAT64 = [(5, 7, 3, 4), (3, 2, 0, 5)]
"""Enough for a wrong type; the indices are the same."""


def case(rung, dtype, shape, **special):
    axes = rung.operation.contract.workloads[0].shape
    return Case(rung.operation, dtype, tuple(zip(axes, shape, strict=False)), **special)


def test_there_are_rungs():
    assert {k.operation.name for k in RUNGS} >= {"matmul", "gelu", "gelu_backward", "mlp_forward", "mlp_backward"}
    assert all(k.available() for k in RUNGS)


@rungs
@pytest.mark.parametrize(
    ("dtype", "shape"),
    [*((FLOAT32, shape) for shape in SHAPES), *((FLOAT64, shape) for shape in SHAPES_OF_FLOAT64)],
    ids=str,
)
def test_shapes(rung, dtype, shape):
    assert judge(rung, case(rung, dtype, shape)) == []


@rungs
def test_more_than_one_block_in_each_direction(rung):
    wide = rung.operation.name == "matmul" and rung.variant in ("register_tiled", "warp_tiled", "double_buffered")
    shape = (67, 9, 66) if wide else (19, 20, 18, 17)
    assert judge(rung, case(rung, FLOAT32, shape)) == []


@pytest.mark.parametrize(
    ("rung", "layout"),
    [
        pytest.param(k, layout, id=f"{k.operation.name}-{k.id}-{layout}")
        for k in RUNGS
        for layout in LAYOUTS
        # transfers of others are the same
        if (k.variant != "fused" and "mlp" not in k.operation.name) or layout in ("in Fortran order", "stepped")
    ],
)
def test_memory_layouts(rung, layout):
    assert judge(rung, case(rung, FLOAT32, (5, 3, 4, 2), layouts=(layout,))) == []


@rungs
def test_nan_and_infinity(rung):
    inputs = len(case(rung, FLOAT32, (2, 3, 2, 2)).arguments().inputs)
    for i, (element, special) in itertools.product(range(min(inputs, 2)), ((0, np.nan), (-1, np.inf))):
        if rung.operation.name == "mlp_backward" and i == 1:
            continue  # a cache, whose first array is x
        where = case(rung, FLOAT32, (2, 3, 2, 2), special=special, where=(i, element))
        assert judge(rung, where) == []


def test_gelu_far_in_the_tails():
    x = np.array([-10, -5.5, 0, 10], np.float32)
    for form, expected in (("none", -7.62e-23), ("tanh", -1.204e-37)):
        y = OPERATIONS["gelu"](x, approximate=form, impl="cuda")
        np.testing.assert_allclose(y[0], expected, rtol=2e-3)
        assert y[3] == 10
