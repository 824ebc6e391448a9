"""loopnest.torch: operators that torch's dispatcher, autograd and compiler accept, and the MLP as a module."""

import contextlib
import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import warnings
import weakref

import loopnest as ln
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'loopnest[torch]'")

import loopnest.torch as lt  # noqa: E402
from loopnest import _core  # noqa: E402
from loopnest.torch import library, mlp_operators, threads  # noqa: E402
from torch.autograd import gradcheck, gradgradcheck  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's own

OPS = torch.ops.loopnest
FORMS = ("none", "tanh")
forms = pytest.mark.parametrize("approximate", FORMS)


@pytest.fixture(autouse=True, scope="module")
def as_after_the_import(own_threads):
    threads.share_threads()


def random(*shape, dtype=torch.float64, grad=True, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, dtype=dtype, generator=generator).requires_grad_(grad)


def layers(d=3, h=8, e=4, **facts):
    """weight1, bias1, weight2, bias2"""
    return [random(*shape, **facts) for shape in ((h, d), (h,), (e, h), (e,))]


def saved(*tokens):
    """dy, x, weight1, weight2, z, h"""
    shapes = ((*tokens, 4), (*tokens, 3), (8, 3), (4, 8), (*tokens, 8), (*tokens, 8))
    return [random(*shape, grad=False, seed=i) for i, shape in enumerate(shapes)]


def stack_of(mlp):
    """torch's own modules, with the same numbers."""
    first, gelu, second = mlp
    return torch.nn.Sequential(copy.deepcopy(first), torch.nn.GELU(gelu.approximate), copy.deepcopy(second))


# --- what torch asks of an operator

CASES = {
    "matmul of stacks": lambda: (random(2, 1, 4, 3), random(3, 3, 5)),
    "matmul of a stack and a matrix": lambda: (random(2, 4, 3).transpose(0, 1), random(5, 3).t()),
    "linear": lambda: (random(2, 5, 3), random(8, 3), random(8)),
    "linear without bias": lambda: (random(3), random(8, 3), None),
    "gelu": lambda: (random(2, 5, 3).transpose(0, 2), "tanh"),
    "gelu of every other": lambda: (random(4, 6)[:, ::2], "none"),
    "gelu_backward": lambda: (random(2, 5, grad=False), random(2, 5, grad=False, seed=9), "none"),
    "mlp": lambda: (random(2, 5, 3), *layers(), "none"),
    "mlp of one token": lambda: (random(3), *layers(grad=False), "tanh"),
    "mlp_forward": lambda: (random(2, 5, 3), *layers(), "none"),
    "mlp_forward, weights (in, out)": lambda: (random(2, 3), random(3, 8).t(), None, random(8, 4).t(), None, "tanh"),
    "mlp_backward": lambda: (*saved(2, 5), "none", [True] * 5),
    "mlp_backward of some": lambda: (*saved(5), "tanh", [False, True, False, False, True]),
}


@pytest.mark.parametrize("case", CASES)
def test_torch_accepts_the_operator(case):
    """Schema, fake kernel, autograd and the compiler's tracing with any sizes: torch.library.opcheck."""
    operator = getattr(OPS, case.split()[0].strip(",")).default
    results = torch.library.opcheck(operator, CASES[case]())
    assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize("x", [(2, 2, 3), (3,)], ids=str)
@forms
def test_gradients_of_the_mlp_are_its_derivatives(x, approximate):
    inputs = (random(*x), *layers())

    def mlp(*inputs):
        return lt.mlp(*inputs, approximate)

    assert gradcheck(mlp, inputs)
    assert gradgradcheck(mlp, inputs)


def test_inputs_that_depend_on_each_other_have_the_same_gradients_with_a_graph():
    x, bias2 = random(3, 3), random(3)
    y = lt.mlp(x, 2 * x, x[0] * bias2, x.t(), bias2).square().sum()
    with_graph = torch.autograd.grad(y, (x, bias2), create_graph=True)
    torch.testing.assert_close(with_graph, torch.autograd.grad(y, (x, bias2)))


@forms
def test_gradients_without_biases_and_with_weights_as_gpt2_has_them(approximate):
    x, first, second = random(4, 3), random(3, 8), random(8, 3)
    assert gradcheck(lambda x, a, b: lt.mlp(x, a.t(), None, b.t(), None, approximate), (x, first, second))


def test_what_is_kept_for_the_backward_pass_has_no_gradient():
    y, z, h = OPS.mlp_forward(random(4, 3), *layers(), "none")
    assert (y.requires_grad, z.requires_grad, h.requires_grad) == (True, False, False)


def test_the_mlp_that_keeps_nothing_has_gradients_all_the_same():
    assert gradcheck(lambda *inputs: OPS.mlp(*inputs, "none"), (random(4, 3), *layers()))


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (lt.matmul, ((4, 3), (3, 5))),
        (lt.matmul, ((2, 1, 4, 3), (3, 3, 5))),
        (lt.matmul, ((2, 4, 3), (3, 5))),
        (lt.matmul, ((3,), (3,))),
        (lt.matmul, ((2, 3, 4), (4,))),
        (lt.linear, ((2, 5, 3), (8, 3), (8,))),
        (lt.linear, ((3,), (8, 3))),
        (lt.gelu, ((2, 5),)),
        (lambda x: lt.gelu(x, "tanh"), ((2, 5),)),
    ],
)
def test_gradients_of_the_others_are_their_derivatives(function, inputs):
    inputs = tuple(random(*shape, seed=i) for i, shape in enumerate(inputs))
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


# --- they compute what torch's functions compute


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("a", "b"), [((7, 5), (5, 6)), ((3, 1, 7, 5), (2, 5, 6)), ((2, 3, 5), (5, 4)), ((5,), (5, 4)), ((3, 5), (5,))]
)
def test_matmul_is_torchs(a, b, dtype):
    a, b = random(*a, dtype=dtype, grad=False), random(*b, dtype=dtype, grad=False, seed=1)
    theirs = torch.matmul(a, b)
    ours = lt.matmul(a, b)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs)


def test_strides_and_leading_axes_do_not_matter():
    x = random(4, 6, 5, 3, grad=False)
    weights = layers(grad=False)
    plain = lt.mlp(x.contiguous(), *weights)
    for view in (x.transpose(0, 1), x.permute(2, 1, 0, 3), x[::2], x[:, :, ::2], x.flip(1)):
        torch.testing.assert_close(lt.mlp(view, *weights), lt.mlp(view.contiguous(), *weights), rtol=0, atol=0)
        torch.testing.assert_close(lt.gelu(view), lt.gelu(view.contiguous()), rtol=0, atol=0)
    wide = random(3, 16, grad=False)[:, ::2]  # (3, 8), every other column
    torch.testing.assert_close(lt.linear(x, wide.t()), F.linear(x, wide.t()))
    assert plain.shape == (4, 6, 5, 4)


def test_gelu_keeps_the_order_of_axes_in_memory_as_torch_does():
    x = random(2, 3, 4, 5, grad=False).to(memory_format=torch.channels_last)
    assert lt.gelu(x).stride() == F.gelu(x).stride() == x.stride()


def test_without_tokens_there_is_nothing_and_weights_have_gradients_of_zero():
    mlp = lt.MLP(3, 8)
    y = mlp(torch.empty(0, 3))
    assert y.shape == (0, 3)
    y.sum().backward()
    assert all((p.grad == 0).all() for p in mlp.parameters())


def test_outputs_and_gradients_of_the_mlp_and_of_the_stack_are_within_the_contracts_bound(suite):
    """Both in float32, against the exact result: so they equal each other to twice the bound at most."""
    for work in suite.module_passes("torch-mlp", 9, 20, 80):
        assert {form.contender for form in work.forms} == {"loopnest", "torch"}
        for form in work.forms:
            assert not work.problems(form.run()), (form.contender, work.item.name)


