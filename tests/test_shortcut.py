"""The shortcut of usual calls: which calls take it, and that it gives what the way through Python gives."""

import contextlib
import copy
import gc
import multiprocessing
import pickle
import sys
import weakref

import loopnest as ln
import numpy as np
import pytest
from ladders import DTYPES, OPERATIONS, dtypes
from loopnest import _core, arrays
from loopnest.operation import Operation

try:
    import torch
except ImportError:
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="torch is not installed: pip install 'loopnest[torch]'")

SHORT = [operation for operation in OPERATIONS.values() if operation.contract.fast_path]
short = pytest.mark.parametrize("operation", SHORT, ids=lambda operation: operation.name)
kinds = pytest.mark.parametrize("kind", ["arrays", pytest.param("tensors", marks=needs_torch)])


@pytest.fixture(autouse=True)
def opened():
    """The first call of an operation finds its kernel, and the first with tensors what a tensor is."""
    for operation in SHORT:
        operation(*inputs_of(operation))
    if torch is not None:
        ln.relu(torch.ones(2))


def inputs_of(operation, shape=(7, 7), dtype=np.float32):
    generator = np.random.default_rng(1)
    two = operation.contract.fast_path.shapes == "product" or operation.name == "add" or "backward" in operation.name
    return [generator.standard_normal(shape).astype(dtype) for _ in range(1 + two)]


def of_kind(kind, values):
    return [torch.from_numpy(x) if kind == "tensors" else x for x in values]


def outcome(call, *args, **kwargs):
    """What a call does, its result to the bit or its error to the letter, and how many shortcuts it took."""
    before = _core.shortcuts_taken()
    try:
        result = call(*args, **kwargs)
    except Exception as error:
        return (type(error), str(error)), _core.shortcuts_taken() - before
    array = np.asarray(result)
    facts = type(result), array.dtype, array.shape, array.strides, array.tobytes()
    return (*facts, result is kwargs.get("out")), _core.shortcuts_taken() - before


@contextlib.contextmanager
def only_checked(call):
    """Inside, the rung that a call without `impl` takes has no fast path."""
    k = call.fastest() if isinstance(call, Operation) else call
    fast, k._fast = k._fast, lambda *args, **kwargs: NotImplemented
    try:
        yield
    finally:
        k._fast = fast


def same_both_ways(call, *args, taken, **kwargs):
    """The call takes the shortcut or does not, as expected, and does what it does the long way."""
    with only_checked(call):
        long_way, none = outcome(call, *args, **kwargs)
    by_shortcut, count = outcome(call, *args, **kwargs)
    assert by_shortcut == long_way
    assert (count, none) == (taken, 0)


# --- what is usual


def test_the_operations_that_have_usual_calls():
    assert {operation.name for operation in SHORT} == {
        *("matmul", "add", "relu", "sigmoid", "tanh", "gelu", "softmax"),
        *("relu_backward", "sigmoid_backward", "tanh_backward", "gelu_backward"),
    }


@short
@dtypes
@kinds
@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (7, 7), (64, 64), (100, 100)], ids=str)
def test_usual_calls_take_it_and_give_the_same(operation, dtype, kind, shape):
    inputs = of_kind(kind, inputs_of(operation, shape, dtype))
    (out,) = of_kind(kind, [np.full(shape, np.nan, dtype)])
    for call in (operation, operation.fastest()):
        call(*inputs)
        same_both_ways(call, *inputs, taken=1)
        same_both_ways(call, *inputs, out=None, taken=1)
        same_both_ways(call, *inputs, out=out, taken=1)


@short
@kinds
@pytest.mark.parametrize("shape", [(5,), (2, 3, 5), (2, 1, 3, 5, 1)], ids=str)
def test_other_numbers_of_axes(operation, kind, shape):
    inputs = of_kind(kind, inputs_of(operation, shape))
    same_both_ways(operation, *inputs, taken=0 if operation is ln.matmul else 1)


@kinds
@pytest.mark.parametrize("m", [1, 3, 50])
@pytest.mark.parametrize("k", [1, 4, 40])
@pytest.mark.parametrize("n", [1, 5, 60])
def test_products_of_all_layouts(m, k, n, kind):
    generator = np.random.default_rng(0)
    wide_a, wide_b = generator.standard_normal((2 * m, 2 * k)), generator.standard_normal((2 * k, 2 * n))
    layouts = [lambda x, s: np.ascontiguousarray(x[: s[0], : s[1]]), lambda x, s: np.asfortranarray(x[: s[0], : s[1]])]
    layouts += [lambda x, s: x[::2, ::2], lambda x, s: np.lib.stride_tricks.as_strided(x, s, (0, x.itemsize))]
    if kind == "arrays":  # torch has no negative strides
        layouts += [lambda x, s: x[::-2, ::-2]]
    for of_a in layouts:
        for of_b in layouts:
            same_both_ways(ln.matmul, *of_kind(kind, [of_a(wide_a, (m, k)), of_b(wide_b, (k, n))]), taken=1)


