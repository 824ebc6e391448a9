"""Machine code in files: the functions of a shared object or an object file (ELF), disassembled, with source lines.

pyelftools reads the file and capstone disassembles, or objdump does; both packages come with `loopnest[inspect]`.
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
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import x86
from .dwarf import HELPERS, SourceLines
from .loops import heat, hot_loop
from .ports import Family, this_family
from .records import InspectError, Instruction, Loop, SourceLine

NEEDED = {"capstone": "capstone", "elftools": "pyelftools"}


def why_not_here() -> str | None:
    """What is missing to read machine code, and the fix; None where nothing is."""
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if not missing:
        return None
    are = "are" if len(missing) > 1 else "is"
    return f"{' and '.join(missing)} {are} not installed: pip install 'loopnest[inspect]'"


@dataclass(frozen=True)
class Function:
    """A function in a file.

    symbol   as the linker knows it; name: as C++ writes it
    section  the number of the section that it lies in
    """

    symbol: str
    name: str
    address: int
    size: int
    section: int


class ObjectFile:
    """A shared object, an executable or an object file of x86-64.

    where        its path, or its bytes
    disassembler "capstone" or "objdump"
    Raises InspectError where it cannot be read.
    """

    def __init__(self, where: Path | bytes, disassembler: str = "capstone") -> None:
        missing = why_not_here()
        if missing:
            raise InspectError(missing)
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile

        self.path = where if isinstance(where, Path) else None
        self.disassembler = disassembler
        if disassembler == "objdump" and (shutil.which("objdump") is None or self.path is None):
            raise InspectError("objdump is not installed: it comes with binutils. Leave --objdump out for capstone")
        if self.path is not None and not self.path.is_file():
            raise InspectError(f"there is no file {self.path}")
        data = where.read_bytes() if isinstance(where, Path) else where
        if data[:4] in (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"):
            raise InspectError(
                "machine code is read from ELF files, as Linux has, and macOS has Mach-O: `otool -tvV` disassembles "
                f"{self.path or 'those'}; --source and --remarks work there"
            )
        try:
            self._elf = ELFFile(io.BytesIO(data))
        except ELFError as error:
            raise InspectError(f"{self.path or 'the file'} is no ELF file ({error})") from None
        self.machine = self._elf.get_machine_arch()
        if self.machine != "x64":
            raise InspectError(
                f"{self.path or 'the file'} is for {self.machine}, and instructions are told apart for x86-64 alone: "
                "`objdump -d` disassembles it; --source and --remarks work there"
            )
        self._code: dict[tuple[int, int], tuple[Instruction, ...]] = {}

    @functools.cached_property
    def functions(self) -> tuple[Function, ...]:
        """In the order of their addresses; of several names for one place the first."""
        found: dict[tuple[int, int], tuple[str, int]] = {}
        labels: list[tuple[int, int, str]] = []  # of code, without a size: assembly that is written by hand
        for table in (".symtab", ".dynsym"):
            section = self._elf.get_section_by_name(table)
            for symbol in section.iter_symbols() if section is not None else ():
                index, kind, place = symbol["st_shndx"], symbol["st_info"]["type"], symbol["st_value"]
                if not isinstance(index, int) or kind not in ("STT_FUNC", "STT_NOTYPE") or not symbol.name:
                    continue
                if kind == "STT_FUNC" and symbol["st_size"]:
                    found.setdefault((index, place), (symbol.name, symbol["st_size"]))
                elif self._elf.get_section(index)["sh_flags"] & 4 and not symbol.name.startswith((".L", "$")):
                    labels.append((index, place, symbol.name))
        starts = sorted({*found, *((index, place) for index, place, _ in labels)})
        for index, place, name in labels:
            section = self._elf.get_section(index)
            after = [start for at, start in starts if at == index and start > place]
            end = min(after, default=section["sh_addr"] + section["sh_size"])
            if end > place and not any(at == index and s <= place < s + n for (at, s), (_, n) in found.items()):
                found[index, place] = name, end - place
        return tuple(
            Function(symbol, demangled(symbol), address, size, section)
            for (section, address), (symbol, size) in sorted(found.items())
        )

    def function(self, symbol: str) -> Function:
        """The function of this symbol, or of this name where one has it. Raises InspectError."""
        for function in self.functions:
            if symbol in (function.symbol, function.name):
                return function
        named = [f for f in self.functions if re.sub(r"[(<].*", "", f.name).split("::")[-1].split(" ")[-1] == symbol]
        if len(named) == 1:
            return named[0]
        known = ", ".join(f.name for f in (named or self.functions)[:12])
        raise InspectError(
            f"no function is called {symbol!r}; there are {known or 'none with a symbol: was it stripped?'}"
        )

    @functools.cached_property
    def _by_address(self) -> tuple[list[int], list[Function]]:
        ordered = sorted(self.functions, key=lambda f: f.address)
        return [f.address for f in ordered], ordered

    @functools.cached_property
    def _by_symbol(self) -> Mapping[str, Function]:
        return {function.symbol: function for function in self.functions}

    def function_at(self, address: int) -> Function | None:
        """The function that has this address in it; of files that are linked."""
        starts, ordered = self._by_address
        at = bisect.bisect_right(starts, address) - 1
        return ordered[at] if at >= 0 and address < ordered[at].address + ordered[at].size else None

    def code(self, function: Function) -> tuple[Instruction, ...]:
        """Its instructions."""
        key = function.section, function.address
        if key not in self._code:
            raw = list(self._objdump(function) if self.disassembler == "objdump" else self._capstone(function))
            framed = any(name == "mov" and operands == "rbp, rsp" for _, _, name, operands in raw[:24])
            self._code[key] = tuple(x86.instruction(*one, frame_pointer=framed) for one in raw)
        return self._code[key]

    def lines(self, function: Function, helpers: tuple[str, ...] = HELPERS) -> Callable[[int], SourceLine | None]:
        """What tells the source line of each of its addresses, where the file knows. See SourceLines.of."""
        return self._lines.of(function.address, function.size, helpers)

    def _capstone(self, function: Function) -> Iterator[tuple[int, int, str, str]]:
        import capstone

        section = self._elf.get_section(function.section)
        start = function.address - section["sh_addr"]
        reader = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        yield from reader.disasm_lite(section.data()[start : start + function.size], function.address)

    def _objdump(self, function: Function) -> Iterator[tuple[int, int, str, str]]:
        section = self._elf.get_section(function.section).name
        stop = function.address + function.size
        command = ["objdump", "-d", "-w", "-M", "intel", "-j", section]
        command += [f"--start-address={function.address}", f"--stop-address={stop}", str(self.path)]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        if told.returncode:
            raise InspectError(f"objdump failed: {told.stderr.strip()}")
        for line in told.stdout.splitlines():
            found = re.match(r"\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\t?(\S+)?\s*([^<#]*)", line)
            if found and found[3]:
                operands = found[4].strip().replace(" PTR ", " ptr ").lower()
                operands = re.sub(r",(?=\S)", ", ", re.sub(r"(?<=[\w\]])([+-])(?=\w)", r" \1 ", operands))
                yield int(found[1], 16), len(found[2].split()), found[3], operands

    @functools.cached_property
    def _lines(self) -> SourceLines:
        return SourceLines(self._elf)

    def text_at(self, address: int) -> str:
        """The C string at an address."""
        data = self._bytes_at(address, 256)
        return data.split(b"\0")[0].decode("utf-8", "replace")

    def address_of(self, offset: int) -> int:
        """The address of what lies at an offset in the file."""
        for segment in self._elf.iter_segments("PT_LOAD"):
            if segment["p_offset"] <= offset < segment["p_offset"] + segment["p_filesz"]:
                return int(offset - segment["p_offset"] + segment["p_vaddr"])
        return offset

    def _bytes_at(self, address: int, size: int) -> bytes:
        for section in self._elf.iter_sections():
            start = section["sh_addr"]
            if start and start <= address < start + section["sh_size"] and section["sh_type"] != "SHT_NOBITS":
                return bytes(section.data()[address - start : address - start + size])
        return b""

    @functools.cached_property
    def _objects(self) -> Mapping[str, tuple[int, int]]:
        """Variables: address and size by name, as C++ writes it."""
        table = self._elf.get_section_by_name(".symtab")
        return {
            demangled(symbol.name): (symbol["st_value"], symbol["st_size"])
            for symbol in (table.iter_symbols() if table is not None else ())
            if symbol["st_info"]["type"] == "STT_OBJECT" and symbol["st_size"]
        }

    @functools.cached_property
    def _pointers(self) -> Mapping[int, int]:
        """What the loader will write where: the addresses in tables of pointers."""
        found: dict[int, int] = {}
        section = self._elf.get_section_by_name(".rela.dyn")
        for relocation in section.iter_relocations() if section is not None else ():
            if relocation["r_info_type"] == 8:  # R_X86_64_RELATIVE
                found[relocation["r_offset"]] = relocation["r_addend"]
        return found

    def pointers_in(self, name: str) -> list[int | None]:
        """A variable as an array of pointers; empty where there is none of this name."""
        address, size = self._objects.get(name, (0, 0))
        return [self._pointers.get(at) for at in range(address, address + size, 8)]

    @functools.cached_property
    def _tables(self) -> tuple[list[int], list[int]]:
        ordered = sorted(self._objects.values())
        return [address for address, _ in ordered], [address + size for address, size in ordered]

    def called_from(self, function: Function) -> Iterator[Function]:
        """What it may call: by name, by a pointer to it, and by a table of functions that it reads."""
        for one in self.code(function):
            for address in (x86.target_of(one), x86.referred_to(one)):
                if address is None or function.address <= address < function.address + function.size:
                    continue
                found = self.function_at(address) or self._by_symbol.get(self._plt.get(address, ""))
                if found is not None:
                    yield found
                elif one.kind != "branch":
                    yield from self._in_table(address)

    def _in_table(self, address: int) -> Iterator[Function]:
        starts, ends = self._tables
        at = bisect.bisect_right(starts, address) - 1
        if at < 0 or address >= ends[at]:
            return
        for place in range(starts[at], ends[at], 8):
            pointer = self._pointers.get(place)
            found = self.function_at(pointer) if pointer is not None else None
            if found is not None:
                yield found

    def reached_from(self, root: Function, inside: str = "") -> dict[Function, Function | None]:
        """The functions that a call of `root` may come to, breadth first, each with the one that calls it.

        inside  only those whose name begins so, as a namespace does
        """
        found: dict[Function, Function | None] = {root: None}
        waiting = [root]
        for function in waiting:  # which grows meanwhile
            for callee in self.called_from(function):
                if callee not in found and inside in callee.name:
                    found[callee] = function
                    waiting.append(callee)
        return found

    def way(self, root: Function, to: Function) -> list[Function]:
        """By which functions a call of `root` comes to another."""
        callers = self.reached_from(root, inside="loopnest::")
        path, at = [to], callers.get(to)
        while at is not None:
            path.append(at)
            at = callers[at]
        return path[::-1]

    def called_name(self, call: Instruction) -> str:
        """What a call calls: a function of this file, or of another that the loader puts in its table (PLT)."""
        target = x86.target_of(call)
        if target is None:
            return "a function by its pointer"
        found = self.function_at(target)
        if found is not None:
            return re.sub(r"\(.*", "", found.name)
        return demangled(self._plt[target]) if target in self._plt else f"{target:x}"

    @functools.cached_property
    def _plt(self) -> Mapping[int, str]:
        """Of each stub of the procedure linkage table the symbol that it goes to."""
        import capstone

        slots = {}
        for name in (".rela.plt", ".rela.dyn"):
            section = self._elf.get_section_by_name(name)
            symbols = self._elf.get_section(section["sh_link"]) if section is not None else None
            for relocation in section.iter_relocations() if section is not None else ():
                if relocation["r_info_sym"] and symbols is not None:
                    slots[relocation["r_offset"]] = symbols.get_symbol(relocation["r_info_sym"]).name
        reader, stubs = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64), {}
        for name in (".plt", ".plt.got", ".plt.sec"):
            section = self._elf.get_section_by_name(name)
            before = 0
            for address, size, mnemonic, operands in (
                reader.disasm_lite(section.data(), section["sh_addr"]) if section is not None else ()
            ):
                one = x86.instruction(address, size, mnemonic, operands)
                slot = x86.referred_to(one) if "jmp" in mnemonic else None
                if slot in slots:
                    stubs[address] = slots[slot]
                    if before:
                        stubs[before] = slots[slot]
                before = address if mnemonic.startswith("endbr") else 0
        return stubs


@functools.cache
def demangled(symbol: str) -> str:
    """A symbol as C++ writes it; itself where it is none of C++'s."""
    if not symbol.startswith("_Z"):
        return symbol
    base, dot, rest = symbol.partition(".")
    demangle = _demangler()
    if demangle is None:
        return symbol
    status = ctypes.c_int(0)
    demangle.restype = ctypes.c_void_p
    text = demangle(base.encode(), None, None, ctypes.byref(status))
    if not text or status.value:
        return symbol
    name = ctypes.string_at(text).decode()
    ctypes.CDLL(None).free(ctypes.c_void_p(text))
    return name + (f" [{rest}]" if dot else "")


