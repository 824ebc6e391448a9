"""Every wrong argument is refused with a message that names it, what it was, what was expected, and the fix."""

import dataclasses

import loopnest as ln
import numpy as np
import pytest
from ladders import OPERATIONS
from loopnest import _core
from loopnest.verify import Case, results_of

operations = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


def refused(error, call, *parts):
    """`call` raises the error, and its message holds all these parts."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    for part in parts:
        assert str(part) in message, f"{part!r} is missing in: {message}"


def sample(operation, dtype=np.float64):
    """Small valid arguments: a list of inputs, and the options."""
    axes = operation.contract.workloads[0].shape
    arguments = Case(operation, np.dtype(dtype), tuple(zip(axes, (3, 4, 5, 6), strict=False))).arguments()
    return list(arguments.inputs), dict(arguments.options)


def inputs_of(operation, kind="f"):
    """The operation's array inputs of a kind of dtype: their number and name."""
    names = list(operation.__signature__.parameters)
    inputs, _ = sample(operation)
    return [(i, names[i]) for i, x in enumerate(inputs) if isinstance(x, np.ndarray) and x.dtype.kind == kind]


def call_with(operation, number, change, **more):
    """A call with one input changed."""
    inputs, options = sample(operation)
    inputs[number] = change(inputs[number])
    return lambda: operation(*inputs, **options, **more)


@operations
@pytest.mark.parametrize(
    ("change", "was"),
    [
        (lambda x: x.tolist(), "a list"),
        (lambda x: None, "None"),
        (lambda x: 1.5, "a float"),
        (lambda x: "text", "a str"),
        (lambda x: np.ma.masked_array(x), "MaskedArray"),
    ],
    ids=["list", "None", "number", "text", "masked array"],
)
def test_what_is_no_array_is_refused(operation, change, was):
    for number, name in inputs_of(operation) + inputs_of(operation, "i"):
        call = call_with(operation, number, change)
        refused(TypeError, call, f"{operation.name}: {name} is", was, "expected a NumPy array", f"np.asarray({name})")


@operations
@pytest.mark.parametrize("dtype", ["int64", "bool", "float16", "longdouble", "complex64", "object", ">f8", ">f4", "U3"])
def test_other_dtypes_are_refused(operation, dtype):
    if dtype in operation.contract.reduced:
        pytest.skip(f"{operation.name} takes {dtype}")
    for number, name in inputs_of(operation):
        call = call_with(operation, number, lambda x: x.astype(dtype))
        was, fix = np.dtype(dtype), f"{name}.astype(np.{'float64' if dtype == '>f8' else 'float32'})"
        refused(TypeError, call, f"{operation.name}: {name} has dtype {was}, expected float32 or float64", fix)


@operations
def test_inputs_of_two_dtypes_are_refused(operation):
    (_, first), *others = inputs_of(operation)
    for number, name in others:
        call = call_with(operation, number, lambda x: x.astype(np.float32))
        refused(
            TypeError,
            call,
            f"{operation.name}: {name} has dtype float32, expected float64 to match {first}",
            f"{name}.astype(np.float64)",
        )


@operations
def test_labels_are_integers(operation):
    for number, name in inputs_of(operation, "i"):
        for dtype in ("float64", "int32", "bool"):
            call = call_with(operation, number, lambda x, dtype=dtype: x.astype(dtype))
            refused(TypeError, call, f"{operation.name}: {name} has dtype {dtype}, expected int64", f"{name}.astype")


def results(operation):
    """The results of a small call, to make an `out` like them."""
    inputs, options = sample(operation)
    made = operation(*inputs, **options)
    return list(made) if operation.name == "mlp_backward" else [results_of(operation, inputs, made)[0]]


WITH_OUT = [operation for operation in OPERATIONS.values() if "out" in operation.__signature__.parameters]
with_out = pytest.mark.parametrize("operation", WITH_OUT, ids=lambda operation: operation.name)


def refused_out(operation, error, change, *parts):
    """A call is refused with each `out` changed in turn."""
    made = results(operation)
    for number in range(len(made)):
        outs = [np.zeros_like(x) for x in made]
        outs[number] = change(outs[number])
        inputs, options = sample(operation)
        out = outs[0] if len(outs) == 1 else tuple(outs)
        refused(error, lambda o=out, i=inputs, p=options: operation(*i, **p, out=o), f"{operation.name}: ", *parts)


@with_out
def test_out_of_another_shape_is_refused(operation):
    refused_out(operation, ValueError, lambda x: np.empty((*x.shape, 2)), " has shape ", "expected (", "np.empty((")


