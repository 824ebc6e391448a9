"""What is special to torch: tensors in and out without a copy, its errors, its gradients, optimizers and compiler."""

import functools
import math
import warnings

import ladders
import loopnest as ln
import numpy as np
import pytest
from ladders import OPERATIONS, dtypes, rungs
from loopnest import arrays, verify
from loopnest.verify import Case, answer_of, compare

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'loopnest[torch]'")

from loopnest.backends import torch as tensors  # noqa: E402

FLOAT64 = np.dtype(np.float64)
UPDATED = {"sgd": (0,), "momentum": (0, 2), "rmsprop": (0, 2), "adam": (0, 2, 3)}

operations = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
functions = pytest.mark.parametrize(
    "operation", [k for name, k in OPERATIONS.items() if name not in UPDATED], ids=lambda k: k.name
)


def fastest(*, updating=True):
    """Run a test with the fastest quick rung of numpy, cpp and torch, for each operation that they have."""
    chosen = {
        (name, k.backend): k  # the last is the fastest
        for name, operation in OPERATIONS.items()
        for k in operation
        if k.backend in ("numpy", "cpp", "torch") and not k.slow_start and (updating or name not in UPDATED)
    }
    return pytest.mark.parametrize("implementation", chosen.values(), ids=lambda k: f"{k.operation.name}-{k.id}")


def case_of(operation, dtype=FLOAT64, sizes=(7, 5, 6, 4)):
    """A small case whose axes are all different."""
    return Case(operation, dtype, tuple(zip(operation.contract.workloads[0].shape, sizes, strict=False)))


mapped = functools.partial(ladders.mapped, kinds=np.ndarray | torch.Tensor)
leaves = functools.partial(ladders.leaves, kinds=np.ndarray | torch.Tensor)


def as_tensors(values):
    return mapped(values, lambda x: torch.from_numpy(np.array(x)))


def results_of(operation, inputs, returned):
    """The tensors that a call has filled."""
    if operation.name in UPDATED:
        assert returned is None
        return [inputs[i] for i in UPDATED[operation.name]]
    if operation.name == "mlp_forward":
        y, cache = returned
        return [y, cache.z, cache.h]
    return list(returned) if isinstance(returned, tuple) else [returned]


def check(case, results):
    """The results are tensors of the inputs' dtype, and right."""
    for result, exact, bound in zip(results, *answer_of(case), strict=True):
        assert type(result) is torch.Tensor
        assert result.dtype == getattr(torch, str(case.dtype))
        assert not compare(result.numpy(), exact, bound, case.dtype)


# --- tensors in, tensors out


@fastest()
@dtypes
def test_tensors_give_tensors_and_inputs_stay_as_they_were(implementation, dtype):
    case = case_of(implementation.operation, dtype)
    inputs, options = as_tensors(case.arguments().inputs), case.arguments().options
    kept = [x for i, x in enumerate(inputs) if i not in UPDATED.get(implementation.operation.name, ())]
    before = [x.clone() for x in leaves(kept)]
    check(case, results_of(implementation.operation, inputs, implementation(*inputs, **options)))
    assert all(torch.equal(now, then) for now, then in zip(leaves(kept), before, strict=True))


@fastest(updating=False)
def test_a_given_tensor_receives_the_result_in_its_own_memory(implementation):
    operation, case = implementation.operation, case_of(implementation.operation)
    inputs, options = as_tensors(case.arguments().inputs), case.arguments().options
    exact, _ = answer_of(case)
    given = [torch.full(x.shape, math.nan, dtype=torch.float64) for x in exact]
    places = [out.data_ptr() for out in given]
    if operation.name == "mlp_backward":
        returned = implementation(*inputs, **options, out=tuple(given))
        assert all(mine is theirs for mine, theirs in zip(returned, given, strict=True))
    else:
        returned = implementation(*inputs, **options, out=given[0])
        assert (returned[0] if operation.name == "mlp_forward" else returned) is given[0]
    assert [out.data_ptr() for out in given] == places
    check(case, results_of(operation, inputs, returned))


