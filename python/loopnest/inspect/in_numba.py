"""Numba's rungs: machine code, the hot loop and optimised LLVM IR of each kernel that a rung calls.

    workload  of the call; the operation's largest by default
    strided   show the form for arrays of any strides, in place of the one for arrays in C order

The rung's host function is run once with kernels that only note their arguments. Each kernel is then compiled anew with
its own options, since Numba keeps no text of kernels from its cache on disk. Source lines come from a second compile
with debugging information: instructions that both have share their lines.
"""

from __future__ import annotations

import contextlib
import difflib
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..operation import Implementation
from . import Request, run_once, workload_of
from .elf import ObjectFile
from .families import this_family
from .gpu_code import families, read_ir
from .loops import heat, hot_loop
from .records import InspectError, Instruction, Line, Listing
from .source import source_line, source_listing

SHOWS = ("hot", "source", "asm", "llvm")

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Called:
    """A kernel, as a rung calls it.

    function   the Python function as it was written
    signature  Numba's types of its arguments
    options    Numba's, which it is compiled with
    """

    function: Any
    signature: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...]
    ufunc: bool = False

    @property
    def layout(self) -> str:
        from numba.types import Array

        layouts = {t.layout for t in self.signature if isinstance(t, Array)}
        if self.ufunc:
            return "a NumPy ufunc's loop"
        if layouts == {"C"}:
            return "arrays in C order"
        return "arrays of any strides" if layouts == {"A"} else "arrays in C order, some of any strides"


def show(request: Request) -> list[Listing]:
    k = request.implementation
    if request.aspect == "source":
        return [source_listing(k)]
    kernels = kernels_of(k, request.dtype, request.options.get("workload"), bool(request.options.get("strided")))
    shown = _ir if request.aspect == "llvm" else _machine_code
    listings = [shown(request, kernel) for kernel in kernels]
    if request.isa is not None:
        note = f"Numba compiles for this processor: {request.isa} is a level of the C++ rungs."
        listings = [replace(listing, notes=(note, *listing.notes)) for listing in listings]
    if request.aspect == "hot":  # the kernel that takes the time first
        listings.sort(key=lambda listing: heat(listing.loop) if listing.loop else (-1.0, -1.0), reverse=True)
    return listings


# --- which kernels a rung calls


def kernels_of(
    k: Implementation, dtype: str = "float32", workload: str | None = None, strided: bool = False
) -> list[Called]:
    """The compiled kernels of one call of a rung, each once for its types, in the order of the calls.

    Raises InspectError if there is none.
    """
    chosen = workload_of(k, workload)
    with _noting() as found:
        run_once(k, chosen, dtype)
    distinct = list(dict.fromkeys(_strided(one) if strided else one for one in found))
    if not distinct:
        raise InspectError(f"{k.id} calls no kernel that Numba compiles, on {chosen.name}")
    return distinct


def _strided(called: Called) -> Called:
    from numba.types import Array

    kinds = (t.copy(layout="A") if isinstance(t, Array) else t for t in called.signature)
    return replace(called, signature=tuple(kinds))


@contextlib.contextmanager
def _noting() -> Iterator[list[Called]]:
    """While it lasts, kernels are noted in place of being run."""
    from numba import from_dtype

    from ..backends import numba as numba_kernels

    found: list[Called] = []
    noted = threading.Lock()  # a rung may call its kernels from several threads

    def call(kernel: Any, *args: Any) -> None:
        in_c_order = all(
            any_strides or not isinstance(arg, np.ndarray) or arg.flags.c_contiguous
            for arg, any_strides in zip(args, kernel._any_strides, strict=True)
        )
        with noted:
            found.append(Called(kernel.py_func, kernel.signature(args, in_c_order), _options(kernel.dispatcher)))

    def ufunc(function: Any, dtype: Any) -> Any:
        kind = from_dtype(np.dtype(dtype))

        def run(*args: Any, out: Any = None, **_: Any) -> Any:
            count = function.py_func.__code__.co_argcount
            with noted:
                found.append(Called(function.py_func, (kind, *[kind] * count), (), ufunc=True))
            return out if out is not None else np.empty_like(args[0])

        return run

    real = numba_kernels.ufunc
    users = [module for module in list(sys.modules.values()) if getattr(module, "__dict__", {}).get("ufunc") is real]
    with _one_at_a_time, contextlib.ExitStack() as stack:
        for owner, name, stand_in in [
            (numba_kernels.CompiledKernel, "__call__", call),
            *((module, "ufunc", ufunc) for module in users),
        ]:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, stand_in)
        yield found


def _options(dispatcher: Any) -> tuple[tuple[str, Any], ...]:
    """A kernel's options, in a form that can be compared."""
    kept = {name: value for name, value in dispatcher.targetoptions.items() if name not in ("nopython", "boundscheck")}
    return tuple(sorted((name, frozenset(v) if isinstance(v, set) else v) for name, v in kept.items()))


# --- compiling


@dataclass(frozen=True)
class Compiled:
    """Numba's output for a kernel.

    symbol  of the function that holds its loops
    ir      optimised LLVM IR of the module
    object  its machine code as an ELF file
    """

    symbol: str
    ir: str
    object: bytes


_compiled: dict[tuple[Called, bool], Compiled] = {}


