"""numba.cuda's kernels compiled to PTX for an H100, which takes the extra and no GPU."""

import importlib.util
import inspect

import numpy as np
import pytest
from loopnest import OPERATIONS
from loopnest.backends import cuda_simulated

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("numba_cuda") is None,
        reason="numba-cuda is not installed: pip install 'loopnest[cuda]'",
    ),
    pytest.mark.skipif(cuda_simulated(), reason="the simulator compiles nothing"),
]


def device_kernels():
    """Each rung's kernels, by a readable name."""
    for operation in OPERATIONS.values():
        for rung in operation:
            if rung.backend == "cuda":
                for name, kernel in rung.kernel.device_kernels.items():
                    yield pytest.param(rung, kernel, id=f"{operation.name}-{rung.id}-{name}")


def ptx_of(kernel, dtype):
    """PTX of a kernel, or of what a function gives for the dtype, for arrays in C order."""
    from numba import cuda, from_dtype, types

    if not hasattr(kernel, "py_func"):
        kernel = kernel(dtype)
    kinds = {
        "Matrix": types.Array(from_dtype(dtype), 2, "C"),
        "Vector": types.Array(from_dtype(dtype), 1, "C"),
        "bool": types.boolean,
    }
    signature = tuple(kinds[p.annotation] for p in inspect.signature(kernel.py_func).parameters.values())
    ptx, _ = cuda.compile_ptx(kernel.py_func, signature, device=False, cc=(9, 0), lineinfo=True)
    return ptx


@pytest.mark.parametrize(("rung", "kernel"), list(device_kernels()))
@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
def test_every_kernel_compiles(rung, kernel, dtype):
    ptx = ptx_of(kernel, dtype)
    assert ".target sm_90" in ptx
    assert ".entry" in ptx
    assert ".loc" in ptx, "line information"
    if dtype == np.float32:
        assert ".f64" not in ptx.replace("cvt.rn.f32.f64", ""), "a float64 constant makes float32 arithmetic float64's"


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
def test_matmuls_multiply_and_add_in_one_and_tiles_are_shared(dtype):
    fma = "fma.rn.f32" if dtype == np.float32 else "fma.rn.f64"
    for rung in OPERATIONS["matmul"]:
        if rung.backend == "cuda":
            ptx = ptx_of(rung.kernel.device_kernels["kernel"], dtype)
            shared = "tiled" in rung.variant or rung.variant == "double_buffered"
            assert fma in ptx, rung
            assert ("ld.shared" in ptx, "st.shared" in ptx, "bar.sync" in ptx) == (shared,) * 3, rung