@functools.cache
def _demangler() -> Any:
    """The C++ run-time library's own, which the extension has loaded."""
    from .. import _core

    try:
        return ctypes.CDLL(_core.__file__).__cxa_demangle
    except (OSError, AttributeError):
        return None


@functools.lru_cache(maxsize=8)
def _opened(path: Path, changed: int, disassembler: str) -> ObjectFile:
    return ObjectFile(path, disassembler)


def object_file(where: Path | bytes, disassembler: str = "capstone") -> ObjectFile:
    """The file, read once for as long as it does not change."""
    if isinstance(where, bytes) or not Path(where).is_file():
        return ObjectFile(where if isinstance(where, bytes) else Path(where), disassembler)
    path = Path(where).resolve()
    return _opened(path, path.stat().st_mtime_ns, disassembler)


def functions_of(where: Path | bytes) -> tuple[Function, ...]:
    """The functions of a shared object or an object file that have a symbol, in the order of their addresses.

    Raises InspectError where the file is none, or where capstone or pyelftools is missing.
    """
    return object_file(where).functions


def diagnose(where: Path | bytes, symbol: str, family: Family | None = None, most_bits: int = 512) -> Loop | None:
    """The hot loop of a function in a compiled file, or of what it calls there; None where there is no loop.

    where   the path of a shared object or an object file, or its bytes
    symbol  of the function: `matmul` of extern "C" functions; or its name in C++
    family  of the processor whose bound is wanted; this machine's where it is None
    """
    file = object_file(where)
    root = file.function(symbol)
    loops = [hot_loop(file.code(function), family or this_family(), most_bits) for function in file.reached_from(root)]
    return max((loop for loop in loops if loop is not None), key=heat, default=None)


