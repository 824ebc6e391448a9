"""Launching numba.cuda kernels: arrays to the device, a grid large enough, results back.

The transfers are part of the method: host memory is not the device's. An array that is contiguous in neither order is
gathered for its transfer; transposed ones go as they are, in column-major order.
"""

from typing import Any, TypeAlias

import numpy as np

from ..arrays import Array
from .launches import launched
from .rung import cannot_be_imported

WHY_NOT: str | None = None
"""Why numba.cuda compiles nothing here. The kernels are then functions that are listed and read, and never called."""

try:
    from numba import cuda as cuda
except Exception as error:  # whatever a broken installation raises
    WHY_NOT = cannot_be_imported("numba", error)

    class cuda:  # type: ignore[no-redef]
        """In the place of numba.cuda."""

        @staticmethod
        def jit(function: Any = None, **options: Any) -> Any:
            return function or (lambda function: function)


THREADS = 128
"""Threads in a block of a one-dimensional grid: four warps, so that a multiprocessor can switch to another while one
waits."""

MOST_BLOCKS = 1024
"""Blocks of a grid-stride loop: several for each multiprocessor of any GPU. Each thread then computes many elements."""


def blocks(length: int, size: int) -> int:
    """How many blocks of `size` cover `length`."""
    return -(-length // size)


# What a device kernel's parameter is: a 2-D or a 1-D array on the device.
Matrix: TypeAlias = Array
Vector: TypeAlias = Array


def to_device(array: Array) -> Any:
    """The array's elements on the device."""
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        array = np.ascontiguousarray(array)
    return cuda.to_device(array)


def on_device(shape: tuple[int, ...], dtype: Any) -> Any:
    """New memory on the device."""
    return cuda.device_array(shape, dtype)


def launch(kernel: Any, grid: int | tuple[int, ...], block: int | tuple[int, ...], *args: Any) -> None:
    """Run a kernel on a grid of blocks of threads."""
    launched(lambda: kernel[grid, block](*args))


def launch_flat(kernel: Any, length: int, *args: Any) -> None:
    """Run a grid-stride kernel over `length` elements."""
    launch(kernel, min(blocks(length, THREADS), MOST_BLOCKS), THREADS, *args)
