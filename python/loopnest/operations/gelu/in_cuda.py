"""GELU for NVIDIA GPUs by numba.cuda: a grid-stride loop over the elements."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import cuda

from ...arrays import Array
from ...backends import CUDA
from ...backends.cuda import Vector, launch_flat, launches, on_device, to_device

FARTHEST = 40
"""Beyond ±40 the exponentials are 0; nearer, no square overflows."""


@functools.cache
def kernels(dtype: Any) -> tuple[Any, Any]:
    """GELU's kernel and its gradient's for a dtype. The constants are of that dtype: a Python float is a float64, and
    one of them would make all arithmetic around it float64's, at a 64th of the speed on most GPUs."""
    t = np.dtype(dtype).type
    half, one, two, farthest = t(0.5), t(1), t(2), t(FARTHEST)
    linear, cubic = t(2 * math.sqrt(2 / math.pi)), t(0.044715)
    root_half, density = t(math.sqrt(0.5)), t(1 / math.sqrt(2 * math.pi))
    slope_cubic = t(3 * 0.044715)

    @cuda.jit
    def gelu_kernel(x: Vector, y: Vector, tanh_form: bool) -> None:
        for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
            x_i = x[i]
            if tanh_form:
                near = min(max(x_i, -farthest), farthest)
                w = linear * near * (one + cubic * near * near)
                power = math.exp(-abs(w))
                y[i] = x_i * ((one if w >= 0 else power) / (one + power))
            else:
                y[i] = x_i * half * math.erfc(-x_i * root_half)

    @cuda.jit
    def gelu_backward_kernel(x: Vector, dy: Vector, dx: Vector, tanh_form: bool) -> None:
        for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
            x_i = x[i]
            near = min(max(x_i, -farthest), farthest)
            if tanh_form:
                w = linear * near * (one + cubic * near * near)
                power = math.exp(-abs(w))
                below = one + power
                rise = linear * (one + slope_cubic * near * near)
                slope = (one if w >= 0 else power) / below + x_i * (power / (below * below)) * rise
            else:
                slope = half * math.erfc(-x_i * root_half) + x_i * (density * math.exp(-near * near / two))
            dx[i] = dy[i] * slope

    return gelu_kernel, gelu_backward_kernel


def _run(kernel: Any, inputs: tuple[Array, ...], out: Array, tanh_form: bool) -> None:
    on_host = np.empty(out.size, out.dtype)
    result = on_device((out.size,), out.dtype)
    launch_flat(kernel, out.size, *(to_device(x.reshape(-1)) for x in inputs), result, tanh_form)
    result.copy_to_host(on_host)
    out[...] = on_host.reshape(out.shape)


@launches(kernel=lambda dtype: kernels(dtype)[0])
def elementwise(x: Array, out: Array, tanh_form: bool) -> None:
    """A thread for every element or several: each starts at its own number and strides by the grid's size.

    Neighbouring threads take neighbouring elements, so every access of a warp is one wide one. The loop makes the
    grid's size free: enough threads to fill the device, and no more to start. An exponential and a division an element
    are little for a GPU; the limit is its memory's bandwidth, and before that the transfer from the host and back,
    which is part of this call. x is gathered into row-major order for the transfer where it is in another.
    """
    _run(kernels(x.dtype)[0], (x,), out, tanh_form)


@launches(kernel=lambda dtype: kernels(dtype)[1])
def gelu_backward_elementwise(x: Array, dy: Array, out: Array, tanh_form: bool) -> None:
    """The same grid-stride loop with the slope: two arrays in, one out.

    Three quarters of an operation more a byte than gelu has, and still bound by memory, and by the transfers before
    that. x and dy are gathered into row-major order for the transfer where they are in another.
    """
    _run(kernels(x.dtype)[1], (x, dy), out, tanh_form)


RUNGS = {
    "gelu": [
        CUDA.rung(elementwise),
    ],
    "gelu_backward": [
        CUDA.rung(gelu_backward_elementwise, "elementwise"),
    ],
}
