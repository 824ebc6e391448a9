"""Networks on the lab's operations: the same numbers by every backend, and by torch; and right gradients."""

import importlib
import importlib.util
import os

import loopnest as ln
import numpy as np
import pytest
from ladders import HERE, backends
from loopnest import nn
from loopnest.timing.fairness import equal_terms
from test_messages import refused

pytestmark = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="most of it has no C++ in it")

STEPS = 100
FLOAT32 = 1e-5
"""How far a float32 loss may be from the float64 one after 100 steps: docs/training.md says why."""


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These networks are too small to be shared out: threads that wait for each other would take all the time."""
    if importlib.util.find_spec("torch"):
        importlib.import_module("torch")  # what is loaded later would not be bound
    with equal_terms(1):
        yield


optimizers = pytest.mark.parametrize("optimizer", nn.OPTIMIZERS)


def curve(config, data=None, steps=STEPS):
    training = nn.Training(data or nn.spirals(), config)
    training.run(stop=lambda: training.step_number >= steps)
    assert training.step_number == steps
    return np.array(training.losses)


def small(**what):
    """A network that pure Python learns with in a moment."""
    return nn.Config(**{"hidden": 8, "batch": 8, "epochs": 10, "seed": 3, **what})


@pytest.fixture(scope="module")
def right():
    """The curves in float64, by NumPy."""
    return {name: curve(small(optimizer=name, dtype="float64", impl="numpy")) for name in nn.OPTIMIZERS}


@backends()
@optimizers
@pytest.mark.slow
def test_float64_losses_are_the_same_in_every_backend_to_1e9_after_100_steps(backend, optimizer, right):
    losses = curve(small(optimizer=optimizer, dtype="float64", impl=backend))
    np.testing.assert_allclose(losses, right[optimizer], rtol=0, atol=1e-9)
    assert abs(losses[0] - losses[-1]) > 0.1  # it learns


@backends()
@optimizers
def test_float32_losses_are_within_their_bound_of_the_float64_ones_after_100_steps(backend, optimizer, right):
    losses = curve(small(optimizer=optimizer, dtype="float32", impl=backend))
    np.testing.assert_allclose(losses, right[optimizer], rtol=0, atol=FLOAT32)


@backends()
def test_mse_has_the_same_curve_in_every_backend(backend):
    config = {"loss": "mse", "dtype": "float64", "optimizer": "momentum", "lr": 0.05}
    losses = curve(small(impl=backend, **config), steps=50)
    np.testing.assert_allclose(losses, curve(small(impl="numpy", **config), steps=50), rtol=0, atol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "identity"])
def test_other_activations_have_the_same_curve_in_every_backend(activation):
    config = {"activation": activation, "dtype": "float64"}
    expected = curve(small(impl="numpy", **config), steps=30)
    for backend in HERE:
        if not ln.OPERATIONS["linear"][backend].available():
            continue
        np.testing.assert_allclose(curve(small(impl=backend, **config), steps=30), expected, rtol=0, atol=1e-9)


@optimizers
@pytest.mark.parametrize("loss", nn.LOSSES)
def test_torch_with_the_same_weights_and_batches_has_the_same_curve(optimizer, loss):
    """Autograd, torch's optimizers, and no operation of the lab."""
    torch = pytest.importorskip("torch")
    data, config = nn.spirals(), small(optimizer=optimizer, dtype="float64", loss=loss, batch=32, hidden=16, epochs=8)
    begun = nn.Training(data, config)
    w1, b1, w2, b2 = (torch.tensor(p.copy(), requires_grad=True) for p in begun.network.parameters.values())
    optim, lr = torch.optim, config.rate
    theirs = {
        "sgd": lambda p: optim.SGD(p, lr=lr),
        "momentum": lambda p: optim.SGD(p, lr=lr, momentum=0.9),
        "rmsprop": lambda p: optim.RMSprop(p, lr=lr, alpha=0.99, eps=1e-8),
        "adam": lambda p: optim.Adam(p, lr=lr, betas=(0.9, 0.999), eps=1e-8),
    }[optimizer]([w1, b1, w2, b2])
    x, labels = torch.tensor(data.x), torch.tensor(data.labels)
    targets = labels if loss == "cross_entropy" else torch.nn.functional.one_hot(labels, 2).double()
    of = torch.nn.functional.cross_entropy if loss == "cross_entropy" else torch.nn.functional.mse_loss
    losses = []
    for epoch in range(config.epochs):
        for batch in nn.batches(len(labels), config.batch, config.seed, epoch):
            y = torch.nn.functional.gelu(x[batch] @ w1 + b1, approximate="tanh") @ w2 + b2
            error = of(y, targets[batch])
            theirs.zero_grad()
            error.backward()
            theirs.step()
            losses.append(error.item())
    assert len(losses) >= STEPS
    np.testing.assert_allclose(curve(config)[:STEPS], losses[:STEPS], rtol=0, atol=1e-9)


