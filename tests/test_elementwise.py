"""Elementwise operations: samples close together, far into the tails, any shape, broadcasting, and the exact results
themselves against mpmath."""

import loopnest as ln
import mpmath
import numpy as np
import pytest
from ladders import OPERATIONS, dtypes, rungs
from loopnest.operation import Arguments
from loopnest.verify import LAYOUTS, judge_call

mpmath.mp.dps = 50

FORMS = [{"approximate": "tanh"}, {"approximate": "none"}]


def ulp(x, dtype):
    """The distance between neighbours of `dtype` at |x|: the unit in the last place, in the subnormals too."""
    info = np.finfo(dtype)
    exponent = np.frexp(np.maximum(np.abs(x), info.smallest_normal))[1]
    return np.ldexp(np.ones_like(x), exponent - 1 - info.nmant)


def forms(name):
    """The options to test an operation with."""
    return FORMS if name.startswith("gelu") else [{}]


def samples(dtype, infinite=True):
    """Numbers of a dtype: close together where the functions bend, wider to where they vanish, and the extreme ones."""
    info = np.finfo(dtype)
    sizes = np.concatenate(
        [
            np.linspace(0, 6, 1501),
            np.linspace(6, 40, 700),
            np.linspace(40, 760, 400),
            np.geomspace(info.smallest_subnormal, 1, 200, dtype=np.longdouble),
            np.geomspace(760, info.max, 50, dtype=np.longdouble),
            [info.smallest_normal, info.max, info.eps],
        ]
    ).astype(dtype)
    sizes = np.minimum(sizes, info.max)
    return np.concatenate([sizes, -sizes, [np.nan, *([np.inf, -np.inf] if infinite else [])]]).astype(dtype)


@rungs("relu", "sigmoid", "tanh", "gelu")
@dtypes
def test_functions_everywhere(implementation, dtype):
    for options in forms(implementation.operation.name):
        assert judge_call(implementation, Arguments((samples(dtype),), options)) == []


@rungs("relu_backward", "sigmoid_backward", "tanh_backward", "gelu_backward")
@dtypes
def test_gradients_everywhere(implementation, dtype):
    x = samples(dtype, infinite=implementation.operation.name != "gelu_backward")  # its limits at ±inf may be NaN
    for options in forms(implementation.operation.name):
        for dy in (np.ones_like(x), np.random.default_rng(1).standard_normal(x.size).astype(dtype)):
            assert judge_call(implementation, Arguments((x, dy), options)) == []


@rungs("relu", "sigmoid", "tanh", "gelu", "relu_backward", "sigmoid_backward", "tanh_backward", "gelu_backward")
@pytest.mark.parametrize("shape", [(), (1,), (0,), (5,), (2, 0, 3), (2, 3, 4), (3, 2, 3, 4)], ids=str)
def test_any_shape_in_any_layout(implementation, shape):
    count = 2 if implementation.operation.name.endswith("_backward") else 1
    inputs = tuple(np.random.default_rng(3).standard_normal((count, *shape)))
    for layout in LAYOUTS if len(shape) > 1 else ["in C order"]:
        assert judge_call(implementation, Arguments(inputs), (layout,)) == [], layout


@rungs("add")
@dtypes
@pytest.mark.parametrize(
    "shapes",
    [((), ()), ((), (3,)), ((4, 1), (5,)), ((2, 1, 3), (4, 1)), ((0,), (1,)), ((3, 4), (4,)), ((2, 3, 4), (2, 1, 4))],
    ids=str,
)
def test_add_broadcasts(implementation, dtype, shapes):
    inputs = tuple(np.random.default_rng(4).standard_normal(shape).astype(dtype) for shape in shapes)
    for pair in (inputs, inputs[::-1]):
        for layout in ("in C order", "in Fortran order", "backwards"):
            assert judge_call(implementation, Arguments(pair), (layout,)) == []


@rungs("gelu")
@dtypes
def test_gelu_far_in_the_tails(implementation, dtype):
    x = np.array([-10, 10, -5.5, 0, np.inf], dtype)
    np.testing.assert_allclose(implementation(x, approximate="none"), [-7.62e-23, 10, -1.0443e-7, 0, np.inf], rtol=2e-3)
    tanh_form = implementation(x, approximate="tanh")
    np.testing.assert_allclose(tanh_form, [-1.204e-37, 10, -5.9276e-9, 0, np.inf], rtol=2e-3)
    with np.errstate(invalid="ignore"):
        for form in FORMS:
            assert np.isnan(implementation(np.array([-np.inf, np.nan], dtype), **form)).all()
    assert (implementation(x) == tanh_form)[:-1].all(), "the tanh form is the default"


