"""Numba's rungs: optimised LLVM IR, machine code and the hot loop of each kernel that a rung calls.

    workload  whose call is looked at; the operation's largest where it is not given
    strided   look at the form that takes any strides, in place of the one for arrays in C order

A rung's host function is run once with kernels that only note how they are called. Each is then compiled anew, with its
own options: Numba keeps no text of what comes from its cache on disk. Source lines are those of a second compile, with
debugging information: where the two give the same instructions, a line of the one is a line of the other.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import re
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..operation import Implementation
from . import Request, source_listing, workload_of
from .elf import Function, ObjectFile
from .gpu_code import source_line
from .llvm_ir import hot_loop_of_ir, read_ir
from .loops import heat, hot_loop
from .ports import this_family
from .records import InspectError, Instruction, Line, Listing, SourceLine

SHOWS = ("hot", "source", "asm", "llvm")

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Called:
    """A kernel as a rung calls it.

    function   the Python function that was written
    signature  Numba's types of its arguments
    options    that Numba compiles it with
    """

    function: Any
    signature: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...]
    ufunc: bool = False


def show(request: Request) -> list[Listing]:
    k = request.implementation
    if request.aspect == "source":
        return [source_listing(k)]
    kernels = kernels_of(k, request.dtype, request.options.get("workload"), bool(request.options.get("strided")))
    listings = [_listing(request.aspect, kernel, request.dtype) for kernel in kernels]
    if request.isa is not None:
        note = f"Numba compiles for this processor: {request.isa} is a level of the C++ rungs."
        listings = [replace(listing, notes=(note, *listing.notes)) for listing in listings]
    if request.aspect == "hot":  # the one that takes the time first
        listings.sort(key=lambda listing: heat(listing.loop) if listing.loop else (-1.0, -1.0), reverse=True)
    return listings


def kernels_of(
    k: Implementation, dtype: str = "float32", workload: str | None = None, strided: bool = False
) -> list[Called]:
    """The compiled kernels that one call of a rung comes to, each once for its types, in the order of the calls.

    Raises InspectError where there is none.
    """
    operation, chosen = k.operation, workload_of(k, workload)
    arguments = operation.contract.sample(chosen, np.dtype(dtype), np.random.default_rng(0))
    with _noting() as found, np.errstate(all="ignore"):
        operation.contract.run(k.kernel, *arguments.inputs, **arguments.options)
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
    import sys

    from numba import from_dtype

    from ..backends import numba as numba_kernels

    found: list[Called] = []
    noted = threading.Lock()

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
        stack.callback(setattr, numba_kernels.CompiledKernel, "__call__", numba_kernels.CompiledKernel.__call__)
        numba_kernels.CompiledKernel.__call__ = call  # type: ignore[assignment,method-assign]
        for module in users:
            stack.callback(setattr, module, "ufunc", real)
            module.ufunc = ufunc  # type: ignore[attr-defined]
        yield found


def _options(dispatcher: Any) -> tuple[tuple[str, Any], ...]:
    """What the kernel is compiled with, in a form that can be compared."""
    kept = {name: value for name, value in dispatcher.targetoptions.items() if name not in ("nopython", "boundscheck")}
    return tuple(sorted((name, frozenset(v) if isinstance(v, set) else v) for name, v in kept.items()))


# --- compiling


@dataclass(frozen=True)
class Compiled:
    """What Numba made of a kernel.

    symbol  of the function that holds its loops
    ir      optimised LLVM IR of the module; object: its machine code as an ELF file
    """

    symbol: str
    ir: str
    object: bytes


_compiled: dict[tuple[Called, bool], Compiled] = {}


def compiled(called: Called, with_lines: bool = False) -> Compiled:
    """The kernel, compiled anew as it is for its calls, with debugging information where lines are wanted."""
    key = (called, with_lines)
    if key not in _compiled:
        _compiled[key] = _compile(called, with_lines)
    return _compiled[key]


def _compile(called: Called, with_lines: bool) -> Compiled:
    import warnings

    from numba import njit, vectorize
    from numba.core.compiler_lock import global_compiler_lock

    options = {name: set(v) if isinstance(v, frozenset) else v for name, v in called.options}
    function = called.function
    if with_lines:
        options, function = options | _DEBUG, _debuggable(function)
    with global_compiler_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if called.ufunc:
            from numba.core.typing import signature
            from numba.np.ufunc.wrappers import build_ufunc_wrapper

            result, *arguments = called.signature
            made = vectorize([signature(result, *arguments)], **options)(called.function)
            of_one = next(iter(made._dispatcher.overloads.values()))
            wrapped = build_ufunc_wrapper(
                of_one.library, of_one.target_context, of_one.fndesc.llvm_func_name, of_one.signature, False, of_one
            )
            library, symbol = wrapped.library, wrapped.name
        else:
            dispatcher = njit(**options)(function)
            dispatcher.compile(called.signature)
            of_all = dispatcher.overloads[called.signature]
            library, symbol = of_all.library, of_all.fndesc.llvm_func_name
        library._ensure_finalized()
        machine = library._codegen._tm
        return Compiled(symbol, library.get_llvm_str(), bytes(machine.emit_object(library._final_module)))


# What a debugger would want besides, and what makes other code of it, is left out.
_DEBUG = {"debug": True, "boundscheck": False, "_dbg_extend_lifetimes": False, "_dbg_optnone": False}


def _debuggable(function: Any) -> Any:
    """The function with the helpers that it calls compiled anew, so that what is inlined of them has lines too."""
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


def _listing(aspect: str, called: Called, dtype: str) -> Listing:
    made = compiled(called)
    arrays = _arrays(called)
    title = f"{called.function.__name__}, {dtype}, {arrays}"
    if aspect == "llvm":
        return _ir_listing(f"{title}: optimised LLVM IR", called, made)
    file = ObjectFile(made.object)
    function = file.function(made.symbol)
    code, notes = _with_lines(file.code(function), called)
    code = _resolved(code, file, function)
    loop = hot_loop(code, this_family())
    inside = {one.address for one in loop.instructions} if loop is not None else set()
    lines = tuple(_line(one, one.address in inside) for one in code if aspect != "hot" or one.address in inside)
    if loop is None:
        notes += ("It has no loop of its own.",)
    calls = sum(one.kind == "call" and one.address in inside for one in code)
    if calls:
        names = " and ".join(_outside(file, function)) or "a function"
        many = f"{calls} times" if calls > 1 else "once"
        notes += (f"The loop calls {names} {many} an iteration: a call computes one element, whatever is around it.",)
    facts = {"compiler": _compiler(), "source": _place(called)}
    return Listing(title, "asm", lines, loop, notes, facts)


def _line(one: Instruction, hot: bool) -> Line:
    return Line(one.text, one.kind, one.line, one.address, hot)


def _arrays(called: Called) -> str:
    from numba.types import Array

    layouts = {t.layout for t in called.signature if isinstance(t, Array)}
    if called.ufunc:
        return "a NumPy ufunc's loop"
    if layouts == {"C"}:
        return "arrays in C order"
    return "arrays of any strides" if layouts == {"A"} else "arrays in C order, some of any strides"


def _compiler() -> str:
    import llvmlite.binding as llvm
    import numba

    version = ".".join(map(str, llvm.llvm_version_info))
    return f"Numba {numba.__version__}, LLVM {version}, for {llvm.get_host_cpu_name()}"


def _place(called: Called) -> str:
    code = called.function.__code__
    file, line = source_line(code.co_filename, code.co_firstlineno)
    return f"{file}:{line}"


def _resolved(code: Sequence[Instruction], file: ObjectFile, function: Function) -> tuple[Instruction, ...]:
    """The instructions with what is to be put in by the linker in place of the zeros that are there until then: the
    functions that are called, the constants that are read. Numba's code holds whole addresses of them."""
    places = {
        at: name + (f" + {addend:#x}" if addend > 0 and name.startswith(".") else "")
        for at, name, addend in _relocations(file, function)
    }
    found = []
    for one in code:
        place = next((places[at] for at in range(one.address, one.address + one.size) if at in places), None)
        if place and one.mnemonic == "movabs":
            one = replace(one, operands=re.sub(r", (0x[0-9a-f]+|0)$", f", offset {place}", one.operands))
        found.append(one)
    return tuple(found)


