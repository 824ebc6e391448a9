"""The C++ rungs' machine code, from the installed extension.

    cpu           the processor family whose bound is told, such as "Zen 3"; this machine's where it is not given
    disassembler  "capstone" or "objdump"

The extension has the kernels' table in it (csrc/simd/kernels.cpp), once for each ISA level and once more for the scalar
rungs: the variable `loopnest::v4::matmul_rungs` is an array of a name and two functions, float's and double's. It says
which function a rung is. What that calls is found by its calls, and by the tables of functions that it reads, such as
the micro-kernel's for each height and width of a tile.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from .. import _core
from ..backends.cpp import csrc
from ..operation import Implementation
from . import Request, source_listing
from .elf import Function, ObjectFile, object_file
from .loops import Found, heat, loops_in, summary
from .mca import simulate
from .ports import Family, family_called, this_family
from .records import InspectError, Line, Listing, Loop, SourceLine
from .remarks import Remark, compiler, flags_of, remarks_on
from .samples import CannotSample, Samples
from .trial import Trial

SHOWS = ("hot", "source", "asm", "remarks", "mca")

VECTOR_BITS = {"v1": 128, "v3": 256, "v4": 512}
"""Of the vectors at an ISA level."""

FEW = 20
"""Looks at a running rung that say too little."""

AROUND = 6
"""Lines shown before and behind those of another header that the hot loop comes from."""


@dataclass(frozen=True)
class Opened:
    """A rung's machine code: the function that the kernels' table has, the one with the hot loop, and that."""

    request: Request
    level: str
    file: ObjectFile
    root: Function
    function: Function
    loop: Loop | None
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"{short_name(self.function.name)} · {self.level} · {self.request.dtype}"


def show(request: Request) -> list[Listing]:
    if request.aspect == "remarks":
        return _remarks(request)
    if request.aspect == "source":
        try:
            return _source(request, _opened(request))
        except InspectError as error:  # then there is nothing but the source
            note = f"What became of the lines is not told: {error}."
            return [replace(source_listing(request.implementation), notes=(note,))]
    aspects = {"hot": _hot, "asm": _asm, "mca": _mca}
    return aspects[request.aspect](_opened(request))


def _opened(request: Request) -> Opened:
    level = level_of(request.isa)
    file = extension(request.options.get("disassembler", "capstone"))
    root = function_of(file, request.implementation, level, request.dtype)
    family = _family(request)
    function, loop, notes = hottest(file, root, level, request.trial, family)
    if loop is not None:
        line = file.lines(function)
        loop = replace(loop, instructions=tuple(replace(one, line=line(one.address)) for one in loop.instructions))
    return Opened(request, level, file, root, function, loop, tuple(notes))


def _hot(opened: Opened) -> list[Listing]:
    if opened.loop is None:
        return [replace(_asm(opened)[0], title=f"{opened.title}: no loop")]
    lines = tuple(Line(one.text, one.kind, one.line, one.address, hot=True) for one in opened.loop.instructions)
    notes = (*opened.notes, *(_why_scalar(opened) if opened.loop.scalar else ()))
    return [Listing(f"the hot loop of {opened.title}", "asm", lines, opened.loop, notes, _facts(opened))]


def _asm(opened: Opened) -> list[Listing]:
    line = opened.file.lines(opened.function)
    hot = {one.address for one in opened.loop.instructions} if opened.loop else set()
    lines = tuple(
        Line(one.text, one.kind, line(one.address), one.address, hot=one.address in hot)
        for one in opened.file.code(opened.function)
    )
    return [Listing(opened.title, "asm", lines, opened.loop, opened.notes, _facts(opened))]


def _facts(opened: Opened) -> dict[str, str]:
    if opened.function == opened.root:
        return {}
    way = opened.file.way(opened.root, opened.function)
    return {"reached by": " → ".join(short_name(function.name) for function in way)}


def _source(request: Request, opened: Opened) -> list[Listing]:
    """The rung's header, and of others the lines that the hot loop comes from, with what became of each."""
    k, loop = request.implementation, opened.loop
    own = "".join(k.files[:1])
    became: dict[str, dict[int, Counter[str]]] = {own: {}}
    for one in loop.instructions if loop else ():
        if one.line is not None:
            became.setdefault(one.line[0], {}).setdefault(one.line[1], Counter())[one.kind] += 1
    listings = []
    for file, lines in became.items():
        path = csrc() / file
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8").splitlines()
        begin = next((n for n, line in enumerate(text, 1) if not line.startswith("//")), 1)  # behind the lesson
        first = begin if file == own else max(1, min(lines) - AROUND)
        last = len(text) if file == own else min(len(text), max(lines) + AROUND)
        listings.append(
            Listing(
                f"csrc/{file}",
                "cpp",
                tuple(
                    Line(text[n - 1], source=(file, n), hot=n in lines, note=_told(lines.get(n, Counter())))
                    for n in range(first, last + 1)
                ),
                first=first,
            )
        )
    without = loop is not None and all(one.line is None for one in loop.instructions)
    notes = (
        ("This build of the extension has no line tables (-g1), so no instruction knows its line.",) if without else ()
    )
    return [*listings[:-1], replace(listings[-1], notes=notes)]


