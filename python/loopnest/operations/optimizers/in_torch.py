"""The optimizers in PyTorch: the in-place calls of torch.optim's single-tensor steps.

Each call is one pass over the parameter's size, so a step's time is its number of passes. addcmul and addcdiv save
some of them: a + value·b·c and a + value·b/c in one pass.
"""

from ...backends import TORCH
from ...backends.torch import Tensor


def sgd_eager(param: Tensor, grad: Tensor, lr: float) -> None:
    """One pass: param -= lr · grad, with the factor inside the subtraction. Bound by memory."""
    param.sub_(grad, alpha=lr)


def momentum_eager(param: Tensor, grad: Tensor, velocity: Tensor, lr: float, mu: float) -> None:
    """Three passes, with eight loads and stores an element; one fused pass would need five."""
    velocity.mul_(mu).add_(grad)
    param.sub_(velocity, alpha=lr)


def rmsprop_eager(param: Tensor, grad: Tensor, square_average: Tensor, lr: float, rho: float, eps: float) -> None:
    """Five passes, with one scratch array for √s + ε: thirteen loads and stores; a fused pass needs five."""
    square_average.mul_(rho).addcmul_(grad, grad, value=1 - rho)
    param.addcdiv_(grad, square_average.sqrt().add_(eps), value=-lr)


def adam_eager(
    param: Tensor, grad: Tensor, m: Tensor, v: Tensor,
    lr: float, beta1: float, beta2: float, eps: float, correction1: float, correction2: float, eps_inside: bool,
) -> None:  # fmt: skip
    """Eight passes, with one scratch array for the denominator.

    Twenty loads and stores an element, where a fused step, such as torch.optim.Adam(fused=True) or a loop in C++,
    needs seven. That is why the optimizer of a large model is worth fusing though it has next to no arithmetic.
    """
    m.mul_(beta1).add_(grad, alpha=1 - beta1)
    v.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    root = v / correction2
    if eps_inside:
        root.add_(eps).sqrt_()
    else:
        root.sqrt_().add_(eps)
    param.addcdiv_(m, root, value=-lr / correction1)


RUNGS = TORCH.rungs("eager", sgd=sgd_eager, momentum=momentum_eager, rmsprop=rmsprop_eager, adam=adam_eager)
