"""Device memory and launches of CUDA C++ kernels: on the GPU, by the driver, or simulated on the CPU.

The transfers are part of the method: host memory is not the device's. An array that is contiguous in neither order is
gathered for its transfer; a transposed one goes as it is, and the kernel gets its strides.
"""

from __future__ import annotations

import ctypes
import functools
import math
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array
from .cuda_cpp import compile_for_device
from .cuda_on_cpu import Simulated, build_simulated
from .cuda_source import CudaFile, Sizes, cuda_cpp_simulated
from .launches import launched


class MatrixParameter(ctypes.Structure):
    """A kernel's Matrix<T>, as view.hpp declares it."""

    _fields_ = (
        *(("data", ctypes.c_void_p), ("rows", ctypes.c_int), ("cols", ctypes.c_int)),
        *(("row_stride", ctypes.c_longlong), ("col_stride", ctypes.c_longlong)),
    )


@dataclass(frozen=True)
class DeviceArray:
    """An array of one or two axes on the device: the owner of its memory, its address, its strides in elements."""

    memory: Any
    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def T(self) -> DeviceArray:
        """The transposed view."""
        return DeviceArray(self.memory, self.pointer, self.shape[::-1], self.strides[::-1], self.dtype)


def why_no_device() -> str | None:
    """Why there is no GPU to launch on, or None where there is one."""
    try:
        _gpu()
    except Exception as error:  # no driver, no device, a driver too old: what is raised differs between versions
        return (str(error).splitlines() or [type(error).__name__])[0]
    return None


def gpu() -> _Gpu:
    """The GPU, whether or not CUDA C++ is simulated. Raises whatever the driver does where there is none."""
    return _gpu()


def device() -> _Simulated | _Gpu:
    """The GPU, or the CPU if LOOPNEST_CUDA_CPP=simulated."""
    return _SIMULATED if cuda_cpp_simulated() else _gpu()


def to_device(array: Array) -> DeviceArray:
    """The array's elements on the device, in its own order where it is contiguous."""
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return to_device(array.T).T
    made = on_device(array.shape, array.dtype)
    device().write(made.pointer, np.ascontiguousarray(array))
    return made


def on_device(shape: tuple[int, ...], dtype: Any) -> DeviceArray:
    """New memory on the device, in C order."""
    dtype = np.dtype(dtype)
    memory, pointer = device().allocate(max(1, math.prod(shape) * dtype.itemsize))
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return DeviceArray(memory, pointer, shape, strides, dtype)


def to_host(array: DeviceArray, out: Array) -> None:
    """Copy an array in C order to `out`, of any strides, after all launches have ended."""
    gathered = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
    device().read(array.pointer, gathered)
    if gathered is not out:
        out[...] = gathered


def launch(file: Path, kernel: str, *arguments: DeviceArray | float) -> None:
    """Run a kernel template of a .cu file for the arrays' dtypes, with the sizes in the comment `// launch:` above it.

    arguments  in the kernel's order: device arrays for matrices and pointers, numbers for the others
    """
    function = _source(file).kernel(kernel)
    names: dict[str, int] = {}
    values: list[Any] = []
    for parameter, argument in zip(function.parameters, arguments, strict=True):
        if not isinstance(argument, DeviceArray):
            values.append(argument)
            if parameter.integer:
                names[parameter.name] = int(argument)
        elif parameter.matrix is None:
            values.append(ctypes.c_void_p(argument.pointer))
        else:
            names["m"], names["n"] = argument.shape
            values.append(MatrixParameter(argument.pointer, *argument.shape, *argument.strides))
    dtypes = [argument.dtype.name if isinstance(argument, DeviceArray) else None for argument in arguments]
    grid, block, shared = function.sizes.of(names)
    expression, c_values = function.expression(dtypes), function.c_values(values)
    launched(lambda: device().launch(file, expression, grid, block, c_values, shared), *arguments)


_source = functools.cache(CudaFile.read)


# --- the CPU