def _told(kinds: Counter[str]) -> str:
    """What a line became in the hot loop."""
    return ", ".join(f"{n} {'FMA' if kind == 'fma' else kind}" for kind, n in kinds.most_common())


def _remarks(request: Request) -> list[Listing]:
    """The compiler's remarks below the lines that they are on."""
    here, level = compiler(), level_of(request.isa)
    function, scalar = compiled_from(request.implementation, level, request.dtype)
    own = "".join(request.implementation.files[:1])
    said = remarks_on(function, own, level)
    flags = " ".join(flags_of(level, False, here.kind))
    notes = [f"By {here.version}, which compiled the header once more with {flags}."]
    if scalar:
        without = _scalar_flags(level, here.kind)
        notes.append(f"The rung itself is compiled with vectorization off ({without}), so that it stays scalar.")
    listings = []
    # Of other headers only what keeps a loop of this one scalar, such as a call of the C library's exp.
    told = [remark for remark in said if remark.file == own or "not supported" in remark.text]
    for file in sorted({remark.file for remark in told}, key=lambda name: (name != own, name)):
        text = (csrc() / file).read_text(encoding="utf-8").splitlines()
        lines = []
        for number in sorted({remark.line for remark in told if remark.file == file}):
            lines.append(Line(text[number - 1], source=(file, number)))
            lines += [Line(f"// {saying}", "comment", (file, number)) for saying in _sayings(said, file, number)]
        listings.append(
            Listing(f"what the compiler says of csrc/{file} · {level} · {request.dtype}", "cpp", tuple(lines))
        )
    if not listings:
        nothing = Line("nothing: there is no loop that it could vectorize, or all is written with vectors")
        listings = [Listing(f"what the compiler says of csrc/{own} · {level} · {request.dtype}", "text", (nothing,))]
    others = sorted({remark.file for remark in said} - {remark.file for remark in told})
    if others:
        notes.append(f"It has remarks on other headers too: {', '.join(others)}.")
    return [*listings[:-1], replace(listings[-1], notes=tuple(notes))]


def _sayings(said: tuple[Remark, ...], file: str, line: int) -> list[str]:
    """What is said of a line; where its loop became vectors, nothing of the attempts that failed before."""
    of_line = [remark for remark in said if (remark.file, remark.line) == (file, line)]
    vectorized = [remark for remark in of_line if remark.vectorized]
    if vectorized:
        return [f"vectorized: {'; '.join(remark.told for remark in vectorized)}"]
    reasons = [remark for remark in of_line if remark.text not in ("couldn't vectorize loop", "loop not vectorized")]
    return [f"not vectorized: {remark.told}" for remark in reasons] or ["not vectorized"]