def test_views_of_packed_bytes_and_read_only_inputs():
    a = np.ones((3, 3))
    a.flags.writeable = False
    same_both_ways(ln.matmul, a, a, taken=1)
    memory = np.zeros(9 * 8 + 1, np.uint8)
    with pytest.warns(ln.CopyWarning):
        same_both_ways(ln.matmul, memory[1:].view(np.float64).reshape(3, 3), a, taken=0)


def test_every_implementation_of_the_extension_has_its_own():
    a = np.random.default_rng(0).standard_normal((9, 9))
    for k in ln.matmul.ladder():
        if k.available() and k.backend != "torch":
            k(a, a)
            same_both_ways(k, a, a, taken=int(k.backend == "cpp"))
    before = _core.shortcuts_taken()
    ln.matmul(a, a, impl="cpp")
    ln.matmul(a, a, impl="cpp.naive", out=np.empty((9, 9)))
    assert _core.shortcuts_taken() == before + 2


# --- what is not, and goes the way through Python


class Sub(np.ndarray):
    pass


X = np.random.default_rng(2).standard_normal((4, 4))
WIDE = np.zeros((4, 8))

RARE = {
    "a list": lambda: ((X.tolist(), X), {}),
    "None": lambda: ((None, X), {}),
    "a masked array": lambda: ((np.ma.masked_array(X), X), {}),
    "a subclass": lambda: ((X.view(Sub), X), {}),
    "a scalar": lambda: ((np.float64(1), X), {}),
    "no axes": lambda: ((X[0, 0, ...], X), {}),
    "another dtype": lambda: ((X.astype(np.int64), X), {}),
    "half precision": lambda: ((X.astype(np.float16), X), {}),
    "the other byte order": lambda: ((X.astype(">f8"), X), {}),
    "two dtypes": lambda: ((X, X.astype(np.float32)), {}),
    "a dtype of its own": lambda: ((X.astype(np.dtype(np.float64, metadata={"unit": "m"})), X), {}),
    "a vector": lambda: ((X[0], X), {}),
    "empty": lambda: ((X[:, :0], X[:0]), {}),
    "no rows": lambda: ((X[:0], X), {}),
    "shapes that do not fit": lambda: ((X, X[:3]), {}),
    "a batch": lambda: ((X[None], X), {}),
    "one argument": lambda: ((X,), {}),
    "three arguments": lambda: ((X, X, X), {}),
    "no arguments": lambda: ((), {}),
    "by name": lambda: ((X,), {"b": X}),
    "an option": lambda: ((X, X), {"impl": "numpy"}),
    "an implementation that is not there": lambda: ((X, X), {"impl": "cpp.none"}),
    "an option that is none": lambda: ((X, X), {"output": X}),
    "out and an option": lambda: ((X, X), {"out": np.empty((4, 4)), "impl": "numpy"}),
    "out of another shape": lambda: ((X, X), {"out": np.empty((4, 5))}),
    "out of another dtype": lambda: ((X, X), {"out": np.empty((4, 4), np.float32)}),
    "out in another order": lambda: ((X, X), {"out": np.empty((4, 4)).T}),
    "out with gaps": lambda: ((X, X), {"out": WIDE[:, :4]}),
    "out of a subclass": lambda: ((X, X), {"out": np.zeros((4, 4)).view(Sub)}),
    "out that is a list": lambda: ((X, X), {"out": X.tolist()}),
    "out that is an input": lambda: ((X, X), {"out": X}),
    "out between the rows of an input": lambda: ((np.zeros((8, 4))[::7, :].T.repeat(2, 1), X), {"out": X}),
}


@pytest.mark.parametrize("call", RARE)
def test_rare_and_wrong_calls_do_not_and_do_the_same(call):
    args, kwargs = RARE[call]()
    same_both_ways(ln.matmul, *args, **kwargs, taken=0)


@pytest.mark.parametrize("call", RARE)
def test_of_elementwise_operations_too(call):
    args, kwargs = RARE[call]()
    same_both_ways(ln.relu_backward, *args, **kwargs, taken=0)


def test_out_read_only():
    out = np.empty((4, 4))
    out.flags.writeable = False
    same_both_ways(ln.matmul, X, X, out=out, taken=0)


def test_out_that_lies_in_an_inputs_gaps_is_filled_the_long_way():
    memory = np.zeros((2, 6))
    a, out = memory[:, ::5], memory[0, 1:5].reshape(2, 2)
    a[...] = [[1, 2], [3, 4]]
    same_both_ways(ln.matmul, a, np.eye(2), out=out, taken=0)
    np.testing.assert_array_equal(out, a)


