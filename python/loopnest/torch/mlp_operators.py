"""The MLP as operators of torch.

    torch.ops.loopnest.mlp           (x, weight1, bias1, weight2, bias2, approximate) -> y
    torch.ops.loopnest.mlp_forward   (the same) -> y, z, h
    torch.ops.loopnest.mlp_backward  (dy, the same, z, h, wanted) -> dx, dweight1, dbias1, dweight2, dbias2

`mlp` keeps nothing for a backward pass: the hidden layer stays in the kernel's scratch memory. Weights are (out, in),
in any layout, and their gradients come in the layout of each. What backward need not compute has no elements.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from ..backends.torch import Tensor
from .checks import FLOATS, check_mlp
from .library import below_autograd, differentiate, kernel_of, operator, rows

_PARAMETERS = "Tensor x, Tensor weight1, Tensor? bias1, Tensor weight2, Tensor? bias2, str approximate"
_GRADIENTS = "Tensor dx, Tensor dweight1, Tensor dbias1, Tensor dweight2, Tensor dbias2"


def mlp_in_torch(
    x: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, approximate: str
) -> Tensor:
    """The MLP by torch's own kernels: what `fallback` means, and what second derivatives are taken of."""
    hidden = F.gelu(F.linear(x, weight1, bias1), approximate=approximate)
    return F.linear(hidden, weight2, bias2)


# --- forward


def _output(
    x: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, approximate: str
) -> Tensor:
    check_mlp(x, weight1, bias1, weight2, bias2, approximate)
    return x.new_empty((*x.shape[:-1], weight2.shape[0]))


@operator(f"mlp({_PARAMETERS}) -> Tensor", fake=_output)
def mlp(
    x: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, approximate: str
) -> Tensor:
    y = _output(x, weight1, bias1, weight2, bias2, approximate)
    unwanted = _NOTHING[x.dtype]
    _run_forward(x, weight1, bias1, weight2, bias2, unwanted, unwanted, y, approximate)
    return y


_NOTHING = {dtype: torch.empty((0, 0), dtype=dtype) for dtype in FLOATS}


def _outputs(
    x: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, approximate: str
) -> tuple[Tensor, Tensor, Tensor]:
    y = _output(x, weight1, bias1, weight2, bias2, approximate)
    hidden = (*x.shape[:-1], weight1.shape[0])
    return y, x.new_empty(hidden), x.new_empty(hidden)


@operator(f"mlp_forward({_PARAMETERS}) -> (Tensor y, Tensor z, Tensor h)", fake=_outputs)
def mlp_forward(
    x: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, approximate: str
) -> tuple[Tensor, Tensor, Tensor]:
    y, z, h = _outputs(x, weight1, bias1, weight2, bias2, approximate)
    _run_forward(x, weight1, bias1, weight2, bias2, rows(z), rows(h), y, approximate)
    return y, z, h


def _run_forward(
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor | None,
    weight2: Tensor,
    bias2: Tensor | None,
    z: Tensor,
    h: Tensor,
    y: Tensor,
    approximate: str,
) -> None:
    bias1 = weight1.new_zeros(weight1.shape[0]) if bias1 is None else bias1
    bias2 = weight2.new_zeros(weight2.shape[0]) if bias2 is None else bias2
    layers = weight1.t(), bias1, weight2.t(), bias2
    kernel_of("mlp_forward")(rows(x), *layers, z, h, rows(y), approximate == "tanh")


# --- backward