@fastest()
def test_what_a_call_writes_into_has_a_new_version_and_what_it_reads_has_not(implementation):
    """autograd refuses to go back through a tensor that has changed since: it compares versions."""
    operation, case = implementation.operation, case_of(implementation.operation)
    inputs, options = as_tensors(case.arguments().inputs), case.arguments().options
    written = [inputs[i] for i in UPDATED.get(operation.name, ())]
    if not written:
        written = [torch.empty(x.shape, dtype=torch.float64) for x in answer_of(case)[0]]
        written = written[: operation.contract.outs]
        options = dict(options, out=tuple(written) if operation.name == "mlp_backward" else written[0])
    read = [x for x in leaves(inputs) if not any(x is y for y in written)]
    before = [x._version for x in (*written, *read)]
    implementation(*inputs, **options)
    changed = [x._version > version for x, version in zip((*written, *read), before, strict=True)]
    assert changed == [True] * len(written) + [False] * len(read)


def test_autograd_refuses_to_go_back_through_a_parameter_that_a_step_has_changed():
    w = torch.ones(3, requires_grad=True)
    y = (w * w).sum()
    with pytest.raises(ValueError, match="expected"):
        ln.sgd(w.detach(), torch.ones(3), lr=-1)
    torch.autograd.grad(y, w, retain_graph=True)  # the refused step has changed nothing
    ln.sgd(w.detach(), torch.ones(3), lr=0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
    with torch.inference_mode():  # these have no versions
        w, out = torch.ones(3), torch.empty(3)
    ln.sgd(w, torch.ones(3), lr=0.5)
    assert ln.add(w, torch.ones(3), out=out).tolist() == [1.5] * 3


@functions
def test_kernels_see_the_tensors_memory_and_results_are_the_memory_they_filled(operation):
    made, seen = [], []

    def empty(shape, dtype):
        made.append(np.zeros(shape, dtype))
        return made[-1]

    operation.register("spy.kernel")(lambda *args: seen.extend(a for a in args if isinstance(a, np.ndarray)))
    try:
        inputs, options = as_tensors(case_of(operation).arguments().inputs), case_of(operation).arguments().options
        with arrays.results_from(empty):
            returned = operation(*inputs, impl="spy.kernel", **options)
    finally:
        operation.unregister("spy.kernel")
    places = {array.ctypes.data for array in seen}
    assert {tensor.data_ptr() for tensor in leaves(inputs)} <= places
    results = results_of(operation, inputs, returned)
    assert {tensor.data_ptr() for tensor in results} == {array.ctypes.data for array in made}


LAYOUTS = {
    "transposed": lambda x: x.t().contiguous().t(),
    "stepped": lambda x: torch.stack([x, x], -1).flatten(-2)[..., ::2],
    "with an offset": lambda x: torch.stack([x, x])[1],
}


@fastest()
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strided_tensors(implementation, layout):
    case = case_of(implementation.operation)
    inputs, options = mapped(as_tensors(case.arguments().inputs), LAYOUTS[layout]), case.arguments().options
    check(case, results_of(implementation.operation, inputs, implementation(*inputs, **options)))


@pytest.mark.parametrize("backend", ["numpy", "cpp", "torch"])
def test_expanded_tensors(backend):
    row, ones = torch.arange(3.0), torch.ones(1, 1)
    torch.testing.assert_close(ln.add(row.expand(2, 3), torch.ones(2, 1), impl=backend), (row + 1).expand(2, 3))
    torch.testing.assert_close(ln.matmul(row[None], ones.expand(3, 4), impl=backend), torch.full((1, 4), 3.0))
    torch.testing.assert_close(ln.relu(row.expand(2, 3), impl=backend), row.expand(2, 3))


def test_a_scalar_result_is_a_tensor_without_axes():
    x = torch.ones(3)
    for result in (ln.dot(x, x), ln.sum(x), ln.mse(x, x)):
        assert type(result) is torch.Tensor
        assert result.shape == ()


# --- what is refused


def sample(operation):
    arguments = case_of(operation).arguments()
    return [as_tensors(value) for value in arguments.inputs], dict(arguments.options)


def refused(operation, error, change, *parts, kind=torch.float64):
    """Each input tensor is changed in turn, and the call refused with a message that holds its name and the parts."""
    names = list(operation.__signature__.parameters)
    for number, name in enumerate(names):
        inputs, options = sample(operation)
        if number >= len(inputs) or not isinstance(inputs[number], torch.Tensor) or inputs[number].dtype != kind:
            continue
        inputs[number] = change(inputs[number])
        with pytest.raises(error) as caught:
            operation(*inputs, **options)
        for part in (f"{operation.name}: {name} ", *parts):
            assert part.replace("NAME", name) in str(caught.value)


@operations
def test_a_tensor_that_requires_grad_is_refused(operation):
    change = lambda x: x.requires_grad_()  # noqa: E731
    refused(operation, ValueError, change, "requires grad, expected a tensor without", "pass NAME.detach()")
    refused(operation, ValueError, torch.nn.Parameter, "requires grad", "pass NAME.detach()")


@operations
def test_a_tensor_with_a_tangent_of_forward_mode_is_refused(operation):
    with torch.autograd.forward_ad.dual_level():
        change = lambda x: torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))  # noqa: E731
        refused(operation, ValueError, change, "has a tangent of forward mode", "unpack_dual(NAME).primal")
        inputs, options = sample(operation)
        operation(*inputs, **options)


