"""Machine code in files: the functions of a shared object or an object file (ELF) for x86-64, and their source lines.

pyelftools reads the file and capstone disassembles; both come with `loopnest[inspect]`. Source lines come from
binutils' addr2line, which reads the tables that `-g1` leaves (DWARF).
"""

from __future__ import annotations

import bisect
import ctypes
import functools
import importlib.util
import io
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import _core
from .families import Family, this_family
from .loops import heat, hot_loop
from .records import InspectError, Instruction, Line, Listing, Loop, SourceLine
from .source import source_line
from .x86 import decode

NEEDED = {"capstone": "capstone", "elftools": "pyelftools"}

HELPERS = ("simd/", "activations/kernel/", "linalg/kernel/", "/usr/", "/opt/")
"""Folders whose files hold no kernels: code inlined from there counts as the line that it was inlined to."""

R_X86_64_RELATIVE = 8


def why_not_here() -> str | None:
    """What is missing to read machine code, and the fix; None if nothing is."""
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    are = "are" if len(missing) > 1 else "is"
    return f"{' and '.join(missing)} {are} not installed: pip install 'loopnest[inspect]'" if missing else None


@dataclass(frozen=True)
class Function:
    """A function in a file: the linker's name, its name in C++, and where its code is."""

    symbol: str
    name: str
    address: int
    size: int
    section: int

    def __contains__(self, address: int) -> bool:
        return self.address <= address < self.address + self.size


class ObjectFile:
    """A shared object, an executable or an object file. Raises InspectError if it cannot be read."""

    def __init__(self, path: Path) -> None:
        if missing := why_not_here():
            raise InspectError(missing)
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile

        if not path.is_file():
            raise InspectError(f"there is no file {path}")
        works = "--source and --remarks work without its machine code"
        try:
            self.path, self.elf = path, ELFFile(io.BytesIO(path.read_bytes()))
        except ELFError as error:
            raise InspectError(f"{path} is no ELF file ({error}): `otool -tvV` reads macOS's; {works}") from None
        if (machine := self.elf.get_machine_arch()) != "x64":
            raise InspectError(f"{path} is for {machine}, expected x86-64: `objdump -d` disassembles it; {works}")
        self._code: dict[Function, tuple[Instruction, ...]] = {}
        self._lines: dict[Function, Mapping[int, SourceLine]] = {}

    @functools.cached_property
    def functions(self) -> tuple[Function, ...]:
        """In the order of their addresses; if several have one address, the first."""
        found: dict[tuple[int, int], Function] = {}  # by address, and section: object files have several at 0
        for symbol in self._symbols("STT_FUNC", ".symtab", ".dynsym"):
            if isinstance(index := symbol["st_shndx"], int):
                one = Function(symbol.name, demangled(symbol.name), symbol["st_value"], symbol["st_size"], index)
                found.setdefault((one.address, index), one)
        return tuple(found[place] for place in sorted(found))

    def _symbols(self, kind: str, *tables: str) -> Iterator[Any]:
        for table in tables:
            section = self.elf.get_section_by_name(table)
            for symbol in section.iter_symbols() if section is not None else ():
                if symbol["st_size"] and symbol["st_info"]["type"] == kind:
                    yield symbol

    def function(self, name: str) -> Function:
        """The function with this symbol, this name, or this name without namespace and parameters.

        Raises InspectError if there is none, or several.
        """
        exact = [f for f in self.functions if name in (f.symbol, f.name)]
        named = exact[:1] or [f for f in self.functions if re.search(rf"\b{re.escape(name)}[(<]", f.name)]
        if len(named) != 1:
            known = ", ".join(f.name for f in (named or self.functions)[:12]) or "none with a symbol: was it stripped?"
            raise InspectError(f"no function is called {name!r}; there are {known}")
        return named[0]

    def function_at(self, address: int) -> Function | None:
        """The function around this address, in a linked file."""
        at = bisect.bisect_right(self.functions, address, key=lambda function: function.address) - 1
        return self.functions[at] if at >= 0 and address in self.functions[at] else None

    def code(self, function: Function) -> tuple[Instruction, ...]:
        """Its instructions."""
        if function not in self._code:
            section = self.elf.get_section(function.section)
            start = function.address - section["sh_addr"]
            data = section.data()[start : start + function.size]
            self._code[function] = tuple(decode(data, function.address))
        return self._code[function]

    def lines(self, function: Function) -> Callable[[int], SourceLine | None]:
        """A function from an address to its source line. For inlined code it is the innermost place outside of
        HELPERS."""
        if function not in self._lines:
            self._lines[function] = self._lines_of(function)
        return self._lines[function].get

    def _lines_of(self, function: Function) -> Mapping[int, SourceLine]:
        command = shutil.which("addr2line") or shutil.which("llvm-addr2line")
        if command is None:
            return {}
        asked = "\n".join(hex(one.address) for one in self.code(function))
        arguments = ["-a", "-i", "-e", str(self.path)]
        if self.elf["e_type"] == "ET_REL":
            arguments += ["-j", self.elf.get_section(function.section).name]
        ran = subprocess.run([command, *arguments], input=asked, capture_output=True, text=True, check=False)
        found: dict[int, SourceLine] = {}
        for part in ran.stdout.split("0x")[1:]:
            address, *places = part.splitlines()
            pairs = [place.split(" (")[0].rpartition(":") for place in places]
            known = [source_line(file, int(number)) for file, _, number in pairs if number.isdigit() and int(number)]
            if known:
                found[int(address, 16)] = next((p for p in known if not p[0].startswith(HELPERS)), known[0])
        return found

    # --- what calls refer to

    @functools.cached_property
    def _tables(self) -> list[tuple[int, int, list[Function]]]:
        """The variables that are tables of pointers to functions, which the loader writes: from, to, the functions."""
        section = self.elf.get_section_by_name(".rela.dyn")
        relocations = section.iter_relocations() if section is not None else ()
        pointers = {one["r_offset"]: one["r_addend"] for one in relocations if one["r_info_type"] == R_X86_64_RELATIVE}
        tables = []
        for variable in self._symbols("STT_OBJECT", ".symtab"):
            first, last = variable["st_value"], variable["st_value"] + variable["st_size"]
            found = [self.function_at(pointers.get(place, 0)) for place in range(first, last, 8)]
            tables.append((first, last, [function for function in found if function]))
        return tables

    def called_from(self, function: Function) -> Iterator[Function]:
        """The functions that it may call: by name, by a pointer, and by a table of functions that it reads."""
        for one in self.code(function):
            for address in (one.target, one.refers_to):
                if address is None or address in function:
                    continue
                if function_there := self.function_at(address):
                    yield function_there
                elif one.kind != "branch":
                    yield from next((found for first, last, found in self._tables if first <= address < last), ())

    def reached_from(self, root: Function, inside: str = "") -> dict[Function, Function | None]:
        """The functions that a call of `root` may reach, breadth first, each with its caller.

        inside  only those whose name contains this, such as a namespace
        """
        found: dict[Function, Function | None] = {root: None}
        waiting = [root]
        for function in waiting:  # the list grows meanwhile
            for callee in self.called_from(function):
                if callee not in found and inside in callee.name:
                    found[callee] = function
                    waiting.append(callee)
        return found


