"""GELU in CUDA C++: a rung is a .cu file, whose `// launch:` comments say how its kernels are launched.

Kernels take contiguous elements, and results are in C order. Inputs that are not in C order are gathered for the copy
to the device.
"""

from __future__ import annotations

from ...arrays import Array
from ...backends import CUDA_CPP, Implementation
from ...backends.cpp import csrc
from ...backends.cuda_device import DeviceArray, launch, on_device, to_device, to_host


def on_each(variant: str, kernel: str, inputs: tuple[DeviceArray, ...], out: DeviceArray, tanh_form: bool) -> None:
    """Run an elementwise kernel over arrays in C order on the device, none of them empty."""
    launch(csrc() / "gelu" / "cuda" / f"{variant}.cu", kernel, *inputs, out, out.size, tanh_form)


def _run(variant: str, kernel: str, inputs: tuple[Array, ...], out: Array, tanh_form: bool) -> None:
    if not out.size:
        return
    result = on_device((out.size,), out.dtype)
    on_each(variant, kernel, tuple(to_device(x.reshape(-1)) for x in inputs), result, tanh_form)
    to_host(result, out)


def _rung(variant: str) -> Implementation:
    def gelu(x: Array, out: Array, tanh_form: bool) -> None:
        _run(variant, f"gelu_{variant}", (x,), out, tanh_form)

    return CUDA_CPP.rung(gelu, variant, files=[f"gelu/cuda/{variant}.cu"])


def _backward_rung(variant: str) -> Implementation:
    def gelu_backward(x: Array, dy: Array, out: Array, tanh_form: bool) -> None:
        _run(variant, f"gelu_backward_{variant}", (x, dy), out, tanh_form)

    return CUDA_CPP.rung(gelu_backward, variant, files=[f"gelu/cuda/{variant}.cu"])


RUNGS = {
    "gelu": [_rung("elementwise"), _rung("vectorized")],
    "gelu_backward": [_backward_rung("elementwise"), _backward_rung("vectorized")],
}
