"""The C++ rungs' machine code, from the installed extension.

The extension has the kernels' table in it (csrc/simd/kernels.cpp), once for each ISA level and once more for the scalar
rungs: the variable `loopnest::v4::matmul_rungs` is an array of a name and two functions, float's and double's. It says
which function a rung is. What that calls is found by its calls, and by the tables of functions that it reads, such as
the micro-kernel's for each height and width of a tile.
"""

from __future__ import annotations

import re
from pathlib import Path

from ... import _core
from ...operation import Implementation
from . import Request, source_listing
from .elf import Function, ObjectFile, object_file
from .loops import heat, hot_loop
from .ports import this_family
from .records import InspectError, Line, Listing, Loop

SHOWS = ("hot", "source", "asm")

VECTOR_BITS = {"v1": 128, "v3": 256, "v4": 512}
"""Of the vectors at an ISA level."""


def show(request: Request) -> list[Listing]:
    k = request.implementation
    if request.aspect == "source":
        return [source_listing(k)]
    level = level_of(request.isa)
    file = extension(request.options.get("disassembler", "capstone"))
    root = function_of(file, k, level, request.dtype)
    found = hottest(file, root, level)
    if found is None:
        raise InspectError(f"{k.id}: {root.name} has no loop")
    function, loop = found
    title = f"{level} {request.dtype}: {short_name(function.name)}"
    if request.aspect == "hot":
        lines = tuple(Line(one.text, one.kind, one.line, one.address, hot=True) for one in loop.instructions)
    else:
        inside = {one.address for one in loop.instructions}
        lines = tuple(
            Line(one.text, one.kind, one.line, one.address, hot=one.address in inside) for one in file.code(function)
        )
    return [Listing(title, "asm", lines, loop)]


def level_of(isa: str | None) -> str:
    """The ISA level that is meant. Machine code of levels that do not run here can be looked at too."""
    known = tuple(VECTOR_BITS)
    if isa is None:
        return _core.isa()
    if isa not in known:
        raise InspectError(f"isa is {isa!r}, expected one of {', '.join(known)}")
    return isa


def extension(disassembler: str = "capstone") -> ObjectFile:
    return object_file(Path(str(_core.__file__)), disassembler)


def function_of(file: ObjectFile, k: Implementation, level: str, dtype: str) -> Function:
    """The function that the kernels' table has for a rung."""
    for namespace in (level, f"{level}_scalar"):
        table = f"loopnest::{namespace}::(anonymous namespace)::{k.operation.name}_rungs"
        pointers = file.pointers_in(table)
        for name, f32, f64 in zip(pointers[0::3], pointers[1::3], pointers[2::3], strict=True):
            if name is not None and file.text_at(name) == k.variant:
                address = f32 if dtype == "float32" else f64
                found = file.function_at(address) if address is not None else None
                if found is not None:
                    return found
    raise InspectError(f"{k.operation.name} {k.id}: the extension's table has no such kernel; was it stripped?")


def hottest(file: ObjectFile, root: Function, level: str) -> tuple[Function, Loop] | None:
    """The hot loop of all that a rung comes to, and the function that it is in."""
    found = []
    for function in file.reached_from(root, inside="loopnest::"):
        loop = hot_loop(file.code(function), this_family(), VECTOR_BITS[level])
        if loop is not None:
            found.append((function, loop))
    return max(found, key=lambda pair: heat(pair[1]), default=None)


def short_name(name: str) -> str:
    """A function's name without its namespace, its parameters and what it returns."""
    name = re.sub(r"loopnest::(?:v\d|neon|native)(?:_scalar)?::", "", name)
    depth, end = 0, len(name)
    for n, c in enumerate(name):
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0 and n and not name.startswith("(", n - 1):
            end = n
            break
    return name[:end].split(" ", 1)[-1] if " " in name[:end].split("<")[0] else name[:end]