def compiled(called: Called, with_lines: bool = False) -> Compiled:
    """The kernel, compiled anew with its own options; with debugging information if lines are wanted."""
    key = (called, with_lines)
    if key not in _compiled:
        _compiled[key] = _compile(called, with_lines)
    return _compiled[key]


# Other debugging options change the code: they are off.
_DEBUG = {"debug": True, "boundscheck": False, "_dbg_extend_lifetimes": False, "_dbg_optnone": False}


def _compile(called: Called, with_lines: bool) -> Compiled:
    import warnings

    from numba import njit
    from numba.core.compiler_lock import global_compiler_lock

    options = {name: set(v) if isinstance(v, frozenset) else v for name, v in called.options}
    function = called.function
    if with_lines:
        options, function = options | _DEBUG, _debuggable(function)
    with global_compiler_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if called.ufunc:
            library, symbol = _compiled_ufunc(called)
        else:
            dispatcher = njit(**options)(function)
            dispatcher.compile(called.signature)
            overload = dispatcher.overloads[called.signature]
            library, symbol = overload.library, overload.fndesc.llvm_func_name
        library._ensure_finalized()
        machine = library._codegen._tm
        return Compiled(symbol, library.get_llvm_str(), bytes(machine.emit_object(library._final_module)))


def _compiled_ufunc(called: Called) -> tuple[Any, str]:
    """The loop over arrays that Numba makes of a function of one element."""
    from numba import vectorize
    from numba.core.typing import signature
    from numba.np.ufunc.wrappers import build_ufunc_wrapper

    result, *arguments = called.signature
    made = vectorize([signature(result, *arguments)])(called.function)
    inner = next(iter(made._dispatcher.overloads.values()))
    name = inner.fndesc.llvm_func_name
    wrapped = build_ufunc_wrapper(inner.library, inner.target_context, name, inner.signature, False, inner)
    return wrapped.library, wrapped.name


def _debuggable(function: Any) -> Any:
    """The function with its helpers compiled anew, so that code inlined from them has lines too."""
    from numba import njit

    names = dict(function.__globals__)
    for name in function.__code__.co_names:
        value: Any = names.get(name)
        if hasattr(value, "py_func") and hasattr(value, "targetoptions"):
            options = {k: v for k, v in value.targetoptions.items() if k != "nopython"}
            names[name] = njit(**{**options, **_DEBUG})(_debuggable(value.py_func))
    copy = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy


# --- listings


def _machine_code(request: Request, called: Called) -> Listing:
    made, notes = compiled(called), []
    file = ObjectFile(made.object)
    function = file.function(made.symbol)
    code, note = _with_lines(file.code(function), called)
    notes += [note] if note else []
    loop = hot_loop(code, this_family())
    inside = loop.addresses if loop is not None else frozenset()
    if loop is None:
        notes.append("It has no loop of its own.")
    calls = sum(one.kind == "call" for one in loop.instructions) if loop is not None else 0
    if calls:
        times = f"{calls} times" if calls > 1 else "once"
        names = " and ".join(file.undefined(ignored=("NRT_", "numba_", "Py", "_Py"))) or "a function"
        notes.append(f"The loop calls {names} {times} an iteration: a call computes one element.")
    lines = tuple(
        Line(one.text, one.kind, one.line, one.address, one.address in inside)
        for one in code
        if request.aspect != "hot" or one.address in inside
    )
    title = f"{called.function.__name__}, {request.dtype}, {called.layout}"
    return Listing(title, "asm", lines, loop, tuple(notes), _facts(called))


def _ir(request: Request, called: Called) -> Listing:
    """The IR of the compile with debugging information, so that it has source lines."""
    made = compiled(called, with_lines=not called.ufunc)
    code, name = read_ir(made.ir, made.symbol), called.function.__name__
    lines = tuple(replace(line, text=line.text.replace(made.symbol, name)) for line in code.lines)
    facts = _facts(called) | {"instructions": families(code.instructions.values())}
    return Listing(f"{name}, {request.dtype}, {called.layout}: optimised LLVM IR", "llvm", lines, facts=facts)


def _facts(called: Called) -> dict[str, Any]:
    import llvmlite.binding as llvm
    import numba

    version = ".".join(map(str, llvm.llvm_version_info))
    file, line = source_line(called.function.__code__.co_filename, called.function.__code__.co_firstlineno)
    compiler = f"Numba {numba.__version__}, LLVM {version}, for {llvm.get_host_cpu_name()}"
    return {"compiler": compiler, "source": f"{file}:{line}"}


def _with_lines(code: Sequence[Instruction], called: Called) -> tuple[tuple[Instruction, ...], str]:
    """The instructions with their source lines, and a note if some have none."""
    if called.ufunc:
        return tuple(code), "Numba's ufuncs have no debugging information, so there are no source lines."
    debugged = compiled(called, with_lines=True)
    file = ObjectFile(debugged.object)
    function = file.function(debugged.symbol)
    other, line = file.code(function), file.lines(function)
    left, right = ([one.mnemonic for one in some] for some in (code, other))
    blocks = difflib.SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks()
    matched = {block.a + n: block.b + n for block in blocks for n in range(block.size)}
    share = len(matched) / max(len(code), 1)
    note = f"With debugging information Numba compiles other code: {100 * share:.0f} % of the instructions have a line."
    placed = (replace(one, line=line(other[matched[n]].address)) if n in matched else one for n, one in enumerate(code))
    return tuple(placed), note if share < 0.9 else ""
