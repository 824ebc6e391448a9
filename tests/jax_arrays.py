"""JAX arrays in and out without a copy, never changed; and what is refused. Run by test_jax.py."""

import functools
import os
import subprocess
import sys

import jax
import ladders
import loopnest as ln
import numpy as np
import pytest
from ladders import OPERATIONS, dtypes
from loopnest import arrays
from loopnest.verify import Case, answer_of, compare

UPDATED = ("sgd", "momentum", "rmsprop", "adam")
FUNCTIONS = {name: operation for name, operation in OPERATIONS.items() if name not in UPDATED}
functions = pytest.mark.parametrize("operation", FUNCTIONS.values(), ids=FUNCTIONS)
FLOAT64 = np.dtype(np.float64)


@pytest.fixture(autouse=True)
def wide():
    """JAX keeps float64 and int64."""
    with jax.enable_x64(True):
        yield


mapped = functools.partial(ladders.mapped, kinds=np.ndarray | jax.Array)
leaves = functools.partial(ladders.leaves, kinds=np.ndarray | jax.Array)


def case_of(operation, dtype=FLOAT64, sizes=(7, 5, 6, 4)):
    return Case(operation, dtype, tuple(zip(operation.contract.workloads[0].shape, sizes, strict=False)))


def results_of(returned):
    return leaves(returned) if not isinstance(returned, jax.Array) else [returned]


def place(x):
    return x.unsafe_buffer_pointer()


@functions
@dtypes
@pytest.mark.parametrize("backend", ["cpp", "numpy"])
def test_jax_arrays_give_jax_arrays_of_the_right_values_and_stay_as_they_were(operation, backend, dtype):
    if not any(k.backend == backend for k in operation.ladder()):
        backend = "cpp"
    case = case_of(operation, dtype)
    arguments = case.arguments()
    inputs = mapped(list(arguments.inputs), jax.numpy.asarray)
    before = [np.array(x) for x in leaves(inputs)]
    returned = operation(*inputs, impl=backend, **arguments.options)
    results = operation.contract.results(returned)
    for result, exact, bound in zip(results, *answer_of(case), strict=True):
        assert isinstance(result, jax.Array)
        assert result.dtype == dtype
        assert not compare(np.asarray(result), exact, bound, dtype)
    assert all(np.array_equal(now, then) for now, then in zip(leaves(inputs), before, strict=True))


@functions
def test_kernels_read_the_arrays_memory_and_results_are_the_memory_they_filled(operation):
    made, seen = [], []

    def empty(shape, dtype):
        made.append(np.zeros(shape, dtype))
        return made[-1]

    operation.register("spy.kernel")(lambda *args: seen.extend(a for a in args if isinstance(a, np.ndarray)))
    try:
        arguments = case_of(operation).arguments()
        inputs = mapped(list(arguments.inputs), jax.numpy.asarray)
        with arrays.results_from(empty):
            returned = operation(*inputs, impl="spy.kernel", **arguments.options)
    finally:
        operation.unregister("spy.kernel")
    places = {array.ctypes.data: array for array in seen}
    inputs = leaves(inputs)
    assert {place(x) for x in inputs} <= set(places)
    assert not any(places[place(x)].flags.writeable for x in inputs)
    results = [x for x in results_of(returned) if not any(x is given for given in inputs)]
    assert len(results) == len(made)
    for result in results:
        assert any(np.shares_memory(places[place(result)], memory) for memory in made)


def test_a_result_keeps_its_memory_and_lets_go_of_it():
    a = jax.numpy.ones((64, 64))
    c = ln.matmul(a, a)
    kept = [ln.matmul(a * i, a) for i in range(20)]
    assert (np.asarray(c) == 64).all()
    assert all((np.asarray(k) == 64 * i).all() for i, k in enumerate(kept))
    assert (np.asarray(ln.matmul(ln.matmul(a, a) @ a, a)) == 64**3).all()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)], ids=str)
def test_empty_arrays(shape):
    a = jax.numpy.ones(shape)
    c = ln.matmul(a, a.T)
    assert isinstance(c, jax.Array)
    assert c.shape == (shape[0], shape[0])
    assert not np.asarray(c).any()


def test_scalars_are_arrays_without_axes():
    x = jax.numpy.arange(4.0)
    assert isinstance(ln.dot(x, x), jax.Array)
    assert float(ln.dot(x, x)) == 14


@pytest.mark.parametrize("backend", ["python", "numpy", "numba", "cpp", "torch"])
def test_every_backend_takes_them(backend):
    rungs = [k for k in ln.matmul.ladder() if k.backend == backend and k.available()]
    if not rungs:
        pytest.skip(next(k.why_unavailable() for k in ln.matmul.ladder() if k.backend == backend))
    a = jax.numpy.arange(12.0).reshape(3, 4)
    np.testing.assert_allclose(rungs[-1](a, a.T), a @ a.T)


def test_results_of_a_pending_computation_are_waited_for():
    a = jax.numpy.ones((400, 400))
    for _ in range(5):
        a = a @ a / 400
    assert (np.asarray(ln.matmul(a, a)) == 400).all()


def test_through_pure_callback_it_runs_inside_of_jit():
    def matmul(a, b):
        return np.asarray(ln.matmul(np.asarray(a), np.asarray(b)))

    @jax.jit
    def f(a, b):
        shape = jax.ShapeDtypeStruct((a.shape[0], b.shape[1]), a.dtype)
        return jax.pure_callback(matmul, shape, a, b) + 1

    a = jax.numpy.ones((3, 4))
    assert (np.asarray(f(a, a.T)) == 5).all()


