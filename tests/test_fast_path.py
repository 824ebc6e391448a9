"""The fast path of ordinary calls: which calls take it, and that they give what the contract's checked way gives.

Each case makes a call both ways and compares the result to the bit, or the error to the letter; `fast` says whether
the fast path was the one that ran.
"""

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
from ladders import DTYPES, OPERATIONS
from loopnest import _core, arrays
from loopnest.backends.rung import decline
from loopnest.operation import Operation

try:
    import torch
except ImportError:
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="torch is not installed: pip install 'loopnest[torch]'")
kinds = pytest.mark.parametrize("kind", ["arrays", pytest.param("tensors", marks=needs_torch)])

WITH_FAST_PATH = {
    *("matmul", "add", "relu", "sigmoid", "tanh", "gelu", "softmax"),
    *("dot", "sum", "transpose", "mse", "relu_backward", "sigmoid_backward", "tanh_backward", "gelu_backward"),
}
operations = pytest.mark.parametrize(
    "operation", [OPERATIONS[name] for name in sorted(WITH_FAST_PATH)], ids=lambda o: o.name
)

X = np.random.default_rng(2).standard_normal((4, 4))


@pytest.fixture(autouse=True)
def tensors_are_known():
    if torch is not None:
        ln.relu(torch.ones(2))


def inputs_of(operation, shape=(7, 7), dtype=np.float32):
    generator = np.random.default_rng(1)
    two = operation.name in ("matmul", "dot", "add", "mse") or "backward" in operation.name
    return [generator.standard_normal(shape).astype(dtype) for _ in range(1 + two)]


def axes_of(operation):
    """How many axes the inputs of ordinary calls have; None where any number will do."""
    return {"product": 2, "transpose": 2, "dot": 1}.get(operation.contract.fast_path.shapes)


def of_kind(kind, values):
    return [torch.from_numpy(x) if kind == "tensors" else x for x in values]


def outcome(call, *args, **kwargs):
    """What a call does, its result to the bit or its error to the letter, and how many fast paths it took."""
    before = _core.fast_path_calls()
    try:
        result = call(*args, **kwargs)
    except Exception as error:
        return (type(error), str(error)), _core.fast_path_calls() - before
    array = np.asarray(result)
    facts = type(result), array.dtype, array.shape, array.strides, array.tobytes()
    return (*facts, result is kwargs.get("out")), _core.fast_path_calls() - before


@contextlib.contextmanager
def without_fast_path(call):
    """Inside, the rung that runs in a call without `impl` has no fast path."""
    with pytest.MonkeyPatch.context() as patch:
        k = call.fastest() if isinstance(call, Operation) else call
        patch.setattr(k, "fast", decline)
        if isinstance(call, Operation):
            patch.setattr(call, "_default", k)
            patch.setattr(call, "_fast", decline)
        yield


def same_both_ways(call, *args, fast, **kwargs):
    with without_fast_path(call):
        checked, none = outcome(call, *args, **kwargs)
    found, count = outcome(call, *args, **kwargs)
    assert found == checked
    assert (count, none) == (fast, 0)


# --- ordinary calls


def test_the_operations_that_have_a_fast_path():
    assert {name for name, operation in OPERATIONS.items() if operation.contract.fast_path} == WITH_FAST_PATH


@operations
@kinds
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_ordinary_calls_of_operations_and_rungs(operation, kind, dtype):
    axes, number = axes_of(operation), operation.contract.fast_path.shapes in ("total", "dot")
    for shape in [(1, 1), (4, 4), (7, 7), (100, 100), (5,), (2, 3, 5), (2, 1, 3, 5, 1)]:
        inputs = of_kind(kind, inputs_of(operation, shape, dtype))
        (out,) = of_kind(kind, [np.full(() if number else shape, np.nan, dtype)])
        for call in (operation, operation.fastest()):
            fast = axes in (None, len(shape))
            same_both_ways(call, *inputs, fast=fast)
            same_both_ways(call, *inputs, out=None, fast=fast)
            same_both_ways(call, *inputs, out=out, fast=fast)


@kinds
def test_products_of_all_layouts(kind):
    generator = np.random.default_rng(0)
    layouts = [np.ascontiguousarray, np.asfortranarray, lambda x: x.repeat(2, 0).repeat(2, 1)[::2, ::2]]
    layouts += [lambda x: np.broadcast_to(x[:1], x.shape)]
    if kind == "arrays":  # torch has no negative strides
        layouts += [lambda x: x[::-1, ::-1]]
    for m, p, n in [(1, 1, 1), (3, 4, 5), (1, 40, 60), (50, 1, 5), (50, 40, 60)]:
        a, b = generator.standard_normal((m, p)), generator.standard_normal((p, n))
        for of_a in layouts:
            for of_b in layouts:
                same_both_ways(ln.matmul, *of_kind(kind, [of_a(a), of_b(b)]), fast=1)