def _relocations(file: ObjectFile, function: Function) -> Iterator[tuple[int, str, int]]:
    """What the linker is to put into a function: where, the address of what, and how far behind it."""
    from elftools.elf.relocation import RelocationSection

    for section in file._elf.iter_sections():
        if isinstance(section, RelocationSection) and section["sh_info"] == function.section:
            symbols = file._elf.get_section(section["sh_link"])
            for relocation in section.iter_relocations():
                symbol = symbols.get_symbol(relocation["r_info_sym"])
                name: str = symbol.name
                if not name and isinstance(symbol["st_shndx"], int):  # a section's own symbol
                    name = file._elf.get_section(symbol["st_shndx"]).name
                at = relocation["r_offset"]
                if function.address <= at < function.address + function.size:
                    yield at, name, relocation["r_addend"]


def _outside(file: ObjectFile, function: Function) -> list[str]:
    """The functions of other libraries that it refers to, by the names that the linker would look up."""
    inside = {known.symbol for known in file.functions}
    names = dict.fromkeys(name for _, name, _ in _relocations(file, function) if name not in inside)
    ours = (".", "_Z", "NRT_", "numba_", "Py", "_Py")
    return [name for name in names if name and not name.startswith(ours)]


def _with_lines(code: Sequence[Instruction], called: Called) -> tuple[tuple[Instruction, ...], tuple[str, ...]]:
    """The instructions with the source lines that a compile with debugging information has for the same ones."""
    if called.ufunc:
        return tuple(code), ("Numba's ufuncs have no debugging information, so there are no source lines.",)
    debugged = compiled(called, with_lines=True)
    file = ObjectFile(debugged.object)
    function = file.function(debugged.symbol)
    other = file.code(function)
    where = _debug_lines(debugged.object, Path(called.function.__code__.co_filename).parent)
    lines: list[SourceLine | None] = [None] * len(code)
    same = difflib.SequenceMatcher(
        None, [one.mnemonic for one in code], [one.mnemonic for one in other], autojunk=False
    )
    for block in same.get_matching_blocks():
        for n in range(block.size):
            lines[block.a + n] = where(other[block.b + n].address)
    share = sum(block.size for block in same.get_matching_blocks()) / max(len(code), 1)
    notes = () if share > 0.9 else (
        f"With debugging information Numba compiles other code: {100 * share:.0f} % of the instructions have a line.",
    )  # fmt: skip
    return tuple(replace(one, line=line) for one, line in zip(code, lines, strict=True)), notes