@pytest.mark.parametrize("offset", [-5, -4, -1, 0, 1, 3, 4, 5])
def test_out_beside_an_input_by_elements(offset):
    memory = np.arange(20.0)
    a, out = memory[8:12].reshape(2, 2), memory[8 + offset : 12 + offset].reshape(2, 2)
    for x in (a, a[::-1], a[:, ::-1], a[::-1, ::-1], a.T):
        call = lambda x=x: outcome(ln.matmul, x, np.eye(2), out=out)  # noqa: E731
        (*_, message_or_given), taken = call()
        assert taken == int(abs(offset) >= 4)
        assert message_or_given is True or "matmul: out overlaps a in memory" in message_or_given


def test_strided_elementwise_inputs():
    for x in (X.T, X[::2], X[:, ::-1], np.broadcast_to(X[0], (4, 4))):
        same_both_ways(ln.relu, x, taken=0)
    for broadcast in (X[:1], X[0], X[:, :1]):
        same_both_ways(ln.add, X, broadcast, taken=0)
    same_both_ways(ln.add, X.T, X, taken=0)
    same_both_ways(ln.add, X, X.T, taken=0)


def test_the_other_form_of_gelu():
    for form in ("none", "tanh"):
        same_both_ways(ln.gelu, X, approximate=form, taken=1)
        same_both_ways(ln.gelu_backward, X, X, approximate=form, taken=1)
        same_both_ways(ln.gelu, X, approximate=form, out=np.empty_like(X), taken=1)
    same_both_ways(ln.gelu, X, approximate="erf", taken=0)  # refused
    same_both_ways(ln.relu, X, approximate="none", taken=0)
    assert not np.array_equal(ln.gelu(X), ln.gelu(X, approximate="none"))


if torch is not None:
    T = torch.from_numpy(X)

    class SubTensor(torch.Tensor):
        pass

    TENSORS = {
        "requires grad": lambda: T.clone().requires_grad_(),
        "a parameter": lambda: torch.nn.Parameter(T),
        "a subclass": lambda: T.as_subclass(SubTensor),
        "a lazy negation": lambda: torch.complex(T, T).conj().imag,
        "a lazy conjugate": lambda: torch.complex(T, T).conj(),
        "no memory": lambda: torch._efficientzerotensor((4, 4), dtype=torch.float64),
        "another device": lambda: T.to("meta"),
        "sparse": lambda: T.to_sparse(),
        "compressed rows": lambda: T.to_sparse_csr(),
        "half precision": lambda: T.half(),
        "bfloat16": lambda: T.bfloat16(),
        "quantized": lambda: torch.quantize_per_tensor(T.float(), 0.1, 0, torch.qint8),
        "integers": lambda: T.long(),
        "booleans": lambda: T.bool(),
        "empty": lambda: T[:, :0],
        "no axes": lambda: T[0, 0],
        "an array": lambda: X,
        "the other dtype": lambda: T.float(),
    }


@needs_torch
@pytest.mark.parametrize("tensor", TENSORS if torch else ())
@pytest.mark.filterwarnings("ignore::UserWarning")  # some of these kinds of tensors are said to be experimental
def test_rare_tensors_do_not_and_do_the_same(tensor):
    rare = TENSORS[tensor]()
    same_both_ways(ln.matmul, rare, T, taken=0)
    same_both_ways(ln.matmul, T, rare, taken=0)
    same_both_ways(ln.matmul, T, T, out=rare, taken=0)
    with torch.inference_mode():
        same_both_ways(ln.matmul, T, T, taken=1)


@needs_torch
def test_strided_tensors():
    same_both_ways(ln.relu, T.t(), taken=0)
    same_both_ways(ln.relu, T[:, ::2], taken=0)
    same_both_ways(ln.relu, T.expand(2, 4, 4), taken=0)
    same_both_ways(ln.relu, T[1:], taken=1)
    same_both_ways(ln.relu, T[:, None, :1].contiguous()[::3], taken=0)
    same_both_ways(ln.matmul, T, T, out=torch.empty(4, 4, dtype=torch.float64).t(), taken=0)


@needs_torch
def test_misaligned_tensors_are_copied_with_a_warning():
    memory = torch.zeros(9 * 8 + 1, dtype=torch.uint8)
    x = np.ones((3, 3))
    moved = torch.from_numpy(memory.numpy()[1:].view(np.float64).reshape(3, 3))
    with pytest.warns(ln.CopyWarning):
        same_both_ways(ln.matmul, moved, torch.from_numpy(x), taken=0)