class _Simulated:
    """The CPU in the GPU's place, with the same methods."""

    arch = "sm_90"  # as on_cpu.hpp's __CUDA_ARCH__

    def allocate(self, nbytes: int) -> tuple[Any, int]:
        """Memory as a device gives it: at a multiple of 256 bytes, with arbitrary contents (here 0xFF)."""
        memory = np.full(nbytes + 256, 0xFF, np.uint8)
        return memory, memory.ctypes.data + -memory.ctypes.data % 256

    def write(self, pointer: int, array: Array) -> None:
        ctypes.memmove(pointer, array.ctypes.data, array.nbytes)

    def read(self, pointer: int, array: Array) -> None:
        ctypes.memmove(array.ctypes.data, pointer, array.nbytes)

    def launch(
        self, file: Path, kernel: str, grid: Sizes, block: Sizes, values: Sequence[Any], shared: int = 0
    ) -> None:
        _for_cpu(file).run(kernel, grid, block, values, shared)


_SIMULATED = _Simulated()


@functools.cache
def _for_cpu(file: Path) -> Simulated:
    return build_simulated(file, names=_source(file).expressions(), opt="-O2")


# --- the GPU


@dataclass
class _Memory:
    """The owner of a device allocation, which is freed with it."""

    gpu: _Gpu
    pointer: Any

    def __del__(self) -> None:
        if not sys.is_finalizing():  # the driver frees all then
            self.gpu.call("cuMemFree", self.pointer)


class _Gpu:
    """The first GPU, in its primary context, which torch and Numba use too."""

    def __init__(self) -> None:
        from cuda.bindings import driver

        self._driver = driver
        self._context: Any = None
        self.call("cuInit", 0)
        if not self.call("cuDeviceGetCount"):
            raise RuntimeError("the driver knows of no device")
        self.number = self.call("cuDeviceGet", 0)
        major, minor = (self.attribute(f"COMPUTE_CAPABILITY_{part}") for part in ("MAJOR", "MINOR"))
        self.arch = f"sm_{major}{minor}"
        self._context = self.call("cuDevicePrimaryCtxRetain", self.number)
        self._functions: dict[tuple[Path, str], Any] = {}
        self._lock = threading.Lock()

    def call(self, name: str, *arguments: Any) -> Any:
        """What a driver call returns after its status. Raises RuntimeError where that is no success."""
        if self._context is not None:
            self._driver.cuCtxSetCurrent(self._context)
        status, *values = getattr(self._driver, name)(*arguments)
        if int(status) != 0:
            raise RuntimeError(f"{name} failed: {status.name}")
        return values[0] if values else None

    def attribute(self, name: str) -> int:
        """A fact of the device, by the driver's name for it: "MULTIPROCESSOR_COUNT"."""
        attribute = getattr(self._driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self.call("cuDeviceGetAttribute", attribute, self.number))

    def has_passed(self, event: Any) -> bool:
        """Whether all work before an event has ended."""
        return int(self._driver.cuEventQuery(event)[0]) == 0

    def allocate(self, nbytes: int) -> tuple[Any, int]:
        """New memory: the object that owns it, and its address."""
        pointer = self.call("cuMemAlloc", nbytes)
        return _Memory(self, pointer), int(pointer)

    def write(self, pointer: int, array: Array) -> None:
        if array.nbytes:
            self.call("cuMemcpyHtoD", pointer, array.ctypes.data, array.nbytes)

    def read(self, pointer: int, array: Array) -> None:
        """Copy from the device, after all launches, to an array in C order."""
        self.call("cuCtxSynchronize")  # a kernel's error is reported here
        if array.nbytes:
            self.call("cuMemcpyDtoH", array.ctypes.data, pointer, array.nbytes)

    def launch(
        self, file: Path, kernel: str, grid: Sizes, block: Sizes, values: Sequence[Any], shared: int = 0
    ) -> None:
        """Run a kernel of a .cu file by its name expression; the file is compiled for this GPU at the first launch."""
        with self._lock:
            if (file, kernel) not in self._functions:
                compiled = compile_for_device(file, self.arch)
                module = self.call("cuModuleLoadData", compiled.code)
                for expression, lowered in compiled.lowered.items():
                    self._functions[file, expression] = self.call("cuModuleGetFunction", module, lowered.encode())
        addresses = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        function = self._functions[file, kernel]
        if shared:  # more than 48 KiB must be asked for
            attribute = self._driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self.call("cuFuncSetAttribute", function, attribute, shared)
        self.call("cuLaunchKernel", function, *grid, *block, shared, 0, ctypes.addressof(addresses), 0)


_gpu = functools.cache(_Gpu)
