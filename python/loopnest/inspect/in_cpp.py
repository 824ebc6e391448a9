"""The C++ rungs' machine code, from the installed extension.

    cpu  the processor family of the bound, such as "Zen 3"; this machine's by default

A rung is a function of the extension, once for each ISA level: `loopnest::v4::matmul::packed<float>`. Its hot loop may
be in a function that it calls, by name or through a table of functions, such as the micro-kernel for each height and
width of a tile.
"""

from __future__ import annotations

import functools
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from .. import _core
from ..backends.cpp import kernel_lines
from ..operation import Implementation
from . import Request
from .elf import Function, ObjectFile, assembly, object_file
from .families import Family, family_called, this_family
from .loops import Found, heat, loops_in, summary
from .records import InspectError, Listing, Loop
from .remarks import OFF, remarks_on
from .samples import CannotSample, Samples, samples_of
from .source import source_listing, with_instructions

SHOWS = ("hot", "source", "asm", "remarks")

VECTOR_BITS = {"v1": 128, "v3": 256, "v4": 512}
"""Of the vectors at an ISA level."""

NEWER = ("dot_", "amx_")
"""The rungs, by the beginning of their names, with instructions that capstone 5 does not know: vdpbf16ps, tdpbssd."""

FEW = 20
"""Fewer samples than this decide nothing."""


def show(request: Request) -> list[Listing]:
    k, level = request.implementation, request.isa or _core.isa()
    known = tuple(VECTOR_BITS) if _core.isa() in VECTOR_BITS else tuple(_core.isa_levels())
    if level not in known:  # levels that do not run here can be read all the same
        raise InspectError(f"isa is {level!r}, expected one of {', '.join(known)}")
    scalar = kernel_lines()[k.operation.name, k.variant].scalar
    if request.aspect == "remarks":
        return remarks_on(k.files[0], compiled_from(k, level, request.dtype), level, scalar)
    cpu = request.options.get("cpu")
    family = family_called(cpu) if cpu else this_family()
    try:
        file = extension()
        name = compiled_from(k, level + "_scalar" * scalar, request.dtype)
        root = next((function for function in file.functions if f" {name}(" in function.name), None)
        if root is None:
            fix = "Was it stripped? Install loopnest without install.strip, as its pyproject.toml says"
            raise InspectError(f"{k.operation.name} {k.id}: {file.path} has no symbol {name}. {fix}")
        if k.variant.startswith(NEWER) and shutil.which("objdump") is None:
            raise InspectError(
                f"{k.id}: capstone decodes not all of its instructions, and objdump, which does, is not there; on "
                "Debian: apt-get install binutils"
            )
        callers = file.reached_from(root, inside=f"loopnest::{level}")
        function, loop, notes = hottest(file, callers, level, family, request if request.measure else None)
    except InspectError as error:
        if request.aspect != "source":
            raise
        note = f"The instructions of each line are not shown: {error}."
        return [replace(source_listing(k), notes=(note,))]
    title = f"{short_name(function.name)} · {level} · {request.dtype}"
    if loop is not None and loop.scalar:
        notes.append(f"Scalar: {OFF if scalar else 'the compiler made no vectors of it'}; --remarks has the reasons.")
    way, caller = [short_name(function.name)], callers[function]
    while caller is not None:
        way, caller = [short_name(caller.name), *way], callers[caller]
    facts = {"reached by": " → ".join(way)} if len(way) > 1 else {}
    shown = assembly(file, function, loop, title, request.aspect, notes=tuple(notes), facts=facts)
    return with_instructions(k.files[0], "csrc/", shown.loop) if request.aspect == "source" else [shown]


def extension() -> ObjectFile:
    return object_file(Path(str(_core.__file__)))


def compiled_from(k: Implementation, namespace: str, dtype: str) -> str:
    """The function template that a rung is, for one level and element."""
    element = {
        "float32": "float",
        "float64": "double",
        "bfloat16": "loopnest::bfloat16, loopnest::bfloat16",
        "float16": "loopnest::float16, loopnest::float16",
        "int8": "signed char, int",
    }[dtype]
    return f"loopnest::{namespace}::{k.operation.name}::{k.variant}<{element}>"


