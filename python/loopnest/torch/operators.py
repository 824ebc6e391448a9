"""matmul, linear and GELU as operators of torch, for its dispatcher, autograd and compiler.

    torch.ops.loopnest.matmul         (a, b) -> c
    torch.ops.loopnest.linear         (x, weight, bias) -> y
    torch.ops.loopnest.gelu           (x, approximate) -> y
    torch.ops.loopnest.gelu_backward  (x, dy, approximate) -> dx

A weight is (out, in), as torch stores it. The rungs take (in, out): a view with exchanged strides. An x whose leading
axes cannot be joined has no view as a matrix and is copied, as in torch's own products.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from ..arrays import as_matrices
from ..backends.torch import Tensor
from ..operations import OPERATIONS
from .checks import check_elementwise, check_linear, check_matmul
from .library import differentiate, kernel_of, operator, rows, without_graph

# --- matmul


def _product(a: Tensor, b: Tensor) -> Tensor:
    check_matmul(a, b)
    if b.ndim == 2:
        return a.new_empty((*a.shape[:-1], b.shape[-1]))
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return a.new_empty((*batch, a.shape[-2], b.shape[-1]))


def _product_flops(a: Sequence[int], b: Sequence[int]) -> int:
    batch = torch.broadcast_shapes(a[:-2], b[:-2])
    return 2 * math.prod((*batch, a[-2], a[-1], b[-1]))


@operator("matmul(Tensor a, Tensor b) -> Tensor", fake=_product, flops=_product_flops)
def matmul(a: Tensor, b: Tensor) -> Tensor:
    c = _product(a, b)
    if b.ndim == 2:  # one product for any number of leading axes of a
        kernel_of("matmul")(rows(a), b, rows(c))
    else:
        arrays = (tensor.detach().numpy() for tensor in (a, b))
        OPERATIONS["matmul"].contract.run(kernel_of("matmul"), *arrays, out=c.numpy())
    return c


class _Matmul(torch.autograd.Function):
    """da = dc bᵀ and db = aᵀ dc, summed over the axes along which a or b was broadcast."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return without_graph(matmul, a, b)

    @staticmethod
    def backward(ctx: Any, dc: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        da = db = None
        if ctx.needs_input_grad[0]:
            da = matmul(dc, b.mT).sum_to_size(a.shape)
        if ctx.needs_input_grad[1]:
            db = matmul(rows(a).mT, rows(dc)) if b.ndim == 2 else matmul(a.mT, dc).sum_to_size(b.shape)
        return da, db


differentiate(matmul, _Matmul)

# --- linear


def _layer(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    check_linear(x, weight, bias)
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


def _layer_flops(x: Sequence[int], weight: Sequence[int], bias: Any) -> int:
    return 2 * math.prod(x) * weight[0]


@operator("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor", fake=_layer, flops=_layer_flops)
def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = _layer(x, weight, bias)
    if bias is None:
        kernel_of("matmul")(rows(x), weight.t(), rows(y))
    else:
        kernel_of("linear")(rows(x), weight.t(), bias, rows(y))
    return y


class _Linear(torch.autograd.Function):
    """dx = dy weight, dweight = dyᵀ x, and dbias the sum of dy's rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return without_graph(linear, x, weight, bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wants_dx, wants_dweight, wants_dbias = ctx.needs_input_grad
        return (
            linear(dy, weight.t(), None) if wants_dx else None,
            matmul(rows(dy).mT, rows(x)) if wants_dweight else None,
            rows(dy).sum(0) if wants_dbias else None,
        )


differentiate(linear, _Linear)

# --- gelu


def _gelu(x: Tensor, approximate: str) -> Tensor:
    check_elementwise("gelu", approximate, x=x)
    return torch.empty_like(x)


@operator("gelu(Tensor x, str approximate) -> Tensor", fake=_gelu)
def gelu(x: Tensor, approximate: str) -> Tensor:
    y = _gelu(x, approximate)
    _run_elementwise("gelu", (x, y), approximate)
    return y


def _gelu_backward(x: Tensor, dy: Tensor, approximate: str) -> Tensor:
    check_elementwise("gelu_backward", approximate, x=x, dy=dy)
    return torch.empty_like(x)


@operator("gelu_backward(Tensor x, Tensor dy, str approximate) -> Tensor", fake=_gelu_backward)
def gelu_backward(x: Tensor, dy: Tensor, approximate: str) -> Tensor:
    dx = _gelu_backward(x, dy, approximate)
    _run_elementwise("gelu_backward", (x, dy, dx), approximate)
    return dx


def _run_elementwise(operation: str, tensors: tuple[Tensor, ...], approximate: str) -> None:
    """Call the kernel on matrices that cover the elements, in the memory order of the result, the last tensor."""
    kernel, tanh_form = kernel_of(operation), approximate == "tanh"
    if all(tensor.is_contiguous() for tensor in tensors):
        kernel(*(tensor.reshape(1, -1) for tensor in tensors), tanh_form)
        return
    result = tensors[-1]
    order = sorted(range(result.ndim), key=result.stride, reverse=True)
    for matrices in as_matrices(*(tensor.detach().permute(order).numpy() for tensor in tensors)):
        kernel(*matrices, tanh_form)


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, approximate: str) -> Tensor:
        ctx.save_for_backward(x)
        ctx.approximate = approximate
        return without_graph(gelu, x, approximate)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: by formulas with gradients of their own
            return torch.ops.aten.gelu_backward(dy, x, approximate=ctx.approximate), None
        return gelu_backward(x, dy, ctx.approximate), None


differentiate(gelu, _Gelu)
differentiate(gelu_backward)
