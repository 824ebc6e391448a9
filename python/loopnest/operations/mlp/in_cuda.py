"""The MLP for NVIDIA GPUs by numba.cuda: matmul's and gelu's own kernels, on the device throughout."""

from typing import Any

import numpy as np

from ...arrays import Array
from ...backends import CUDA
from ...backends.cuda import Matrix, Vector, blocks, cuda, launch, launch_flat, on_device, to_device
from ..gelu.in_cuda import elementwise, gelu_backward_elementwise, gelu_of, slope_of
from ..matmul.in_cuda import product
from . import in_numpy


@cuda.jit
def add_bias_kernel(c: Matrix, bias: Vector) -> None:
    for n in range(cuda.grid(1), c.size, cuda.gridsize(1)):
        c[n // c.shape[1], n % c.shape[1]] += bias[n % c.shape[1]]


@cuda.jit
def bias_gelu_kernel(z: Matrix, bias: Vector, h: Matrix, tanh_form: bool) -> None:
    """Bias and GELU in one pass."""
    for n in range(cuda.grid(1), z.size, cuda.gridsize(1)):
        i, j = n // z.shape[1], n % z.shape[1]
        z_ij = z[i, j] + bias[j]
        z[i, j] = z_ij
        h[i, j] = gelu_of(z_ij, tanh_form)


@cuda.jit
def column_sums_kernel(a: Matrix, sums: Vector) -> None:
    for j in range(cuda.grid(1), a.shape[1], cuda.gridsize(1)):
        total = sums.dtype.type(0)
        for i in range(a.shape[0]):
            total += a[i, j]
        sums[j] = total


COLUMNS, ROWS = 32, 4
"""Threads of the block that sums columns: a warp reads 32 neighbours, and a column has four threads."""


@cuda.jit
def slope_and_sums_kernel(z: Matrix, dh: Matrix, db1: Vector, tanh_form: bool) -> None:
    """The slope and the sums of columns in one pass; dz replaces dh."""
    sums = cuda.shared.array((ROWS, COLUMNS), dtype=db1.dtype)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    j = cuda.blockIdx.x * COLUMNS + x
    total = db1.dtype.type(0)
    if j < z.shape[1]:
        for i in range(y, z.shape[0], ROWS):
            dz = dh[i, j] * slope_of(z[i, j], tanh_form)
            dh[i, j] = dz
            total += dz
    sums[y, x] = total
    cuda.syncthreads()  # all sums of the block are there
    if y == 0 and j < z.shape[1]:
        for row in range(1, ROWS):
            total += sums[row, x]
        db1[j] = total


def _column_sums(a: Any) -> Any:
    sums = on_device(a.shape[1:], a.dtype)
    launch_flat(column_sums_kernel, sums.size, a, sums)
    return sums


def mlp_forward_composed(*arrays: Any) -> None:
    """Five kernels in a row; everything between them stays on the device, and z, h and y come back once."""
    _forward(False, *arrays)


def mlp_forward_fused(*arrays: Any) -> None:
    """Bias and GELU in one pass over the hidden layer.

    It is read once and written twice, as z and as h; `composed` reads it twice and writes it twice. The limit is the
    products.
    """
    _forward(True, *arrays)


def _forward(
    fused: bool, x: Array, w1: Array, b1: Array, w2: Array, b2: Array, z: Array, h: Array, y: Array, tanh_form: bool
) -> None:
    if not (x.size and w1.size and w2.size):  # an axis without elements: nothing to launch a kernel for
        in_numpy.mlp_forward_composed(x, w1, b1, w2, b2, z, h, y, tanh_form)
        return
    on_device_z, bias = product(to_device(x), to_device(w1)), to_device(b1)
    on_device_h = on_device(h.shape, h.dtype)
    if fused:
        launch_flat(bias_gelu_kernel, z.size, on_device_z, bias, on_device_h, tanh_form)
    else:
        launch_flat(add_bias_kernel, z.size, on_device_z, bias)
        launch_flat(elementwise, h.size, on_device_z.reshape(z.size), on_device_h.reshape(h.size), tanh_form)
    on_device_y = product(on_device_h, to_device(w2))
    launch_flat(add_bias_kernel, y.size, on_device_y, to_device(b2))
    for result, host in ((on_device_z, z), (on_device_h, h), (on_device_y, y)):
        result.copy_to_host(host)


def mlp_backward_composed(*arrays: Any) -> None:
    """The chain rule from the end back, four products and three small kernels on the device.

    Transposed factors are transferred in column-major order, so the product's loads of them are not coalesced. The bias
    gradients take a thread a column.
    """
    _backward(False, *arrays)


def mlp_backward_fused(*arrays: Any) -> None:
    """gelu' and the sums for db1 in one pass: dz is not read again.

    A block has 32 columns and four threads a column. Each takes every fourth row and leaves its sum in shared memory;
    after a barrier one of them adds up. `composed` has a quarter of the threads: one a column.
    """
    _backward(True, *arrays)


def _backward(
    fused: bool,
    dy: Array, x: Array, w1: Array, w2: Array, z: Array, h: Array,
    dx: Array, dw1: Array, db1: Array, dw2: Array, db2: Array, tanh_form: bool,
) -> None:  # fmt: skip
    if not (dy.size and x.size and z.size):  # an axis without elements: nothing to launch a kernel for
        in_numpy.mlp_backward_composed(dy, x, w1, w2, z, h, dx, dw1, db1, dw2, db2, tanh_form)
        return
    on_device_dy, on_device_z = to_device(dy), to_device(np.ascontiguousarray(z))
    dz = product(on_device_dy, to_device(w2.T))  # dh until gelu' scales it in place
    if fused:
        sums = on_device(db1.shape, db1.dtype)
        grid, block = blocks(z.shape[1], COLUMNS), (COLUMNS, ROWS)
        launch(slope_and_sums_kernel, grid, block, on_device_z, dz, sums, tanh_form)
    else:
        flat_z, flat_dz = on_device_z.reshape(z.size), dz.reshape(z.size)
        launch_flat(gelu_backward_elementwise, z.size, flat_z, flat_dz, flat_dz, tanh_form)
        sums = _column_sums(dz)
    product(to_device(h.T), on_device_dy).copy_to_host(dw2)
    product(to_device(x.T), dz).copy_to_host(dw1)
    product(dz, to_device(w1.T)).copy_to_host(dx)
    sums.copy_to_host(db1)
    _column_sums(on_device_dy).copy_to_host(db2)


RUNGS = {
    "mlp_forward": [CUDA.rung(mlp_forward_composed, "composed"), CUDA.rung(mlp_forward_fused, "fused")],
    "mlp_backward": [CUDA.rung(mlp_backward_composed, "composed"), CUDA.rung(mlp_backward_fused, "fused")],
}
