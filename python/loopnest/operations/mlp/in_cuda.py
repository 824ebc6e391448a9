"""The MLP for NVIDIA GPUs by numba.cuda: composed of the own matmul and gelu kernels, on the device throughout.

forward    z = x w1 + b1      h = gelu(z)      y = h w2 + b2
backward   dh = dy w2ᵀ        dz = dh ⊙ gelu'(z)
           dx = dz w1ᵀ        dw1 = xᵀ dz      db1 = Σ dz        dw2 = hᵀ dy      db2 = Σ dy
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ...arrays import Array
from ...cuda_launch import Matrix, Vector, launch_flat, launches, on_device, to_device
from ...operation import rung
from ..gelu.in_cuda import kernels as gelu_kernels
from ..matmul.in_cuda import SPAN, multiply_on_device, register_tiled_kernel
from . import in_numpy


@cuda.jit
def add_bias_kernel(c: Matrix, bias: Vector) -> None:
    for n in range(cuda.grid(1), c.size, cuda.gridsize(1)):
        c[n // c.shape[1], n % c.shape[1]] += bias[n % c.shape[1]]


@cuda.jit
def column_sums_kernel(a: Matrix, sums: Vector) -> None:
    for j in range(cuda.grid(1), a.shape[1], cuda.gridsize(1)):
        total = sums.dtype.type(0)
        for i in range(a.shape[0]):
            total += a[i, j]
        sums[j] = total


def _product(a: Any, b: Any, shape: tuple[int, int], dtype: Any) -> Any:
    c = on_device(shape, dtype)
    multiply_on_device(register_tiled_kernel, a, b, c, SPAN)
    return c


@rung("mlp_forward")
@launches(product=register_tiled_kernel, bias=add_bias_kernel, gelu=lambda dtype: gelu_kernels(dtype)[0])
def mlp_forward_composed(
    x: Array, w1: Array, b1: Array, w2: Array, b2: Array, z: Array, h: Array, y: Array, tanh_form: bool
) -> None:
    """Five kernels in a row, with everything between them left on the device.

    Inputs go to the device once and z, h and y come back once; nothing is transferred in between. Bias and GELU are
    kernels of their own, which read and write the (t, h) hidden layer once each: fused into the product they would not.
    """
    if not (x.size and w1.size and w2.size):  # an axis without elements: nothing to launch a kernel for
        in_numpy.mlp_forward_composed(x, w1, b1, w2, b2, z, h, y, tanh_form)
        return
    dtype = z.dtype
    on_device_z = _product(to_device(x), to_device(w1), z.shape, dtype)
    launch_flat(add_bias_kernel, z.size, on_device_z, to_device(b1))
    on_device_h = on_device(h.shape, dtype)
    launch_flat(gelu_kernels(dtype)[0], h.size, on_device_z.reshape(z.size), on_device_h.reshape(h.size), tanh_form)
    on_device_y = _product(on_device_h, to_device(w2), y.shape, dtype)
    launch_flat(add_bias_kernel, y.size, on_device_y, to_device(b2))
    for result, host in ((on_device_z, z), (on_device_h, h), (on_device_y, y)):
        result.copy_to_host(host)


@rung("mlp_backward")
@launches(product=register_tiled_kernel, sums=column_sums_kernel, slope=lambda dtype: gelu_kernels(dtype)[1])
def mlp_backward_composed(
    dy: Array,
    x: Array,
    w1: Array,
    w2: Array,
    z: Array,
    h: Array,
    dx: Array,
    dw1: Array,
    db1: Array,
    dw2: Array,
    db2: Array,
    tanh_form: bool,
) -> None:
    """The chain rule from the end back, four products and three small kernels on the device.

    Transposed factors are transferred as views in column-major order, and the product kernel's loads of them are then
    not coalesced. dh and dz, of z's size, are scratch memory on the device. The bias gradients take a thread a column.
    """
    if not (dy.size and x.size and z.size):  # an axis without elements: nothing to launch a kernel for
        in_numpy.mlp_backward_composed(dy, x, w1, w2, z, h, dx, dw1, db1, dw2, db2, tanh_form)
        return
    dtype = dy.dtype
    on_device_dy = to_device(dy)
    dh = _product(on_device_dy, to_device(w2.T), z.shape, dtype)
    dz = on_device(z.shape, dtype)
    flat = [array.reshape(z.size) for array in (to_device(_row_major(z)), dh, dz)]
    launch_flat(gelu_kernels(dtype)[1], z.size, *flat, tanh_form)
    _product(to_device(h.T), on_device_dy, dw2.shape, dtype).copy_to_host(dw2)
    _product(to_device(x.T), dz, dw1.shape, dtype).copy_to_host(dw1)
    _product(dz, to_device(w1.T), dx.shape, dtype).copy_to_host(dx)
    for matrix, sums in ((on_device_dy, db2), (dz, db1)):
        on_device_sums = on_device(sums.shape, dtype)
        launch_flat(column_sums_kernel, sums.size, matrix, on_device_sums)
        on_device_sums.copy_to_host(sums)


def _row_major(array: Array) -> Array:
    return array if array.flags.c_contiguous else array.copy()
