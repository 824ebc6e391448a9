"""What the error bounds are made of."""

import numpy as np
import pytest
from ladders import dtypes
from loopnest.numerics import gamma, precise, ulp, unit_roundoff


@dtypes
def test_an_ulp_is_the_distance_to_the_next_number(dtype):
    info = np.finfo(dtype)
    x = np.array([1, 1.5, 2, 3, -7, 1e-30, info.smallest_normal, info.smallest_subnormal, 0, 1e30], dtype)
    np.testing.assert_array_equal(ulp(precise(x), dtype), np.spacing(abs(x)))


@dtypes
def test_gamma_bounds_k_roundings(dtype):
    u = unit_roundoff(dtype)
    assert gamma(0, dtype) == 0
    assert u < gamma(1, dtype) < 1.001 * u
    assert gamma(1000, dtype) == pytest.approx(1000 * u, rel=1e-3)
    assert dtype.type(1) + dtype.type(u) == 1 < dtype.type(1) + dtype.type(2 * u)


@dtypes
def test_precise_numbers_show_the_roundings_of_the_dtype(dtype):
    assert np.finfo(precise(np.ones(1, dtype)).dtype).eps < np.finfo(dtype).eps / 1000