@pytest.mark.parametrize("sizes", [(3, 4, 2), (3, 2), (3, 5, 4, 3, 2)], ids=str)
@pytest.mark.parametrize("activation", nn.ACTIVATIONS)
def test_a_networks_gradients_are_right(sizes, activation):
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((5, 3)), rng.integers(0, 2, 5)
    network = nn.Network(sizes, activation=activation, seed=1, dtype=np.float64)

    def loss(*parameters):
        for array, given in zip(network.parameters.values(), parameters, strict=True):
            array[...] = given
        return network.gradients(x, labels)[0]

    def backward(*parameters):
        loss(*parameters)
        return tuple(network.gradients(x, labels)[1][name] for name in network.parameters)

    assert ln.gradcheck(loss, *(p.copy() for p in network.parameters.values()), backward=backward)


def test_two_layers_with_gelu_are_the_labs_mlp():
    assert nn.Network((3, 4, 2)).is_mlp
    assert "mlp_forward" in nn.Network((3, 4, 2)).chosen.operations
    assert not nn.Network((3, 4, 2), activation="relu").is_mlp
    assert not nn.Network((3, 4, 4, 2)).is_mlp


def test_an_id_that_an_operation_has_not_is_the_backends_fastest_and_that_is_said():
    training = nn.Training(nn.xor(), nn.Config(impl="numpy.vectorized"))
    assert training.chosen.ids["adam"] == "numpy.vectorized"
    assert training.chosen.ids["mlp_forward"] == "numpy.composed"
    assert training.run().notes == ("no numpy.vectorized of mlp_forward, mlp_backward: numpy.composed instead",)
    assert nn.Training(nn.xor(), nn.Config(impl="cpp")).run().notes == ()
    assert set(nn.Training(nn.xor(), nn.Config(impl="cpp.composed")).chosen.ids.values()) >= {"cpp.composed"}


def test_every_operation_runs_by_the_implementation_that_is_told(monkeypatch):
    training = nn.Training(nn.spirals(), nn.Config(impl="python", hidden=4))
    called = set()
    for name, k in training.chosen.operations.items():

        def counted(*args, name=name, kernel=k.kernel):
            called.add(name)
            return kernel(*args)

        monkeypatch.setattr(k, "kernel", counted)
    training.step(np.arange(8))
    assert called == set(training.chosen.operations)
    assert {k.backend for k in training.chosen.operations.values()} == {"python"}


def test_a_rung_that_starts_slowly_is_taken_by_id_alone():
    pytest.importorskip("torch")
    assert nn.choose("torch", ["mlp_forward"]).ids == {"mlp_forward": "torch.eager"}
    assert nn.choose("torch.compiled", ["mlp_forward"]).ids == {"mlp_forward": "torch.compiled"}


def test_what_no_operation_has_is_refused():
    refused(ln.UnknownImplementationError, lambda: nn.choose("numpy.vectorised", ["adam"]), "numpy.vectorised", "adam")
    refused(ln.UnknownImplementationError, lambda: nn.choose("fortran", ["adam"]), "fortran", "Backends: python")
    refused(TypeError, lambda: nn.choose(3, ["adam"]), "impl is 3")


