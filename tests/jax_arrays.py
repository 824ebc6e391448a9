"""JAX arrays in and out without a copy, never changed; and what is refused. Run by test_jax.py."""

import functools

import jax
import ladders
import loopnest as ln
import numpy as np
import pytest
from ladders import OPERATIONS, dtypes
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


@functions
@dtypes
@pytest.mark.parametrize("backend", ["cpp", "numpy"])
def test_jax_arrays_give_jax_arrays_of_the_right_values_and_stay_as_they_were(operation, backend, dtype):
    if not any(k.backend == backend for k in operation):
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


def test_kernels_read_the_arrays_memory():
    seen = []
    ln.matmul.register("spy.kernel")(lambda a, b, c: seen.append(a))
    try:
        x = jax.numpy.ones((64, 64))
        ln.matmul(x, x, impl="spy.kernel")
    finally:
        ln.matmul.unregister("spy.kernel")
    assert seen[0].ctypes.data == x.unsafe_buffer_pointer()
    assert not seen[0].flags.writeable


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
    rungs = [k for k in ln.matmul if k.backend == backend and k.available()]
    if not rungs:
        pytest.skip(next(k.why_unavailable() for k in ln.matmul if k.backend == backend))
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


def test_numpy_arrays_may_come_with_them():
    a, b = jax.numpy.ones((2, 3)), np.ones((3, 2))
    assert isinstance(ln.matmul(b, a), jax.Array)
    assert isinstance(ln.matmul(a, b, out=np.empty((2, 2))), np.ndarray)


# --- what is refused


def test_traced_arrays_are_refused():
    with pytest.raises(jax.errors.TracerArrayConversionError):
        jax.jit(ln.relu)(jax.numpy.ones(3))
    with pytest.raises(jax.errors.TracerArrayConversionError):
        jax.grad(lambda x: ln.relu(x).sum())(jax.numpy.ones(3))


@pytest.mark.parametrize("name", UPDATED)
def test_optimizers_refuse_jax_parameters(name):
    operation = OPERATIONS[name]
    arguments = case_of(operation).arguments()
    inputs = [jax.numpy.asarray(x) for x in arguments.inputs]
    before = [np.array(x) for x in inputs]
    with pytest.raises(ValueError, match=rf"^{name}: param is read-only, expected a writeable array"):
        operation(*inputs, **arguments.options)
    assert all(np.array_equal(now, then) for now, then in zip(inputs, before, strict=True))


def test_they_are_no_out():
    a = jax.numpy.ones((2, 2))
    with pytest.raises(TypeError, match=r"^matmul: out is a JAX array, expected a NumPy array like the inputs"):
        ln.matmul(a, a, out=a)


def test_tensors_do_not_come_with_them():
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'loopnest[torch]'")
    with pytest.raises(
        TypeError, match=r"^matmul: b is a JAX array, expected a torch tensor like a; .*from_dlpack\(b\)"
    ):
        ln.matmul(torch.ones(2, 2), jax.numpy.ones((2, 2)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_products_in_reduced_precision_are_jax_arrays(dtype):
    c = ln.matmul(jax.numpy.ones((2, 3), dtype), jax.numpy.ones((3, 2), dtype))
    assert isinstance(c, jax.Array)
    assert c.dtype == dtype
    assert (c == 3).all()


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64"])
def test_other_dtypes_are_refused(dtype):
    a = jax.numpy.ones((2, 2), dtype)
    with pytest.raises(TypeError, match=rf"^matmul: a has dtype {dtype}, expected float32 or float64 .*a\.astype\(np"):
        ln.matmul(a, a)
