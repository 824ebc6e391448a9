"""Arrays on their way to the kernels: which views they become, when one is copied, and what comes back."""

import contextlib
import itertools

import loopnest as ln
import numpy as np
import pytest
from ladders import OPERATIONS, dtypes
from loopnest.arrays import as_matrices
from loopnest.verify import Case, arrays_in, results_of, with_arrays

X = np.arange(2.0 * 3 * 4 * 5).reshape(2, 3, 4, 5)

VIEWS = {
    "C order": (X, 1),
    "Fortran order": (X.T, 5 * 4),
    "one step": (X[:, :, :, ::2], 1),
    "rows with gaps": (X[:, :, ::2], 1),
    "backwards": (X[::-1, ::-1, ::-1, ::-1], 1),
    "an axis of one": (X[:, :1], 1),
    "three that do not join": (X[:, ::2, ::2, ::2], 2 * 2),
    "repeated": (np.broadcast_to(X[:, :, :1, :1], X.shape), 1),
    "one element": (X[:1, :1, :1, :1], 1),
    "no axes": (X[0, 0, 0, 0, ...], 1),
    "empty": (X[:0], 0),
}


@pytest.mark.parametrize("view", VIEWS)
def test_matrices_hold_each_element_once_and_are_few(view):
    x, count = VIEWS[view]
    y = np.zeros(x.shape)
    pieces = list(as_matrices(x, y))
    assert len(pieces) <= count
    for part, result in pieces:
        assert part.ndim == result.ndim == 2
        assert np.shares_memory(part, x)
        result += part
    np.testing.assert_array_equal(y, x)


def test_matrices_of_read_only_arrays_are_read_only():
    x = X[:, ::2].view()
    x.flags.writeable = False
    for part, result in as_matrices(x, np.zeros(x.shape)):
        assert not part.flags.writeable
        assert result.flags.writeable


def misaligned(x):
    """The same values, one byte away from a multiple of the elements' size."""
    memory = np.zeros(x.nbytes + 1, np.uint8)
    moved = memory[1:].view(x.dtype).reshape(x.shape)
    moved[...] = x
    assert not moved.flags.aligned
    return moved


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@dtypes
def test_misaligned_inputs_are_copied_with_a_warning_at_the_callers_line(operation, dtype):
    axes = operation.contract.workloads[0].shape
    arguments = Case(operation, dtype, tuple((axis, 7) for axis in axes)).arguments()
    names = list(operation.__signature__.parameters)

    def call(inputs):
        inputs = [x.copy() if i in operation.contract.updates else x for i, x in enumerate(inputs)]
        return results_of(operation, inputs, operation(*inputs, **arguments.options))

    expected = call(arguments.inputs)
    for i, x in enumerate(arguments.inputs):
        if not isinstance(x, np.ndarray):
            continue
        inputs = [misaligned(y) if i == j else y for j, y in enumerate(arguments.inputs)]
        if i in operation.contract.updates:
            with pytest.raises(
                ValueError, match=f"^{operation.name}: {names[i]}'s elements do not lie at .* updated in place"
            ):
                operation(*inputs, **arguments.options)
            continue
        with pytest.warns(ln.CopyWarning, match=f"^{operation.name}: {names[i]}'s elements do not lie at") as told:
            results = call(inputs)
        assert [warning.filename for warning in told] == [__file__]
        for result, right in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result, right)


def test_a_scalar_result_is_a_scalar_and_an_array_where_it_is_given():
    x = np.ones(3, np.float32)
    assert isinstance(ln.dot(x, x), np.float32)
    out = np.empty((), np.float32)
    assert ln.dot(x, x, out=out) is out
    assert out == 3


def test_subclasses_of_arrays_are_read_and_come_back_as_plain_arrays(tmp_path):
    x = np.memmap(tmp_path / "x", np.float64, "w+", shape=(3, 3))
    x[...] = np.eye(3)
    c = ln.matmul(x, x)
    assert type(c) is np.ndarray
    np.testing.assert_array_equal(c, np.eye(3))


class Metres(np.ndarray):
    """An array with a unit: its ufuncs would check it."""

    def __array_ufunc__(self, *args, **options):
        raise TypeError("units")


class Tracked(np.ndarray):
    def __array_function__(self, *args, **options):
        raise TypeError("tracked")


@pytest.mark.parametrize("kind", [Metres, Tracked, np.matrix])
def test_subclasses_that_give_functions_another_meaning_are_refused_with_the_fix(kind):
    plain = np.ones((2, 2))
    x = plain.view(kind)
    calls = {
        "add: a is a ": lambda: ln.add(x, plain),
        "matmul: b is a ": lambda: ln.matmul(plain, x),
        "sgd: param is a ": lambda: ln.sgd(x, plain, lr=0.1),
        "relu: out is a ": lambda: ln.relu(plain, out=x),
        "gelu: x is a ": lambda: ln.gelu(x, impl="numpy"),
    }
    for where, call in calls.items():
        with pytest.raises(TypeError) as caught:
            call()
        assert where in str(caught.value)
        assert kind.__name__ in str(caught.value)
        assert "expected a NumPy array" in str(caught.value)
    assert ln.add(np.asarray(x), plain)[0, 0] == 2


def test_arrays_of_a_records_field_are_read_with_their_strides():
    records = np.zeros(5, np.dtype([("x", np.float32), ("y", np.float32), ("z", np.float32)]))
    records["y"] = [1, 2, 3, 4, 5]
    assert ln.dot(records["y"], records["y"]) == 55


@pytest.mark.parametrize("operation", [ln.add, ln.matmul])
def test_more_axes_than_numpy_broadcasts_are_refused(operation):
    x = np.ones((1,) * 64)
    with pytest.raises(ValueError, match=f"^{operation.name}: 64 axes, expected at most 3[24]; reshape a and b$"):
        operation(x, x, impl="numpy")


LONG = 1 << 40


@pytest.mark.parametrize("operation", [o for o in ln.OPERATIONS.values() if not o.name.startswith("cross_entropy")])
def test_empty_arrays_with_an_axis_of_2_to_the_40_give_a_result_or_an_error_at_once(operation):
    """cross_entropy refuses an empty batch by itself, after a look at its labels."""
    axes = list(operation.contract.workloads[0].shape)
    marks = (3, 5, 7, 11)[: len(axes)]
    small = Case.of(operation, np.dtype(np.float32), marks).arguments()
    for sizes in itertools.product((0, LONG), repeat=len(axes)):
        lengths = dict(zip(marks, sizes, strict=True))
        shapes = [tuple(lengths[n] for n in x.shape) for x in arrays_in(small.inputs)]
        if any(0 not in shape for shape in shapes):
            continue
        inputs = with_arrays(small.inputs, [np.zeros(shape, np.float32) for shape in shapes])
        for impl in (None, *(rung.id for rung in operation if rung.backend in ("numpy", "cpp"))):
            with contextlib.suppress(ValueError, MemoryError):  # the result is not empty, and too large
                results = operation.contract.results(operation(*inputs, impl=impl, **small.options))
                assert not any(np.nan_to_num(x).any() for x in results if x is not None and x.size < LONG)