def test_both_forms_of_gelu():
    for form in ("none", "tanh"):
        same_both_ways(ln.gelu, X, approximate=form, fast=1)
        same_both_ways(ln.gelu_backward, X, X, approximate=form, out=np.empty_like(X), fast=1)
    same_both_ways(ln.gelu, X, approximate="erf", fast=0)  # refused
    same_both_ways(ln.relu, X, approximate="none", fast=0)
    assert not np.array_equal(ln.gelu(X), ln.gelu(X, approximate="none"))


def test_every_rung_of_the_extension_has_its_own_and_no_other_has_one():
    @ln.matmul.register("mine.product")
    def product(a, b, out):
        np.matmul(a, b, out=out)

    try:
        for k in ln.matmul:
            if k.available() and k.backend != "torch":
                same_both_ways(k, X, X, fast=int(k.backend == "cpp"))
    finally:
        ln.matmul.unregister("mine.product")
    assert outcome(ln.matmul, X, X, impl="cpp.naive", out=np.empty((4, 4)))[1] == 1


def test_kernels_that_take_something_else_have_none():
    for name, operation in OPERATIONS.items():
        for k in operation:
            if k.backend == "cpp":
                found = _core.fast_path(k.kernel, "elementwise", False)
                assert found or not operation.contract.fast_path, name
    assert _core.fast_path(np.matmul, "product", False) is None
    assert _core.fast_path(ln.relu["cpp"].kernel, "product", False) is None
    with pytest.raises(ValueError, match="shapes is 'columns', expected 'product', 'elementwise', 'rows'"):
        _core.fast_path(ln.relu["cpp"].kernel, "columns", False)
    with pytest.raises(TypeError, match="a tuple of arguments and a dict"):
        ln.relu["cpp"].fast(X)


# --- rare and wrong calls


class Sub(np.ndarray):
    pass


def read_only(x):
    x.flags.writeable = False
    return x


RARE = {
    "a list": ((X.tolist(), X), {}),
    "None": ((None, X), {}),
    "a masked array": ((np.ma.masked_array(X), X), {}),
    "a subclass": ((X.view(Sub), X), {}),
    "a scalar": ((np.float64(1), X), {}),
    "no axes": ((X[0, 0, ...], X), {}),
    "integers": ((X.astype(np.int64), X), {}),
    "half precision": ((X.astype(np.float16), X), {}),
    "the other byte order": ((X.astype(">f8"), X), {}),
    "two dtypes": ((X, X.astype(np.float32)), {}),
    "a dtype of its own": ((X.astype(np.dtype(np.float64, metadata={"unit": "m"})), X), {}),
    "a vector": ((X[0], X), {}),
    "empty": ((X[:, :0], X[:0]), {}),
    "no rows": ((X[:0], X), {}),
    "shapes that do not fit": ((X, X[:3]), {}),
    "a batch": ((X[None], X), {}),
    "one argument": ((X,), {}),
    "three arguments": ((X, X, X), {}),
    "no arguments": ((), {}),
    "by name": ((X,), {"b": X}),
    "another rung": ((X, X), {"impl": "numpy"}),
    "a rung that is not there": ((X, X), {"impl": "cpp.none"}),
    "an option that is not there": ((X, X), {"output": X}),
    "out and another rung": ((X, X), {"out": np.empty((4, 4)), "impl": "numpy"}),
    "out of another shape": ((X, X), {"out": np.empty((4, 5))}),
    "out of another dtype": ((X, X), {"out": np.empty((4, 4), np.float32)}),
    "out in another order": ((X, X), {"out": np.empty((4, 4)).T}),
    "out with gaps": ((X, X), {"out": np.zeros((4, 8))[:, :4]}),
    "out of a subclass": ((X, X), {"out": np.zeros((4, 4)).view(Sub)}),
    "out that is a list": ((X, X), {"out": X.tolist()}),
    "out that is an input": ((X, X), {"out": X}),
    "out that is read-only": ((X, X), {"out": read_only(np.empty((4, 4)))}),
}


@pytest.mark.parametrize("case", RARE)
def test_rare_and_wrong_calls_are_checked_in_python(case):
    args, kwargs = RARE[case]
    same_both_ways(ln.matmul, *args, **kwargs, fast=0)
    same_both_ways(ln.relu_backward, *args, **kwargs, fast=0)


def test_strided_elementwise_inputs_are_checked_in_python():
    for x in (X.T, X[::2], X[:, ::-1], np.broadcast_to(X[0], (4, 4))):
        same_both_ways(ln.relu, x, fast=0)
    for b in (X[:1], X[0], X[:, :1], X.T):
        same_both_ways(ln.add, X, b, fast=0)
    same_both_ways(ln.add, X.T, X, fast=0)


def test_read_only_inputs_are_ordinary_and_misaligned_ones_are_copied_with_a_warning():
    same_both_ways(ln.matmul, read_only(X.copy()), X, fast=1)
    misaligned = np.zeros(16 * 8 + 1, np.uint8)[1:].view(np.float64).reshape(4, 4)
    with pytest.warns(ln.CopyWarning):
        same_both_ways(ln.matmul, misaligned, X, fast=0)


