"""The C++ rungs' machine code, from the installed extension.

    cpu  the processor family of the bound, such as "Zen 3"; this machine's by default

A rung is a function of the extension, once for each ISA level: `loopnest::v4::matmul::packed<float>`. Its hot loop may
be in a function that it calls, by name or through a table of functions, such as the micro-kernel for each height and
width of a tile.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from .. import _core
from ..backends.cpp import kernel_lines
from ..operation import Implementation
from . import Request
from .elf import Function, ObjectFile, object_file
from .families import Family, family_called, this_family
from .loops import Found, heat, loops_in, summary
from .mca import simulate
from .records import InspectError, Line, Listing, Loop, SourceLine
from .remarks import compiler, explained, flags_of, remarks_on, scalar_flags
from .samples import CannotSample, Samples
from .source import source_lines, source_listing
from .trial import Trial

SHOWS = ("hot", "source", "asm", "remarks", "mca")

VECTOR_BITS = {"v1": 128, "v3": 256, "v4": 512}
"""Of the vectors at an ISA level."""

OFF = "this rung is compiled with vectorization off, to show what that costs"

FEW = 20
"""Fewer samples than this decide nothing."""

AROUND = 6
"""Lines shown around the hot loop's lines in another header."""


@dataclass(frozen=True)
class Opened:
    """A rung's machine code: the function with its hot loop, the source lines of that, and the way to it."""

    request: Request
    level: str
    file: ObjectFile
    function: Function
    loop: Loop | None
    line: Callable[[int], SourceLine | None]
    notes: tuple[str, ...]
    callers: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"{short_name(self.function.name)} · {self.level} · {self.request.dtype}"


def show(request: Request) -> list[Listing]:
    if request.aspect == "remarks":
        return _remarks(request)
    if request.aspect == "source":
        try:
            return _source(_opened(request))
        except InspectError as error:  # then there is nothing but the source
            note = f"The instructions of each line are not shown: {error}."
            return [replace(source_listing(request.implementation), notes=(note,))]
    opened = _opened(request)
    return _mca(opened) if request.aspect == "mca" else _machine_code(opened, whole=request.aspect == "asm")


def _opened(request: Request) -> Opened:
    level, file = level_of(request.isa), extension()
    root = function_of(file, request.implementation, level, request.dtype)
    reached = file.reached_from(root, inside=f"loopnest::{level}")
    function, loop, notes = hottest(file, reached, level, request.trial, _family(request))
    line = file.lines(function)
    if loop is not None:
        loop = replace(loop, instructions=tuple(replace(one, line=line(one.address)) for one in loop.instructions))
    callers = [function]
    while (caller := reached[callers[0]]) is not None:
        callers.insert(0, caller)
    return Opened(request, level, file, function, loop, line, tuple(notes), tuple(short_name(f.name) for f in callers))


def _machine_code(opened: Opened, whole: bool) -> list[Listing]:
    """The hot loop, or the whole function that it is in."""
    loop, notes = opened.loop, opened.notes
    code, title = opened.file.code(opened.function), opened.title
    if not whole and loop is not None:
        code, title = loop.instructions, f"the hot loop of {title}"
    if loop is not None and loop.scalar:
        off = is_scalar(opened.request.implementation)
        notes += (f"Scalar: {OFF if off else 'the compiler made no vectors of it'}; --remarks has the reasons.",)
    hot = loop.addresses if loop else frozenset()
    lines = tuple(Line(one.text, one.kind, opened.line(one.address), one.address, one.address in hot) for one in code)
    facts = {"reached by": " → ".join(opened.callers)} if len(opened.callers) > 1 else {}
    return [Listing(title, "asm", lines, loop, notes, facts)]


def _source(opened: Opened) -> list[Listing]:
    """The rung's header, and the lines of other headers that the hot loop comes from, with what became of each."""
    own = opened.request.implementation.files[0]
    became: dict[str, dict[int, Counter[str]]] = {own: {}}
    instructions = opened.loop.instructions if opened.loop else ()
    for one in instructions:
        if one.line is not None:
            became.setdefault(one.line[0], {}).setdefault(one.line[1], Counter())[one.kind] += 1
    listings = []
    for file, counts in became.items():
        text = source_lines(file)
        if not text:
            continue
        begin = next((n for n, line in enumerate(text, 1) if not line.startswith("//")), 1)  # behind the lesson
        first = begin if file == own else max(1, min(counts) - AROUND)
        last = len(text) if file == own else min(len(text), max(counts) + AROUND)
        notes = {
            number: ", ".join(f"{n} {'FMA' if kind == 'fma' else kind}" for kind, n in kinds.most_common())
            for number, kinds in counts.items()
        }
        lines = tuple(
            Line(text[n - 1], source=(file, n), hot=n in counts, note=notes.get(n, "")) for n in range(first, last + 1)
        )
        listings.append(Listing(f"csrc/{file}", "cpp", lines, first=first))
    if instructions and all(one.line is None for one in instructions):
        note = "No source lines: they need addr2line (of binutils) and an extension built with line tables (-g1)."
        listings[-1] = replace(listings[-1], notes=(note,))
    return listings