class Scaled(torch.Tensor):
    """A tensor that means twice its numbers."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return 2 * super().__torch_function__(func, types, args, kwargs or {})


class Wrapper(torch.Tensor):
    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise NotImplementedError


@operations
@pytest.mark.parametrize("kind", [Scaled, Wrapper])
def test_a_tensor_whose_class_gives_functions_another_meaning_is_refused(operation, kind):
    change = lambda x: x.as_subclass(kind)  # noqa: E731
    refused(operation, TypeError, change, kind.__name__, "expected a plain tensor; pass NAME.as_subclass(torch.Tensor)")


@pytest.mark.parametrize("setting", ["high", "medium"])
def test_torchs_products_are_refused_while_they_may_leave_the_contract(setting):
    before = torch.get_float32_matmul_precision()
    products = [k for name in ("matmul", "linear", "mlp_forward", "mlp_backward") for k in OPERATIONS[name]]
    products = [k for k in products if k.backend == "torch" and not k.slow_start]  # those may lack a compiler
    try:
        torch.set_float32_matmul_precision(setting)
        for k in products:
            assert "call torch.set_float32_matmul_precision('highest')" in k.why_unavailable()
        with pytest.raises(ln.UnavailableError, match="out of the contract's bound"):
            ln.matmul(np.ones((2, 2)), np.ones((2, 2)), impl="torch")
        assert ln.gelu["torch.composed"].available()
    finally:
        torch.set_float32_matmul_precision(before)
    assert all(k.available() for k in products)


@operations
def test_a_tensor_on_another_device_is_refused(operation):
    change = lambda x: x.to("meta")  # noqa: E731
    refused(operation, ValueError, change, "is on the device meta, expected cpu", "pass NAME.cpu()")
    refused(operation, ValueError, change, "is on the device meta, expected cpu", kind=torch.int64)


@operations
def test_a_sparse_tensor_is_refused(operation):
    change = lambda x: x.to_sparse()  # noqa: E731
    refused(operation, ValueError, change, "has the layout torch.sparse_coo, expected torch.strided", "NAME.to_dense()")


@operations
def test_a_lazily_negated_or_conjugated_tensor_is_refused(operation):
    negated = lambda x: torch.complex(x, x).conj().imag  # noqa: E731
    conjugated = lambda x: torch.complex(x, x).conj()  # noqa: E731
    for change in (negated, conjugated):
        refused(operation, ValueError, change, "is a lazy negation or conjugate, expected its values", "NAME.clone()")


@operations
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "complex64", "int32", "bool"])
def test_a_tensor_of_another_dtype_is_refused(operation, dtype):
    if dtype in operation.contract.reduced:
        pytest.skip(f"{operation.name} takes {dtype}: tests/test_reduced.py")
    change = lambda x: x.to(getattr(torch, dtype))  # noqa: E731
    refused(operation, TypeError, change, f"has dtype torch.{dtype}, expected torch.float32", "NAME.to(torch.float32)")


@operations
def test_tensors_of_two_dtypes_are_refused(operation):
    inputs, options = sample(operation)
    names = list(operation.__signature__.parameters)
    floats = [i for i, x in enumerate(inputs) if isinstance(x, torch.Tensor) and x.dtype == torch.float64]
    for number in floats[1:]:
        changed = [x.float() if i == number else x for i, x in enumerate(inputs)]
        with pytest.raises(TypeError) as caught:
            operation(*changed, **options)
        expected = f"{operation.name}: {names[number]} has dtype float32, expected float64 to match {names[floats[0]]}"
        assert expected in str(caught.value)
        assert f"{names[number]}.to(torch.float64)" in str(caught.value)


@operations
def test_arrays_and_tensors_in_one_call_are_refused(operation):
    names = list(operation.__signature__.parameters)
    for number in range(len(sample(operation)[0])):
        inputs, options = sample(operation)
        if len(leaves(inputs)) == 1 or not isinstance(inputs[number], torch.Tensor):
            continue
        inputs[number] = inputs[number].numpy()
        with pytest.raises(TypeError) as caught:
            operation(*inputs, **options)
        assert f"{operation.name}: {names[number]} is a numpy.ndarray, expected a torch tensor like" in str(
            caught.value
        )
        assert f"torch.from_numpy({names[number]})" in str(caught.value)


def test_an_out_of_the_other_kind_is_refused():
    x = torch.ones(2, 2)
    with pytest.raises(TypeError, match=r"relu: out is a numpy.ndarray, expected a torch tensor like the inputs"):
        ln.relu(x, out=np.ones((2, 2), np.float32))
    with pytest.raises(TypeError, match=r"relu: out is a torch.Tensor, expected a NumPy array like the inputs"):
        ln.relu(x.numpy(), out=x)


def test_an_out_that_cannot_be_used_is_refused():
    x, out = torch.ones(2, 3), torch.empty(2, 3)
    for given, error, *parts in (
        (
            torch.empty(3, 2),
            ValueError,
            "out has shape (3, 2), expected (2, 3)",
            "torch.empty((2, 3), dtype=torch.float32)",
        ),
        (torch.empty(2, 3).double(), TypeError, "out has dtype float64, expected the inputs' float32"),
        (torch.empty(3, 2).t(), ValueError, "expected C order", "torch.empty((2, 3), dtype=torch.float32)"),
        (torch.empty(2, 6)[:, ::2], ValueError, "expected C order"),
        (torch.empty(1, 3).expand(2, 3), ValueError, "expected C order"),
        (x, ValueError, "out overlaps x in memory"),
        (torch.empty(2, 3, requires_grad=True), ValueError, "out requires grad", "out.detach()"),
        (torch.empty(2, 3, device="meta"), ValueError, "out is on the device meta, expected cpu"),
        (torch.empty(2, 3).half(), TypeError, "out has dtype torch.float16, expected torch.float32"),
    ):
        with pytest.raises(error) as caught:
            ln.relu(x, out=given)
        for part in ("relu: ", *parts):
            assert part in str(caught.value)
    assert ln.relu(x, out=out) is out


@pytest.mark.parametrize("name", UPDATED)
def test_a_parameter_whose_elements_share_memory_is_refused(name):
    inputs, options = sample(OPERATIONS[name])
    inputs[0] = inputs[0][:1].expand(inputs[0].shape)
    with pytest.raises(ValueError, match=f"{name}: param has strides of .* elements share memory"):
        OPERATIONS[name](*inputs, **options)


# --- torch's own gradients and optimizers


def random(*shape, requires_grad=False):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_(requires_grad)


def close(result, expected):
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-13)


FORWARD = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu}


@pytest.mark.parametrize("name", FORWARD)
def test_gradients_of_activations_are_autograds(name):
    for options in [{"approximate": form} for form in ("tanh", "none")] if name == "gelu" else [{}]:
        x, dy = random(4, 9, requires_grad=True), random(9, 4).t()
        FORWARD[name](x, **options).backward(dy)
        close(OPERATIONS[f"{name}_backward"](x.detach(), dy, **options), x.grad)


def test_gradients_of_losses_are_autograds():
    y, t = random(5, 3, requires_grad=True), random(3, 5).t()
    torch.nn.functional.mse_loss(y, t).backward()
    close(ln.mse_backward(y.detach(), t), y.grad)
    logits, labels = random(6, 5, requires_grad=True), torch.tensor([0, 4, 2, 2, 1, 4])
    torch.nn.functional.cross_entropy(logits, labels).backward()
    close(ln.cross_entropy_backward(logits.detach(), labels), logits.grad)


@pytest.mark.parametrize("form", ["tanh", "none"])
def test_gradients_of_the_mlp_are_autograds(form):
    inputs = [random(*shape, requires_grad=True) for shape in ((3, 4), (4, 6), (6,), (6, 2), (2,))]
    x, w1, b1, w2, b2 = inputs
    y = torch.nn.functional.gelu(x @ w1 + b1, approximate=form) @ w2 + b2
    dy = random(2, 3).t()
    y.backward(dy)
    result, cache = ln.mlp_forward(*(value.detach() for value in inputs), approximate=form)
    close(result, y.detach())
    for gradient, value in zip(ln.mlp_backward(dy, cache), inputs, strict=True):
        close(gradient, value.grad)


OPTIMIZERS = {
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.1), {"lr": 0.1}),
    "momentum": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), {"lr": 0.1, "mu": 0.9}),
    "rmsprop": (lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.95), {"lr": 0.01, "rho": 0.95}),
    "adam": (lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.95)), {"lr": 0.02, "beta1": 0.8, "beta2": 0.95}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_hundred_steps_are_torch_optims(name):
    """On a bowl, whose gradient is curvature · (w - minimum); torch gets the same gradients by autograd."""
    make, options = OPTIMIZERS[name]
    minimum, curvature = random(3, 5), random(3, 5).abs() + 0.1
    expected = random(5, 3).t().clone(memory_format=torch.contiguous_format).requires_grad_()
    optimizer = make([expected])
    ours = expected.detach().clone()
    states = [torch.zeros_like(ours) for _ in UPDATED[name][1:]]
    for step in range(1, 101):
        optimizer.zero_grad()
        loss = (curvature * (expected - minimum) ** 2).sum() / 2
        loss.backward()
        optimizer.step()
        count = {"step": step} if name == "adam" else {}
        OPERATIONS[name](ours, curvature * (ours - minimum), *states, **options, **count)
    torch.testing.assert_close(ours, expected.detach(), rtol=1e-10, atol=1e-10)


# --- the rungs in torch


def test_torchs_own_gelu_loses_the_tail_and_ours_does_not():
    x = torch.full((1,), -10.0, dtype=torch.float64)
    for form, exact in (("none", -7.62e-23), ("tanh", -1.20e-37)):
        assert torch.nn.functional.gelu(x, approximate=form) == 0
        for k in ln.gelu:
            if k.backend == "torch" and not k.slow_start:
                torch.testing.assert_close(k(x, approximate=form), torch.full_like(x, exact), rtol=5e-3, atol=0)


def backwards(x):
    """The same values, with negative strides."""
    return np.ascontiguousarray(np.flip(x))[(slice(None, None, -1),) * x.ndim]


@rungs(of=("torch",))
def test_negative_strides_are_copied_with_a_warning_at_the_callers_line(implementation):
    case = case_of(implementation.operation)
    inputs = mapped(case.arguments().inputs, backwards)
    with pytest.warns(ln.CopyWarning, match="torch has no negative ones") as told:
        returned = implementation(*inputs, **case.arguments().options)
    assert {warning.filename for warning in told if warning.category is ln.CopyWarning} == {__file__}
    results = results_of(implementation.operation, inputs, returned)
    for result, exact, bound in zip(results, *answer_of(case), strict=True):
        assert not compare(result, exact, bound, FLOAT64)


@pytest.mark.parametrize("layout", [name for name in verify.LAYOUTS if "backwards" not in name])
def test_the_tensors_of_all_other_layouts_share_the_arrays_memory(layout):
    for shape in ((5,), (3, 4), (1, 4), (3, 1), (0, 4)):
        _, array = verify.laid_out(np.arange(math.prod(shape), dtype=np.float32).reshape(shape), layout)
        tensor = tensors._tensor(array)
        assert tensor.shape == array.shape
        assert tensor.data_ptr() == (array.ctypes.data if array.size else 0)
        np.testing.assert_array_equal(tensor.numpy(), array)


@rungs(of=("torch",))
def test_read_only_arrays_and_negative_strides_that_step_nowhere_do_not_warn(implementation):
    case = case_of(implementation.operation)
    updated = UPDATED.get(implementation.operation.name, ())
    inputs = list(mapped(case.arguments().inputs, np.copy))
    for i, x in enumerate(inputs):
        if isinstance(x, np.ndarray) and i not in updated:
            x.flags.writeable = False
    one = case_of(implementation.operation, sizes=(1, 1, 1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.compile has warnings of its own
        warnings.simplefilter("error", ln.CopyWarning)
        warnings.filterwarnings("error", "The given NumPy array is not writ")  # torch's
        implementation(*inputs, **case.arguments().options)
        implementation(*mapped(one.arguments().inputs, lambda x: x[::-1]), **one.arguments().options)


def test_a_tensor_over_read_only_memory_keeps_it_alive():
    array = np.arange(1000.0)
    array.flags.writeable = False
    place = array.ctypes.data
    tensor = tensors._tensor(array)
    assert tensor.data_ptr() == place
    del array
    np.full(1000, -1.0)
    assert tensor.sum() == 999 * 500


@rungs(of=("torch",))
@pytest.mark.parametrize("mode", ["inference_mode", "no_grad", "autocast", "default dtype", "default device"])
def test_torchs_modes_change_nothing(implementation, mode):
    modes = {
        "inference_mode": torch.inference_mode,
        "no_grad": torch.no_grad,
        "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        "default dtype": lambda: _default_dtype(torch.float64),
        "default device": lambda: torch.device("meta"),
    }
    case = case_of(implementation.operation, np.dtype(np.float32))
    inputs, options = mapped(case.arguments().inputs, np.copy), case.arguments().options
    with modes[mode]():
        returned = implementation(*inputs, **options)
    results = results_of(implementation.operation, inputs, returned)
    for result, exact, bound in zip(results, *answer_of(case), strict=True):
        assert not compare(result, exact, bound, case.dtype)


class _default_dtype:
    def __init__(self, dtype):
        self.dtype = dtype

    def __enter__(self):
        self.before = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)

    def __exit__(self, *error):
        torch.set_default_dtype(self.before)


needs_compiler = pytest.mark.skipif(tensors.why_no_compiler() is not None, reason=str(tensors.why_no_compiler()))


def translations():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.slow
@needs_compiler
def test_one_translation_of_gelu_is_good_for_all_sizes_and_layouts():
    ln.gelu(np.ones(4, np.float32), impl="torch.compiled")
    before = translations()
    for size in (2, 3, 16, 17, 1000, 70_000):
        x = np.ones((size, 6), np.float32)
        for view in (x, x.T, x[:, ::2], x[::2], np.broadcast_to(x[:, :1], x.shape)):
            ln.gelu(view, impl="torch.compiled")
    assert translations() == before


@pytest.mark.slow
@needs_compiler
def test_a_function_that_torch_would_not_translate_again_is_an_error_and_does_not_run_uncompiled():
    def double(x, out):
        torch.mul(x, 2, out=out)

    x, out = torch.ones(3), torch.zeros(3)
    limit = "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else "cache_size_limit"  # torch 2.6
    with torch._dynamo.config.patch({limit: 1}):
        tensors.run_compiled(double, x, out)
        assert out.tolist() == [2, 2, 2]
        with torch.no_grad(), pytest.raises(Exception, match=r"fullgraph=True|cache_size_limit reached"):
            tensors.run_compiled(double, x, out)


def test_without_a_compiler_the_compiled_rungs_are_listed_with_the_reason(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    tensors.why_no_compiler.cache_clear()
    try:
        for operation in (ln.matmul, ln.gelu, ln.gelu_backward, ln.mlp_forward, ln.mlp_backward):
            compiled = operation["torch.compiled"]
            assert "torch.compile needs a C++ compiler" in compiled.why_unavailable()
            assert operation["torch"] is not compiled
        with pytest.raises(ln.UnavailableError, match=r"gelu: torch.compiled cannot run here: .* not on PATH: install"):
            ln.gelu(np.ones(3), impl="torch.compiled")
    finally:
        tensors.why_no_compiler.cache_clear()
