"""GELU in PyTorch: a chain of calls, and the same chain compiled into one loop.

torch.nn.functional.gelu is one fused call, but not a rung: it computes x · (1 + erf(x/√2)) / 2 and
x · (1 + tanh(w/2)) / 2 as written. For x below 0 the sum cancels: the result leaves the contract's bound below -2, is
wrong by 30 % at -5, and gelu(-10) is -0. `loopnest bench gelu` shows its time next to the rungs', with that note. The
formulas here are the same functions without the sum:

    exact form   x · Φ(x)      Φ(x) = erfc(-x/√2) / 2
    tanh form    x · σ(w)      w = 2√(2/π)(x + 0.044715 x³),   σ(w) = e^min(w, 0) / (1 + e^-|w|)
"""

from ...backends import TORCH
from ...backends.torch import COMPILED, Tensor, in_c_order, run_compiled
from .constants import CUBIC, DENSITY_AT_0, LINEAR, ROOT_HALF


def tanh_form_forward(x: Tensor, y: Tensor) -> None:
    """x · σ(w), each step in the memory of `y` or of `below`."""
    import torch

    w = torch.mul(x, x, out=y).mul_(LINEAR * CUBIC).add_(LINEAR).mul_(x)
    below = torch.abs(w).neg_().exp_().add_(1)
    w.clamp_(max=0).exp_().div_(below).mul_(x)


def exact_form_forward(x: Tensor, y: Tensor) -> None:
    """x · erfc(-x/√2) / 2."""
    import torch

    torch.mul(x, -ROOT_HALF, out=y)
    torch.special.erfc(y, out=y).mul_(0.5).mul_(x)


def tanh_form_backward(x: Tensor, dy: Tensor, dx: Tensor) -> None:
    """dy · (σ(w) + x σ(w) σ(-w) w'), where σ(w) = e^min(w, 0) / (1 + t), σ(w) σ(-w) = t / (1 + t)², t = e^-|w|."""
    import torch

    square = x * x
    w = torch.mul(square, LINEAR * CUBIC, out=dx).add_(LINEAR).mul_(x)
    t = torch.abs(w).neg_().exp_()
    below = t + 1
    dw = square.mul_(3 * LINEAR * CUBIC).add_(LINEAR).clamp_(max=1000)  # w', finite where x² is not: t is 0 there
    second = dw.mul_(t).mul_(x).div_(below)
    w.clamp_(max=0).exp_().add_(second).div_(below).mul_(dy)


def exact_form_backward(x: Tensor, dy: Tensor, dx: Tensor) -> None:
    """dy · (Φ(x) + x φ(x)), φ(x) = e^(-x²/2) / √(2π)."""
    import torch

    x_phi = (x * x).mul_(-0.5).exp_().mul_(DENSITY_AT_0).mul_(x)
    torch.mul(x, -ROOT_HALF, out=dx)
    torch.special.erfc(dx, out=dx).mul_(0.5).add_(x_phi).mul_(dy)


FORWARD = {True: tanh_form_forward, False: exact_form_forward}
BACKWARD = {True: tanh_form_backward, False: exact_form_backward}


def composed(x: Tensor, y: Tensor, tanh_form: bool) -> None:
    """A chain of torch calls, each a vectorized pass over the whole array.

    The tanh form is twelve passes, the exact form four. Each pass is well written (vector instructions, threads) and
    knows nothing of the next: every intermediate result goes to memory and comes back. A million float32 elements take
    3.0 ms on one core (tanh form, AMD Zen 4), eight million sixteen times as long: no cache holds them between passes.
    """
    FORWARD[tanh_form](x, y)


def compiled(x: Tensor, y: Tensor, tanh_form: bool) -> None:
    """torch.compile turns the chain into one C++ loop: x is read once, and `y` written once.

    On the first use torch records the calls, writes a loop that does them all in registers, and calls the C++ compiler:
    some ten seconds. A million float32 elements then take 1.2 ms in the tanh form instead of 3.0 (one core, AMD Zen 4),
    eight million a fifth of `composed`'s time. The limit is the arithmetic of two exponentials and a division. Each
    call spends 30 µs to check that the translation fits, more than it saves below some 10,000 elements. The exact form
    gains nothing: the loop's erfc (Sleef) is slower than MKL's, which `composed` calls. An x in another order than C is
    gathered first.
    """
    run_compiled(FORWARD[tanh_form], in_c_order(x, -1), in_c_order(y, -1))


def gelu_backward_composed(x: Tensor, dy: Tensor, dx: Tensor, tanh_form: bool) -> None:
    """The gradient as a chain of torch calls: nineteen passes in the tanh form, ten in the exact form.

    Scratch for up to three arrays costs a page fault every 4 KiB: a large array pays in passes and in faults.
    """
    BACKWARD[tanh_form](x, dy, dx)


def gelu_backward_compiled(x: Tensor, dy: Tensor, dx: Tensor, tanh_form: bool) -> None:
    """The same chain compiled into one loop: x and dy are read once, `dx` written once, without scratch.

    Three times as fast at a million elements of float32 in the tanh form, eight times at eight million (one core, AMD
    Zen 4).
    """
    run_compiled(BACKWARD[tanh_form], in_c_order(x, -1), in_c_order(dy, -1), in_c_order(dx, -1))


RUNGS = {
    "gelu": [
        TORCH.rung(composed),
        TORCH.rung(compiled, faster_than="torch.composed", **COMPILED),
    ],
    "gelu_backward": [
        TORCH.rung(gelu_backward_composed, "composed"),
        TORCH.rung(gelu_backward_compiled, "compiled", faster_than="torch.composed", **COMPILED),
    ],
}
