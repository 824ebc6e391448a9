"""The MLP in CUDA C++: composed of the kernels of csrc/*/cuda/, on the device throughout."""

from functools import partial

import numpy as np

from ...arrays import Array
from ...backends import CUDA_CPP, Implementation
from ...backends.cpp import csrc
from ...backends.cuda_device import DeviceArray, launch, on_device, to_device, to_host
from ...backends.rung import Kernel
from ..gelu.in_cuda_cpp import on_each
from ..matmul.in_cuda_cpp import product
from . import in_numpy

COMPOSED, FUSED = csrc() / "mlp" / "cuda" / "composed.cu", csrc() / "mlp" / "cuda" / "fused.cu"


def _add_bias(c: DeviceArray, bias: DeviceArray) -> None:
    launch(COMPOSED, "mlp_add_bias", c, bias)


def _column_sums(a: DeviceArray) -> DeviceArray:
    sums = on_device(a.shape[1:], a.dtype)
    launch(COMPOSED, "mlp_column_sums", a, sums)
    return sums


def _forward(
    fused: bool, x: Array, w1: Array, b1: Array, w2: Array, b2: Array, z: Array, h: Array, y: Array, tanh_form: bool
) -> None:
    if not (x.size and w1.size and w2.size):  # an axis without elements: nothing to launch a kernel for
        in_numpy.mlp_forward_composed(x, w1, b1, w2, b2, z, h, y, tanh_form)
        return
    on_device_z, bias = product(to_device(x), to_device(w1)), to_device(b1)
    on_device_h = on_device(h.shape, h.dtype)
    if fused:
        launch(FUSED, "mlp_bias_gelu", on_device_z, bias, on_device_h, tanh_form)
    else:
        _add_bias(on_device_z, bias)
        on_each("vectorized", "gelu_vectorized", (on_device_z,), on_device_h, tanh_form)
    on_device_y = product(on_device_h, to_device(w2))
    _add_bias(on_device_y, to_device(b2))
    for result, host in ((on_device_z, z), (on_device_h, h), (on_device_y, y)):
        to_host(result, host)


def _backward(
    fused: bool,
    dy: Array, x: Array, w1: Array, w2: Array, z: Array, h: Array,
    dx: Array, dw1: Array, db1: Array, dw2: Array, db2: Array, tanh_form: bool,
) -> None:  # fmt: skip
    if not (dy.size and x.size and z.size):  # an axis without elements: nothing to launch a kernel for
        in_numpy.mlp_backward_composed(dy, x, w1, w2, z, h, dx, dw1, db1, dw2, db2, tanh_form)
        return
    on_device_dy, on_device_z = to_device(dy), to_device(np.ascontiguousarray(z))
    dz = product(on_device_dy, to_device(w2).T)  # dh until gelu' scales it in place
    if fused:
        sums = on_device(db1.shape, db1.dtype)
        launch(FUSED, "mlp_slope_and_sums", on_device_z, dz, sums, tanh_form)
    else:
        on_each("vectorized", "gelu_backward_vectorized", (on_device_z, dz), dz, tanh_form)
        sums = _column_sums(dz)
    to_host(product(to_device(h).T, on_device_dy), dw2)
    to_host(product(to_device(x).T, dz), dw1)
    to_host(product(dz, to_device(w1).T), dx)
    to_host(sums, db1)
    to_host(_column_sums(on_device_dy), db2)


def _rung(run: Kernel, variant: str) -> Implementation:
    fused = variant == "fused"
    other = "mlp/cuda/composed.cu" if fused else "gelu/cuda/vectorized.cu"
    files = [f"mlp/cuda/{variant}.cu", other, "matmul/cuda/double_buffered.cu"]
    return CUDA_CPP.rung(partial(run, fused), variant, files=files)


RUNGS = {
    "mlp_forward": [_rung(_forward, "composed"), _rung(_forward, "fused")],
    "mlp_backward": [_rung(_backward, "composed"), _rung(_backward, "fused")],
}