def _why_scalar(opened: Opened) -> list[str]:
    """Why a loop is scalar: what it was compiled with, and what the compiler says where vectorization is on."""
    k = opened.request.implementation
    function, scalar = compiled_from(k, opened.level, opened.request.dtype)
    notes = []
    if scalar:
        without = _scalar_flags(opened.level, "GNU")
        notes.append(f"Scalar: this rung is compiled with vectorization off ({without}), to show what that costs.")
    lines = {one.line for one in opened.loop.instructions} if opened.loop else set()
    try:
        said = remarks_on(function, "".join(k.files[:1]), opened.level)
    except InspectError as error:
        return [*notes, f"What the compiler says of it is not known here: {error}."]
    with_it = "With vectorization on, the" if scalar else "The"
    known = {line for line in lines if line is not None}
    if not known:  # without line tables all that is said of the header
        known = {(remark.file, remark.line) for remark in said if remark.file in k.files[:1]}
    found = []
    for file, line in sorted(known | _calls(said)):
        where = f"line {line}" if file in k.files[:1] else f"line {line} of csrc/{file}"
        found += [(f"{with_it} compiler says of {where}: {saying}.", saying) for saying in _sayings(said, file, line)]
    reasons = [told for told, saying in found if saying != "not vectorized"]
    if not scalar and any(saying.startswith("vectorized") for _, saying in found):
        reasons.append(
            "So it made another version of the loop too; this one runs for strides that the other is not for."
        )
    return [*notes, *(reasons or [told for told, _ in found])]


def _calls(said: tuple[Remark, ...]) -> set[SourceLine]:
    """Where something is that has no vector form, which may be in a function that was inlined."""
    return {(remark.file, remark.line) for remark in said if "not supported" in remark.text}


def _scalar_flags(level: str, kind: str) -> str:
    """The flags that switch vectorization off."""
    return " ".join(flags_of(level, True, kind)[len(flags_of(level, False, kind)) :])


def compiled_from(k: Implementation, level: str, dtype: str) -> tuple[str, bool]:
    """The function that a rung is, as the kernels' table in the sources has it; and whether the scalar table does."""
    operation, element = k.operation.name, {"float32": "float", "float64": "double"}[dtype]
    for file, scalar in (("kernels.cpp", False), ("kernels_scalar.cpp", True)):
        text = (csrc() / "simd" / file).read_text(encoding="utf-8")
        rungs = re.search(rf"\b{operation}_rungs\[\] = \{{(.*?)\n\}};", text, re.DOTALL)
        for entry in rungs[1].splitlines() if rungs else ():
            words = re.findall(
                r"[\w:]+", entry
            )  # RUNG(gelu, simd), SCALAR_RUNG(add, "scalar", loop), {"name", add::loop<…
            if words[:1] == ["RUNG"] and words[2] == k.variant:
                return f"loopnest::{level}::{operation}::{k.variant}<{element}>", scalar
            if words[:1] == ["SCALAR_RUNG"] and words[2] == k.variant:
                return f"loopnest::{level}::{operation}::{words[3]}<{element}>", scalar
            if words[:1] == [k.variant]:
                return f"loopnest::{level}::{words[1]}<{element}>", scalar
    raise InspectError(f"{operation} {k.id}: the table in csrc/simd/kernels.cpp has no such kernel")


def _mca(opened: Opened) -> list[Listing]:
    if opened.loop is None:
        raise InspectError(f"{opened.request.implementation.id}: there is no loop to simulate")
    family = _family(opened.request)
    found = simulate(opened.loop, family)
    notes = [f"{found.cycles:.3g} cycles an iteration, {found.instructions_per_cycle:.3g} instructions a cycle."]
    if opened.loop.bound is not None:
        notes.append(f"The bound of --hot is {opened.loop.bound.cycles:.3g} cycles, by {opened.loop.bound.name}.")
    if not found.exact:
        here = family.name if family else "this CPU"
        notes.append(
            f"llvm-mca {found.version} has no model of {here}: this is {found.model}'s, another core. Take care."
        )
    facts = {"model": found.model, "llvm-mca": found.version}
    lines = tuple(Line(text) for text in (*found.summary, "", "busy, cycles of an iteration:", *found.pressure))
    return [Listing(f"llvm-mca's view of {opened.title}", "text", lines, None, tuple(notes), facts)]


def level_of(isa: str | None) -> str:
    """The ISA level that is meant. Machine code of levels that do not run here can be looked at too."""
    known = tuple(VECTOR_BITS) if _core.isa() in VECTOR_BITS else tuple(_core.isa_levels())
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
    raise InspectError(
        f"{k.operation.name} {k.id}: {file.path} has no symbol of the kernels' table. Was it stripped? Install "
        "loopnest without install.strip, as its pyproject.toml says"
    )