def hottest(
    file: ObjectFile, reached: Iterable[Function], level: str, family: Family | None, run: Request | None
) -> tuple[Function, Loop | None, list[str]]:
    """The hot loop among the functions that a rung reaches (the rung is the first), its function, and notes.

    If the rung can run and the system allows samples, it is the loop in which most of the time goes; otherwise the one
    that could do the most flops a cycle.
    """
    loops = [
        (function, found, loop)
        for function in reached
        for found, loop in _loops_of(file, function, VECTOR_BITS[level], family)
    ]
    if not loops:
        return next(iter(reached)), None, []
    (function, _, loop), notes = max(loops, key=lambda one: heat(one[2])), []
    if run is not None:
        try:
            samples = samples_of(run.implementation, run.dtype, level, file.path)
        except CannotSample as error:
            notes = [f"Chosen by its possible speed: where the time goes could not be sampled ({error})."]
        else:
            sampled, note = _by_samples(file, loops, samples)
            (function, _, loop), notes = sampled or (function, None, loop), [note]
    return function, loop, notes


@functools.lru_cache(maxsize=4096)
def _loops_of(file: ObjectFile, function: Function, bits: int, family: Family | None) -> list[tuple[Found, Loop]]:
    """A function's loops; many rungs reach the same functions."""
    return [(found, summary(found, family, bits)) for found in loops_in(file.code(function))]


def _by_samples(
    file: ObjectFile, loops: Sequence[tuple[Function, Found, Loop]], samples: Samples
) -> tuple[tuple[Function, Found, Loop] | None, str]:
    """The loop with the most samples, and a note on where else the time went.

    Compilers copy a loop, once for each way to reach it: loops of a function with the same instructions count as one.
    """
    innermost: dict[int, int] = {}  # the smallest loop around each address
    for n in sorted(range(len(loops)), key=lambda n: -len(loops[n][1].body)):
        innermost |= {one.address: n for one in loops[n][1].body}
    copies: defaultdict[tuple[str, ...], Counter[int]] = defaultdict(Counter)  # by function and instructions
    places: Counter[str] = Counter(samples.elsewhere)
    for address, times in samples.inside.items():
        if address in innermost:
            n = innermost[address]
            copies[loops[n][0].name, *sorted(one.mnemonic for one in loops[n][1].path)][n] += times
        else:
            function = file.function_at(address)
            places[short_name(function.name) if function else "the extension"] += times
    if (in_loops := sum(counts.total() for counts in copies.values())) < FEW:
        return None, f"Chosen by its possible speed: only {in_loops} samples fell into a loop."
    (_, hot), *others = sorted(copies.items(), key=lambda item: -item[1].total())
    for (name, *_), counts in others:
        places[f"a loop of {short_name(name)}"] += counts.total()
    total = samples.inside.total() + samples.elsewhere.total()
    shares = [(f"{len(hot)} copies of this loop" if len(hot) > 1 else "this loop", hot.total())]
    shares += [(name, times) for name, times in places.most_common(3) if times > total / 20]
    words = ", ".join(f"{100 * times / total:.0f} % in {name}" for name, times in shares)
    return loops[hot.most_common(1)[0][0]], f"Time: {words}."


def short_name(name: str) -> str:
    """A function's name without its namespace, its parameters and its result.

    >>> short_name("void loopnest::v4::matmul::tile<6, (loopnest::v4::matmul::Reading)0, float>(float const*)")
    'matmul::tile<6, Reading(0), float>'
    """
    name = re.sub(r"\((?:\w+::)*(\w+)\)(\d+)", r"\1<<\2>>", name)  # an enumerator
    name = re.sub(r"\((?!anonymous).*", "", name)
    name = re.sub(r"^[^<(]* |loopnest::\w+::", "", name)
    return re.sub(r"<<(\d+)>>", r"(\1)", name)