def assembly(
    file: ObjectFile, function: Function, loop: Loop | None, title: str, aspect: str,
    notes: tuple[str, ...] = (), facts: Mapping[str, Any] | None = None,
) -> Listing:  # fmt: skip
    """A function's machine code with its source lines; for the aspect "hot" its hot loop alone."""
    line_of, hot = file.lines(function), loop.addresses if loop is not None else frozenset()
    code = [replace(one, line=line_of(one.address)) for one in file.code(function)]
    if loop is None:
        notes = (*notes, f"{title} has no loop.")
    else:
        loop = replace(loop, instructions=tuple(one for one in code if one.address in hot))
        if "call" in loop.counts:
            notes = (*notes, "It calls functions in every iteration: their work is not counted here.")
        if loop.skipped:
            notes = (*notes, f"The common path skips {loop.skipped} more of the loop's instructions, not counted.")
    whole = loop is None or aspect != "hot"
    shown = code if whole else [one for one in code if one.address in hot]
    lines = tuple(Line(one.text, one.kind, one.line, one.address, one.address in hot) for one in shown)
    return Listing(title if whole else f"the hot loop of {title}", "asm", lines, loop, notes, facts or {})


@functools.cache
def demangled(symbol: str) -> str:
    """A symbol as C++ writes it, by the C++ run-time library that the extension has loaded; itself if it is not C++."""
    if not symbol.startswith("_Z"):
        return symbol
    base, dot, rest = symbol.partition(".")
    libraries = ctypes.CDLL(_core.__file__)
    libraries.__cxa_demangle.restype = ctypes.c_void_p
    text = libraries.__cxa_demangle(base.encode(), None, None, None)
    if not text:
        return symbol
    name = ctypes.string_at(text).decode()
    libraries.free(ctypes.c_void_p(text))
    return name + (f" [{rest}]" if dot else "")


@functools.lru_cache(maxsize=8)
def _opened(path: Path, changed: int) -> ObjectFile:
    return ObjectFile(path)


def object_file(path: Path) -> ObjectFile:
    """The file, read once for as long as it does not change."""
    return _opened(path.resolve(), path.stat().st_mtime_ns) if path.is_file() else ObjectFile(path)


def hottest_in(
    path: Path, symbol: str, family: Family | None = None
) -> tuple[ObjectFile, Function, Function, Loop | None]:
    """What `diagnose` looks at: the file, its function of this name, the one that the hot loop is in, and this loop."""
    file = object_file(path)
    root = file.function(symbol)
    found = [(one, hot_loop(file.code(one), family or this_family())) for one in file.reached_from(root)]
    hot = max(((one, loop) for one, loop in found if loop), key=lambda pair: heat(pair[1]), default=(root, None))
    return file, root, *hot


def diagnose(path: Path, symbol: str, family: Family | None = None) -> Loop | None:
    """The hot loop of a function in a compiled file, or of the functions that it calls there; None without a loop.

    path    of a shared object or an object file
    symbol  of the function: `matmul` for extern "C" functions, or its name in C++
    family  of the processor whose bound is wanted; None is this machine's
    Raises InspectError if the file cannot be read, or has no such function.
    """
    return hottest_in(path, symbol, family)[-1]
