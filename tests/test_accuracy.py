"""The error of the C++ functions: a sample of the float32 numbers on every ISA level, float64 against mpmath, and the
measuring itself."""

import loopnest as ln
import mpmath
import numpy as np
import pytest
from loopnest import _core
from loopnest.verify import accuracy

STEP = 4099
"""A prime, so that every part of the mantissa and every exponent is met: a million numbers a function."""

FLOAT32 = {
    "exp": 2,
    "sigmoid": 2,
    "tanh": 2,
    "gelu tanh": 2,
    "gelu none": 2,
    "sigmoid_backward": 5,
    "tanh_backward": 5,
    "gelu_backward tanh": 2,
    "gelu_backward none": 2,
}


@pytest.fixture(params=ln.isa_levels())
def level(request):
    """An ISA level, in force while the test runs."""
    usual = ln.isa()
    ln.set_isa(request.param)
    yield request.param
    ln.set_isa(usual)


def test_every_function_has_its_bound():
    assert set(FLOAT32) == set(accuracy.EXACT)


@pytest.mark.parametrize("function", FLOAT32)
def test_float32_functions_are_within_their_ulps_on_every_level(function, level):
    found = accuracy.measure(function, step=STEP)
    assert found.isa == level
    assert found.count == -(-(2**32) // STEP)
    assert found.largest <= FLOAT32[function], found


def results(function, x):
    name, _, form = function.partition(" ")
    y = np.empty_like(x)
    inputs = (x[None], np.ones_like(x)[None]) if name.endswith("_backward") else (x[None],)
    _core.kernels[name]["simd"](*inputs, y[None], *([form == "tanh"] if form else []))
    return y


@pytest.mark.parametrize("function", FLOAT32)
def test_float32_functions_are_within_their_ulps_where_arguments_usually_lie(function, level):
    x = np.random.default_rng(1).normal(scale=3, size=2**17).astype(np.float32)
    largest, at, *_ = accuracy.errors_in_ulp(function, x, results(function, x))
    assert largest <= FLOAT32[function], at


WIDTHS = [1, 1 / 1.5, 1 / 1.75, 1 / 2, 1 / 4, 1 / 5.75, 1 / 6.25, 1 / 8]
"""Of the pieces that functions are cut into (csrc/simd/pieces_data.hpp)."""


@pytest.mark.parametrize("function", FLOAT32)
def test_float32_functions_are_within_their_ulps_at_the_seams_of_their_pieces(function, level):
    seams = np.concatenate([(np.arange(32) + 0.5) * width for width in WIDTHS] + [[9.25, 11, 15]]).astype(np.float32)
    bits = seams.view(np.int32)[:, None] + np.arange(-20, 21, dtype=np.int32)
    x = bits.ravel().view(np.float32)
    x = np.concatenate([x, -x])
    largest, at, *_ = accuracy.errors_in_ulp(function, x, results(function, x))
    assert largest <= FLOAT32[function], at


def sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def gelu_argument(x):
    return 2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)


# function: the exact one, and the bound in ULP at x. GELU's tails are exponentials of a rounded argument, which is off
# by some ULPs of its own: an error in the result of that many ULPs times the argument's size.
FLOAT64 = {
    "exp": (mpmath.exp, lambda x: 2),
    "sigmoid": (sigmoid, lambda x: 3),
    "tanh": (mpmath.tanh, lambda x: 4),
    "gelu tanh": (lambda x: x * sigmoid(gelu_argument(x)), lambda x: 4 + 2 * abs(min(gelu_argument(x), 0))),
    "gelu none": (lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2, lambda x: 5 + x * x if x < 0 else 5),
}


@pytest.mark.parametrize("function", FLOAT64)
def test_float64_functions_against_mpmath(function, level):
    exact, bound = FLOAT64[function]
    x = np.random.default_rng(2).normal(scale=8, size=400)
    x = np.concatenate([x, np.random.default_rng(3).normal(size=300), np.geomspace(1e-300, 30, 50), [0.0, -37.5, 700]])
    with mpmath.workdps(40):
        for x_i, y_i in zip(x.tolist(), results(function, x).tolist(), strict=True):
            y = exact(mpmath.mpf(x_i))
            ulp = np.spacing(max(abs(float(y)), np.finfo(np.float64).smallest_normal))
            assert abs(y - mpmath.mpf(y_i)) / mpmath.mpf(float(ulp)) <= bound(x_i), (x_i, y_i)


def errors(x, y, function="exp"):
    return accuracy.errors_in_ulp(function, np.array([x], np.float32), np.array([y], np.float32))


def test_an_ulp_is_the_distance_of_neighbours_around_the_exact_result():
    one, up, down = (
        np.float32(1),
        np.nextafter(np.float32(1), np.float32(2)),
        np.nextafter(np.float32(1), np.float32(0)),
    )
    assert errors(0, one)[:2] == (0, 0)
    assert errors(0, up)[0] == 1
    assert errors(0, down)[0] == 0.5  # below 1 the neighbours are closer, but 1 is the exact result
    tiny = np.float32(2**-140)
    assert errors(-140 * np.log(2), tiny + np.float32(2**-149))[0] == pytest.approx(1, abs=1e-3)


def test_a_missing_nan_or_infinity_is_an_infinite_error():
    assert errors(np.nan, np.nan)[0] == 0
    assert errors(np.nan, 1)[0] == np.inf
    assert errors(0, np.nan)[0] == np.inf
    assert errors(1000, np.inf)[0] == 0
    assert errors(1000, np.finfo(np.float32).max)[0] > 1
    assert errors(1, np.inf)[0] == np.inf
    assert errors(-np.inf, -np.inf, "gelu tanh")[0] == np.inf


def test_errors_are_counted():
    x = np.zeros(5, np.float32)
    y = (1 + np.array([0, 0.6, 1.4, 2.9, -0.6]) * 2.0**-23).astype(np.float32)  # rounded: 0, 1, 1, 3, -1/2 ULP
    largest, at, above = accuracy.errors_in_ulp("exp", x, y)
    assert (largest, at, above.tolist()) == (3, 0, [3, 1, 1])


def test_a_wrong_function_is_found_and_its_argument_named():
    x = np.linspace(-4, 4, 9, dtype=np.float32)
    y = results("tanh", x)
    y[2] += 1e-3
    largest, at, *_ = accuracy.errors_in_ulp("tanh", x, y)
    assert largest > 1000
    assert at == -2


def test_unknown_functions_are_refused():
    with pytest.raises(ValueError, match="operation is 'relu', expected one of exp, sigmoid"):
        accuracy.functions("relu")
