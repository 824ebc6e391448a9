"""matmul in CUDA C++: a rung is a .cu file, whose `// launch:` comment says how its kernel is launched.

Host arrays are copied to the device and the result back. An array that is contiguous in neither order is gathered for
the copy; any other strides go to the kernel.
"""

from typing import Any

from ...arrays import Array
from ...backends import CUDA_CPP, Implementation
from ...backends.cpp import csrc
from ...backends.cuda_device import DeviceArray, device, launch, on_device, to_device, to_host


def product(a: DeviceArray, b: DeviceArray, variant: str = "double_buffered", dtype: Any = None) -> DeviceArray:
    """a b of arrays on the device, none of them empty, in new memory there; `dtype` is the result's, by default a's."""
    c = on_device((a.shape[0], b.shape[1]), a.dtype if dtype is None else dtype)
    launch(csrc() / "matmul" / "cuda" / f"{variant}.cu", f"matmul_{variant}", a, b, c)
    return c


def _rung(variant: str, *headers: str, **facts: Any) -> Implementation:
    """The rung of a .cu file and the headers that are part of its lesson, on host arrays."""

    def run(a: Array, b: Array, c: Array) -> None:
        if a.size and b.size:
            to_host(product(to_device(a), to_device(b), variant, c.dtype), c)
        else:
            c[...] = 0

    return CUDA_CPP.rung(run, variant, files=[f"matmul/cuda/{variant}.cu", *headers], **facts)


def _no_tensor_cores() -> str | None:
    """Why mma's instructions for 16-bit numbers cannot run on this machine's GPU, or None where they can."""
    capability = int(device().arch.removeprefix("sm_"))
    return None if capability >= 80 else f"it needs compute capability 8.0, and this GPU has {capability / 10}"


THREAD_TILE = "matmul/cuda/thread_tile.hpp"
TENSOR_CORES: dict[str, Any] = {"dtypes": ("bfloat16", "float16"), "requires": _no_tensor_cores}

RUNGS = {
    "matmul": [
        _rung("naive"),
        _rung("coalesced", faster_than="cuda_cpp.naive"),
        _rung("tiled", faster_than="cuda_cpp.coalesced"),
        _rung("register_tiled", faster_than="cuda_cpp.tiled"),
        _rung("vectorized", THREAD_TILE, faster_than="cuda_cpp.register_tiled"),
        _rung("warp_tiled", THREAD_TILE, faster_than="cuda_cpp.register_tiled"),
        _rung("double_buffered", THREAD_TILE, faster_than="cuda_cpp.register_tiled"),
        _rung("wmma", "cuda/tensor_cores.hpp", **TENSOR_CORES),
        _rung("mma", "cuda/tensor_cores.hpp", faster_than="cuda_cpp.wmma", **TENSOR_CORES),
    ]
}