def _family(request: Request) -> Family | None:
    """The processor whose bound is wanted: this one where none is named."""
    name = request.options.get("cpu")
    return family_called(name) if name else this_family()


def hottest(
    file: ObjectFile, root: Function, level: str, run: Trial | None = None, family: Family | None = None
) -> tuple[Function, Loop | None, list[str]]:
    """The hot loop of all that a rung comes to, the function that it is in, and what there is to say to that.

    Where the rung can run and the system lets us look, it is the loop in which the most time goes; otherwise the one
    that could do the most flops a cycle.
    """
    loops = [
        (function, found, loop)
        for function in file.reached_from(root, inside=f"loopnest::{level}")
        for found, loop in _loops_of(file, function, VECTOR_BITS[level], family.name if family else "")
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


@functools.lru_cache(maxsize=4096)
def _loops_of(file: ObjectFile, function: Function, bits: int, cpu: str) -> tuple[tuple[Found, Loop], ...]:
    """A function's loops; many rungs come to the same functions."""
    family = family_called(cpu) if cpu else None
    return tuple((found, summary(found, family, bits)) for found in loops_in(file.code(function)))


def _by_samples(
    file: ObjectFile, loops: list[tuple[Function, Found, Loop]], samples: Samples, otherwise: int
) -> tuple[int, float | None, list[str]]:
    """The number of the loop that was seen most, its share of all samples, and where else the time went.

    Compilers make copies of a loop, one for each way to come to it: those that do the same count as one.
    """
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
    if counts.total() < FEW:
        return otherwise, None, [f"Chosen by what it could do: only {counts.total()} looks fell into a loop."]

    def alike(n: int) -> tuple[object, ...]:
        function, found, _ = loops[n]
        return function.name, tuple(sorted(one.mnemonic for one in found.path))

    groups: Counter[tuple[object, ...]] = Counter()
    for n, often in counts.items():
        groups[alike(n)] += often
    group, times = groups.most_common(1)[0]
    most = max((n for n in counts if alike(n) == group), key=lambda n: counts[n])
    copies = sum(alike(n) == group for n in counts) - 1
    for other, often in groups.items():
        if other != group:
            at = next(n for n in counts if alike(n) == other)
            places[f"a loop of {short_name(loops[at][0].name)}"] += often
    share = times / samples.total
    others = [
        f"{100 * n / samples.total:.0f} % in {name}" for name, n in places.most_common(3) if n > samples.total / 20
    ]
    here = f"in this loop and {copies} cop{'y' if copies == 1 else 'ies'} of it" if copies else "in this loop"
    return (
        most,
        share,
        [f"{100 * share:.0f} % of the time was spent {here}{'; ' if others else ''}{', '.join(others)}."],
    )


def short_name(name: str) -> str:
    """A function's name without its namespace, its parameters and what it returns; enumerators by their names.

    >>> short_name("void loopnest::v4::matmul::tile<6, (loopnest::v4::matmul::Reading)0, float>(float const*)")
    'matmul::tile<6, whole, float>'
    """
    name = re.sub(r"loopnest::(?:v\d|neon|native)(?:_scalar)?::", "", name)
    name = re.sub(r"\((?:\w+::)*(\w+)\)(\d+)", lambda found: _enumerator(found[1], int(found[2])), name)
    depth, end = 0, len(name)
    for n, c in enumerate(name):
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0 and n and not name.startswith("(anonymous", n):
            end = n
            break
    name = name[:end]
    return name.split(" ", 1)[-1] if " " in name.split("<")[0] else name


def _enumerator(kind: str, number: int) -> str:
    """Its name, where an enumeration of csrc/ is meant."""
    names = _enumerations().get(kind, ())
    return names[number] if number < len(names) else f"({kind}){number}"


@functools.cache
def _enumerations() -> dict[str, tuple[str, ...]]:
    found = {}
    for path in csrc().glob("*/*.hpp"):
        text = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        for kind, names in re.findall(r"enum class (\w+)\s*\{([^}=]*)\}", text):
            found[kind] = tuple(name.strip() for name in names.split(",") if name.strip())
    return found