@needs_torch
def test_transformed_functions_are_refused_alike():
    """Inside torch.vmap tensors look like plain ones and have no memory."""
    messages = []
    for way in (contextlib.nullcontext, only_checked):
        with way(ln.relu), pytest.raises(RuntimeError) as caught:
            torch.vmap(ln.relu)(T)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


# --- that it runs what it should


@pytest.mark.skipif(not {"v1", "v3"} <= set(ln.isa_levels()), reason="this CPU has no two levels that round unlike")
def test_it_runs_the_level_that_is_in_force():
    a = np.random.default_rng(5).standard_normal((64, 64))
    usual, results = ln.isa(), {}
    try:
        for level in ("v1", "v3"):
            ln.set_isa(level)
            before = _core.shortcuts_taken()
            results[level] = ln.matmul(a, a)
            assert _core.shortcuts_taken() == before + 1
            with only_checked(ln.matmul):
                np.testing.assert_array_equal(results[level], ln.matmul(a, a))
    finally:
        ln.set_isa(usual)
    assert not np.array_equal(results["v1"], results["v3"])


def test_where_the_fastest_rung_is_not_the_extensions_there_is_none(monkeypatch):
    monkeypatch.setattr("loopnest.operation.fastest_first", lambda: iter(["numpy"]))
    operation = Operation("matmul", ln.matmul.__reduce__()[1][0], ln.matmul.contract)
    assert operation.fastest().backend == "numpy"
    for _ in range(3):
        same_both_ways(operation, X, X, taken=0)


def test_a_registered_rung_has_none():
    @ln.matmul.register("mine.product")
    def product(a, b, out):
        np.matmul(a, b, out=out)

    try:
        for _ in range(2):
            same_both_ways(ln.matmul["mine.product"], X, X, taken=0)
    finally:
        ln.matmul.unregister("mine.product")


def test_kernels_that_take_something_else_have_none():
    for name, operation in OPERATIONS.items():
        for k in operation.ladder():
            if k.backend == "cpp":
                found = _core.open_shortcut(_core.Shortcut(), k.kernel, "elementwise", False)
                assert found or not operation.contract.fast_path, name
    assert not _core.open_shortcut(_core.Shortcut(), np.matmul, "product", False)
    assert not _core.open_shortcut(_core.Shortcut(), ln.relu["cpp"].kernel, "product", False)
    with pytest.raises(ValueError, match="shapes is 'columns', expected 'product', 'elementwise' or 'rows'"):
        _core.open_shortcut(_core.Shortcut(), ln.relu["cpp"].kernel, "columns", False)


# --- memory


@kinds
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_new_results_are_the_allocators_and_live_as_long_as_they_are_used(kind, dtype):
    made = []

    def allocate(shape, dtype):
        array = np.full(shape, np.nan, dtype)
        made.append((array.ctypes.data, weakref.ref(array)))
        return array

    inputs = of_kind(kind, inputs_of(ln.matmul, (5, 5), dtype))
    with arrays.results_from(allocate):
        result = ln.matmul(*inputs)
    ((place, memory),) = made
    assert place == (result.data_ptr() if kind == "tensors" else result.ctypes.data)
    gc.collect()
    assert memory() is not None
    part = result[1]
    del result
    assert memory() is not None
    del part
    gc.collect()
    assert memory() is None


@kinds
def test_calls_keep_no_references(kind):
    a, b = of_kind(kind, inputs_of(ln.matmul))
    (out,) = of_kind(kind, [np.empty((7, 7), np.float32)])
    objects = a, b, out, np.dtype(np.float32), ln.matmul, np.ndarray
    before = list(map(sys.getrefcount, objects))
    with arrays.results_from(np.empty):
        for _ in range(100):
            ln.matmul(a, b)
            ln.matmul(a, b, out=out)
            outcome(ln.matmul, a, b, out=a)
    assert list(map(sys.getrefcount, objects)) == before


def test_a_result_too_large_for_memory_is_told_as_ever():
    huge = np.broadcast_to(np.ones((1, 1)), (1 << 30, 1))
    same_both_ways(ln.matmul, huge, huge.T, taken=0)


# --- operations as objects


def test_operations_are_copied_and_sent_by_name():
    for operation in OPERATIONS.values():
        assert copy.copy(operation) is copy.deepcopy(operation) is pickle.loads(pickle.dumps(operation)) is operation
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.map(ln.relu, [X]), [np.maximum(X, 0)])


def test_a_call_from_a_subclass_with_a_call_of_its_own():
    class Doubled(Operation):
        def __call__(self, *args, **kwargs):
            return 2 * super().__call__(*args, **kwargs)

    doubled = Doubled("relu", ln.relu.__reduce__()[1][0], ln.relu.contract)
    for _ in range(2):
        np.testing.assert_array_equal(doubled(X), 2 * np.maximum(X, 0))
