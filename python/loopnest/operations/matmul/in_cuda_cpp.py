"""matmul in CUDA C++: a rung is a file csrc/cuda/matmul_*.cu, and here how its kernel is launched.

A block of threads computes a tile of the result of `span` x `span` elements. Host arrays are carried to the device and
the result back; an array that is contiguous in neither order is gathered for that, and other strides go to the kernel.
"""

from __future__ import annotations

from typing import Any

from ...arrays import Array
from ...backends import CUDA_CPP, Implementation
from ...backends.cpp import csrc
from ...backends.cuda_device import DeviceArray, blocks, launch, on_device, to_device, to_host


def multiply_on_device(
    variant: str, a: DeviceArray, b: DeviceArray, c: DeviceArray, span: int, block: tuple[int, ...], rows_first: bool
) -> None:
    """c = a b for arrays on the device, none of them empty."""
    grid = blocks(c.shape[1], span), blocks(c.shape[0], span)
    file = csrc() / "cuda" / f"matmul_{variant}.cu"
    matrices = (array.matrix() for array in (a, b, c))
    launch(file, f"matmul_{variant}", c.dtype, grid[::-1] if rows_first else grid, block, *matrices)


def _rung(
    variant: str, span: int, *, block: tuple[int, ...] = (16, 16), rows_first: bool = False, **facts: Any
) -> Implementation:
    def multiply(a: Array, b: Array, out: Array) -> None:
        if not a.size or not b.size:
            out[...] = 0
            return
        c = on_device(out.shape, out.dtype)
        multiply_on_device(variant, to_device(a), to_device(b), c, span, block, rows_first)
        to_host(c, out)

    return CUDA_CPP.rung(multiply, variant, files=[f"cuda/matmul_{variant}.cu"], **facts)


def product(a: DeviceArray, b: DeviceArray) -> DeviceArray:
    """a b in new memory on the device, by the fastest rung."""
    c = on_device((a.shape[0], b.shape[1]), a.dtype)
    multiply_on_device("double_buffered", a, b, c, 128, (256,), False)
    return c


RUNGS = {
    "matmul": [
        _rung("naive", 16, rows_first=True),
        _rung("coalesced", 16, faster_than="cuda_cpp.naive"),
        _rung("tiled", 16, faster_than="cuda_cpp.coalesced"),
        _rung("register_tiled", 64, faster_than="cuda_cpp.tiled"),
        _rung("vectorized", 128, block=(256,), faster_than="cuda_cpp.register_tiled"),
        _rung("warp_tiled", 128, block=(256,), faster_than="cuda_cpp.register_tiled"),
        _rung("double_buffered", 128, block=(256,), faster_than="cuda_cpp.register_tiled"),
    ],
}
