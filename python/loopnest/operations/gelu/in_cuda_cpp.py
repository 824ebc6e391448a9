"""GELU in CUDA C++: a rung is a .cu file, whose `// launch:` comments say how its kernels are launched.

Kernels take contiguous elements, and results are in C order. Inputs that are not in C order are gathered for the copy
to the device.
"""

from typing import Any

from ...backends import CUDA_CPP, Implementation
from ...backends.cpp import csrc
from ...backends.cuda_device import DeviceArray, launch, on_device, to_device, to_host


def on_each(variant: str, kernel: str, inputs: tuple[DeviceArray, ...], y: DeviceArray, tanh_form: bool) -> None:
    """Run an elementwise kernel over arrays in C order on the device, none of them empty."""
    launch(csrc() / "gelu" / "cuda" / f"{variant}.cu", kernel, *inputs, y, y.size, tanh_form)


def _rung(operation: str, variant: str) -> Implementation:
    """The rung of a .cu file, on host arrays: the inputs, the result and tanh_form."""

    def run(*args: Any) -> None:
        *inputs, result, tanh_form = args
        flat = on_device((result.size,), result.dtype)
        on_each(variant, f"{operation}_{variant}", tuple(to_device(x.reshape(-1)) for x in inputs), flat, tanh_form)
        to_host(flat, result)

    return CUDA_CPP.rung(run, variant, files=[f"gelu/cuda/{variant}.cu"])


RUNGS = {
    operation: [_rung(operation, "elementwise"), _rung(operation, "vectorized")]
    for operation in ("gelu", "gelu_backward")
}
