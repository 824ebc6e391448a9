"""`ln.gradcheck`: right gradients pass, wrong ones are named with their worst element."""

import loopnest as ln
import numpy as np
import pytest
from loopnest import nn
from test_messages import refused

CHECKED = ("relu", "sigmoid", "tanh", "gelu", "mse", "cross_entropy", "mlp_forward")


def softmax_backward(x, dy):
    y = ln.softmax(x)
    return y * (dy - np.sum(y * dy, axis=-1, keepdims=True))


@pytest.mark.parametrize("name", CHECKED)
def test_the_labs_own_gradients_are_right_and_far_within_the_tolerance(name):
    found = ln.gradcheck(ln.OPERATIONS[name], seed=3)
    assert found
    assert found.passed
    for checked in found.inputs:
        assert checked.error < 0.01 * checked.tolerance
        assert checked.wrong == 0


@pytest.mark.parametrize("backend", ["python", "numpy", "numba", "cpp"])
def test_the_backward_that_is_checked_is_the_named_implementations(backend):
    assert f"gelu {backend}" in str(ln.gradcheck(ln.gelu, impl=backend))

    @ln.gelu_backward.register("mine.wrong")
    def wrong(x, dy, out, tanh_form):
        out[...] = 1.01 * dy

    try:
        with pytest.raises(ln.GradientMismatchError, match=r"gelu mine\.wrong: the gradient is wrong"):
            ln.gradcheck(ln.gelu, impl="mine.wrong")
    finally:
        ln.gelu_backward.unregister("mine.wrong")


def test_options_go_to_both_functions():
    assert ln.gradcheck(ln.gelu, approximate="none")
    assert ln.gradcheck(ln.mlp_forward, approximate="none")
    x = np.linspace(-3, 3, 20)
    mixed = ln.gradcheck(
        ln.gelu, x, approximate="none", backward=lambda x, dy, **_: ln.gelu_backward(x, dy), raises=False
    )
    assert not mixed  # the tanh form's gradient is not that of the exact one


def test_pairs_of_functions_of_a_users_own():
    x, w, b = (np.random.default_rng(0).standard_normal(shape) for shape in ((3, 4), (4, 2), (2,)))
    assert ln.gradcheck(ln.softmax, x, backward=softmax_backward)
    assert ln.gradcheck(ln.linear, x, w, b, backward=nn.linear_backward)
    assert [checked.name for checked in ln.gradcheck(ln.linear, x, w, b, backward=nn.linear_backward).inputs] == [
        "x",
        "w",
        "b",
    ]
    assert ln.gradcheck(lambda x: float((x**3).sum()), x, backward=lambda x: 3 * x**2)


def test_a_wrong_element_is_found_and_named():
    def nearly(x, dy):
        dx = ln.tanh_backward(x, dy)
        dx[1, 2] += 1e-4
        return dx

    x = np.random.default_rng(1).standard_normal((3, 4))
    with pytest.raises(ln.GradientMismatchError) as caught:
        ln.gradcheck(ln.tanh, x, backward=nearly)
    (checked,) = caught.value.check.inputs
    assert checked.worst == (1, 2)
    assert checked.wrong == 1
    assert checked.error == pytest.approx(1e-4, rel=1e-3)
    assert "tanh: the gradient is wrong" in str(caught.value)
    assert "1 of 12 elements wrong; the worst is x[1, 2]" in str(caught.value)
    assert isinstance(caught.value, AssertionError)


@pytest.mark.parametrize("factor", [-1, 2, 1.001, np.nan])
def test_a_gradient_that_is_off_by_a_factor_is_wrong(factor):
    x = np.random.default_rng(1).standard_normal(5)
    assert not ln.gradcheck(ln.tanh, x, backward=lambda x, dy: factor * ln.tanh_backward(x, dy), raises=False)


def test_at_a_kink_the_message_says_that_no_difference_can_judge():
    found = ln.gradcheck(ln.relu, np.array([1.0, 0.0]), raises=False)
    assert not found
    assert found.inputs[0].worst == (1,)
    assert "kink" in str(found)
    assert ln.gradcheck(ln.relu, np.array([1.0, -1e-3]))


def test_float32_gradients_are_held_to_float64_differences_with_their_own_tolerance():
    x = np.random.default_rng(2).standard_normal(50).astype(np.float32)
    found = ln.gradcheck(ln.gelu, x)
    assert found
    assert found.inputs[0].error < 1e-6  # a float64 forward pass: float32 differences would be wrong in the third digit
    assert not ln.gradcheck(ln.gelu, x, backward=lambda x, dy: ln.gelu_backward(x, dy) * np.float32(1.01), raises=False)


def test_inputs_are_not_changed_and_integers_have_no_gradient():
    logits, labels = np.random.default_rng(3).standard_normal((4, 3)), np.array([0, 2, 1, 1])
    before = logits.copy()
    found = ln.gradcheck(ln.cross_entropy, logits, labels)
    np.testing.assert_array_equal(logits, before)
    assert [checked.name for checked in found.inputs] == ["logits"]


def test_what_cannot_be_checked_is_refused():
    x = np.ones(3)
    refused(TypeError, lambda: ln.gradcheck(3, x), "op is 3", "expected an operation")
    refused(ValueError, lambda: ln.gradcheck(ln.softmax, x), "softmax has no backward", "expected backward=")
    refused(ValueError, lambda: ln.gradcheck(np.sin, x), "expected backward=")
    refused(TypeError, lambda: ln.gradcheck(np.sin, backward=np.cos), "of no dtype", "expected at least one array")
    refused(TypeError, lambda: ln.gradcheck(ln.gelu, [1, 2]), "int64", "expected at least one array of float64")
    refused(TypeError, lambda: ln.gradcheck(ln.mse, x, x.astype(np.float32)), "float64, float32", "only one of these")
    refused(ValueError, lambda: ln.gradcheck(ln.gelu, np.array([np.nan])), "input 0 holds NaN")
    wrong = lambda x, dy: dy[:2]  # noqa: E731
    refused(ValueError, lambda: ln.gradcheck(np.sin, x, backward=wrong), "shapes [(2,)]", "expected [(3,)]")
    refused(ValueError, lambda: ln.gradcheck(np.sin, x, backward=lambda x, dy: (dy, dy)), "shapes [(3,), (3,)]")
    refused(ValueError, lambda: ln.gradcheck(np.sin, x, backward=np.cos, impl="cpp"), "impl is 'cpp'")


def test_an_array_without_elements_passes():
    assert ln.gradcheck(ln.gelu, np.zeros((0, 3)))
