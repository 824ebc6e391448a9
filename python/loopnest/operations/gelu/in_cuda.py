"""GELU for NVIDIA GPUs by numba.cuda: a grid-stride loop over the elements.

exact form   x · Φ(x)      Φ(x) = erfc(-x/√2) / 2
tanh form    x · σ(w)      w = 2√(2/π)(x + 0.044715 x³),   σ(w) = (1 for w >= 0, else t) / (1 + t),   t = exp(-|w|)
"""

import functools
import math
from typing import Any

from ...backends import CUDA, Implementation
from ...backends.cuda import Vector, cuda, launch_flat, on_device, to_device
from .constants import CUBIC, DENSITY_AT_0, FARTHEST, LINEAR, ROOT_HALF

# The formulas for one number. T is its type, and T(…) a constant of that type: a plain 0.5 is float64 and would make
# all arithmetic around it float64's, at a 64th of the speed on most GPUs. `inline` copies the functions into the
# kernel, which then compiles without a device.


@cuda.jit(device=True, inline="always")
def gelu_of(x: float, tanh_form: bool) -> float:
    T = type(x)
    if tanh_form:
        near = min(max(x, T(-FARTHEST)), T(FARTHEST))
        w = T(LINEAR) * near * (T(1) + T(CUBIC) * near * near)
        t = math.exp(-abs(w))
        share = (T(1) if w >= 0 else t) / (T(1) + t)
    else:
        share = T(0.5) * math.erfc(-x * T(ROOT_HALF))
    return x * share


@cuda.jit(device=True, inline="always")
def slope_of(x: float, tanh_form: bool) -> float:
    T = type(x)
    near = min(max(x, T(-FARTHEST)), T(FARTHEST))
    if tanh_form:
        w = T(LINEAR) * near * (T(1) + T(CUBIC) * near * near)
        t = math.exp(-abs(w))
        below = T(1) + t
        dw = T(LINEAR) * (T(1) + T(3) * T(CUBIC) * near * near)
        result = (T(1) if w >= 0 else t) / below + x * (t / (below * below)) * dw
    else:
        result = T(0.5) * math.erfc(-x * T(ROOT_HALF)) + x * (T(DENSITY_AT_0) * math.exp(-near * near / T(2)))
    return result


@cuda.jit
def elementwise(x: Vector, y: Vector, tanh_form: bool) -> None:
    """A thread for one element or several: each starts at its own index and strides by the grid's size.

    Neighbouring threads take neighbouring elements, so each access of a warp is one wide access. The loop leaves the
    grid's size free: enough threads to fill the device, and no more to start. An exponential and a division an element
    are little for a GPU. The limit is its memory's bandwidth, and before that the transfer from the host and back,
    which is part of this call. An x in another order is gathered into row-major order for the transfer.
    """
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        y[i] = gelu_of(x[i], tanh_form)


@cuda.jit
def gelu_backward_elementwise(x: Vector, dy: Vector, dx: Vector, tanh_form: bool) -> None:
    """The same grid-stride loop with the slope: two arrays in, one out. Bound by memory and the transfers."""
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        dx[i] = dy[i] * slope_of(x[i], tanh_form)


def _rung(kernel: Any) -> Implementation:
    """The rung of a device kernel: inputs are copied to the device, and the result back."""

    @functools.wraps(kernel)
    def run(*args: Any) -> None:
        *inputs, result, tanh_form = args
        flat = on_device((result.size,), result.dtype)
        launch_flat(kernel, result.size, *(to_device(x.reshape(-1)) for x in inputs), flat, tanh_form)
        flat.copy_to_host(result.reshape(-1))

    return CUDA.rung(run, "elementwise")


RUNGS = {"gelu": [_rung(elementwise)], "gelu_backward": [_rung(gelu_backward_elementwise)]}