def test_out_in_an_inputs_gaps_is_filled_by_the_checked_way():
    memory = np.zeros((2, 6))
    a, out = memory[:, ::5], memory[0, 1:5].reshape(2, 2)
    a[...] = [[1, 2], [3, 4]]
    same_both_ways(ln.matmul, a, np.eye(2), out=out, fast=0)
    np.testing.assert_array_equal(out, a)


@pytest.mark.parametrize("offset", [-5, -4, -1, 0, 1, 3, 4, 5])
def test_out_a_few_elements_from_an_input(offset):
    memory = np.arange(20.0)
    a, out = memory[8:12].reshape(2, 2), memory[8 + offset : 12 + offset].reshape(2, 2)
    for x in (a, a[::-1], a[:, ::-1], a[::-1, ::-1], a.T):
        (*_, message_or_given), fast = outcome(ln.matmul, x, np.eye(2), out=out)
        assert fast == int(abs(offset) >= 4)
        assert message_or_given is True or "matmul: out overlaps a in memory" in message_or_given


def test_a_result_too_large_for_memory():
    huge = np.broadcast_to(np.ones((1, 1)), (1 << 30, 1))
    same_both_ways(ln.matmul, huge, huge.T, fast=0)


if torch is not None:
    T = torch.from_numpy(X)

    class SubTensor(torch.Tensor):
        pass

    RARE_TENSORS = {
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
@pytest.mark.parametrize("case", RARE_TENSORS if torch else ())
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch calls some of these kinds of tensors experimental
def test_rare_tensors_are_checked_in_python(case):
    rare = RARE_TENSORS[case]()
    same_both_ways(ln.matmul, rare, T, fast=0)
    same_both_ways(ln.matmul, T, rare, fast=0)
    same_both_ways(ln.matmul, T, T, out=rare, fast=0)
    with torch.inference_mode():
        same_both_ways(ln.matmul, T, T, fast=1)


@needs_torch
def test_a_given_tensor_has_a_new_version_after_an_ordinary_call():
    out = torch.empty_like(T)
    for version in (1, 2, 3):
        same_both_ways(ln.matmul, T, T, out=out, fast=1)
        assert out._version == 2 * version


@needs_torch
def test_strided_and_misaligned_tensors():
    for x in (T.t(), T[:, ::2], T.expand(2, 4, 4), T[:, None, :1].contiguous()[::3]):
        same_both_ways(ln.relu, x, fast=0)
    same_both_ways(ln.relu, T[1:], fast=1)
    same_both_ways(ln.matmul, T, T, out=torch.empty(4, 4, dtype=torch.float64).t(), fast=0)
    misaligned = torch.from_numpy(np.zeros(16 * 8 + 1, np.uint8)[1:].view(np.float64).reshape(4, 4))
    with pytest.warns(ln.CopyWarning):
        same_both_ways(ln.matmul, misaligned, T, fast=0)


@needs_torch
def test_transformed_functions_are_refused_alike():
    """Inside torch.vmap tensors look like plain ones and have no memory."""
    messages = []
    for way in (contextlib.nullcontext, without_fast_path):
        with way(ln.relu), pytest.raises(RuntimeError) as caught:
            torch.vmap(ln.relu)(T)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


# --- what runs, and in which memory


@pytest.mark.skipif(not {"v1", "v3"} <= set(ln.isa_levels()), reason="this CPU has no two levels that round unlike")
def test_it_runs_the_isa_level_that_is_set():
    a = np.random.default_rng(5).standard_normal((64, 64))
    level_before, results = ln.isa(), {}
    try:
        for level in ("v1", "v3"):
            ln.set_isa(level)
            same_both_ways(ln.matmul, a, a, fast=1)
            results[level] = ln.matmul(a, a)
    finally:
        ln.set_isa(level_before)
    assert not np.array_equal(results["v1"], results["v3"])


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
    part = result[1]
    del result
    gc.collect()
    assert memory() is not None
    del part
    gc.collect()
    assert memory() is None


@kinds
def test_calls_keep_no_references(kind):
    a, b = of_kind(kind, inputs_of(ln.matmul))
    (out,) = of_kind(kind, [np.empty((7, 7), np.float32)])
    objects = a, b, out, np.dtype(np.float32), ln.matmul, np.ndarray, NotImplemented
    ln.matmul(a, b)
    before = list(map(sys.getrefcount, objects))
    with arrays.results_from(np.empty):
        for _ in range(100):
            ln.matmul(a, b)
            ln.matmul(a, b, out=out)
            outcome(ln.matmul, a, b, out=a)
    assert list(map(sys.getrefcount, objects)) == before


# --- operations as objects


def test_operations_are_copied_and_sent_by_name():
    for operation in OPERATIONS.values():
        assert copy.copy(operation) is copy.deepcopy(operation) is pickle.loads(pickle.dumps(operation)) is operation
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.map(ln.relu, [X]), [np.maximum(X, 0)])
