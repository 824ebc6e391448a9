"""What the error bounds are made of."""

import mpmath
import numpy as np
import pytest
from ladders import dtypes
from loopnest.numerics import gamma, magnitude, precise, product, unit_roundoff


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


@pytest.mark.parametrize(("m", "k", "n"), [(70, 65, 33), (2, 9000, 40), (3, 50000, 5), (0, 70000, 3)])
def test_a_product_of_doubles_is_exact_far_beyond_them(m, k, n):
    rng = np.random.default_rng(k)
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n)) * 2.0 ** rng.integers(-3, 3, (k, n))
    found, sizes = product(precise(a), precise(b)), magnitude(a) @ magnitude(b)
    assert found.dtype == np.longdouble
    assert found.shape == (m, n)
    with mpmath.workprec(200):
        for i, j in np.ndindex(min(m, 2), 2):
            exact = mpmath.fdot(a[i].tolist(), b[:, j].tolist())
            high, low = float(found[i, j]), float(found[i, j] - float(found[i, j]))
            assert abs(high + mpmath.mpf(low) - exact) < 2**-58 * sizes[i, j]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, 1e-300])
def test_a_product_of_doubles_with_extreme_elements_is_that_of_long_doubles(value):
    a = np.random.default_rng(1).standard_normal((50, 50)).astype(np.longdouble)
    a[3, 4] = value
    np.testing.assert_array_equal(product(a, a), a @ a)