def _remarks(request: Request) -> list[Listing]:
    """The compiler's remarks below their lines."""
    here, level = compiler(), level_of(request.isa)
    k = request.implementation
    own = k.files[0]
    remarks = remarks_on(compiled_from(k, level, request.dtype), own, level)
    notes = [f"By {here.version}, which compiled the header again with {' '.join(flags_of(level))}."]
    if is_scalar(k):
        without = " ".join(scalar_flags(here.kind))
        notes.append(f"With vectorization on: {OFF} ({without}).")
    listings = []
    # Of other headers only what keeps a loop of this one scalar, such as a call of the C library's exp.
    shown = [remark for remark in remarks if remark.file == own or "not supported" in remark.text]
    for file in sorted({remark.file for remark in shown}, key=lambda name: (name != own, name)):
        lines = []
        for number in sorted({remark.line for remark in shown if remark.file == file}):
            lines.append(Line(source_lines(file)[number - 1], source=(file, number)))
            lines += [Line(f"// {words}", "comment", (file, number)) for words in explained(remarks, file, number)]
        title = f"the compiler's remarks on csrc/{file} · {level} · {request.dtype}"
        listings.append(Listing(title, "cpp", tuple(lines)))
    if not listings:
        nothing = Line("nothing: there is no loop that it could vectorize, or all is written with vectors")
        listings = [Listing(f"the compiler's remarks on csrc/{own} · {level} · {request.dtype}", "text", (nothing,))]
    others = sorted({remark.file for remark in remarks} - {remark.file for remark in shown})
    if others:
        notes.append(f"It has remarks on other headers too: {', '.join(others)}.")
    return [*listings[:-1], replace(listings[-1], notes=tuple(notes))]


def _mca(opened: Opened) -> list[Listing]:
    if opened.loop is None:
        raise InspectError(f"{opened.request.implementation.id}: there is no loop to simulate")
    return [simulate(opened.loop, _family(opened.request), opened.title)]


# --- which function a rung is


def level_of(isa: str | None) -> str:
    """The requested ISA level, by default the active one. Levels that do not run here can be read all the same."""
    known = tuple(VECTOR_BITS) if _core.isa() in VECTOR_BITS else tuple(_core.isa_levels())
    if isa is None:
        return _core.isa()
    if isa not in known:
        raise InspectError(f"isa is {isa!r}, expected one of {', '.join(known)}")
    return isa


def extension() -> ObjectFile:
    return object_file(Path(str(_core.__file__)))


def _family(request: Request) -> Family | None:
    """The processor family of the bound: this machine's by default."""
    name = request.options.get("cpu")
    return family_called(name) if name else this_family()


def is_scalar(k: Implementation) -> bool:
    """Whether the rung is compiled with vectorization off."""
    return kernel_lines()[k.operation.name, k.variant].scalar


def compiled_from(k: Implementation, level: str, dtype: str) -> str:
    """The function template that a rung is, for one level and element."""
    element = {"float32": "float", "float64": "double"}[dtype]
    return f"loopnest::{level}::{k.operation.name}::{k.variant}<{element}>"


def function_of(file: ObjectFile, k: Implementation, level: str, dtype: str) -> Function:
    """The function that a rung is. Raises InspectError if the file has no symbol for it."""
    name = compiled_from(k, f"{level}_scalar" if is_scalar(k) else level, dtype)
    found = next((f for f in file.functions if f" {name}(" in f.name), None)
    if found is None:
        raise InspectError(
            f"{k.operation.name} {k.id}: {file.path} has no symbol {name}. Was it stripped? Install loopnest without "
            "install.strip, as its pyproject.toml says"
        )
    return found


