"""The kernels as operators of torch: what its dispatcher, autograd and compiler know them by.

    torch.ops.loopnest.matmul         (a, b) -> c
    torch.ops.loopnest.linear         (x, weight, bias) -> y
    torch.ops.loopnest.gelu           (x, approximate) -> y             gelu_backward  (x, dy, approximate) -> dx
    torch.ops.loopnest.mlp            (x, …) -> y                       nothing is kept for a backward pass
    torch.ops.loopnest.mlp_forward    (x, …) -> y, z, h                 mlp_backward   (dy, x, …, z, h) -> gradients

An operator is four things: a schema; a kernel for tensors on the CPU, which hands their memory to the fastest rung; a
fake kernel, which tells the compiler the shapes and strides of the results; and a formula of its gradient. Tensors are
views of the same memory as the arrays that the rungs get. What has no view as a matrix (an x whose leading axes
cannot be joined) is copied, as torch does for its own products.

Operators take weights as torch stores them, (out, in). The rungs take them (in, out): these are views with the strides
exchanged, and gradients come back in the layout of their weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .. import OPERATIONS
from ..arrays import Array, as_matrices
from ..tensors import Tensor

FLOATS = (torch.float32, torch.float64)

_library = torch.library.Library("loopnest", "DEF")


def _operator(schema: str, *, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Declare an operator: `fake` gives its results' shapes and strides, the decorated function computes them."""

    def define(kernel: Callable[..., Any]) -> Any:
        name = schema.partition("(")[0]
        _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
        _library.impl(name, kernel, "CPU")
        torch.library.register_fake(f"loopnest::{name}", fake, lib=_library)
        return getattr(torch.ops.loopnest, name).default

    return define


def _gradient(operator: Any, keep: Callable[..., None]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the formula of an operator's gradient; `keep(ctx, inputs, output)` saves what it will need."""

    def define(formula: Callable[..., Any]) -> Callable[..., Any]:
        torch.library.register_autograd(operator, formula, setup_context=keep, lib=_library)
        return formula

    return define


def _array(tensor: Tensor) -> Array:
    """The array over a tensor's memory."""
    array: Array = tensor.detach().numpy()
    return array


@functools.cache
def _kernel(operation: str) -> Callable[..., Any]:
    """The kernel of the fastest rung in C++, which runs wherever the package does."""
    kernel: Callable[..., Any] = OPERATIONS[operation]["cpp"].kernel
    return kernel


# --- matmul


def check_matmul(a: Tensor, b: Tensor) -> None:
    if a.ndim < 2 or b.ndim < 2:
        name, tensor = ("a", a) if a.ndim < 2 else ("b", b)
        raise ValueError(f"matmul: {name} has shape {tuple(tensor.shape)}, expected two axes or more")
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"matmul: b has shape {tuple(b.shape)}, expected {_with_axes(b, -2, a.shape[-1])} to match a's "
            f"{tuple(a.shape)}"
        )
    check_same("matmul", a=a, b=b)


def _with_axes(tensor: Tensor, axis: int, length: int) -> str:
    shape = [str(size) for size in tensor.shape]
    shape[axis] = str(length)
    return f"({', '.join(shape)})"


def check_same(operator: str, **tensors: Tensor | None) -> None:
    """Raise a TypeError unless all are of one dtype, float32 or float64."""
    first, *others = ((name, tensor) for name, tensor in tensors.items() if tensor is not None)
    if first[1].dtype not in FLOATS:
        raise TypeError(
            f"{operator}: {first[0]} has dtype {first[1].dtype}, expected torch.float32 or torch.float64; convert it "
            f"with {first[0]}.float(), or pass fallback=True for torch's own kernels"
        )
    for name, tensor in others:
        if tensor.dtype != first[1].dtype:
            raise TypeError(
                f"{operator}: {name} has dtype {tensor.dtype}, expected {first[1].dtype} to match {first[0]}; convert "
                f"one of them, as in {name}.to({first[1].dtype})"
            )


