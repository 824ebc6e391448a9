"""Each *_backward against central finite differences of its forward operation, in float64."""

import functools

import loopnest as ln
import numpy as np
import pytest
from ladders import OPERATIONS, rungs
from loopnest.operations.mlp.contract import MLPCache

STEP = 1e-5  # the difference's own error is about step² from the curvature and u / step from rounding, 1e-10 both


def difference(loss, x):
    """∂loss/∂x elementwise: (loss(x + step) - loss(x - step)) / 2 step. `loss` reads x, which is changed meanwhile."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        kept = x[index]
        x[index] = kept + STEP
        above = loss()
        x[index] = kept - STEP
        gradient[index] = (above - loss()) / (2 * STEP)
        x[index] = kept
    return gradient


def close(gradient, expected):
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-8)


def random(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


@rungs("relu_backward", "sigmoid_backward", "tanh_backward", "gelu_backward")
def test_activations(implementation):
    forward = OPERATIONS[implementation.operation.name.removesuffix("_backward")]
    forms = [{"approximate": form} for form in ("tanh", "none")] if forward.name == "gelu" else [{}]
    x, dy = 2 * random(4, 9), random(9, 4).T
    for options in forms:
        expected = difference(lambda o=options: float(np.sum(dy * forward(x, **o))), x)
        close(implementation(x, dy, **options), expected)


@rungs("mse_backward")
def test_mse(implementation):
    y, t = random(5, 3), random(3, 5).T
    close(implementation(y, t), difference(lambda: ln.mse(y, t), y))


@rungs("cross_entropy_backward")
def test_cross_entropy(implementation):
    logits, labels = random(6, 5), np.array([0, 4, 2, 2, 1, 4])
    close(implementation(logits, labels), difference(lambda: ln.cross_entropy(logits, labels), logits))


@functools.cache
def mlp_gradients(form):
    """Small inputs of the MLP, dy, and the finite differences of Σ dy · y by each input."""
    inputs = [random(3, 4), random(4, 6), random(6), random(6, 2), random(2)]
    dy = random(3, 2)
    loss = lambda: float(np.sum(dy * ln.mlp_forward(*inputs, approximate=form)[0]))  # noqa: E731
    return inputs, dy, [difference(loss, x) for x in inputs]


@rungs("mlp_backward")
@pytest.mark.parametrize("form", ["tanh", "none"])
def test_mlp(implementation, form):
    inputs, dy, expected = mlp_gradients(form)
    _, cache = ln.mlp_forward(*inputs, approximate=form)
    gradients = implementation(dy, cache)
    assert len(gradients) == 5
    for gradient, right in zip(gradients, expected, strict=True):
        close(gradient, right)


@pytest.mark.parametrize("t", [1, 5, 40])
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_the_fused_mlp_of_cpp_leaves_out_what_has_no_rows_and_fills_columns(t, approximate):
    rng = np.random.default_rng(0)
    d, h, e = 33, 70, 18
    x, w1, b1, w2, b2 = (rng.standard_normal(s) for s in ((t, d), (d, h), h, (h, e), e))
    z, hidden, y = np.empty((t, h)), np.empty((t, h)), np.empty((t, e))
    forward, backward = (ln.OPERATIONS[name]["cpp.fused"].kernel for name in ("mlp_forward", "mlp_backward"))
    forward(x, w1, b1, w2, b2, z, hidden, y, approximate == "tanh")
    again = np.empty_like(y)
    forward(x, w1, b1, w2, b2, np.empty((0, h)), np.empty((0, h)), again, approximate == "tanh")
    np.testing.assert_array_equal(again, y)

    dy = rng.standard_normal((t, e))
    cache = MLPCache(x, w1, w2, z, hidden, approximate)
    exact = dict(zip(("dx", "dw1", "db1", "dw2", "db2"), ln.mlp_backward.contract.reference(dy, cache), strict=True))
    for wanted in ("dx", "dw1", "dw2", "dx dw1 dw2"):
        results = {name: np.full(np.shape(array), np.nan) for name, array in exact.items()}
        for name in ("dw1", "dw2"):
            results[name] = np.full(results[name].shape[::-1], np.nan).T
        for name in ("dx", "dw1", "dw2"):
            if name not in wanted:
                results[name] = results[name][:0]
        backward(dy, x, w1, w2, z, hidden, *results.values(), approximate == "tanh")
        for name in wanted.split():
            np.testing.assert_allclose(results[name], exact[name], rtol=1e-9, atol=1e-9, err_msg=name)
