"""The losses in PyTorch."""

from typing import TYPE_CHECKING

from ...backends import TORCH
from ...backends.torch import Tensor

if TYPE_CHECKING:  # the backend imports it at a kernel's first call
    import torch


def mse_eager(y: Tensor, t: Tensor, loss: Tensor) -> None:
    """One call of torch's mse_loss: the squares go through scratch memory, twice a fused pass's traffic."""
    loss.copy_(torch.nn.functional.mse_loss(y, t))


def mse_backward_eager(y: Tensor, t: Tensor, dy: Tensor, count: int) -> None:
    """Two passes: y - t into `dy`, which is then scaled by 2 / count in place. Bound by memory."""
    torch.sub(y, t, out=dy).mul_(2 / count)


def cross_entropy_eager(logits: Tensor, labels: Tensor, loss: Tensor) -> None:
    """One call of torch's cross_entropy: log_softmax into scratch, then n values picked from it.

    log_softmax subtracts each row's maximum, then the logarithm of the sum of exponentials, so nothing overflows. It
    writes all n·c values though n are used: for a vocabulary of 50,000 that scratch is most of the memory traffic.
    """
    loss.copy_(torch.nn.functional.cross_entropy(logits, labels))


def cross_entropy_backward_eager(logits: Tensor, labels: Tensor, dlogits: Tensor) -> None:
    """softmax into `dlogits`, 1 taken from each label's element, a pass that divides by n. Bound by memory."""
    torch.softmax(logits, dim=1, out=dlogits)
    dlogits.scatter_add_(1, labels[:, None], torch.full_like(dlogits[:, :1], -1))
    dlogits.div_(len(dlogits))


RUNGS = TORCH.rungs(
    "eager",
    mse=mse_eager, mse_backward=mse_backward_eager, cross_entropy=cross_entropy_eager,
    cross_entropy_backward=cross_entropy_backward_eager,
)  # fmt: skip