@pytest.fixture(scope="module")
def suite():
    import importlib.util

    from loopnest.bench.suites import suites_folder

    spec = importlib.util.spec_from_file_location("bench_peers", suites_folder() / "bench_peers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads_of_torch = torch.get_num_threads()
    yield module
    torch.set_num_threads(threads_of_torch)


# --- axes of length 0

EMPTY = {  # a function of tensors of these shapes
    "linear": [
        ((2, 3, 0), (4, 0), (4,)), ((0,), (4, 0), (4,)), ((3, 0), (4, 0), (4,)), ((0, 3), (4, 3), (4,)),
        ((2, 0, 3), (4, 3), (4,)), ((2, 3), (0, 3), (0,)), ((3,), (0, 3), (0,)),
    ],
    "matmul": [
        ((2, 3, 5), (5, 0)), ((2, 3, 0), (0, 4)), ((5,), (5, 0)), ((0,), (0,)), ((2, 3, 0), (2, 0, 4)), ((3, 0), (0,)),
        ((2, 0, 3), (2, 3, 4)), ((0, 3, 2), (0, 2, 4)), ((0, 1, 3, 2), (5, 2, 4)), ((2, 3, 4), (2, 4, 0)),
    ],
    "gelu": [((0,),), ((2, 0),), ((0, 3),)],
    "mlp": [
        ((*tokens, d), (h, d), (h,), (e, h), (e,))
        for d, h, e in ((0, 4, 3), (3, 0, 2), (3, 4, 0), (0, 0, 0))
        for tokens in ((2, 3), (), (0,), (2, 0))
    ],
}  # fmt: skip
OF_TORCH = {
    "linear": F.linear,
    "matmul": torch.matmul,
    "gelu": F.gelu,
    "mlp": lambda *inputs: mlp_operators.mlp_in_torch(*inputs, "none"),
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", EMPTY)
def test_axes_of_length_zero_have_torchs_results_and_gradients(name, create_graph):
    for shapes in EMPTY[name]:
        inputs, results = [random(*shape) for shape in shapes], []
        for function in (getattr(lt, name), OF_TORCH[name]):
            y = function(*inputs)
            with torch.no_grad():
                torch.testing.assert_close(function(*inputs), y.detach())
            results.append((y, *torch.autograd.grad(y.sum(), inputs, create_graph=create_graph)))
        torch.testing.assert_close(*results)


# --- tensor subclasses, modes, other versions and settings of torch


class Scaled(torch.Tensor):
    """A weight that means twice its numbers, as quantized weights mean others than they hold."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in (F.linear, torch.matmul, F.gelu):
            plain = [2 * x.as_subclass(torch.Tensor) if isinstance(x, Scaled) else x for x in args]
            return func(*plain, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs or {})


def test_what_a_tensor_subclass_means_is_asked_of_it():
    x, weight, bias = random(3, 4), random(6, 4).detach(), random(6)
    scaled, doubled = weight.as_subclass(Scaled), 2 * weight
    for w in (scaled, torch.nn.Parameter(scaled)):
        torch.testing.assert_close(lt.linear(x, w, bias), lt.linear(x, doubled, bias))
        torch.testing.assert_close(lt.mlp(x, w, bias, doubled.t(), None), lt.mlp(x, doubled, bias, doubled.t(), None))
    torch.testing.assert_close(lt.matmul(x, weight.t().as_subclass(Scaled)), lt.matmul(x, doubled.t()))
    torch.testing.assert_close(lt.gelu(scaled), lt.gelu(doubled))
    mlp = lt.MLP(4, 8)
    mlp[2].weight = torch.nn.Parameter(mlp[2].weight.detach().as_subclass(Scaled))
    x = x.float()
    torch.testing.assert_close(mlp(x), mlp[2](mlp[1](mlp[0](x))))


def test_a_mode_of_torch_functions_sees_the_operator():
    seen = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with Mode():
        lt.linear(random(3, 4), random(6, 4))
        lt.MLP(4, 8)(torch.ones(2, 4))
    assert {OPS.linear.default, OPS.mlp_forward.default} <= set(seen)


def flops_of(function):
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


@pytest.mark.parametrize("frozen", [(), (0,), (0, 1), (0, 1, 2), (3,)])
def test_torchs_counter_of_flops_counts_the_operators_products(frozen):
    inputs = [random(2, 5, 3), *layers()]
    for i in frozen:
        inputs[i].requires_grad_(False)
    ours, theirs = (lambda: lt.mlp(*inputs)), (lambda: OF_TORCH["mlp"](*inputs))
    assert flops_of(ours) == flops_of(theirs) > 0
    assert flops_of(lambda: ours().sum().backward()) == flops_of(lambda: theirs().sum().backward())
    with torch.no_grad():
        assert flops_of(ours) == flops_of(theirs)
    x, weight, bias = inputs[:3]
    assert flops_of(lambda: lt.linear(x, weight, bias)) == flops_of(lambda: F.linear(x, weight, bias))
    stacks = random(3, 1, 2, 4), random(5, 4, 6)
    assert flops_of(lambda: lt.matmul(*stacks)) == flops_of(lambda: torch.matmul(*stacks))


def test_hooks_on_all_modules_see_the_layers():
    mlp, x, seen = lt.MLP(4, 8), torch.ones(2, 4), []
    hook = torch.nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module).__name__))
    try:
        mlp(x)
    finally:
        hook.remove()
    mlp(x)
    assert seen == ["Linear", "GELU", "Linear", "MLP"]


@pytest.mark.parametrize(
    "before", ["torch.Tensor.__dlpack_c_exchange_api__ = None", "torch.set_default_device('meta')"]
)
@pytest.mark.slow
def test_without_dlpacks_interface_and_with_a_default_device_the_operators_compute_the_same(before):
    program = f"""
        import torch, warnings
        {before}
        import loopnest as ln, loopnest.torch as lt
        torch.set_default_device("cpu")
        warnings.simplefilter("ignore")
        x, mlp = torch.randn(3, 4, requires_grad=True), lt.MLP(4, 8)
        stack = torch.nn.Sequential(*mlp)
        for mode in (torch.no_grad(), torch.enable_grad()):
            with mode:
                torch.testing.assert_close(mlp(x), stack(x))
        by_mlp, by_stack = (torch.autograd.grad(module(x).sum(), x) for module in (mlp, stack))
        torch.testing.assert_close(by_mlp, by_stack)
        lt.gelu(x.t()).sum().backward()
        lt.matmul(torch.ones(2, 3, 4), torch.ones(2, 4, 3))
        out = torch.empty(3, 4)
        assert torch.equal(ln.add(x.detach(), x.detach(), out=out), 2 * x) and out._version == 1
        torch.func.vmap(torch.func.grad(lambda x: lt.linear(x, mlp[0].weight).sum()))(x.detach())
        print("right")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "right\n", done.stderr


# --- what the kernels are given


@pytest.fixture
def given(monkeypatch):
    """Lets a test see which tensors the MLP's kernels are called with."""
    calls = []

    def watched(operation):
        kernel = library.kernel_of(operation)

        def call(*args):
            calls.append((operation, args))
            return kernel(*args)

        return call

    monkeypatch.setattr(mlp_operators, "kernel_of", watched)
    return calls


def test_weights_go_to_the_kernels_as_views(given):
    mlp = lt.MLP(6, 24)
    x = random(5, 6, dtype=torch.float32)
    mlp(x).sum().backward()
    (_, forward), (_, backward) = given
    places = {mlp[0].weight.data_ptr(): (1, 6), mlp[2].weight.data_ptr(): (1, 24)}
    assert {w.data_ptr(): w.stride() for w in (forward[1], forward[3])} == places
    assert {w.data_ptr(): w.stride() for w in (backward[2], backward[3])} == places
    assert forward[0].data_ptr() == x.data_ptr()


def test_without_gradients_the_hidden_layer_is_not_kept(given):
    mlp = lt.MLP(6, 24)
    with torch.no_grad():
        mlp(torch.ones(5, 6))
    mlp.requires_grad_(False)(torch.ones(5, 6))
    for _, args in given:
        assert args[5].shape[0] == args[6].shape[0] == 0


@pytest.mark.parametrize("frozen", ["x", "0.weight", "0.bias", "2.weight", "2.bias", "0.weight 0.bias", "x 2.weight"])
def test_gradients_of_what_is_frozen_are_not_computed(given, frozen):
    mlp = lt.MLP(6, 24)
    stack = stack_of(mlp)
    inputs = {}
    for module in (mlp, stack):
        tensors = inputs[module] = {"x": random(5, 6, dtype=torch.float32), **dict(module.named_parameters())}
        for name in frozen.split():
            tensors[name].requires_grad_(False)
        module(tensors["x"]).square().sum().backward()
    for name, tensor in inputs[mlp].items():
        theirs = inputs[stack][name].grad
        assert (tensor.grad is None) == (theirs is None) == (name in frozen.split())
        if theirs is not None:
            torch.testing.assert_close(tensor.grad, theirs, rtol=1e-4, atol=1e-5)
    _, args = given[1]
    results = dict(zip(("x", "0.weight", "0.bias", "2.weight", "2.bias"), args[6:11], strict=True))
    for name in frozen.split():
        if "bias" not in name:  # the biases' sums come with others, or are nothing beside them
            assert results[name].shape[0] == 0


def test_where_the_hidden_layers_gradient_is_for_nothing_it_is_not_computed(given):
    mlp = lt.MLP(6, 24)
    mlp[0].requires_grad_(False)
    mlp(torch.ones(5, 6)).sum().backward()
    assert given[1][1][8].numel() == 0
    torch.testing.assert_close(mlp[2].bias.grad, torch.full((6,), 5.0))


def test_gradients_have_the_layout_of_their_weights():
    first, second = random(6, 24), random(24, 6)  # (in, out)
    x = random(5, 6)
    y = lt.mlp(x, first.t(), None, second.t(), None)
    by_first, by_second = torch.autograd.grad(y.sum(), (first, second))
    assert by_first.is_contiguous()
    assert by_second.is_contiguous()
    theirs = torch.autograd.grad(F.gelu(x @ first).matmul(second).sum(), (first, second))
    torch.testing.assert_close((by_first, by_second), theirs)


@pytest.mark.skipif(not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"), reason="of torch 2.10 and newer")
def test_kernels_take_tensors_and_arrays_alike():
    a, b = random(5, 3, grad=True), random(4, 3, grad=True)
    kernel = _core.kernels["matmul"]["naive"]
    c, d = torch.empty(5, 4, dtype=torch.float64), np.empty((5, 4))
    kernel(a, b.t(), c)
    kernel(a.detach().numpy(), b.t().detach().numpy(), d)
    np.testing.assert_array_equal(c.numpy(), d)
    with pytest.raises(TypeError, match="different dtypes"):
        kernel(a, b.t(), torch.empty(5, 4))
    with pytest.raises(TypeError, match="axes"):
        kernel(a, b[0], c)
    with pytest.raises(TypeError, match="expected an array, not Tensor"):
        kernel(a, b.t(), c.to("meta"))


# --- the module


@forms
@pytest.mark.parametrize("bias", [True, False])
def test_the_mlp_takes_a_stacks_state_and_gives_it_back(approximate, bias):
    stack = torch.nn.Sequential(
        torch.nn.Linear(8, 16, bias=bias), torch.nn.GELU(approximate), torch.nn.Linear(16, 8, bias=bias)
    )
    mlp = lt.MLP(8, 16, approximate=approximate, bias=bias)
    assert mlp.load_state_dict(stack.state_dict()).missing_keys == []
    other = copy.deepcopy(stack)
    other.load_state_dict(mlp.state_dict())
    x = torch.randn(2, 3, 8)
    torch.testing.assert_close(mlp(x), stack(x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(other(x), stack(x), rtol=0, atol=0)


def test_the_mlp_begins_as_a_stack_of_the_same_seed_does():
    torch.manual_seed(3)
    stack = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.Linear(8, 4))
    torch.manual_seed(3)
    mlp = lt.MLP(4, 8)
    assert all(torch.equal(a, b) for a, b in zip(mlp.parameters(), stack.parameters(), strict=True))


def test_the_mlp_can_be_copied_stored_and_moved_to_another_dtype():
    mlp = lt.MLP(4, 8, 3, approximate="tanh")
    x = torch.ones(2, 4)
    assert torch.equal(copy.deepcopy(mlp)(x), mlp(x))
    assert torch.equal(pickle.loads(pickle.dumps(mlp))(x), mlp(x))
    assert mlp.double()(x.double()).dtype == torch.float64
    assert lt.MLP(4, 8, device="meta")(torch.empty(7, 4, device="meta")).shape == (7, 4)


def test_layers_with_hooks_are_called_and_a_warning_says_so():
    mlp = lt.MLP(4, 8)
    plain = mlp(torch.ones(2, 4))
    seen = []
    mlp[0].register_forward_hook(lambda *args: seen.append(args))
    with pytest.warns(UserWarning, match="hooks"):
        torch.testing.assert_close(mlp(torch.ones(2, 4)), plain)
    assert len(seen) == 1


def test_a_replaced_layer_is_refused():
    mlp = lt.MLP(4, 8)
    mlp[2] = torch.nn.Identity()
    with pytest.raises(TypeError, match=r"MLP: layer 2 is a Identity, expected a torch.nn.Linear; .*Sequential"):
        mlp(torch.ones(2, 4))


def test_the_mlp_compiles_as_one_graph_with_its_gradients():
    mlp = lt.MLP(8, 24)
    compiled = torch.compile(mlp, fullgraph=True)
    x = torch.randn(2, 3, 8, requires_grad=True)
    wanted = torch.autograd.grad(mlp(x).square().sum(), (x, *mlp.parameters()))
    found = torch.autograd.grad(compiled(x).square().sum(), (x, *mlp.parameters()))
    torch.testing.assert_close(found, wanted)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), mlp(x))
    torch.testing.assert_close(compiled(torch.ones(9, 8)), mlp(torch.ones(9, 8)))


def test_all_functions_compile_with_any_number_of_tokens():
    def block(x, weight, bias):
        return lt.matmul(lt.gelu(lt.linear(x, weight, bias), "tanh"), weight) + 1

    compiled = torch.compile(block, fullgraph=True, dynamic=True, backend="aot_eager")
    weight, bias = random(8, 3), random(8)
    for tokens in (2, 5, 11):
        x = random(tokens, 3)
        torch.testing.assert_close(compiled(x, weight, bias), block(x, weight, bias))


# --- torch.func


@pytest.fixture
def no_batching_rule():
    """torch.func.vmap calls an operator once for each example, and warns that this is slow."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*batching rule")
        yield


def test_torch_func_has_gradients_and_those_of_each_example(no_batching_rule):
    mlp = lt.MLP(4, 8, dtype=torch.float64)
    parameters, x = dict(mlp.named_parameters()), random(3, 2, 4, grad=False)

    def loss(module):
        return lambda parameters, x: torch.func.functional_call(module, parameters, (x,)).square().sum()

    for transform in (torch.func.grad, lambda f: torch.func.vmap(torch.func.grad(f), (None, 0)), torch.func.jacrev):
        ours, theirs = (transform(loss(module))(parameters, x) for module in (mlp, stack_of(mlp)))
        torch.testing.assert_close(ours, theirs)


BY_TORCH = {  # each operator by a function of x and weight, and the same by torch's kernels
    "matmul": (lambda x, w: lt.matmul(x, w.t()), lambda x, w: x @ w.t()),
    "linear": (lambda x, w: lt.linear(x, w, w.sum(1)), lambda x, w: F.linear(x, w, w.sum(1))),
    "gelu": (lambda x, w: lt.gelu(x @ w.t()), lambda x, w: F.gelu(x @ w.t())),
    "mlp": (
        lambda x, w: lt.mlp(x, w, w.sum(1), w.t(), x.sum(0)),
        lambda x, w: F.linear(F.gelu(F.linear(x, w, w.sum(1))), w.t(), x.sum(0)),
    ),
}
func = torch.func
TRANSFORMS = {  # of a function of x and weight
    "grad": lambda f: func.grad(lambda x, w: f(x, w).pow(3).sum()),
    "grad by the weight": lambda f: func.grad(lambda x, w: f(x, w).pow(3).sum(), argnums=1),
    "vjp": lambda f: lambda x, w: func.vjp(lambda x: f(x, w).square(), x)[1](torch.ones_like(f(x, w)))[0],
    "vmap of grad": lambda f: func.vmap(func.grad(lambda x, w: f(x, w).pow(3).sum()), (0, None)),
    "jacrev": lambda f: func.jacrev(lambda x, w: f(x, w).square()),
    "jacrev of jacrev": lambda f: func.jacrev(func.jacrev(lambda x, w: f(x, w).square()), argnums=1),
    "grad of grad": lambda f: func.grad(
        lambda x, w: func.grad(lambda x, w: f(x, w).pow(3).sum(), argnums=1)(x, w).square().sum()
    ),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@pytest.mark.parametrize("of", BY_TORCH.values(), ids=BY_TORCH)
def test_a_transform_of_torch_func_inside_autograd_keeps_the_whole_graph(of, transform, no_batching_rule):
    x, weight = random(2, 3, 4) if transform is TRANSFORMS["vmap of grad"] else random(3, 4), random(6, 4)
    results = []
    for function in of:
        value = transform(function)(x, weight)
        results.append((value, *torch.autograd.grad(value.square().sum(), (x, weight))))
    torch.testing.assert_close(*results)


def test_what_torch_func_would_lose_is_refused():
    mlp = lt.MLP(4, 8)
    x = torch.ones(2, 4)
    calls = [
        lambda: torch.func.jvp(mlp, (x,), (x,)),
        lambda: torch.func.hessian(lambda x: mlp(x).square().sum())(x),
    ]
    for call in calls:
        with pytest.raises(NotImplementedError, match="reverse-mode gradients"):
            call()
    with pytest.raises(NotImplementedError, match="gelu_backward has no gradient"):
        OPS.gelu_backward(random(2), random(2), "none")
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, x)
        for mode in (torch.no_grad(), torch.enable_grad()):
            with mode, pytest.raises(NotImplementedError, match="reverse-mode gradients"):
                mlp(dual)


# --- errors

X, W1, B1, W2, B2 = torch.ones(2, 3), torch.ones(8, 3), torch.ones(8), torch.ones(4, 8), torch.ones(4)
WRONG = [
    (lambda: lt.mlp(X[:, :2], W1, B1, W2, B2), ValueError, r"mlp: x has shape \(2, 2\), expected \(…, 3\) to match"),
    (lambda: lt.mlp(X, W1[0], B1, W2, B2), ValueError, r"mlp: weight1 has shape \(3,\), expected two axes"),
    (lambda: lt.mlp(X, W1, B2, W2, B2), ValueError, r"mlp: bias1 has shape \(4,\), expected \(8,\) to match weight1"),
    (lambda: lt.mlp(X, W1, B1, W2.t(), B2), ValueError, r"mlp: weight2 has shape \(8, 4\), expected .* weight2\.t\(\)"),
    (lambda: lt.mlp(X, W1, B1, W2, B1), ValueError, r"mlp: bias2 has shape \(8,\), expected \(4,\)"),
    (lambda: lt.mlp(X, W1, B1, W2, B2, "erf"), ValueError, "mlp: approximate is 'erf', expected 'none' or 'tanh'"),
    (lambda: lt.mlp(X.double(), W1, B1, W2, B2), TypeError, r"mlp: weight1 has dtype .*expected torch.float64 .*x;"),
    (
        lambda: lt.mlp(X.half(), W1, B1, W2, B2),
        TypeError,
        r"mlp: x has dtype torch.float16.*x\.float\(\), or .*fallb",
    ),
    (
        lambda: lt.mlp(X.numpy(), W1, B1, W2, B2),
        TypeError,
        "mlp: x is a ndarray, expected a torch.Tensor; .*numpy",
    ),
    (lambda: lt.mlp(X, None, B1, W2, B2), TypeError, "mlp: weight1 is a NoneType, expected a torch.Tensor"),
    (lambda: lt.mlp(X.to_sparse(), W1, B1, W2, B2), ValueError, r"mlp: x has the layout .*x\.to_dense\(\)"),
    (lambda: lt.linear(X, W1.t()), ValueError, r"linear: x has shape \(2, 3\).* weight\.t\(\)"),
    (lambda: lt.linear(X, W1, B2), ValueError, r"linear: bias has shape \(4,\), expected \(8,\)"),
    (lambda: lt.matmul(X, X), ValueError, r"matmul: b has shape \(2, 3\), expected \(3, 3\) to match a's \(2, 3\)"),
    (lambda: lt.matmul(X, torch.tensor(1.0)), ValueError, "matmul: b has no axes, expected one or more"),
    (lambda: lt.gelu(torch.arange(3)), TypeError, "gelu: x has dtype torch.int64, expected torch.float32 or"),
    (lambda: lt.gelu(X, "erf"), ValueError, "gelu: approximate is 'erf'"),
    (lambda: lt.gelu(torch.nested.nested_tensor([X, X])), ValueError, "gelu: x is a nested tensor"),
    (lambda: OPS.gelu_backward(X, W1, "none"), ValueError, r"gelu_backward: dy has shape \(8, 3\), expected \(2, 3\)"),
    (lambda: lt.MLP(0, 8), ValueError, "MLP: d is 0, expected a number of features, 1 or more"),
    (lambda: lt.MLP(4, 8, approximate="sigmoid"), ValueError, "MLP: approximate is 'sigmoid'"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_errors_name_the_argument_and_the_fix(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_fallback_leaves_other_tensors_to_torch():
    x, weights = X.bfloat16(), [t.bfloat16() for t in (W1, B1, W2, B2)]
    stack = F.linear(F.gelu(F.linear(x, *weights[:2])), *weights[2:])
    assert torch.equal(lt.mlp(x, *weights, fallback=True), stack)
    assert torch.equal(lt.linear(x, weights[0], fallback=True), F.linear(x, weights[0]))
    assert torch.equal(lt.matmul(x, x.t(), fallback=True), x @ x.t())
    assert torch.equal(lt.gelu(x, "tanh", fallback=True), F.gelu(x, approximate="tanh"))
    assert lt.MLP(4, 8, dtype=torch.float16, fallback=True)(torch.ones(2, 4).half()).dtype == torch.float16
    assert repr(lt.MLP(4, 8, fallback=True)) != repr(lt.MLP(4, 8))
    assert lt.gelu(torch.nested.nested_tensor([X, X]), fallback=True).is_nested


def test_under_autocast_our_kernels_compute_in_the_tensors_own_dtype():
    mlp = lt.MLP(4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert mlp(torch.ones(2, 4)).dtype == torch.float32
        with pytest.raises(TypeError, match="x has dtype torch\\.bfloat16"):
            mlp(torch.nn.Linear(4, 4)(torch.ones(2, 4)))


# --- threads


@pytest.fixture
def two_threads():
    ours, theirs = ln.num_threads(), torch.get_num_threads()
    ln.set_num_threads(2)
    torch.set_num_threads(2)
    yield
    ln.set_num_threads(ours)
    torch.set_num_threads(theirs)


@pytest.fixture
def torchs_threads(two_threads):
    if not threads.share_threads():
        pytest.skip("this torch's OpenMP runtime has no entry GOMP_parallel")
    yield
    threads.share_threads()


def test_torchs_number_of_threads_holds_for_our_kernels_too(torchs_threads):
    assert ln.num_threads() == 2
    torch.set_num_threads(1)
    assert ln.num_threads() == 1
    threads.use_own_threads()
    assert ln.num_threads() == 2


def test_results_are_the_same_on_torchs_threads_and_on_ours(torchs_threads):
    x, weights = torch.randn(100, 256), [w.float() for w in layers(256, 512, 256, grad=False)]
    on_torchs = lt.mlp(x, *weights)
    threads.use_own_threads()
    assert torch.equal(lt.mlp(x, *weights), on_torchs)


def test_two_threads_of_the_users_may_call_at_once(torchs_threads):
    from concurrent.futures import ThreadPoolExecutor

    x, weights = torch.randn(100, 256), [w.float() for w in layers(256, 512, 256, grad=False)]
    alone = lt.mlp(x, *weights)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(y, alone) for y in pool.map(lambda _: lt.mlp(x, *weights), range(40)))


def in_process(code):
    """Run it in a process of its own; what that has forked ends with it, also where it hangs."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(code, process.returncode, stderr=errors)


def test_a_forked_child_computes_with_threads_of_our_own():
    """OpenMP's threads are not there after a fork; a wait for them would end in the time limit."""
    done = in_process("""
        import os, warnings, torch
        import loopnest as ln, loopnest.torch as lt
        warnings.simplefilter("ignore")
        ln.set_num_threads(2); torch.set_num_threads(2)
        x, mlp = torch.randn(256, 256), lt.MLP(256, 512).requires_grad_(False)
        y = mlp(x).numpy()
        child = os.fork()
        if child == 0:  # torch itself would wait here for ever, as in torch.equal
            same = (mlp(x).numpy() == y).all() and ln.num_threads() == 2
            torch.set_num_threads(1)  # as a DataLoader's workers do
            os._exit(0 if same and ln.num_threads() == 1 and (mlp(x).numpy() == y).all() else 3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """)
    assert done.returncode == 0, done.stderr


def test_memory_of_results_is_freed(given):
    """A tensor that a kernel has filled belongs to torch alone."""
    lt.MLP(4, 8)(torch.ones(2, 4)).sum().backward()
    refs = [weakref.ref(arg) for _, args in given for arg in args if isinstance(arg, torch.Tensor)]
    assert len(refs) == 8 + 11
    given.clear()
    gc.collect()
    assert not [ref for ref in refs if ref() is not None]
