"""GELU for NVIDIA GPUs by numba.cuda: a grid-stride loop over the elements.

exact form   x · Φ(x)      Φ(x) = erfc(-x/√2) / 2
tanh form    x · σ(w)      w = 2√(2/π)(x + 0.044715 x³),   σ(w) = (1 for w >= 0, else t) / (1 + t),   t = exp(-|w|)
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import cuda

from ...arrays import Array
from ...backends import CUDA
from ...backends.cuda import Vector, launch_flat, launches, on_device, to_device
from . import constants


@functools.cache
def formulas(dtype: Any) -> tuple[Any, Any]:
    """GELU and its slope for one number of a dtype: functions of x and tanh_form, for kernels to call.

    The constants are of that dtype: a Python float is a float64, and would make all arithmetic around it float64's, at
    a 64th of the speed on most GPUs. `inline` copies the functions into the kernel, which then compiles without a
    device.
    """
    T = np.dtype(dtype).type
    half, one, two, three, farthest = T(0.5), T(1), T(2), T(3), T(constants.FARTHEST)
    linear, cubic = T(constants.LINEAR), T(constants.CUBIC)
    root_half, density_at_0 = T(constants.ROOT_HALF), T(constants.DENSITY_AT_0)

    @cuda.jit(device=True, inline="always")
    def gelu(x: float, tanh_form: bool) -> float:
        near = min(max(x, -farthest), farthest)
        if tanh_form:
            w = linear * near * (one + cubic * near * near)
            t = math.exp(-abs(w))
            share = (one if w >= 0 else t) / (one + t)
        else:
            share = half * math.erfc(-x * root_half)
        return x * share

    @cuda.jit(device=True, inline="always")
    def slope(x: float, tanh_form: bool) -> float:
        near = min(max(x, -farthest), farthest)
        if tanh_form:
            w = linear * near * (one + cubic * near * near)
            t = math.exp(-abs(w))
            below = one + t
            dw = linear * (one + three * cubic * near * near)
            result = (one if w >= 0 else t) / below + x * (t / (below * below)) * dw
        else:
            result = half * math.erfc(-x * root_half) + x * (density_at_0 * math.exp(-near * near / two))
        return result

    return gelu, slope


@functools.cache
def kernels(dtype: Any) -> tuple[Any, Any]:
    """GELU's kernel and its gradient's for a dtype."""
    gelu, slope = formulas(dtype)

    @cuda.jit
    def gelu_kernel(x: Vector, y: Vector, tanh_form: bool) -> None:
        for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
            y[i] = gelu(x[i], tanh_form)

    @cuda.jit
    def gelu_backward_kernel(x: Vector, dy: Vector, dx: Vector, tanh_form: bool) -> None:
        for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
            dx[i] = dy[i] * slope(x[i], tanh_form)

    return gelu_kernel, gelu_backward_kernel


def _run(kernel: Any, inputs: tuple[Array, ...], result: Array, tanh_form: bool) -> None:
    on_host = np.empty(result.size, result.dtype)
    flat = on_device((result.size,), result.dtype)
    launch_flat(kernel, result.size, *(to_device(x.reshape(-1)) for x in inputs), flat, tanh_form)
    flat.copy_to_host(on_host)
    result[...] = on_host.reshape(result.shape)


@launches(kernel=lambda dtype: kernels(dtype)[0])
def elementwise(x: Array, y: Array, tanh_form: bool) -> None:
    """A thread for one element or several: each starts at its own index and strides by the grid's size.

    Neighbouring threads take neighbouring elements, so each access of a warp is one wide access. The loop leaves the
    grid's size free: enough threads to fill the device, and no more to start. An exponential and a division an element
    are little for a GPU. The limit is its memory's bandwidth, and before that the transfer from the host and back,
    which is part of this call. An x in another order is gathered into row-major order for the transfer.
    """
    _run(kernels(x.dtype)[0], (x,), y, tanh_form)


@launches(kernel=lambda dtype: kernels(dtype)[1])
def gelu_backward_elementwise(x: Array, dy: Array, dx: Array, tanh_form: bool) -> None:
    """The same grid-stride loop with the slope: two arrays in, one out. Bound by memory and the transfers."""
    _run(kernels(x.dtype)[1], (x, dy), dx, tanh_form)


RUNGS = {
    "gelu": [CUDA.rung(elementwise)],
    "gelu_backward": [CUDA.rung(gelu_backward_elementwise, "elementwise")],
}