def test_what_cannot_run_here_is_refused_with_the_reason(monkeypatch):
    for rung in ("cpp.vectorized", "cpp.parallel"):
        monkeypatch.setattr(ln.adam[rung], "why_unavailable", lambda: "it is tired")
    refused(ln.UnavailableError, lambda: nn.choose("cpp", ["adam"]), "cpp.parallel cannot run here: it is tired")


def test_initialisers_have_their_variance_and_their_seed():
    rng = np.random.default_rng
    assert nn.INITIALISERS["xavier"](300, 100, rng(0)).var() == pytest.approx(2 / 400, rel=0.02)
    assert np.abs(nn.INITIALISERS["xavier"](300, 100, rng(0))).max() <= (6 / 400) ** 0.5
    assert nn.INITIALISERS["he"](300, 100, rng(0)).var() == pytest.approx(2 / 300, rel=0.02)
    assert not nn.INITIALISERS["zeros"](3, 4, rng(0)).any()
    assert (nn.INITIALISERS["constant"](4, 3, rng(0)) == 0.5).all()
    first, again, other = (nn.initialise((4, 5, 2), "he", seed, np.float64) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first["w1"], again["w1"])
    assert (first["w1"] != other["w1"]).all()
    rounded = nn.initialise((4, 5, 2), "he", 1, np.float32)
    np.testing.assert_array_equal(rounded["w2"], first["w2"].astype(np.float32))


def test_an_epochs_batches_have_every_example_once_in_an_order_of_seed_and_epoch():
    def order(seed, epoch):
        return np.concatenate(list(nn.batches(10, 4, seed, epoch)))

    assert sorted(order(0, 0)) == list(range(10))
    np.testing.assert_array_equal(order(0, 3), order(0, 3))
    assert (order(0, 3) != order(0, 4)).any()
    assert (order(0, 3) != order(1, 3)).any()


def test_an_optimizer_takes_the_operations_options():
    w, kept = {"w": np.array([1.0, 2.0])}, np.array([1.0, 2.0])
    m, v = np.zeros(2), np.zeros(2)
    adam = nn.Optimizer("adam", w, 0.1, beta1=0.5, bias_correction=False, eps_inside=True)
    for step in (1, 2, 3):
        adam.step({"w": np.array([0.3, -0.2])})
        options = {"beta1": 0.5, "bias_correction": False, "eps_inside": True}
        ln.adam(kept, np.array([0.3, -0.2]), m, v, step=step, lr=0.1, **options)
    np.testing.assert_array_equal(w["w"], kept)


def test_wrong_arguments_are_refused():
    refused(ValueError, lambda: nn.Config(batch=0), "batch is 0", "1 or more")
    refused(ValueError, lambda: nn.Config(optimizer="adm"), "optimizer is 'adm'", "sgd, momentum, rmsprop, adam")
    refused(ValueError, lambda: nn.Config(dtype="float16"), "dtype is 'float16'", "float32, float64")
    refused(ValueError, lambda: nn.Config(init="ones"), "init is 'ones'", "zeros, constant, xavier, he")
    refused(ValueError, lambda: nn.Config(seed=-1), "seed is -1")
    refused(ValueError, lambda: nn.Network((3,)), "sizes is (3,)", "two or more")
    refused(ValueError, lambda: nn.Network((3, 0)), "sizes is (3, 0)")
    refused(ValueError, lambda: nn.Network((3, 2), activation="step"), "activation is 'step'", "gelu")
    refused(ValueError, lambda: nn.Network((3, 2), loss="hinge"), "loss is 'hinge'")
    refused(TypeError, lambda: nn.Network((3, 2), dtype=np.int64), "dtype is", "float32 or float64")
    refused(ValueError, lambda: nn.Optimizer("adam", {}, -1.0), "lr is -1.0")
    refused(ValueError, lambda: nn.Optimizer("lion", {}), "optimizer is 'lion'")
    refused(ValueError, lambda: nn.initialise((2, 2), "ones", 0, float), "init is 'ones'")
