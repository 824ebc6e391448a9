"""matmul in CUDA C++: a rung is a .cu file, whose `// launch:` comment says how its kernel is launched.

Host arrays are copied to the device and the result back. An array that is contiguous in neither order is gathered for
the copy; any other strides go to the kernel.
"""

from functools import partial
from typing import Any

from ...arrays import Array
from ...backends import CUDA_CPP, Implementation
from ...backends.cpp import csrc
from ...backends.cuda_device import DeviceArray, launch, on_device, to_device, to_host


def multiply_on_device(variant: str, a: DeviceArray, b: DeviceArray, c: DeviceArray) -> None:
    """c = a b for arrays on the device, none of them empty."""
    launch(csrc() / "matmul" / "cuda" / f"{variant}.cu", f"matmul_{variant}", a, b, c)


def _multiply(variant: str, a: Array, b: Array, c: Array) -> None:
    if not a.size or not b.size:
        c[...] = 0
        return
    result = on_device(c.shape, c.dtype)
    multiply_on_device(variant, to_device(a), to_device(b), result)
    to_host(result, c)


def _rung(variant: str, **facts: Any) -> Implementation:
    return CUDA_CPP.rung(partial(_multiply, variant), variant, files=[f"matmul/cuda/{variant}.cu"], **facts)


def product(a: DeviceArray, b: DeviceArray) -> DeviceArray:
    """a b in new memory on the device, by the fastest rung."""
    c = on_device((a.shape[0], b.shape[1]), a.dtype)
    multiply_on_device("double_buffered", a, b, c)
    return c


RUNGS = {
    "matmul": [
        _rung("naive"),
        _rung("coalesced", faster_than="cuda_cpp.naive"),
        _rung("tiled", faster_than="cuda_cpp.coalesced"),
        _rung("register_tiled", faster_than="cuda_cpp.tiled"),
        _rung("vectorized", faster_than="cuda_cpp.register_tiled"),
        _rung("warp_tiled", faster_than="cuda_cpp.register_tiled"),
        _rung("double_buffered", faster_than="cuda_cpp.register_tiled"),
    ]
}
