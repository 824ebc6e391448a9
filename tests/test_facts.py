"""The small facts that the lessons compute by hand, by every implementation."""

import loopnest as ln
import numpy as np
import pytest
from ladders import backends, dtypes, rungs


@rungs("dot")
@dtypes
def test_123_dot_456_is_32(implementation, dtype):
    assert implementation(np.array([1, 2, 3], dtype), np.array([4, 5, 6], dtype)) == 32


@rungs("matmul")
@dtypes
def test_product_of_two_by_two_matrices(implementation, dtype):
    a, b = np.array([[1, 2], [3, 4]], dtype), np.array([[5, 6], [7, 8]], dtype)
    np.testing.assert_array_equal(implementation(a, b), [[19, 22], [43, 50]])


@backends()
@dtypes
def test_chain_rule_of_one_neuron(backend, dtype):
    """For z = Wx + b, y = σ(z), L = (y - t)²: the three derivatives, each from the one before."""
    x, w, b, t = (np.array(v, dtype) for v in ([[0.5, -1.0, 2.0]], [[0.1], [0.4], [-0.3]], [0.2], [[1.0]]))
    u = float(np.finfo(dtype).eps)

    z = ln.linear(x, w, b, impl=backend)
    assert z[0, 0] == pytest.approx(0.5 * 0.1 - 0.4 - 0.6 + 0.2, rel=4 * u)
    y = ln.sigmoid(z, impl=backend)
    assert y[0, 0] == pytest.approx(1 / (1 + np.exp(0.75)), rel=8 * u)
    assert ln.mse(y, t, impl=backend) == pytest.approx((y[0, 0] - 1) ** 2, rel=4 * u)

    dy = ln.mse_backward(y, t, impl=backend)
    assert dy[0, 0] == pytest.approx(2 * (y[0, 0] - 1), rel=4 * u)  # ∂L/∂y = 2(y - t)
    dz = ln.sigmoid_backward(z, dy, impl=backend)
    assert dz[0, 0] == pytest.approx(dy[0, 0] * y[0, 0] * (1 - y[0, 0]), rel=16 * u)  # ∂L/∂z = ∂L/∂y · σ'(z)
    dw = ln.matmul(ln.transpose(x, impl=backend), dz, impl=backend)
    np.testing.assert_allclose(dw, dz * np.array([[0.5], [-1.0], [2.0]]), rtol=4 * u)  # ∂L/∂W = ∂L/∂z · xᵀ
