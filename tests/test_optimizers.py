"""Optimizer steps: in place, in any layout, and over many steps."""

import inspect

import loopnest as ln
import numpy as np
import pytest
from ladders import OPERATIONS, dtypes, rungs
from test_messages import refused

STATES = {"sgd": [], "momentum": ["velocity"], "rmsprop": ["square_average"], "adam": ["m", "v"]}
OPTIONS = {"sgd": {"lr": 0.1}, "momentum": {"lr": 0.1}, "rmsprop": {}, "adam": {"step": 1}}
steps = pytest.mark.parametrize("name", STATES)


@rungs(*STATES)
@dtypes
def test_a_step_updates_in_place_and_returns_nothing(implementation, dtype):
    name = implementation.operation.name
    param, grad = np.ones((3, 4), dtype), np.full((3, 4), 2, dtype)
    states = [np.zeros((3, 4), dtype) for _ in STATES[name]]
    assert implementation(param, grad, *states, **OPTIONS[name]) is None
    assert (param < 1).all()
    assert all((state > 0).all() for state in states)
    np.testing.assert_array_equal(grad, 2)


@rungs("adam")
def test_adam_follows_its_paper_over_100_steps(implementation):
    """Kingma and Ba 2015, algorithm 1, step by step in long doubles; and the textbook short form."""
    rng = np.random.default_rng(6)
    start, gradients = rng.standard_normal(50), rng.standard_normal((100, 50))
    for short in (False, True):
        param, m, v = start.copy(), np.zeros(50), np.zeros(50)
        right, right_m, right_v = (x.astype(np.longdouble) for x in (start, m, v))
        for t, grad in enumerate(gradients, 1):
            options = {"bias_correction": False, "eps_inside": True} if short else {}
            implementation(param, grad, m, v, step=t, lr=0.01, **options)
            right_m = 0.9 * right_m + (1 - 0.9) * grad
            right_v = 0.999 * right_v + (1 - 0.999) * grad**2
            if short:
                right -= 0.01 * right_m / np.sqrt(right_v + 1e-8)
            else:
                right -= 0.01 * (right_m / (1 - 0.9**t)) / (np.sqrt(right_v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(param, right.astype(float), rtol=1e-11, atol=1e-12)


@rungs("momentum", "rmsprop", "sgd")
def test_steps_follow_their_formulas_over_100_steps(implementation):
    rng = np.random.default_rng(7)
    name = implementation.operation.name
    param = rng.standard_normal(50)
    right, state, right_state = param.copy(), np.zeros(50), np.zeros(50)
    for grad in rng.standard_normal((100, 50)):
        if name == "sgd":
            implementation(param, grad, lr=0.01)
            right -= 0.01 * grad
        elif name == "momentum":
            implementation(param, grad, state, lr=0.01, mu=0.9)
            right_state = 0.9 * right_state + grad
            right -= 0.01 * right_state
        else:
            implementation(param, grad, state, lr=0.01, rho=0.99, eps=1e-8)
            right_state = 0.99 * right_state + (1 - 0.99) * grad**2
            right -= 0.01 * grad / (np.sqrt(right_state) + 1e-8)
    np.testing.assert_allclose(param, right, rtol=1e-11, atol=1e-12)


def arguments(name, shape=(3, 4)):
    return {key: np.ones(shape) for key in ["param", "grad", *STATES[name]]} | OPTIONS[name]


@steps
def test_what_is_updated_must_be_writeable_and_have_memory_of_its_own(name):
    operation = OPERATIONS[name]
    for key in ["param", *STATES[name]]:
        given = arguments(name)
        given[key].flags.writeable = False
        refused(ValueError, lambda g=given: operation(**g), f"{name}: {key} is read-only, expected a writeable array")
        given = arguments(name)
        given[key] = np.lib.stride_tricks.as_strided(np.ones(4), (3, 4), (0, 8))
        refused(ValueError, lambda g=given: operation(**g), f"{name}: {key} has strides of (0, 8)", f"{key}.copy()")
        given = arguments(name)
        given["grad"] = given[key]
        refused(ValueError, lambda g=given: operation(**g), f"{name}: {key} overlaps grad in memory", "a copy")
        given = arguments(name)
        given[key] = np.zeros(12 * 8 + 1, np.uint8)[1:].view(float).reshape(3, 4)
        refused(ValueError, lambda g=given: operation(**g), f"{name}: {key}'s elements do not lie at", "copy()")


@steps
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)])
def test_a_parameter_without_elements_stays_as_it_is(name, shape):
    given = arguments(name, shape)
    assert OPERATIONS[name](**given) is None
    assert given["param"].shape == shape


@steps
def test_shapes_must_be_the_parameters(name):
    for key in ["grad", *STATES[name]]:
        given = arguments(name) | {key: np.ones((4, 3))}
        refused(ValueError, lambda g=given: OPERATIONS[name](**g), f"{name}: {key} has shape (4, 3), expected (3, 4)")


@steps
def test_hyper_parameters_out_of_range_are_refused(name):
    names = inspect.signature(OPERATIONS[name]).parameters
    wrong = {"lr": -1.0, "mu": -0.1, "rho": 1.5, "beta1": 1.0, "beta2": -0.5, "eps": -1e-8, "step": 0}
    for key in wrong.keys() & names.keys():
        for value in (wrong[key], float("nan")):
            given = arguments(name) | {key: value}
            refused(ValueError, lambda g=given: OPERATIONS[name](**g), f"{name}: {key} is {value}", "expected")


def test_adam_wants_its_step():
    with pytest.raises(TypeError, match="step"):
        ln.adam(np.ones(3), np.ones(3), np.ones(3), np.ones(3))