def hottest(
    file: ObjectFile, reached: Iterable[Function], level: str, run: Trial | None = None, family: Family | None = None
) -> tuple[Function, Loop | None, list[str]]:
    """The hot loop among the functions that a rung reaches, the first of which it is; its function; and notes.

    If the rung can run and the system allows samples, it is the loop in which most of the time goes; otherwise the one
    that could do the most flops a cycle.
    """
    loops = [
        (function, found, loop)
        for function in reached
        for found, loop in _loops_of(file, function, VECTOR_BITS[level], family.name if family else "")
    ]
    if not loops:
        root = next(iter(reached))
        return root, None, [f"{short_name(root.name)} has no loop"]
    chosen, notes = max(range(len(loops)), key=lambda n: heat(loops[n][2])), []
    seen = None
    if run is not None and file.path is not None:
        try:
            samples = run.samples(file.path)
        except CannotSample as error:
            notes.append(f"Chosen by its possible speed: where the time goes could not be sampled ({error}).")
        else:
            chosen, seen, note = _by_samples(file, loops, samples, chosen)
            notes.append(note)
    function, found, loop = loops[chosen]
    called = tuple(dict.fromkeys(file.called_name(one) for one in found.path if one.mnemonic == "call"))
    if called:
        notes.append(f"It calls {', '.join(called)} in every iteration: the work of these is not counted here.")
    if loop.skipped:
        notes.append(f"The common path skips {loop.skipped} more of the loop's instructions, which are not counted.")
    return function, replace(loop, calls=called, seen=seen), notes


@functools.lru_cache(maxsize=4096)
def _loops_of(file: ObjectFile, function: Function, bits: int, cpu: str) -> tuple[tuple[Found, Loop], ...]:
    """A function's loops; many rungs reach the same functions."""
    family = family_called(cpu) if cpu else None
    return tuple((found, summary(found, family, bits)) for found in loops_in(file.code(function)))


def _by_samples(
    file: ObjectFile, loops: list[tuple[Function, Found, Loop]], samples: Samples, otherwise: int
) -> tuple[int, float | None, str]:
    """The index of the loop with the most samples, its share of them, and a note on where else the time went.

    Compilers copy a loop, once for each way to reach it: loops of a function with the same instructions count as one.
    """
    innermost: dict[int, int] = {}  # the smallest loop around each address
    for n in sorted(range(len(loops)), key=lambda n: -len(loops[n][1].body)):
        innermost |= {one.address: n for one in loops[n][1].body}
    kinds = [(function.name, *sorted(one.mnemonic for one in found.path)) for function, found, _ in loops]
    counts: Counter[int] = Counter()
    places: Counter[str] = Counter(samples.elsewhere)
    for offset, n in samples.inside.items():
        address = file.address_of(offset)
        function = file.function_at(address)
        if address in innermost:
            counts[innermost[address]] += n
        else:
            places[short_name(function.name) if function else "the extension"] += n
    if counts.total() < FEW:
        return otherwise, None, f"Chosen by its possible speed: only {counts.total()} samples fell into a loop."
    by_kind: Counter[tuple[str, ...]] = Counter()
    for n, often in counts.items():
        by_kind[kinds[n]] += often
    (kind, often), *others = by_kind.most_common()
    places.update({f"a loop of {short_name(other[0])}": n for other, n in others})
    share, copies = often / samples.total, [n for n in counts if kinds[n] == kind]
    where = f"in {len(copies)} copies of this loop" if len(copies) > 1 else "in this loop"
    rest = (
        f", {100 * n / samples.total:.0f} % in {name}" for name, n in places.most_common(3) if n > samples.total / 20
    )
    note = f"{100 * share:.0f} % of the time was spent {where}{''.join(rest)}."
    return max(copies, key=lambda n: counts[n]), share, note


def short_name(name: str) -> str:
    """A function's name without its namespace, its parameters and its result.

    >>> short_name("void loopnest::v4::matmul::tile<6, (loopnest::v4::matmul::Reading)0, float>(float const*)")
    'matmul::tile<6, Reading(0), float>'
    """
    name = re.sub(r"loopnest::(?:v\d|neon|native)(?:_scalar)?::", "", name)
    name = re.sub(r"\((?:\w+::)*(\w+)\)(\d+)", r"\1<<\2>>", name)  # an enumerator
    depth, end = 0, len(name)
    for n, c in enumerate(name):
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0 and n and not name.startswith("(anonymous", n):
            end = n
            break
    name = re.sub(r"<<(\d+)>>", r"(\1)", name[:end])
    return name.split(" ", 1)[-1] if " " in name.split("<")[0] else name
