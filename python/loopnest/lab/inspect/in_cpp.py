"""The C++ rungs' machine code, from the installed extension.

The extension has the kernels' table in it (csrc/simd/kernels.cpp), once for each ISA level and once more for the scalar
rungs: the variable `loopnest::v4::matmul_rungs` is an array of a name and two functions, float's and double's. It says
which function a rung is. What that calls is found by its calls, and by the tables of functions that it reads, such as
the micro-kernel's for each height and width of a tile.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from ... import _core
from ...operation import Implementation
from . import Request, source_listing
from .elf import Function, ObjectFile, object_file
from .loops import Found, heat, loops_in, summary
from .ports import this_family
from .records import InspectError, Line, Listing, Loop
from .samples import CannotSample, Samples
from .trial import Trial

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
    function, loop, notes = hottest(file, root, level, request.trial)
    title = f"{short_name(function.name)} · {level} · {request.dtype}"
    inside = {one.address for one in loop.instructions} if loop else set()
    code = loop.instructions if loop and request.aspect == "hot" else file.code(function)
    lines = tuple(Line(one.text, one.kind, one.line, one.address, hot=one.address in inside) for one in code)
    way = " → ".join(short_name(f.name) for f in file.way(root, function))
    facts = {"reached by": way} if function != root else {}
    return [Listing(title, "asm", lines, loop, tuple(notes), facts)]


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


def hottest(
    file: ObjectFile, root: Function, level: str, run: Trial | None = None
) -> tuple[Function, Loop | None, list[str]]:
    """The hot loop of all that a rung comes to, the function that it is in, and what there is to say to that.

    Where the rung can run and the system lets us look, it is the loop in which the most time goes; otherwise the one that
    could do the most flops a cycle.
    """
    loops = [
        (function, found, summary(found, this_family(), VECTOR_BITS[level]))
        for function in file.reached_from(root, inside=f"loopnest::{level}")
        for found in loops_in(file.code(function))
    ]
    if not loops:
        return root, None, [f"{short_name(root.name)} has no loop"]
    chosen, notes = max(range(len(loops)), key=lambda n: heat(loops[n][2])), []
    seen = None
    if run is not None and file.path is not None:
        try:
            samples = run.samples(file.path)
        except CannotSample as error:
            notes.append(f"Chosen by what it could do: where the time goes could not be seen ({error}).")
        else:
            chosen, seen, told = _by_samples(file, loops, samples, chosen)
            notes += told
    function, found, loop = loops[chosen]
    called = tuple(dict.fromkeys(file.called_name(one) for one in found.path if one.mnemonic == "call"))
    if called:
        notes.append(f"It calls {', '.join(called)} in every iteration: what that does is not counted here.")
    if loop.beside:
        notes.append(f"{loop.beside} more of the loop's instructions lie beside its usual way, and are not counted.")
    return function, replace(loop, calls=called, seen=seen), notes


def _by_samples(
    file: ObjectFile, loops: list[tuple[Function, Found, Loop]], samples: Samples, otherwise: int
) -> tuple[int, float | None, list[str]]:
    """The number of the loop that was seen most, its share of all samples, and where else the time went."""
    counts: Counter[int] = Counter()
    innermost: dict[int, int] = {}  # of each address the smallest loop around it
    for n, (_, found, _) in enumerate(loops):
        for one in found.body:
            if one.address not in innermost or len(found.body) < len(loops[innermost[one.address]][1].body):
                innermost[one.address] = n
    places: Counter[str] = Counter(samples.elsewhere)
    for offset, n in samples.inside.items():
        address = file.address_of(offset)
        if address in innermost:
            counts[innermost[address]] += n
        else:
            function = file.function_at(address)
            places[short_name(function.name) if function else "the extension"] += n
    if not counts or counts.total() < 20:
        return otherwise, None, []
    most, times = counts.most_common(1)[0]
    for n, often in counts.items():
        if n != most:
            places[f"{short_name(loops[n][0].name)}, the loop at {loops[n][1].path[0].address:x}"] += often
    others = [
        f"{100 * n / samples.total:.0f} % in {name}" for name, n in places.most_common(3) if n > samples.total / 20
    ]
    told = f"{100 * times / samples.total:.0f} % of the time was spent in this loop"
    return most, times / samples.total, [f"{told}{'; ' if others else ''}{', '.join(others)}."]


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
