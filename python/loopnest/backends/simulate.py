"""A user's .cu file, run on the CPU: right or wrong, and never how fast.

How a kernel is launched is written above it, in the kernel's own integer parameters and the file's constants:

    // launch: grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16) shared=0
    __global__ void matmul(const float* a, const float* b, float* c, int m, int n, int k) { … }

`grid` and `block` have one to three sizes, x first; `shared` are the bytes of dynamic shared memory, 0 where it is left
out. The expressions are integers' as in C: + - * / % << >>, min, max, ceil_div(a, b), sizeof(float).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .cuda_on_cpu import (
    CudaBuildError,
    CudaLaunchError,
    CudaSourceError,
    KernelFunction,
    LaunchSizes,
    Library,
    build,
    constants_of,
    kernels_of,
)

__all__ = [
    "CudaBuildError",
    "CudaLaunchError",
    "CudaSourceError",
    "KernelFunction",
    "LaunchSizes",
    "Simulated",
    "build_simulated",
    "kernels_of",
]


@dataclass(frozen=True)
class Simulated:
    """A .cu file built for the CPU.

    library    the shared library: `loopnest.backends.cuda_on_cpu.Library` launches by name, as cuLaunchKernel does
    kernels    what the file holds
    constants  the integers to which it gives names
    """

    file: Path
    library: Path
    kernels: tuple[KernelFunction, ...]
    constants: dict[str, int]

    def kernel(self, name: str) -> KernelFunction:
        """The kernel of this name; CudaSourceError, with those that there are, where there is none."""
        for kernel in self.kernels:
            if kernel.name == name.partition("<")[0]:
                return kernel
        known = ", ".join(kernel.name for kernel in self.kernels) or "none"
        raise CudaSourceError(f"{self.file.name} has no __global__ function {name}; it has: {known}")

    def launch(self, name: str, *arguments: Any, sizes: LaunchSizes | None = None, strict: bool = False) -> None:
        """Run a kernel, and wait for it.

        arguments  in the kernel's order: arrays in C order for pointers, numbers for the others
        sizes      in place of those that the comment above the kernel gives

        Raises CudaSourceError for arguments that do not fit the parameters, or where no sizes are known;
        CudaLaunchError where threads wait for ever.

        >>> import numpy as np
        >>> from loopnest.backends.simulate import build_simulated
        >>> file = Path(__import__("tempfile").mkdtemp()) / "twice.cu"
        >>> _ = file.write_text('''
        ... // launch: grid=(n + 31) / 32 block=32
        ... __global__ void twice(const float* x, float* y, int n) {
        ...     int i = blockIdx.x * blockDim.x + threadIdx.x;
        ...     if (i < n) y[i] = 2 * x[i];
        ... }
        ... ''')
        >>> y = np.empty(3, np.float32)
        >>> build_simulated(file).launch("twice", np.array([1, 2, 3], np.float32), y, 3)
        >>> y
        array([2., 4., 6.], dtype=float32)
        """
        kernel = self.kernel(name)
        values = typed(kernel, arguments, self.file.name)
        sizes = sizes or kernel.launch
        if sizes is None:
            raise CudaSourceError(
                f"{self.file.name}: how {name} is launched is not known; write it on a line above the kernel, as in\n"
                "    // launch: grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16)"
            )
        integers = {
            parameter.name: int(argument)
            for parameter, argument in zip(kernel.parameters, arguments, strict=True)
            if isinstance(argument, int | np.integer)
        }
        grid, block, shared = sizes.of({**self.constants, **integers})
        Library(self.library).launch(name, grid, block, values, shared, strict)


_TYPES: dict[str, Any] = {
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "bool": ctypes.c_bool,
    "char": ctypes.c_byte,
    "short": ctypes.c_short,
    "int": ctypes.c_int,
    "unsigned": ctypes.c_uint,
    "unsigned int": ctypes.c_uint,
    "long": ctypes.c_long,
    "unsigned long": ctypes.c_ulong,
    "long long": ctypes.c_longlong,
    "unsigned long long": ctypes.c_ulonglong,
    "size_t": ctypes.c_size_t,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "ptrdiff_t": ctypes.c_ssize_t,
}
_DTYPES = {"float": np.float32, "double": np.float64, "int": np.int32, "long long": np.int64, "int64_t": np.int64}


def typed(kernel: KernelFunction, arguments: Sequence[Any], file: str) -> list[Any]:
    """The arguments as the C values that the kernel's parameters take."""
    if len(arguments) != len(kernel.parameters):
        wanted = ", ".join(parameter.name for parameter in kernel.parameters)
        raise CudaSourceError(
            f"{file}: {kernel.name} was given {len(arguments)} arguments, expected {len(kernel.parameters)}: {wanted}"
        )
    values: list[Any] = []
    for parameter, argument in zip(kernel.parameters, arguments, strict=True):
        where = f"{file}: {kernel.name}'s {parameter.name}"
        if parameter.pointer:
            dtype = _DTYPES.get(parameter.type)
            if not isinstance(argument, np.ndarray) or (dtype is not None and argument.dtype != dtype):
                was = f"an array of {argument.dtype}" if isinstance(argument, np.ndarray) else repr(argument)
                raise CudaSourceError(f"{where} is {parameter.type}*, and was given {was}")
            if not argument.flags.c_contiguous:
                raise CudaSourceError(f"{where} is a pointer, and was given an array that is not in C order")
            values.append(ctypes.c_void_p(argument.ctypes.data))
        elif parameter.type in _TYPES:
            values.append(_TYPES[parameter.type](argument))
        else:
            values.append(argument)
    return values


def build_simulated(
    cu_file: Path | str, *, sanitize: str = "", opt: str = "-O1", names: Sequence[str] | None = None
) -> Simulated:
    """Compile a .cu file for the CPU; what was built before is taken from the user's cache folder.

    sanitize  "address" or "thread"; a process that loads such a library has to have the sanitizer's own loaded first
    opt       the compiler's level of optimization
    names     the kernels that can be launched, for templates with their arguments: `tiled<float>`. All that are no
              templates where it is None.

    Raises CudaSourceError for a file that is not there or has no kernels, CudaBuildError for one that does not compile.
    """
    file = Path(cu_file)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CudaSourceError(f"{file} cannot be read: {error}") from None
    kernels = kernels_of(text)
    wanted = [kernel.name for kernel in kernels if not kernel.template] if names is None else list(names)
    if not wanted:
        templates = [kernel.name for kernel in kernels]
        hint = f"; of a template say which: names=['{templates[0]}<float>']" if templates else ""
        kind = " that is no template" if templates else ""
        raise CudaSourceError(f"{file.name} has no __global__ function{kind}{hint}")
    library = build(text, str(file), wanted, sanitize=sanitize, opt=opt, folders=[file.absolute().parent])
    return Simulated(file, library, kernels, constants_of(text))