@with_out
@pytest.mark.parametrize("dtype", ["float32", ">f8", "int64"])
def test_out_of_another_dtype_is_refused(operation, dtype):
    refused_out(
        operation,
        TypeError,
        lambda x: x.astype(dtype),
        f"has dtype {np.dtype(dtype)}, expected the inputs' float64",
        "np.empty((",
    )


@with_out
def test_out_that_is_read_only_is_refused(operation):
    def read_only(x):
        x = np.array(x)
        x.flags.writeable = False
        return x

    refused_out(operation, ValueError, read_only, "is read-only, expected a writeable array", "np.empty((")


@with_out
def test_out_that_is_no_array_is_refused(operation):
    refused_out(operation, TypeError, lambda x: x.tolist(), "expected a NumPy array like the inputs, or None")
    refused_out(operation, TypeError, np.ma.masked_array, "MaskedArray", "expected a NumPy array like the inputs")


@pytest.mark.parametrize(
    "operation",
    [operation for operation in WITH_OUT if all(x.ndim for x in results(operation))],
    ids=lambda operation: operation.name,
)
def test_out_in_another_order_is_refused(operation):
    def in_columns(x):
        return np.empty(x.shape[::-1]).T if x.ndim > 1 else stepped(x)

    def stepped(x):
        return np.empty([2 * n for n in x.shape])[(slice(None, None, 2),) * x.ndim]

    for change in (in_columns, stepped):
        refused_out(operation, ValueError, change, "has strides of", "expected C order", "np.empty((")


@with_out
def test_out_that_overlaps_an_input_is_refused(operation):
    for number, name in inputs_of(operation):
        made = results(operation)
        outs = [np.zeros_like(x) for x in made]
        inputs, options = sample(operation)
        memory = np.empty(max(inputs[number].size, outs[0].size))
        shared = memory[: inputs[number].size].reshape(inputs[number].shape)
        shared[...] = inputs[number]
        inputs[number] = shared
        outs[0] = memory[: outs[0].size].reshape(outs[0].shape)
        out = outs[0] if len(outs) == 1 else tuple(outs)
        refused(
            ValueError,
            lambda o=out, i=inputs, p=options: operation(*i, **p, out=o),
            f"{operation.name}: ",
            f" overlaps {name} in memory, expected memory of its own",
            "np.empty((",
        )


def test_out_that_overlaps_an_input_by_one_element_is_refused():
    memory = np.ones(9)
    a, b = memory[:4].reshape(2, 2), np.ones((2, 2))
    refused(ValueError, lambda: ln.matmul(a, b, out=memory[3:7].reshape(2, 2)), "matmul: out overlaps a")
    ln.matmul(a, b, out=memory[4:8].reshape(2, 2))


def test_unknown_implementations_are_refused_with_the_nearest_and_not_all():
    unknown = ln.UnknownImplementationError
    refused(unknown, lambda: ln.matmul["numpy.matmull"], "'numpy.matmull'; did you mean numpy.matmul", "`loopnest list")
    with pytest.raises(unknown) as caught:
        ln.matmul(np.ones((2, 2)), np.ones((2, 2)), impl="fortran")
    assert str(caught.value) == "matmul: no implementation is called 'fortran'. `loopnest list matmul` shows all."
    refused(TypeError, lambda: ln.matmul[3], "impl is 3, expected an id such as 'cpp.naive'")
    refused(unknown, lambda: ln.matmul.unregister("mine.none"), "'mine.none'")


def test_an_implementation_that_cannot_run_is_refused_with_the_reason(monkeypatch):
    ones = np.ones((2, 2))
    k = ln.matmul["numpy.matmul"]
    monkeypatch.setattr(k, "requires", lambda: "numpy is not here: pip install numpy")
    assert not k.available()
    assert k.why_unavailable() == "numpy is not here: pip install numpy"
    for call in (lambda: k(ones, ones), lambda: ln.matmul(ones, ones, impl="numpy.matmul")):
        refused(ln.UnavailableError, call, "matmul: numpy.", "cannot run here: numpy is not here: pip install numpy")
    assert k in ln.matmul


@pytest.mark.parametrize("id", ["tiled", "mine.", ".tiled", "mine.tiled.twice", "my own.tiled", "mine.9", None])
def test_a_bad_id_cannot_be_registered(id):
    refused(ValueError, lambda: ln.matmul.register(id), f"id is {id!r}, expected backend.variant", "'mine.tiled'")