def _fake_matmul(a: Tensor, b: Tensor) -> Tensor:
    check_matmul(a, b)
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return a.new_empty((*batch, a.shape[-2], b.shape[-1]))


@_operator("matmul(Tensor a, Tensor b) -> Tensor", fake=_fake_matmul)
def matmul(a: Tensor, b: Tensor) -> Tensor:
    check_matmul(a, b)
    if b.ndim == 2:  # one product, however many leading axes a has
        c = a.new_empty((*a.shape[:-1], b.shape[-1]))
        _kernel("matmul")(_array(_rows(a)), _array(b), _array(_rows(c)))
        return c
    c = _fake_matmul(a, b)
    OPERATIONS["matmul"].contract.run(_kernel("matmul"), _array(a), _array(b), out=_array(c))
    return c


def _rows(x: Tensor) -> Tensor:
    """x as a matrix whose rows are its last axis: a view where its leading axes can be joined."""
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])


def _keep_inputs(ctx: Any, inputs: tuple[Tensor, Tensor], output: Any) -> None:
    ctx.save_for_backward(*inputs)


@_gradient(matmul, _keep_inputs)
def _matmul_gradient(ctx: Any, dc: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """da = dc bᵀ and db = aᵀ dc, summed over the axes along which a or b was repeated."""
    a, b = ctx.saved_tensors
    da = db = None
    if ctx.needs_input_grad[0]:
        da = matmul(dc, b.mT).sum_to_size(a.shape)
    if ctx.needs_input_grad[1]:
        db = matmul(_rows(a).mT, _rows(dc)) if b.ndim == 2 else matmul(a.mT, dc).sum_to_size(b.shape)
    return da, db


# --- linear


def check_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if weight.ndim != 2:
        raise ValueError(f"linear: weight has shape {tuple(weight.shape)}, expected two axes, (out, in)")
    _check_layer("linear", x, weight, bias, "x", "weight", "bias")
    check_same("linear", x=x, weight=weight, bias=bias)


def _check_layer(
    operator: str, x: Tensor, weight: Tensor, bias: Tensor | None, given: str, name: str, bias_name: str
) -> None:
    if x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"{operator}: {given} has shape {tuple(x.shape)}, expected (…, {weight.shape[1]}) to match {name}'s "
            f"{tuple(weight.shape)}, (out, in); a weight of (in, out) is passed as {name}.t()"
        )
    if bias is not None and (bias.ndim != 1 or bias.shape[0] != weight.shape[0]):
        raise ValueError(
            f"{operator}: {bias_name} has shape {tuple(bias.shape)}, expected ({weight.shape[0]},) to match {name}'s "
            f"{tuple(weight.shape)}, (out, in)"
        )


def _fake_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    check_linear(x, weight, bias)
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


@_operator("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor", fake=_fake_linear)
def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = _fake_linear(x, weight, bias)
    arrays = _array(_rows(x)), _array(weight.t())
    if bias is None:
        _kernel("matmul")(*arrays, _array(_rows(y)))
    else:
        _kernel("linear")(*arrays, _array(bias), _array(_rows(y)))
    return y


def _keep_for_linear(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:2])