@rungs("gelu")
def test_gelu_underflows_gradually(implementation):
    """gelu(-10.2) is 2e-39 in the tanh form: a subnormal float32, neither 0 nor NaN."""
    y = implementation(np.array([-10.2, -10.3], np.float32), approximate="tanh")
    assert (y < 0).all()
    assert (abs(y) < np.finfo(np.float32).smallest_normal).all()


def sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def gelu_tanh_form(x):
    return x * sigmoid(2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3))


def gelu_tanh_form_slope(x):
    root = mpmath.sqrt(2 / mpmath.pi)
    s = sigmoid(2 * root * (x + mpmath.mpf("0.044715") * x**3))
    one_less_s = sigmoid(-2 * root * (x + mpmath.mpf("0.044715") * x**3))
    return s + x * s * one_less_s * 2 * root * (1 + 3 * mpmath.mpf("0.044715") * x**2)


def distribution(x):
    """Φ(x); mpmath's erfc does not take numbers beyond any exponent."""
    return mpmath.erfc(-mpmath.mpf(min(max(x, -1000), 1000)) / mpmath.sqrt(2)) / 2


EXACT = {
    ("sigmoid", None): sigmoid,
    ("tanh", None): mpmath.tanh,
    ("gelu", "none"): lambda x: x * distribution(x),
    ("gelu", "tanh"): gelu_tanh_form,
    ("sigmoid_backward", None): lambda x: sigmoid(x) * sigmoid(-x),
    ("tanh_backward", None): lambda x: mpmath.sech(x) ** 2,
    ("gelu_backward", "none"): lambda x: distribution(x) + x * mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi),
    ("gelu_backward", "tanh"): gelu_tanh_form_slope,
}


def judged_by(name, form, x):
    """What an operation's contract takes for exact, and the bound, at x (with dy = 1)."""
    options = {} if form is None else {"approximate": form}
    inputs = (x, np.ones_like(x)) if name.endswith("_backward") else (x,)
    contract = OPERATIONS[name].contract
    with np.errstate(all="ignore"):
        return contract.reference(*inputs, **options)[0], contract.bound(*inputs, **options)[0]


@pytest.mark.parametrize(("name", "form"), EXACT, ids=str)
@dtypes
def test_the_exact_results_that_rungs_are_judged_by_are_exact(name, form, dtype):
    """Against mpmath with 50 digits, to a hundredth of the bound."""
    x = samples(dtype, infinite=False)[:-1:7]
    exact, bound = judged_by(name, form, x)
    for x_i, exact_i, bound_i in zip(x, exact, bound, strict=True):
        head = float(exact_i)
        error = mpmath.mpf(head) + mpmath.mpf(float(exact_i - head)) - EXACT[name, form](mpmath.mpf(float(x_i)))
        assert abs(error) <= float(bound_i) / 100 + 5e-324, (
            f"{name}({x_i!r}) is taken for {exact_i!r}, off by {float(error):.3g}"
        )


@pytest.mark.parametrize(("name", "form"), EXACT, ids=str)
@dtypes
def test_bounds_are_a_few_ulp_and_small_beside_the_result(name, form, dtype):
    x = samples(dtype, infinite=False)[:-1]
    exact, bound = judged_by(name, form, x)
    near = abs(x) <= 1
    assert (bound[near] <= 16 * ulp(np.maximum(abs(exact), abs(x)) if "gelu" in name else exact, dtype)[near]).all()
    normal = abs(exact) > 1e6 * np.finfo(dtype).smallest_normal
    away_from_roots = abs(exact) > 0.01 * np.minimum(1, abs(x)) ** 2 if name == "gelu_backward" else True
    far = normal & away_from_roots & (abs(x) > 1)
    assert (bound[far] <= 2500 * np.finfo(dtype).eps * abs(exact)[far]).all()


def test_relu_passes_nan_and_stops_what_is_not_positive():
    x = np.array([-1.0, -0.0, 0.0, 2.0, np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(ln.relu(x), [0, 0, 0, 2, np.nan, np.inf, 0])
    np.testing.assert_array_equal(ln.relu_backward(x, np.full(7, 3.0)), [0, 0, 0, 3, 3, 3, 0])


@rungs("tanh")
@dtypes
def test_tanh_is_odd_down_to_the_sign_of_zero(implementation, dtype):
    x = samples(dtype)
    with np.errstate(under="ignore"):
        y = implementation(x)
    np.testing.assert_array_equal(implementation(-x), -y)
    assert np.signbit(implementation(np.array([-0.0], dtype))).all()