def test_a_taken_id_or_what_is_no_function_cannot_be_registered():
    refused(ValueError, lambda: ln.matmul.register("cpp.naive"), "'cpp.naive' is taken; choose another")
    refused(TypeError, lambda: ln.matmul.register("mine.number")(3), "mine.number is 3, expected a function")
    assert "mine.number" not in [k.id for k in ln.matmul]


def test_a_cpp_rung_that_is_declared_and_not_built_is_listed_with_the_fix(monkeypatch):
    monkeypatch.delitem(ln.OPERATIONS["add"]._built_in, "cpp", raising=False)
    monkeypatch.delitem(_core.kernels["add"], "simd")
    ones = np.ones(2)
    refused(ln.UnavailableError, lambda: ln.add(ones, ones, impl="cpp.simd"), "add: cpp.simd cannot run here", "nox -s")
    assert "cpp.simd" in [k.id for k in ln.add]
    assert ln.add["cpp"].available()
    monkeypatch.delitem(ln.add._built_in, "cpp")


def test_calls_that_do_not_fit_the_signature_are_refused_with_it():
    ones, signature = np.ones((2, 2)), "call it as matmul(a, b, *, out=None, out_dtype=None, "
    for call in (ln.matmul, ln.matmul["cpp.naive"]):
        refused(TypeError, lambda c=call: c(ones, ones, "cpp"), "matmul: ", "goes by name, as in impl='cpp'", signature)
        refused(TypeError, lambda c=call: c(ones, ones, output=ones), "matmul: ", "'output'", signature)
    refused(TypeError, lambda: ln.gelu(ones, "tanh"), "gelu: too many positional arguments")
    refused(TypeError, lambda: ln.matmul(ones), "matmul: missing a required argument: 'b'", signature)


SHAPES = [
    ("dot", ((3,), (4,)), "dot: y has shape (4,), expected (3,) to match x"),
    ("dot", ((2, 3), (2, 3)), "dot: x has shape (2, 3), expected one axis", "use matmul"),
    ("dot", ((), ()), "dot: x has shape (), expected one axis"),
    ("add", ((2, 3), (2,)), "add: b has shape (2,), expected one that broadcasts with a's (2, 3)"),
    ("transpose", ((3,),), "transpose: a has shape (3,), expected two axes"),
    ("transpose", ((2, 3, 4),), "transpose: a has shape (2, 3, 4), expected two axes"),
    ("matmul", ((2, 5), (3, 4)), "matmul: b has shape (3, 4), expected (5, n) to match a's (2, 5)"),
    ("matmul", ((5,), (5, 4)), "matmul: a has shape (5,), expected two axes or more", "a[None, :]", "a[:, None]"),
    ("matmul", ((4, 5), (5,)), "matmul: b has shape (5,), expected two axes or more", "b[:, None]"),
    ("matmul", ((2, 4, 5), (3, 5, 6)), "matmul: b has shape (3, 5, 6), expected leading axes that", "(2, 4, 5)"),
    ("matmul", ((2, 4, 5), (2, 4, 6)), "matmul: b has shape (2, 4, 6), expected (2, 5, n) to match a's (2, 4, 5)"),
    ("linear", ((3,), (3, 4), (4,)), "linear: x has shape (3,), expected two axes", "x[None, :]"),
    ("linear", ((2, 3), (4, 5), (5,)), "linear: w has shape (4, 5), expected (3, n) to match x's (2, 3)"),
    ("linear", ((2, 3), (3, 5), (4,)), "linear: b has shape (4,), expected (5,) to match w's (3, 5)"),
    ("linear", ((2, 3), (3, 5), (1, 5)), "linear: b has shape (1, 5), expected one axis, (5,)"),
    ("relu_backward", ((2, 3), (3,)), "relu_backward: dy has shape (3,), expected (2, 3) to match x"),
    ("sigmoid_backward", ((3,), (2, 3)), "sigmoid_backward: dy has shape (2, 3), expected (3,) to match x"),
    ("tanh_backward", ((3,), ()), "tanh_backward: dy has shape (), expected (3,) to match x"),
    ("gelu_backward", ((3,), (4,)), "gelu_backward: dy has shape (4,), expected (3,) to match x"),
    ("softmax", ((),), "softmax: x has shape (), expected"),
    ("mse", ((3,), (3, 1)), "mse: t has shape (3, 1), expected (3,) to match y"),
    ("mse_backward", ((3,), (4,)), "mse_backward: t has shape (4,), expected (3,) to match y"),
    ("mlp_forward", ((3,), (4, 8), (8,), (8, 4), (4,)), "mlp_forward: x has shape (3,), expected two axes"),
    (
        "mlp_forward",
        ((3, 5), (4, 8), (8,), (8, 4), (4,)),
        "mlp_forward: w1 has shape (4, 8), expected (5, h) to match x",
    ),
    ("mlp_forward", ((3, 4), (4, 8), (7,), (8, 4), (4,)), "mlp_forward: b1 has shape (7,), expected (8,) to match w1"),
    (
        "mlp_forward",
        ((3, 4), (4, 8), (8,), (7, 4), (4,)),
        "mlp_forward: w2 has shape (7, 4), expected (8, e) to match w1",
    ),
    ("mlp_forward", ((3, 4), (4, 8), (8,), (8, 4), (5,)), "mlp_forward: b2 has shape (5,), expected (4,) to match w2"),
]