def _gradients(
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
    """Memory for the gradients that are wanted, and tensors without elements in the places of the others."""
    return (
        x.new_empty(x.shape if wanted[0] else 0),
        _memory_like(weight1) if wanted[1] else x.new_empty(0),
        x.new_empty(weight1.shape[0] if wanted[2] else 0),
        _memory_like(weight2) if wanted[3] else x.new_empty(0),
        x.new_empty(weight2.shape[0] if wanted[4] else 0),
    )


def _memory_like(weight: Tensor) -> Tensor:
    """Memory for a weight's gradient: with contiguous columns where the weight's are, else in C order."""
    out, inner = weight.shape
    columns = weight.stride(0) == 1 and weight.stride(1) != 1
    return weight.new_empty((inner, out)).t() if columns else weight.new_empty((out, inner))


@operator(
    f"mlp_backward(Tensor dy, {_PARAMETERS.removesuffix(', str approximate')}, Tensor z, Tensor h, str approximate, "
    f"bool[5] wanted) -> ({_GRADIENTS})",
    fake=_gradients,
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
    results = _gradients(dy, x, weight1, bias1, weight2, bias2, z, h, approximate, wanted)
    dx, dweight1, dbias1, dweight2, dbias2 = results
    hidden, d = weight1.shape
    out = weight2.shape[0]
    if not wanted[2] and (wanted[0] or wanted[1]):  # it is summed up on the way to what is wanted
        dbias1 = x.new_empty(hidden)
    kernel_of("mlp_backward")(
        rows(dy),
        rows(x),
        weight1.t(),
        weight2.t(),
        rows(z),
        rows(h),
        rows(dx) if wanted[0] else x.new_empty((0, d)),
        dweight1.t() if wanted[1] else x.new_empty((0, hidden)),
        dbias1,
        dweight2.t() if wanted[3] else x.new_empty((0, out)),
        dbias2 if wanted[4] else x.new_empty(out),
        approximate == "tanh",
    )
    return results


# --- gradients


def _backward(ctx: Any, dy: Tensor, tensors: tuple[Tensor | None, ...], z: Tensor, h: Tensor) -> tuple[Any, ...]:
    """What an autograd.Function's backward returns, for x, the layers, and `approximate`."""
    wanted = list(ctx.needs_input_grad[:5])
    gradients = mlp_backward(dy, *tensors, z, h, ctx.approximate, wanted)
    return (*(gradient if want else None for gradient, want in zip(gradients, wanted, strict=True)), None)


class _Mlp(torch.autograd.Function):
    """z and h are computed once more: `mlp` keeps its inputs alone."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, ctx.approximate = inputs
        ctx.save_for_backward(*tensors)
        with below_autograd():
            return mlp(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        tensors = ctx.saved_tensors
        _, z, h = mlp_forward(*tensors, ctx.approximate)
        return _backward(ctx, dy, tensors, z, h)


differentiate(mlp, _Mlp)


class _MlpForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        *tensors, ctx.approximate = inputs
        with below_autograd():
            y, z, h = mlp_forward(*inputs)
        ctx.save_for_backward(*tensors, z, h)
        ctx.mark_non_differentiable(z, h)
        ctx.set_materialize_grads(False)
        return y, z, h

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, *_: Any) -> tuple[Any, ...]:
        if dy is None:
            return (None,) * 6
        *tensors, z, h = ctx.saved_tensors
        return _backward(ctx, dy, tuple(tensors), z, h)


differentiate(mlp_forward, _MlpForward)


class _MlpBackward(torch.autograd.Function):
    """Second derivatives by torch's own formulas, from x and the layers on: z and h are functions of these."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        *tensors, _, _, ctx.approximate, ctx.wanted = inputs
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        with below_autograd():
            gradients: tuple[Tensor, ...] = mlp_backward(*inputs)
        return gradients

    @staticmethod
    def backward(ctx: Any, *seconds: Tensor | None) -> tuple[Any, ...]:
        with torch.enable_grad():
            dy, *tensors = (None if t is None else t.detach().requires_grad_() for t in ctx.saved_tensors)
            x, weight1, bias1, weight2, bias2 = tensors
            y = mlp_in_torch(x, weight1, bias1, weight2, bias2, ctx.approximate)
            present = [tensor for tensor in tensors if tensor is not None]
            firsts = iter(torch.autograd.grad(y, present, dy, create_graph=True))
        by_place = [None if tensor is None else next(firsts) for tensor in tensors]
        asked = [
            (first, second)
            for first, second, want in zip(by_place, seconds, ctx.wanted, strict=True)
            if want and first is not None and second is not None
        ]
        given = [dy, *present]
        if not asked:
            return (None,) * 10
        outputs, weights = zip(*asked, strict=True)
        found = iter(torch.autograd.grad(outputs, given, weights, allow_unused=True))
        return (*(None if tensor is None else next(found) for tensor in (dy, *tensors)), None, None, None, None)


differentiate(mlp_backward, _MlpBackward)
