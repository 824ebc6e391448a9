"""What the error bounds are made of."""

import numpy as np
import pytest
from ladders import dtypes
from loopnest.numerics import gamma, precise, unit_roundoff


@dtypes
def test_gamma_bounds_k_roundings(dtype):
    u = unit_roundoff(dtype)
    assert gamma(0, dtype) == 0
    assert u < gamma(1, dtype) < 1.001 * u
    assert gamma(1000, dtype) == pytest.approx(1000 * u, rel=1e-3)
    assert dtype.type(1) + dtype.type(u) == 1 < dtype.type(1) + dtype.type(2 * u)


def test_gamma_is_a_bound_where_k_times_u_is_large():
    """2**24 terms of float32, as a sum over 4096 x 4096 has: k·u / (1 - k·u) is infinite there, and negative beyond."""
    for k in (2**23, 2**24, 2**26):
        exact = (1 + unit_roundoff(np.float32)) ** float(k) - 1
        assert gamma(k, np.float32) == pytest.approx(exact, rel=1e-6)
    assert gamma(2**23 - 1, np.float32) > gamma(2**22, np.float32)


@dtypes
def test_precise_numbers_show_the_roundings_of_the_dtype(dtype):
    assert np.finfo(precise(np.ones(1, dtype)).dtype).eps < np.finfo(dtype).eps / 1000
