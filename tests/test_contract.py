"""Every implementation is held to its operation's contract: see loopnest/verify/__init__.py for what the cases are."""

import numpy as np
import pytest
from ladders import dtypes, rungs
from loopnest import verify as judge_by
from loopnest.operation import Arguments
from loopnest.verify import judge_call, verify


def check(implementation, dtype, cases):
    findings = verify(implementation, [dtype], [cases])
    assert not findings, "\n".join(findings)


@rungs()
@dtypes
def test_sizes_around_lanes_tiles_and_blocks_and_empty_ones(implementation, dtype):
    check(implementation, dtype, judge_by.size_cases)


@rungs()
@dtypes
def test_memory_layouts(implementation, dtype):
    check(implementation, dtype, judge_by.layout_cases)


@rungs()
@dtypes
def test_nan_and_infinity_go_through(implementation, dtype):
    check(implementation, dtype, judge_by.special_cases)


@pytest.mark.slow
@rungs()
@dtypes
def test_large_sizes(implementation, dtype):
    check(implementation, dtype, judge_by.large_cases)


def cancelling(name, dtype, share):
    """Inputs whose sums cancel: the sizes of the terms add up to twice this share of the largest number."""
    signs = np.tile(np.array([1, 1, -1, -1], dtype), 2)
    ones = np.ones(8, dtype)
    unit = float(np.finfo(dtype).max) / 4 * share
    terms, root, half = signs * dtype.type(unit), dtype.type(unit**0.5), dtype.type(unit / 2)
    zeros, labels = np.zeros(8, dtype), np.ones(8, np.int64)
    return {
        "sum": (terms[None],),
        "dot": (terms, ones),
        "matmul": (terms[None], ones[:, None]),
        "linear": (terms[None], ones[:, None], ones[:1]),
        "mse": (signs * root, zeros),
        "mse_backward": (terms * 2, -terms * 2),
        "cross_entropy": (np.tile(np.array([half, -half], dtype), (8, 1)), labels),
        "mlp_forward": (terms[None], ones[:, None], ones[:1], ones[None, :1], ones[:1]),
    }[name]


@rungs("sum", "dot", "matmul", "linear", "mse", "mse_backward", "cross_entropy", "mlp_forward")
@dtypes
@pytest.mark.parametrize("share", [0.1, 1.9], ids=["below", "above"])
def test_sums_up_to_the_largest_number_are_right_and_beyond_it_may_overflow(implementation, dtype, share):
    operation = implementation.operation
    arguments = Arguments(cancelling(operation.name, dtype, share))
    exact, bound = judge_by.exact_and_bound(operation.contract, arguments.inputs, {})
    assert all(np.isfinite(x).all() for x in exact)
    assert all(np.isfinite(x).all() for x in bound) == (share < 1)
    assert judge_call(implementation, arguments) == []