# --- what is refused


@functions
def test_traced_arrays_are_refused_with_the_way_out(operation):
    arguments = case_of(operation).arguments()
    inputs = mapped(list(arguments.inputs), jax.numpy.asarray)
    flat = leaves(inputs)

    def call(*arrays):
        given = iter(arrays)
        return operation(*mapped(inputs, lambda _: next(given)), **arguments.options)

    with pytest.raises(TypeError, match=rf"^{operation.name}: \w+ is traced, .* or through jax\.pure_callback(\n|$)"):
        jax.jit(call)(*flat)


def test_gradients_by_jax_are_refused_with_the_way_out():
    with pytest.raises(TypeError, match=r"^relu: x is traced, inside of jax\.jit, jax\.grad or jax\.vmap"):
        jax.grad(lambda x: ln.relu(x).sum())(jax.numpy.ones(3))


@pytest.mark.parametrize("name", UPDATED)
def test_optimizers_refuse_jax_parameters(name):
    operation = OPERATIONS[name]
    arguments = case_of(operation).arguments()
    inputs = [jax.numpy.asarray(x) for x in arguments.inputs]
    before = [np.array(x) for x in inputs]
    with pytest.raises(
        TypeError, match=rf"^{name}: param is a JAX array, which cannot be changed, .* np\.array\(param\)"
    ):
        operation(*inputs, **arguments.options)
    assert all(np.array_equal(now, then) for now, then in zip(inputs, before, strict=True))


@functions
def test_out_is_refused(operation):
    arguments = case_of(operation).arguments()
    exact, _ = answer_of(case_of(operation))
    for given, why in ((np.zeros, "the results of JAX arrays are"), (jax.numpy.zeros, "JAX arrays cannot be written")):
        out = [given(x.shape) for x in exact]
        out = tuple(out) if operation.name == "mlp_backward" else out[0]
        inputs = mapped(list(arguments.inputs), jax.numpy.asarray)
        with pytest.raises(
            TypeError, match=rf"^{operation.name}: out('s dx)? is a .*, expected None for a new one: {why}"
        ):
            operation(*inputs, **arguments.options, out=out)
    with pytest.raises(TypeError, match=r"out('s dx)? is a JAX array, expected None for a new one: JAX arrays cannot"):
        operation(*arguments.inputs, **arguments.options, out=out)


def test_arrays_of_two_kinds_are_refused():
    a, b = jax.numpy.ones((2, 2)), np.ones((2, 2))
    with pytest.raises(TypeError, match=r"^matmul: b is a numpy\.ndarray, expected a JAX array like a; .*asarray\(b\)"):
        ln.matmul(a, b)
    with pytest.raises(TypeError, match=r"^matmul: a is a numpy\.ndarray, expected a JAX array like b"):
        ln.matmul(b, a)
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'loopnest[torch]'")
    with pytest.raises(
        TypeError, match=r"^matmul: b is a JAX array, expected a torch tensor like a; .*from_dlpack\(b\)"
    ):
        ln.matmul(torch.ones(2, 2), a)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int32", "bool", "complex64"])
def test_other_dtypes_are_refused(dtype):
    a = jax.numpy.ones((2, 2), dtype)
    with pytest.raises(
        TypeError, match=rf"^matmul: a has dtype {dtype}, expected float32 or float64; convert it with a\.ast"
    ):
        ln.matmul(a, a)


def test_two_dtypes_are_refused():
    a = jax.numpy.ones((2, 2))
    with pytest.raises(
        TypeError, match=r"^matmul: b has dtype float32, expected float64 .*b\.astype\(jax\.numpy\.float64\)"
    ):
        ln.matmul(a, a.astype("float32"))


def test_labels_of_int32_are_refused_with_the_way_to_int64():
    with pytest.raises(
        TypeError, match=r"^cross_entropy: labels has dtype int32, expected int64; .*'jax_enable_x64', True"
    ):
        ln.cross_entropy(jax.numpy.ones((2, 3)), jax.numpy.zeros(2, "int32"))


def test_float64_that_jax_would_lose_is_refused():
    a = jax.numpy.ones((2, 2))
    with (
        jax.enable_x64(False),
        pytest.raises(TypeError, match=r"^matmul: a has dtype float64, which JAX would now make"),
    ):
        ln.matmul(a, a)


def test_deleted_arrays_are_refused():
    a = jax.numpy.ones((2, 2))
    a.delete()
    with pytest.raises(ValueError, match=r"^matmul: a was deleted or donated"):
        ln.matmul(a, a)


def test_arrays_on_several_devices_are_refused():
    program = """
import jax, loopnest as ln
from jax.sharding import Mesh, NamedSharding, PartitionSpec
devices = jax.devices()
assert len(devices) == 2
a = jax.device_put(jax.numpy.ones((4, 4)), NamedSharding(Mesh(devices, "i"), PartitionSpec("i")))
try:
    ln.matmul(a, a)
except ValueError as error:
    print(error)
one = jax.device_put(jax.numpy.ones((4, 4)), devices[1])
print(ln.matmul(one, one).devices() == {devices[1]})
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
            "JAX_PLATFORMS": "cpu",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    message, on_its_device = done.stdout.splitlines()
    assert message.startswith("matmul: a is on ")
    assert message.endswith(", expected one CPU device; pass jax.device_put(a, jax.devices('cpu')[0])")
    assert on_its_device == "True"
