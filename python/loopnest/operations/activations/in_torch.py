"""The activations in PyTorch: one call if torch's meets the contract, else a chain of in-place calls.

Each call of a chain is one pass over the array. In place, the passes after the first find a small array in the cache. A
new array for every intermediate result would also cost page faults.
"""

from typing import TYPE_CHECKING

from ...backends import TORCH
from ...backends.torch import Tensor

if TYPE_CHECKING:  # the backend imports it at a kernel's first call
    import torch


def relu_eager(x: Tensor, y: Tensor) -> None:
    """One call of torch.clamp with a lower bound of 0; NaN passes. Bound by memory."""
    torch.clamp(x, min=0, out=y)


def relu_backward_eager(x: Tensor, dy: Tensor, dx: Tensor) -> None:
    """The kernel behind autograd's relu: one pass, dy chosen by a mask without a branch. Bound by memory."""
    torch.ops.aten.threshold_backward.grad_input(dy, x, 0, grad_input=dx)


def sigmoid_eager(x: Tensor, y: Tensor) -> None:
    """σ(x) = e^min(x, 0) / (1 + e^-|x|), in seven passes: neither exponential can overflow.

    torch.sigmoid is one pass but takes 1 / (1 + e^-x): below -88.7 its float32 exponential is infinite and the result
    0, although σ(x) is still a subnormal number. Here numerator and denominator are at most 1 and 2, and the tail keeps
    its digits. The price is the passes: beyond the caches each carries the array from memory and back.
    """
    below = torch.abs(x).neg_().exp_().add_(1)
    torch.clamp(x, max=0, out=y).exp_().div_(below)


def sigmoid_backward_eager(x: Tensor, dy: Tensor, dx: Tensor) -> None:
    """dy · t / (1 + t)², t = e^-|x|: no branch, and no 1 - σ that cancels. Seven passes."""
    t = torch.abs(x, out=dx).neg_().exp_()
    below = t + 1
    t.div_(below).div_(below).mul_(dy)


def tanh_eager(x: Tensor, y: Tensor) -> None:
    """One call of torch.tanh: a vectorized polynomial, within 1 ULP. Bound by arithmetic in the caches."""
    torch.tanh(x, out=y)


def tanh_backward_eager(x: Tensor, dy: Tensor, dx: Tensor) -> None:
    """dy · (1 - tanh² x), written as dy · 4t / (1 + t)² with t = e^-2|x|: nothing cancels.

    autograd keeps y = tanh x from the forward pass and computes 1 - y·y. That is cheaper, but near |x| = 9 in float32 y
    rounds to 1 and the gradient to 0. Eight passes here, one there.
    """
    t = torch.abs(x, out=dx).mul_(-2).exp_()
    below = t + 1
    t.div_(below).div_(below).mul_(4).mul_(dy)


def softmax_eager(x: Tensor, y: Tensor) -> None:
    """One call of torch.softmax: three passes over each row while it is in the cache. Threads share the rows."""
    torch.softmax(x, dim=1, out=y)


RUNGS = TORCH.rungs(
    "eager",
    relu=relu_eager, relu_backward=relu_backward_eager, sigmoid=sigmoid_eager, sigmoid_backward=sigmoid_backward_eager,
    tanh=tanh_eager, tanh_backward=tanh_backward_eager, softmax=softmax_eager,
)  # fmt: skip