def _debug_lines(data: bytes, folder: Path) -> Callable[[int], SourceLine | None]:
    """A function from an address in an object file's code to the source line, by the file's DWARF.

    folder  of the source, which the table of files leaves out
    """
    import bisect

    from elftools.elf.elffile import ELFFile

    rows: list[tuple[int, SourceLine | None]] = []
    info = ELFFile(io.BytesIO(_linked(data))).get_dwarf_info(relocate_dwarf_sections=False)
    for unit in info.iter_CUs():
        program = info.line_program_for_CU(unit)
        if program is None:
            continue
        header = program.header
        version5 = header["version"] >= 5
        names = {}
        for n, entry in enumerate(header["file_entry"]):
            name = entry.name.decode()
            directories = header["include_directory"]
            index = entry.dir_index - (0 if version5 else 1)
            place = Path(directories[index].decode()) if 0 <= index < len(directories) else folder
            names[n + (0 if version5 else 1)] = str(folder / place / name)
        for row in program.get_entries():
            state = row.state
            if state is not None:
                known = not state.end_sequence and state.line and state.file in names
                rows.append((state.address, source_line(names[state.file], state.line) if known else None))
    rows.sort(key=lambda row: (row[0], row[1] is not None))
    addresses = [address for address, _ in rows]

    def at(address: int) -> SourceLine | None:
        place = bisect.bisect_right(addresses, address) - 1
        return rows[place][1] if place >= 0 else None

    return at


def _linked(data: bytes) -> bytes:
    """The object file with the places filled in that its debugging sections leave to the linker.

    pyelftools does this too, but refuses whole files for one kind of relocation in .eh_frame that it does not know.
    """
    from elftools.elf.elffile import ELFFile
    from elftools.elf.relocation import RelocationSection

    elf = ELFFile(io.BytesIO(data))
    filled = bytearray(data)
    widths = {1: 8, 10: 4, 11: 4}  # R_X86_64_64, _32 and _32S
    for section in elf.iter_sections():
        if not isinstance(section, RelocationSection) or not section.name.startswith(".rela.debug"):
            continue
        start = elf.get_section(section["sh_info"])["sh_offset"]
        symbols = elf.get_section(section["sh_link"])
        for relocation in section.iter_relocations():
            if width := widths.get(relocation["r_info_type"]):
                value = symbols.get_symbol(relocation["r_info_sym"])["st_value"] + relocation["r_addend"]
                at = start + relocation["r_offset"]
                filled[at : at + width] = value.to_bytes(width, "little")
    return bytes(filled)


def _ir_listing(title: str, called: Called, made: Compiled) -> Listing:
    debugged = made if called.ufunc else compiled(called, with_lines=True)
    code = read_ir(made.ir, made.symbol)
    other = read_ir(debugged.ir, debugged.symbol)
    same = difflib.SequenceMatcher(
        None,
        [one.mnemonic for one in code.instructions],
        [one.mnemonic for one in other.instructions],
        autojunk=False,
    )
    instructions = list(code.instructions)
    lines = list(code.lines)
    for block in same.get_matching_blocks():
        for n in range(block.size):
            source = other.instructions[block.b + n].line
            instructions[block.a + n] = replace(instructions[block.a + n], line=source)
            at = code.at[block.a + n]
            lines[at] = replace(lines[at], source=source)
    code = replace(code, instructions=tuple(instructions), lines=tuple(lines))
    loop = hot_loop_of_ir(code)
    short = called.function.__name__
    shown = tuple(replace(line, text=line.text.replace(made.symbol, short)) for line in code.lit(loop))
    return Listing(title, "llvm", shown, loop, (), {"compiler": _compiler(), "source": _place(called)})