@pytest.mark.parametrize("case", SHAPES, ids=lambda case: f"{case[0]}{case[1]}")
def test_shapes_that_do_not_fit_are_refused(case):
    name, shapes, *parts = case
    refused(ValueError, lambda: OPERATIONS[name](*(np.ones(shape) for shape in shapes)), *parts)


@pytest.mark.parametrize("name", ["cross_entropy", "cross_entropy_backward"])
def test_labels_are_classes_of_the_logits_rows(name):
    logits, operation = np.ones((3, 4)), OPERATIONS[name]
    for labels, wrong in (([0, 4, 1], "labels[1] is 4"), ([0, 1, -1], "labels[2] is -1")):
        refused(
            ValueError, lambda y=labels: operation(logits, np.array(y)), f"{name}: {wrong}, expected 0 <= label < 4"
        )
    refused(ValueError, lambda: operation(logits, np.zeros(2, int)), f"{name}: labels has shape (2,), expected (3,)")
    refused(
        ValueError, lambda: operation(logits[0], np.zeros(3, int)), f"{name}: logits has shape (4,), expected two axes"
    )
    refused(ValueError, lambda: operation(np.ones((1, 0)), np.zeros(1, int)), "expected 0 <= label < 0")


@pytest.mark.parametrize("name", ["gelu", "gelu_backward", "mlp_forward"])
@pytest.mark.parametrize("wrong", ["erf", "exact", "", None, True])
def test_gelus_form_is_one_of_two(name, wrong):
    inputs, _ = sample(OPERATIONS[name])
    call = lambda: OPERATIONS[name](*inputs, approximate=wrong)  # noqa: E731
    refused(ValueError, call, f"{name}: approximate is {wrong!r}, expected 'tanh' or 'none'")


def test_the_caches_form_is_one_of_two_and_its_arrays_fit():
    (dy, cache), _ = sample(ln.mlp_backward)
    wrong = dataclasses.replace(cache, approximate="erf")
    refused(ValueError, lambda: ln.mlp_backward(dy, wrong), "mlp_backward: approximate is 'erf', expected 'tanh' or")
    refused(TypeError, lambda: ln.mlp_backward(dy, None), "mlp_backward: cache is a NoneType, expected the MLPCache")
    refused(
        ValueError, lambda: ln.mlp_backward(dy.T.copy(), cache), "mlp_backward: dy has shape (6, 3), expected (3, 6)"
    )
    for field in ("x", "w1", "w2", "z", "h"):
        array = getattr(cache, field)
        for shape in ((*array.shape, 1), (array.shape[0] + 1, array.shape[1])):
            wrong = dataclasses.replace(cache, **{field: np.ones(shape)})
            refused(ValueError, lambda c=wrong: ln.mlp_backward(dy, c), "mlp_backward: ", " has shape (", "expected")


@pytest.mark.parametrize(
    ("out", "was"), [([np.ones(1)] * 5, "a list"), ((np.ones(1),) * 4, "a tuple of 4"), (np.ones(5), "a ndarray")]
)
def test_mlp_backward_takes_five_results(out, was):
    (dy, cache), _ = sample(ln.mlp_backward)
    refused(
        TypeError,
        lambda: ln.mlp_backward(dy, cache, out=out),
        f"mlp_backward: out is {was}, expected a",
        "(dx, dw1, db1, dw2, db2)",
    )


def test_results_may_not_overlap_each_other():
    (dy, cache), _ = sample(ln.mlp_backward)
    outs = ln.mlp_backward(dy, cache)
    memory = np.empty(outs[1].size + outs[3].size)
    dw1, dw2 = memory[: outs[1].size].reshape(outs[1].shape), memory[: outs[3].size].reshape(outs[3].shape)
    out = (outs[0], dw1, outs[2], dw2, outs[4])
    refused(ValueError, lambda: ln.mlp_backward(dy, cache, out=out), "mlp_backward: out's dw2 overlaps another result")
