"""Numba's rungs: machine code, the hot loop and optimised LLVM IR of each kernel that a rung calls.

    workload  of the call; the operation's largest by default

The rung's host function runs once, with kernels that only note their arguments. Each kernel is then compiled anew with
its own options and with debugging information, which gives source lines and changes no instruction.
"""

from __future__ import annotations

import re
import tempfile
import types
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from ..operation import Implementation
from . import Request, run_once, workload_of
from .elf import ObjectFile, assembly
from .families import this_family
from .loops import heat, hot_loop
from .records import InspectError, Line, Listing

SHOWS = ("hot", "asm", "llvm")

DEBUG = {"debug": True, "boundscheck": False, "_dbg_extend_lifetimes": False, "_dbg_optnone": False}
"""Source lines; Numba's other debugging options change the code."""

OURS = ("nopython", "boundscheck")
"""Options that a kernel does not keep."""


@dataclass(frozen=True, eq=False)
class Called:
    """A kernel, as a rung calls it: the Python function, Numba's types of its arguments, and its options."""

    function: Any
    signature: tuple[Any, ...]
    options: Mapping[str, Any]


def show(request: Request) -> list[Listing]:
    """The kernel that takes the time first."""
    import llvmlite.binding as llvm
    import numba

    version = ".".join(map(str, llvm.llvm_version_info))
    compiler = f"Numba {numba.__version__}, LLVM {version}, for {llvm.get_host_cpu_name()}"
    found = []
    for called in kernels_of(request.implementation, request.dtype, request.options.get("workload")):
        symbol, ir, machine_code = compiled(called)
        name = called.function.__name__
        if request.aspect == "llvm":
            title = f"{name}, {request.dtype}: optimised LLVM IR"
            found.append(Listing(title, "llvm", _ir_of(symbol, name, ir), facts={"compiler": compiler}))
            continue
        facts = {"compiler": compiler}
        found.append(assembled(symbol, machine_code, f"{name}, {request.dtype}", request.aspect, facts))
    return hottest_first(found)


def assembled(
    symbol: str, machine_code: bytes, title: str, aspect: str, facts: Mapping[str, Any] | None = None
) -> Listing:
    """A function of an object file's bytes, as `assembly` lists it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.o")
        path.write_bytes(machine_code)
        file = ObjectFile(path)
        function = file.function(symbol)
        return assembly(file, function, hot_loop(file.code(function), this_family()), title, aspect, facts=facts)


def hottest_first(listings: Iterable[Listing]) -> list[Listing]:
    """Listings in the order of the possible speed of their hot loops; those without a loop come last."""
    return sorted(listings, key=lambda listing: heat(listing.loop) if listing.loop else (-1.0,), reverse=True)


def _ir_of(symbol: str, name: str, module: str) -> tuple[Line, ...]:
    """A function of a module of LLVM IR, by its name in Python, without debugging information."""
    text = re.sub(r",? ![\w.]+ !\d+", "", module.replace('"', "").replace(symbol, name))
    function = re.search(rf"^define[^\n]*@{name}\(.*?^}}$", text, re.MULTILINE | re.DOTALL)
    return tuple(Line(line) for line in (function[0].splitlines() if function else ()) if "dbg" not in line)


def kernels_of(k: Implementation, dtype: str = "float32", workload: str | None = None) -> list[Called]:
    """The kernels of one call of a rung, each once for its types, in the order of the calls.

    Raises InspectError if there is none.
    """
    from ..backends.numba import CompiledKernel

    chosen, found = workload_of(k, workload), dict[Any, Called]()

    def call(kernel: CompiledKernel, *args: Any) -> None:
        in_c_order = all(
            any_strides or not isinstance(arg, np.ndarray) or arg.flags.c_contiguous
            for arg, any_strides in zip(args, kernel._any_strides, strict=True)
        )
        options = {name: v for name, v in kernel.dispatcher.targetoptions.items() if name not in OURS}
        signature = kernel.signature(args, in_c_order)
        found.setdefault((kernel.py_func, signature), Called(kernel.py_func, signature, options))

    with mock.patch.object(CompiledKernel, "__call__", call):
        run_once(k, chosen, dtype)
    if not found:
        raise InspectError(f"{k.id} calls no kernel that is declared with backends.numba.compiled, on {chosen.name}")
    return list(found.values())


def compiled(called: Called) -> tuple[str, str, bytes]:
    """A kernel, compiled anew with its own options: the symbol of the function with its loops, LLVM IR, an ELF file."""
    from numba import njit
    from numba.core.compiler_lock import global_compiler_lock

    with global_compiler_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dispatcher = njit(**called.options, **DEBUG)(_with_lines(called.function))
        dispatcher.compile(called.signature)
        overload = dispatcher.overloads[called.signature]
        library = overload.library
        library._ensure_finalized()
        machine_code = bytes(library._codegen._tm.emit_object(library._final_module))
        return overload.fndesc.llvm_func_name, library.get_llvm_str(), machine_code


def _with_lines(function: Any) -> Any:
    """The function with its helpers compiled anew, so that code inlined from them has lines too."""
    from numba import njit

    names = dict(function.__globals__)
    for name in function.__code__.co_names:
        helper: Any = names.get(name)
        if hasattr(helper, "py_func") and hasattr(helper, "targetoptions"):
            options = {option: value for option, value in helper.targetoptions.items() if option not in OURS}
            names[name] = njit(**options, **DEBUG)(_with_lines(helper.py_func))
    copy = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy
