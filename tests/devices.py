"""Is there a true GPU? Tests with the marker `device` run only there: not in a simulation, and not on a fake driver,
which takes the place of the Python package that is not asked here."""

import ctypes
import functools
import os

SIMULATIONS = ("LOOPNEST_CUDA_CPP", "NUMBA_ENABLE_CUDASIM")


def why_no_true_device() -> str | None:
    """Why a test for a GPU is skipped, or None."""
    asked = [name for name in SIMULATIONS if os.environ.get(name, "0") not in ("", "0")]
    return f"needs a GPU, and {asked[0]} asks for a simulation" if asked else _no_device()


@functools.cache
def _no_device() -> str | None:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "needs a GPU: there is no NVIDIA driver, libcuda.so.1"
    count = ctypes.c_int(0)
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        return f"needs a GPU: the driver has {count.value} devices, status {status}"
    return None
