"""The operators as functions, with torch's conventions: weights are (out, in), and GELU's default form is exact."""

from typing import Any

import torch
import torch.nn.functional as F

from ..backends.torch import Tensor
from . import mlp_operators, operators
from .checks import has_own_meaning, runs_here
from .mlp_operators import mlp_in_torch


def matmul(a: Tensor, b: Tensor, *, fallback: bool = False) -> Tensor:
    """The matrix product, as torch.matmul: (…, m, k), (…, k, n) -> (…, m, n); vectors too.

    a, b      float32 or float64 tensors on the CPU, of one dtype, any strides; leading axes broadcast
    fallback  whether torch's own kernel takes other dtypes and devices, instead of an error

    The error is within ln.matmul's bound, |c - exact| <= γ_k |a||b|. Raises ValueError or TypeError.

    >>> import torch, loopnest.torch
    >>> loopnest.torch.matmul(torch.ones(5, 2, 3), torch.ones(3, 4)).shape
    torch.Size([5, 2, 4])
    """
    if _left_to_torch("matmul", fallback, a=a, b=b):
        return torch.matmul(a, b)
    for name, tensor in (("a", a), ("b", b)):
        if tensor.ndim == 0:
            raise ValueError(f"matmul: {name} has no axes, expected one or more; * multiplies by a number")
    product = operators.matmul(a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b)
    product = product.squeeze(-2) if a.ndim == 1 else product
    return product.squeeze(-1) if b.ndim == 1 else product


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, fallback: bool = False) -> Tensor:
    """A layer, as torch.nn.functional.linear: x @ weightᵀ + bias, with the bias added inside the product's last pass.

    x         (…, in), any strides and any leading axes
    weight    (out, in), any strides; pass a weight stored (in, out) as weight.t(), which copies nothing
    bias      (out,) or None
    fallback  whether torch's own kernel takes other dtypes and devices, instead of an error

    Returns (…, out). float32 or float64, of one dtype. Raises ValueError or TypeError, naming the argument.

    >>> import torch, loopnest.torch
    >>> loopnest.torch.linear(torch.ones(2, 3), torch.ones(4, 3), torch.zeros(4))[0]
    tensor([3., 3., 3., 3.])
    """
    if _left_to_torch("linear", fallback, x=x, weight=weight, bias=bias):
        return F.linear(x, weight, bias)
    return operators.linear(x, weight, bias)


def gelu(x: Tensor, approximate: str = "none", *, fallback: bool = False) -> Tensor:
    """GELU, as torch.nn.functional.gelu: x Φ(x), or its tanh form (Hendrycks and Gimpel 2016).

    x            any shape and strides; the result has its shape, and its order of axes in memory
    approximate  "none" or "tanh"
    fallback     whether torch's own kernel takes other dtypes and devices, instead of an error

    float32 or float64. The error is within ln.gelu's bound, about 2 ULP. Raises ValueError or TypeError.

    >>> import torch, loopnest.torch
    >>> loopnest.torch.gelu(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8413])
    """
    if _left_to_torch("gelu", fallback, x=x):
        return F.gelu(x, approximate=approximate)
    return operators.gelu(x, approximate)


def mlp(
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor | None,
    weight2: Tensor,
    bias2: Tensor | None,
    approximate: str = "none",
    *,
    fallback: bool = False,
) -> Tensor:
    """The transformer's MLP: gelu(x @ weight1ᵀ + bias1) @ weight2ᵀ + bias2, with biases and GELU fused.

    x               (…, d), any strides and any leading axes, as (batch, time, features)
    weight1, bias1  (h, d) and (h,), any strides; the bias may be None
    weight2, bias2  (e, h) and (e,), any strides; the bias may be None
    approximate     "none" or "tanh", as torch.nn.functional.gelu
    fallback        whether torch's own kernels take other dtypes and devices, instead of an error

    Returns (…, e). float32 or float64, of one dtype, on the CPU. If an input requires a gradient, z and h, each (…, h),
    are saved for the backward pass, as in torch; else the hidden layer stays in scratch memory. Only required gradients
    are computed. With create_graph=True torch's own formulas compute them, so that they have derivatives too.
    Raises ValueError or TypeError, naming the argument. The formulas are in ln.mlp_backward's docstring.

    >>> import torch, loopnest.torch
    >>> x, weight1, weight2 = torch.ones(2, 5, 3), torch.ones(8, 3), torch.ones(3, 8)
    >>> loopnest.torch.mlp(x, weight1, None, weight2, None).shape
    torch.Size([2, 5, 3])
    """
    tensors = x, weight1, bias1, weight2, bias2
    if _left_to_torch("mlp", fallback, x=x, weight1=weight1, bias1=bias1, weight2=weight2, bias2=bias2):
        return mlp_in_torch(*tensors, approximate)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        y: Tensor = mlp_operators.mlp_forward(*tensors, approximate)[0]
        return y
    return mlp_operators.mlp(*tensors, approximate)


def _left_to_torch(operator: str, fallback: bool, **values: Any) -> bool:
    """Check that the values are tensors, and decide whether torch's own function takes them."""
    for name, value in values.items():
        if value is None and name.startswith("bias"):
            continue
        if not isinstance(value, torch.Tensor):
            raise TypeError(
                f"{operator}: {name} is a {type(value).__name__}, expected a torch.Tensor; torch.from_numpy({name}) "
                f"makes one of a NumPy array, without a copy"
            )
        if value.is_nested and not fallback:
            raise ValueError(
                f"{operator}: {name} is a nested tensor, expected one of a single shape; pass "
                f"{name}.to_padded_tensor(0), or pass fallback=True for torch's own kernel"
            )
    return has_own_meaning(*values.values()) or (fallback and not runs_here(*values.values()))
