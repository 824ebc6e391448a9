"""Which kernels a rung launches, with which blocks and grids: its host function is run on a device that is none.

The function is the rung's own; in place of device memory it gets host memory that nobody writes, and in place of a
launch a note. So grids, blocks and the kernels' argument types are those of a real call, and nothing has to be declared
twice. Needs numba-cuda, and no GPU.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..operation import Implementation, Workload

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Launch:
    """One launch.

    kernel    the numba.cuda dispatcher
    grid      blocks along x, y and z; block: threads likewise
    shared    bytes of dynamic shared memory
    args      what the kernel was given: `PretendedArray`s and numbers
    """

    kernel: Any
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int
    args: tuple[Any, ...]

    @property
    def threads(self) -> int:
        return int(np.prod(self.block))

    @property
    def blocks(self) -> int:
        return int(np.prod(self.grid))


class PretendedArray(np.ndarray):
    """Host memory in the place of a device's."""

    def copy_to_host(self, ary: Any = None, stream: Any = 0) -> Any:
        return self if ary is None else ary

    def copy_to_device(self, ary: Any, stream: Any = 0) -> None:
        pass


def launches_of(k: Implementation, workload: Workload, dtype: str) -> list[Launch]:
    """The launches of one call of a numba.cuda rung on a workload, in their order."""
    operation = k.operation
    arguments = operation.contract.sample(workload, np.dtype(dtype), np.random.default_rng(0))
    with _pretending() as launches, np.errstate(all="ignore"):
        operation.contract.run(k.kernel, *arguments.inputs, **arguments.options)
    return launches


@contextlib.contextmanager
def _pretending() -> Iterator[list[Launch]]:
    """While it lasts, launches are noted and arrays stay on the host."""
    from numba import cuda
    from numba.cuda.dispatcher import CUDADispatcher

    launches: list[Launch] = []

    class _Configured:
        def __init__(self, kernel: Any, grid: Any, block: Any, stream: Any = 0, shared: int = 0) -> None:
            self.kernel, self.grid, self.block, self.shared = kernel, _triple(grid), _triple(block), int(shared)

        def __call__(self, *args: Any) -> None:
            launches.append(Launch(self.kernel, self.grid, self.block, self.shared, args))

    def to_device(array: Any, *_: Any, **__: Any) -> Any:
        return np.asarray(array).view(PretendedArray)

    def device_array(shape: Any, dtype: Any = np.float64, *_: Any, **__: Any) -> Any:
        return np.empty(shape, dtype).view(PretendedArray)

    def configured(kernel: Any, how: Any) -> Any:
        return _Configured(kernel, *how)

    with _one_at_a_time, contextlib.ExitStack() as stack:
        for owner, name, stand_in in (
            (CUDADispatcher, "__getitem__", configured),
            (cuda, "to_device", to_device),
            (cuda, "device_array", device_array),
        ):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, stand_in)
        yield launches


def _triple(size: Any) -> tuple[int, ...]:
    sizes = tuple(int(n) for n in size) if isinstance(size, (tuple, list)) else (int(size),)
    return (*sizes, 1, 1)[:3]


def signature_of(launch: Launch) -> tuple[Any, ...]:
    """Numba's types of a launch's arguments: arrays in C or Fortran order, as they lie, or of any strides."""
    from numba import from_dtype, typeof, types

    kinds = []
    for arg in launch.args:
        if isinstance(arg, np.ndarray):
            layout = "C" if arg.flags.c_contiguous else "F" if arg.flags.f_contiguous else "A"
            kinds.append(types.Array(from_dtype(arg.dtype), arg.ndim, layout))
        else:
            kinds.append(typeof(arg))
    return tuple(kinds)


def numba_cuda_missing() -> str | None:
    """Why numba.cuda's kernels cannot be compiled here, and the fix; None where they can."""
    import importlib.util

    from ..backends import cuda_simulated

    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed: pip install 'loopnest[cuda]'"
    if cuda_simulated():
        return "NUMBA_ENABLE_CUDASIM is set, and the simulator compiles nothing: unset it"
    return None
