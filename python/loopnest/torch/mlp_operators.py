"""The MLP as operators of torch.

    torch.ops.loopnest.mlp           (x, weight1, bias1, weight2, bias2, approximate) -> y
    torch.ops.loopnest.mlp_forward   (the same) -> y, z, h
    torch.ops.loopnest.mlp_backward  (dy, x, weight1, weight2, z, h, approximate, wanted) -> the five gradients

`mlp` saves nothing for a backward pass: the hidden layer stays in the kernel's scratch memory. Weights are (out, in),
in any layout, and their gradients have the same layout. `wanted` says for each input whether its gradient is computed.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ..backends.torch import Tensor
from .checks import check_mlp
from .library import differentiate, kernel_of, operator, rows, without_graph

_PARAMETERS = "Tensor x, Tensor weight1, Tensor? bias1, Tensor weight2, Tensor? bias2, str approximate"


def mlp_in_torch(
    x: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, approximate: str
) -> Tensor:
    """The MLP by torch's own kernels, for `fallback`."""
    hidden = F.gelu(F.linear(x, weight1, bias1), approximate=approximate)
    return F.linear(hidden, weight2, bias2)


# --- forward


def _output(
    x: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, approximate: str
) -> Tensor:
    check_mlp(x, weight1, bias1, weight2, bias2, approximate)
    return x.new_empty((*x.shape[:-1], weight2.shape[0]))


def _outputs(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    y = _output(*inputs)
    x, weight1 = inputs[:2]
    hidden = (*x.shape[:-1], weight1.shape[0])
    return y, x.new_empty(hidden), x.new_empty(hidden)


def _flops(x: Sequence[int], weight1: Sequence[int], bias1: Any, weight2: Sequence[int], *_: Any) -> int:
    return 2 * math.prod(x[:-1]) * (math.prod(weight1) + math.prod(weight2))


@operator(f"mlp({_PARAMETERS}) -> Tensor", fake=_output, flops=_flops)
def mlp(*inputs: Any) -> Tensor:
    y = _output(*inputs)
    nothing = y.new_empty((0, 0))  # in place of z and h, which are not wanted
    _run_forward(inputs, nothing, nothing, y)
    return y


@operator(f"mlp_forward({_PARAMETERS}) -> (Tensor y, Tensor z, Tensor h)", fake=_outputs, flops=_flops)
def mlp_forward(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    y, z, h = _outputs(*inputs)
    _run_forward(inputs, rows(z), rows(h), y)
    return y, z, h


def _run_forward(inputs: tuple[Any, ...], z: Tensor, h: Tensor, y: Tensor) -> None:
    x, weight1, bias1, weight2, bias2, approximate = inputs
    bias1 = weight1.new_zeros(weight1.shape[0]) if bias1 is None else bias1
    bias2 = weight2.new_zeros(weight2.shape[0]) if bias2 is None else bias2
    layers = weight1.t(), bias1, weight2.t(), bias2
    kernel_of("mlp_forward")(rows(x), *layers, z, h, rows(y), approximate == "tanh")


# --- backward


def _gradients(
    dy: Tensor, x: Tensor, weight1: Tensor, weight2: Tensor, z: Tensor, h: Tensor, approximate: str, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Memory for the gradients. Unwanted ones of matrices have no elements, so the kernel does not compute them."""
    hidden, out = weight1.shape[0], weight2.shape[0]
    return (
        x.new_empty(x.shape if wanted[0] else (0, x.shape[-1])),
        _memory_like(weight1) if wanted[1] else weight1.new_empty((hidden, 0)),
        x.new_empty(hidden if any(wanted[:3]) else 0),  # the kernel sums it on its way to dx and dweight1
        _memory_like(weight2) if wanted[3] else weight2.new_empty((out, 0)),
        x.new_empty(out),
    )


def _memory_like(weight: Tensor) -> Tensor:
    """Memory for a weight's gradient: with contiguous columns if the weight's are, else in C order."""
    out, inner = weight.shape
    columns = weight.stride(0) == 1 and weight.stride(1) != 1
    return weight.new_empty((inner, out)).t() if columns else weight.new_empty((out, inner))


def _backward_flops(
    dy: Any,
    x: Sequence[int],
    weight1: Sequence[int],
    weight2: Sequence[int],
    z: Any,
    h: Any,
    approximate: str,
    wanted: list[bool],
) -> int:
    through_first, through_second = wanted[0] + wanted[1], any(wanted[:3]) + wanted[3]
    return 2 * math.prod(x[:-1]) * (through_first * math.prod(weight1) + through_second * math.prod(weight2))


@operator(
    "mlp_backward(Tensor dy, Tensor x, Tensor weight1, Tensor weight2, Tensor z, Tensor h, str approximate, "
    "bool[5] wanted) -> (Tensor dx, Tensor dweight1, Tensor dbias1, Tensor dweight2, Tensor dbias2)",
    fake=_gradients,
    flops=_backward_flops,
)
def mlp_backward(*inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    dx, dweight1, dbias1, dweight2, dbias2 = gradients = _gradients(*inputs)
    dy, x, weight1, weight2, z, h, approximate, _ = inputs
    layers, saved = (weight1.t(), weight2.t()), (rows(z), rows(h))
    results = rows(dx), dweight1.t(), dbias1, dweight2.t(), dbias2
    kernel_of("mlp_backward")(rows(dy), rows(x), *layers, *saved, *results, approximate == "tanh")
    return gradients


def _gradients_in_torch(
    dy: Tensor,
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor | None,
    weight2: Tensor,
    approximate: str,
    wanted: list[bool],
) -> tuple[Tensor | None, ...]:
    """The wanted gradients by torch's own kernels, which have derivatives too; z and h are functions of x here."""
    z = F.linear(x, weight1, bias1)
    h = F.gelu(z, approximate=approximate)
    dz = torch.ops.aten.gelu_backward(dy @ weight2, z, approximate=approximate)
    dz_rows, dy_rows = rows(dz), rows(dy)
    return (
        dz @ weight1 if wanted[0] else None,
        dz_rows.mT @ rows(x) if wanted[1] else None,
        dz_rows.sum(0) if wanted[2] else None,
        dy_rows.mT @ rows(h) if wanted[3] else None,
        dy_rows.sum(0) if wanted[4] else None,
    )


class _MlpForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        *tensors, ctx.approximate = inputs
        y, z, h = without_graph(mlp_forward, *inputs)
        ctx.save_for_backward(*tensors[:4], z, h)
        ctx.mark_non_differentiable(z, h)
        ctx.set_materialize_grads(False)
        return y, z, h

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, *_: Any) -> tuple[Any, ...]:
        if dy is None:
            return (None,) * 6
        x, weight1, bias1, weight2, z, h = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:5])
        if torch.is_grad_enabled():  # create_graph=True
            return *_gradients_in_torch(dy, x, weight1, bias1, weight2, ctx.approximate, wanted), None
        gradients = mlp_backward(dy, x, weight1, weight2, z, h, ctx.approximate, wanted)
        return (*(gradient if want else None for gradient, want in zip(gradients, wanted, strict=True)), None)


differentiate(mlp_backward)
differentiate(mlp_forward, _MlpForward)
differentiate(mlp, lambda *inputs: mlp_forward(*inputs)[0])