@_gradient(linear, _keep_for_linear)
def _linear_gradient(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = dy weight, dweight = dyᵀ x, and dbias the sum of dy's rows."""
    x, weight = ctx.saved_tensors
    wants_dx, wants_dweight, wants_dbias = ctx.needs_input_grad
    return (
        linear(dy, weight.t(), None) if wants_dx else None,
        matmul(_rows(dy).mT, _rows(x)) if wants_dweight else None,
        _rows(dy).sum(0) if wants_dbias else None,
    )


# --- gelu


def check_approximate(operator: str, approximate: str) -> None:
    if approximate not in ("none", "tanh"):
        raise ValueError(f"{operator}: approximate is {approximate!r}, expected 'none' or 'tanh'")


def _fake_gelu(x: Tensor, approximate: str) -> Tensor:
    check_same("gelu", x=x)
    check_approximate("gelu", approximate)
    return torch.empty_like(x)


@_operator("gelu(Tensor x, str approximate) -> Tensor", fake=_fake_gelu)
def gelu(x: Tensor, approximate: str) -> Tensor:
    y = _fake_gelu(x, approximate)
    _elementwise(_kernel("gelu"), y, (x,), approximate == "tanh")
    return y


def _fake_gelu_backward(x: Tensor, dy: Tensor, approximate: str) -> Tensor:
    check_same("gelu_backward", x=x, dy=dy)
    check_approximate("gelu_backward", approximate)
    return torch.empty_like(x)


@_operator("gelu_backward(Tensor x, Tensor dy, str approximate) -> Tensor", fake=_fake_gelu_backward)
def gelu_backward(x: Tensor, dy: Tensor, approximate: str) -> Tensor:
    dx = _fake_gelu_backward(x, dy, approximate)
    _elementwise(_kernel("gelu_backward"), dx, (x, dy), approximate == "tanh")
    return dx


def _elementwise(kernel: Callable[..., Any], result: Tensor, inputs: tuple[Tensor, ...], tanh_form: bool) -> None:
    """Call the kernel on matrices that cover the elements, in the order in which the result's lie in memory."""
    tensors = (*inputs, result)
    if not all(tensor.is_contiguous() for tensor in tensors):  # torch's results keep their input's order of axes
        order = sorted(range(result.ndim), key=result.stride, reverse=True)
        tensors = tuple(tensor.permute(order) for tensor in tensors)
    for matrices in as_matrices(*map(_array, tensors)):
        kernel(*matrices, tanh_form)


def _keep_for_gelu(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.approximate = inputs
    ctx.save_for_backward(*tensors)


@_gradient(gelu, _keep_for_gelu)
def _gelu_gradient(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
    (x,) = ctx.saved_tensors
    return gelu_backward(x, dy, ctx.approximate), None


@_gradient(gelu_backward, _keep_for_gelu)
def _gelu_second_gradient(ctx: Any, ddx: Tensor) -> tuple[Tensor, Tensor, None]:
    """By torch's own formula: second derivatives have no kernel here."""
    with torch.enable_grad():
        x, dy = (tensor.detach().requires_grad_() for tensor in ctx.saved_tensors)
        dx = torch.ops.aten.gelu_backward(dy, x, approximate=ctx.approximate)
    return (*torch.autograd.grad(dx, (x, dy), ddx), None)


# --- the MLP


def check_mlp(
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor | None,
    weight2: Tensor,
    bias2: Tensor | None,
    approximate: str,
) -> None:
    for name, weight in (("weight1", weight1), ("weight2", weight2)):
        if weight.ndim != 2:
            raise ValueError(f"mlp: {name} has shape {tuple(weight.shape)}, expected two axes, (out, in)")
    _check_layer("mlp", x, weight1, bias1, "x", "weight1", "bias1")
    if weight2.shape[1] != weight1.shape[0]:
        raise ValueError(
            f"mlp: weight2 has shape {tuple(weight2.shape)}, expected (…, {weight1.shape[0]}) to match weight1's "
            f"{tuple(weight1.shape)}; both are (out, in)"
        )
    if bias2 is not None and (bias2.ndim != 1 or bias2.shape[0] != weight2.shape[0]):
        raise ValueError(
            f"mlp: bias2 has shape {tuple(bias2.shape)}, expected ({weight2.shape[0]},) to match weight2's "
            f"{tuple(weight2.shape)}, (out, in)"
        )
    check_same("mlp", x=x, weight1=weight1, bias1=bias1, weight2=weight2, bias2=bias2)
    check_approximate("mlp", approximate)


_PARAMETERS = "Tensor x, Tensor weight1, Tensor? bias1, Tensor weight2, Tensor? bias2, str approximate"


def _fake_mlp(
    x: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, approximate: str
) -> Tensor:
    check_mlp(x, weight1, bias1, weight2, bias2, approximate)
    return x.new_empty((*x.shape[:-1], weight2.shape[0]))


def _fake_mlp_forward(
    x: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, approximate: str
) -> tuple[Tensor, Tensor, Tensor]:
    y = _fake_mlp(x, weight1, bias1, weight2, bias2, approximate)
    hidden = (*x.shape[:-1], weight1.shape[0])
    return y, x.new_empty(hidden), x.new_empty(hidden)


def _layers(weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None) -> tuple[Array, ...]:
    """w1, b1, w2, b2 as the rungs take them."""
    w1, w2 = _array(weight1.t()), _array(weight2.t())
    return w1, _bias(bias1, w1), w2, _bias(bias2, w2)


def _bias(bias: Tensor | None, w: Array) -> Array:
    return _array(bias) if bias is not None else np.zeros(w.shape[1], w.dtype)


@_operator(f"mlp({_PARAMETERS}) -> Tensor", fake=_fake_mlp)
def mlp(
    x: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, approximate: str
) -> Tensor:
    y = _fake_mlp(x, weight1, bias1, weight2, bias2, approximate)
    unwanted = np.empty((0, weight1.shape[0]), _NUMPY[x.dtype])  # z and h stay in the kernel's scratch memory
    _kernel("mlp_forward")(
        _array(_rows(x)),
        *_layers(weight1, bias1, weight2, bias2),
        unwanted,
        unwanted,
        _array(_rows(y)),
        approximate == "tanh",
    )
    return y


_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


@_operator(f"mlp_forward({_PARAMETERS}) -> (Tensor y, Tensor z, Tensor h)", fake=_fake_mlp_forward)
def mlp_forward(
    x: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, approximate: str
) -> tuple[Tensor, Tensor, Tensor]:
    y, z, h = _fake_mlp_forward(x, weight1, bias1, weight2, bias2, approximate)
    _kernel("mlp_forward")(
        _array(_rows(x)),
        *_layers(weight1, bias1, weight2, bias2),
        _array(_rows(z)),
        _array(_rows(h)),
        _array(_rows(y)),
        approximate == "tanh",
    )
    return y, z, h


def _fake_mlp_backward(
    dy: Tensor,
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor | None,
    weight2: Tensor,
    bias2: Tensor | None,
    z: Tensor,
    h: Tensor,
    approximate: str,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    nothing = (0,)
    hidden, out = weight1.shape[0], weight2.shape[0]
    return (
        x.new_empty(x.shape if wanted[0] else nothing),
        _like(weight1) if wanted[1] else x.new_empty(nothing),
        x.new_empty((hidden,) if wanted[2] else nothing),
        _like(weight2) if wanted[3] else x.new_empty(nothing),
        x.new_empty((out,) if wanted[4] else nothing),
    )


def _like(weight: Tensor) -> Tensor:
    """Memory for a weight's gradient: with contiguous columns where the weight's are, else in C order."""
    out, inner = weight.shape
    if weight.stride(0) == 1 and weight.stride(1) != 1:
        return weight.new_empty((inner, out)).t()
    return weight.new_empty((out, inner))


@_operator(
    "mlp_backward(Tensor dy, Tensor x, Tensor weight1, Tensor? bias1, Tensor weight2, Tensor? bias2, Tensor z, "
    "Tensor h, str approximate, bool[5] wanted) -> (Tensor dx, Tensor dweight1, Tensor dbias1, Tensor dweight2, Tensor dbias2)",
    fake=_fake_mlp_backward,
)
def mlp_backward(
    dy: Tensor,
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor | None,
    weight2: Tensor,
    bias2: Tensor | None,
    z: Tensor,
    h: Tensor,
    approximate: str,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients that are wanted; a tensor without elements in the place of each that is not."""
    gradients = _fake_mlp_backward(dy, x, weight1, bias1, weight2, bias2, z, h, approximate, wanted)
    dx, dweight1, dbias1, dweight2, dbias2 = gradients
    d, hidden, out = weight1.shape[1], weight1.shape[0], weight2.shape[0]
    dtype = _NUMPY[x.dtype]
    _kernel("mlp_backward")(
        *(_array(_rows(tensor)) for tensor in (dy, x)),
        _array(weight1.t()),
        _array(weight2.t()),
        *(_array(_rows(tensor)) for tensor in (z, h)),
        _array(_rows(dx)) if wanted[0] else np.empty((0, d), dtype),
        _array(dweight1.t()) if wanted[1] else np.empty((0, hidden), dtype),
        # db1 is summed up on the way to dz, which dx and dw1 need too
        _array(dbias1) if wanted[2] else np.empty(hidden if wanted[0] or wanted[1] else 0, dtype),
        _array(dweight2.t()) if wanted[3] else np.empty((0, out), dtype),
        _array(dbias2) if wanted[4] else np.empty(out, dtype),
        approximate == "tanh",
    )
    return gradients


def _keep_for_mlp(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, z, h = output
    ctx.mark_non_differentiable(z, h)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:5], z, h)
    ctx.approximate = inputs[5]


@_gradient(mlp_forward, _keep_for_mlp)
def _mlp_gradient(ctx: Any, dy: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if dy is None:
        return (None,) * 6
    x, weight1, bias1, weight2, bias2, z, h = ctx.saved_tensors
    wanted = list(ctx.needs_input_grad[:5])
    gradients = mlp_backward(dy, x, weight1, bias1, weight2, bias2, z, h, ctx.approximate, wanted)
    return (*(gradient if want else None for gradient, want in zip(gradients, wanted, strict=True)), None)


def _keep_inputs_of_mlp(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.approximate = inputs[5]


@_gradient(mlp, _keep_inputs_of_mlp)
def _mlp_gradient_anew(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    """With z and h computed once more: `mlp` keeps its inputs alone."""
    x, weight1, bias1, weight2, bias2 = ctx.saved_tensors
    _, z, h = mlp_forward(x, weight1, bias1, weight2, bias2, ctx.approximate)
    wanted = list(ctx.needs_input_grad[:5])
    gradients = mlp_backward(dy, x, weight1, bias1, weight2, bias2, z, h, ctx.approximate, wanted)
    return (*(gradient if want else None for gradient, want in zip(gradients, wanted, strict=True)), None)


def mlp_in_torch(
    x: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, approximate: str
) -> Tensor:
    """The MLP by torch's own kernels: what `fallback` means, and what second derivatives are taken of."""
    hidden = F.gelu(F.linear(x, weight1, bias1), approximate=approximate)
    return F.linear(hidden, weight2, bias2)


def _keep_for_second(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:6])
    ctx.approximate, ctx.wanted = inputs[8:]
    ctx.set_materialize_grads(False)


@_gradient(mlp_backward, _keep_for_second)
def _mlp_second_gradient(ctx: Any, *seconds: Tensor | None) -> tuple[Tensor | None, ...]:
    """By torch's own formulas, from x and the weights on: z and h are taken for what they are, functions of these."""
    with torch.enable_grad():
        dy, *inputs = (None if t is None else t.detach().requires_grad_() for t in ctx.saved_tensors)
        y = mlp_in_torch(*inputs, approximate=ctx.approximate)
        present = [tensor for tensor in inputs if tensor is not None]
        firsts = dict(zip(map(id, present), torch.autograd.grad(y, present, dy, create_graph=True), strict=True))
        gradients = [None if tensor is None else firsts[id(tensor)] for tensor in inputs]
    pairs = [
        (gradient, second)
        for gradient, second, want in zip(gradients, seconds, ctx.wanted, strict=True)
        if want and gradient is not None and second is not None
    ]
    asked = [dy, *present]
    if not pairs:
        return (None,) * 10
    found = torch.autograd.grad([g for g, _ in pairs], asked, [s for _, s in pairs], allow_unused=True)
    by_input = dict(zip(map(id, asked), found, strict=True))
    return (*(None if tensor is None else by_input[id(tensor)] for tensor in (dy, *inputs)), None, None, None, None)