_ASSEMBLE = r"""
import sys
import llvmlite.binding as llvm

def quoted(byte):
    c = chr(byte)
    return c if 32 <= byte < 127 and c not in '"\\' else f"\\{byte:02X}"

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
llvm.initialize_native_asmparser()
machine = llvm.Target.from_default_triple().create_target_machine(reloc="pic")
text = "".join(map(quoted, sys.stdin.buffer.read()))
module = llvm.parse_assembly(f'target triple = "{machine.triple}"\nmodule asm "{text}"\n')
sys.stdout.buffer.write(machine.emit_object(module))
"""


@functools.lru_cache(maxsize=16)
def assembled(text: str, syntax: str = "att") -> bytes:
    """An object file of assembly text, by the assembler that Numba brings along; `syntax` is "att" or "intel".

    In a process of its own, for LLVM ends the one in which it finds an error. Raises InspectError for what it cannot
    assemble.
    """
    if syntax not in ("att", "intel"):
        raise InspectError(f"syntax is {syntax!r}, expected 'att' or 'intel'")
    body = (".intel_syntax noprefix\n" if syntax == "intel" else "") + text
    done = subprocess.run([sys.executable, "-c", _ASSEMBLE], input=body.encode(), capture_output=True, check=False)
    if done.returncode or not done.stdout:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = next((line for line in told if "error" in line), told[-1] if told else "no reason was given")
        raise InspectError(f"the text cannot be assembled: {reason}")
    return done.stdout


def hot_loop_of_text(
    text: str, symbol: str | None = None, *, syntax: str = "att", family: Family | None = None, most_bits: int = 512
) -> Loop | None:
    """The hot loop of assembly text, as compilers write it: of one of its functions, or of all.

    Instructions' addresses count from the beginning of their section. Raises InspectError where it is no assembly.
    """
    file = ObjectFile(assembled(text, syntax))
    functions = file.functions if symbol is None else (file.function(symbol),)
    loops = [hot_loop(file.code(function), family or this_family(), most_bits) for function in functions]
    return max((loop for loop in loops if loop is not None), key=heat, default=None)
