"""PTX and SASS as data: what kind each instruction is, its source line, and the hot loop.

PTX is what the compiler's front writes, for a machine with as many registers as it likes; SASS is what the GPU runs.
Both are read as text, PTX as numba.cuda or NVRTC give it and SASS as nvdisasm prints it. The figures of a loop are of
one thread; 32 of them run an instruction at once.

An innermost loop is a backward jump with no other inside. Hot is the one with the most flops an instruction, as on
the CPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..backends.cpp import csrc
from .records import ARITHMETIC, KINDS, Bound, Instruction, Line, Loop, SourceLine

PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Code:
    """A kernel's text and its instructions.

    at      by instruction, the line of the text that it is on
    labels  by name, the number of the instruction behind the label
    """

    lines: tuple[Line, ...]
    instructions: tuple[Instruction, ...]
    at: tuple[int, ...]
    labels: Mapping[str, int]

    def lit(self, loop: Loop | None) -> tuple[Line, ...]:
        """The lines, those of the loop marked as hot."""
        if loop is None:
            return self.lines
        first, last = (self.at[one.address] for one in (loop.instructions[0], loop.instructions[-1]))
        return tuple(replace(line, hot=first <= n <= last) for n, line in enumerate(self.lines))


def source_line(file: str, number: int) -> SourceLine:
    """The project's own files from csrc/ or from the package's folder on, others as they are."""
    path = Path(file).resolve()
    for folder in (csrc().resolve(), PACKAGE.parent):
        if path.is_relative_to(folder):
            return str(path.relative_to(folder)), number
    return file, number


# --- PTX: PTX ISA, "Instruction Set"


_PTX = re.compile(r"(?P<guard>@!?%p\d+\s+)?(?P<opcode>[a-z][\w.:]*)\s*(?P<operands>.*?);?\s*$")
_LOC = re.compile(r"\.loc\s+(\d+)\s+(\d+)")
_FILE = re.compile(r'\.file\s+(\d+)\s+"([^"]+)"')
_WIDTH = re.compile(r"\.(?:[bsuf])(8|16|32|64|128)$")


def read_ptx(text: str, name: str | None = None) -> Code:
    """The kernel called `name` (its mangled name), or the first, of a PTX module.

    Instructions are numbered from 0; the number stands as their address.

    >>> code = read_ptx(".entry f() {\\n ld.global.f32 %f1, [%rd1];\\n fma.rn.f32 %f2, %f1, %f1, %f2;\\n ret;\\n}")
    >>> [one.kind for one in code.instructions]
    ['load', 'fma', 'branch']
    """
    files = {int(number): path for number, path in _FILE.findall(text)}
    lines: list[Line] = []
    instructions: list[Instruction] = []
    at: list[int] = []
    labels: dict[str, int] = {}
    source: SourceLine | None = None
    for raw in _folded(_entry(text, name)):
        told = raw.strip()
        if found := _LOC.match(told):
            number = int(found[2])
            source = source_line(files[int(found[1])], number) if number and int(found[1]) in files else source
            continue
        if not told or told.startswith(("//", ".", "{", "}", "(", ")")) or told.endswith(":"):
            if told.endswith(":"):
                labels[told[:-1]] = len(instructions)
            if told or (lines and lines[-1].text):
                lines.append(Line(raw.replace("\t", "  ").rstrip(), "label" if told.endswith(":") else ""))
            continue
        found = _PTX.match(told)
        if found is None or not told.endswith(";"):
            lines.append(Line(raw.replace("\t", "  ").rstrip()))
            continue
        address = len(instructions)
        one = _ptx_instruction(address, found["opcode"], " ".join(found["operands"].split()), source)
        if found["guard"]:
            one = replace(one, operands=f"{one.operands} {found['guard'].strip()}")
        guard = (found["guard"] or "").strip()
        shown = f"{guard:6}{found['opcode']:<18} {' '.join(found['operands'].split())};".rstrip()
        at.append(len(lines))
        lines.append(Line(shown, one.kind, source))
        instructions.append(one)
    return Code(tuple(lines), tuple(instructions), tuple(at), labels)


def _entry(text: str, name: str | None) -> Iterator[str]:
    """The lines of a kernel, from its `.entry` to the brace that closes it."""
    inside, depth = False, 0
    for line in text.splitlines():
        if not inside and re.match(r"\s*(\.visible\s+|\.weak\s+)*\.entry\b", line):
            found = re.search(r"\.entry\s+([\w$]+)", line)
            inside = name is None or (found is not None and found[1] == name)
        if not inside:
            continue
        yield line
        depth += line.count("{") - line.count("}")
        if depth <= 0 and "}" in line:
            return


def _folded(lines: Iterator[str]) -> Iterator[str]:
    """Without the list of parameters: an array has nine of them."""
    parameters = 0
    for line in lines:
        if line.strip().startswith(".param"):
            parameters += 1
            continue
        if parameters and line.strip() == ")":
            yield f"  // {parameters} parameter{'s' if parameters > 1 else ''}"
            parameters = 0
        yield line


def _ptx_instruction(address: int, opcode: str, operands: str, source: SourceLine | None) -> Instruction:
    parts = opcode.split(".")
    head = parts[0]
    width = _WIDTH.search(opcode)
    size = int(width[1]) // 8 if width else 4
    vector = 4 if ".v4" in opcode else 2 if ".v2" in opcode else 1
    floating = re.search(r"\.(f16x2|f16|bf16|f32|f64)\b", opcode)
    itemsize = {"f64": 8, "f16": 2, "bf16": 2, "f16x2": 2}.get(floating[1], 4) if floating else 0
    one = Instruction(address, 0, opcode, operands, "other", line=source)
    if head in ("ld", "ldu", "st", "atom", "red"):
        if parts[1:2] in (["param"], ["const"]) or "param" in parts:
            return replace(one, kind="move")
        reads, writes = head in ("ld", "ldu", "atom"), head in ("st", "atom", "red")
        local = "local" in parts
        kind = "store" if head in ("st", "red") else "load"
        return replace(one, kind=kind, bytes=size * vector, reads=reads, writes=writes, stack=local,
                       vector_bits=8 * size * vector)  # fmt: skip
    if floating and head in ("fma", "mad", "mul", "add", "sub", "div", "rcp", "sqrt", "rsqrt"):
        kind = {"mad": "fma", "mul": "multiply", "sub": "add"}.get(head, head)
        kind = kind if kind in ARITHMETIC else "divide"
        return replace(one, kind=kind, lanes=2 if floating[1] == "f16x2" else 1, itemsize=itemsize)
    return replace(one, kind=_ptx_kind(head, bool(floating)))


def _ptx_kind(head: str, floating: bool) -> str:
    kinds = {
        "special": ("ex2", "lg2", "sin", "cos", "tanh"),
        "compare": ("min", "max", "setp", "set") if floating else (),
        "logic": ("abs", "neg", "copysign", "testp") if floating else (),
        "convert": ("cvt",),
        "shuffle": ("shfl", "vote", "match", "redux"),
        "move": ("mov", "selp", "cvta", "slct"),
        "barrier": ("bar", "barrier", "membar", "fence"),
        "prefetch": ("prefetch", "prefetchu", "cp"),
        "branch": ("bra", "brx", "ret", "exit", "trap"),
        "call": ("call",),
    }
    return next((kind for kind, heads in kinds.items() if head in heads), "scalar")


# --- SASS: CUDA Binary Utilities, "Instruction Set Reference"


_SASS = re.compile(
    r"/\*([0-9a-f]{4,})\*/\s+(?P<guard>@!?U?P\w+\s+)?(?P<opcode>[A-Z][\w.]*)\s*(?P<operands>.*?)\s*;\s*$"
)
_SASS_FILE = re.compile(r'//## File "([^"]+)", line (\d+)')
_SASS_LABEL = re.compile(r"^(\.L_x_\w+):")


def read_sass(text: str, name: str | None = None) -> Code:
    """The kernel called `name`, or the first, of what nvdisasm prints. Addresses are bytes from the kernel's start."""
    lines: list[Line] = []
    instructions: list[Instruction] = []
    at: list[int] = []
    labels: dict[str, int] = {}
    source: SourceLine | None = None
    inside = False
    for raw in text.splitlines():
        if section := re.match(r"\s*\.section\s+\.text\.([\w$.]+)", raw):
            if inside and instructions:
                break
            inside = name is None or section[1] == name
        if not inside:
            continue
        if found := _SASS_FILE.search(raw):
            if "inlined at" not in raw or source is None:
                source = source_line(found[1], int(found[2]))
        elif found := _SASS_LABEL.match(raw.strip()):
            labels[found[1]] = len(instructions)
            lines.append(Line(raw.strip(), "label"))
        elif found := _SASS.search(raw):
            operands = re.sub(r"`\((.*?)\)", r"\1", found["operands"])
            one = _sass_instruction(len(instructions), found["opcode"], operands, source)
            guard = (found["guard"] or "").strip()
            shown = f"{guard:5}{found['opcode']:<14} {operands}".rstrip()
            at.append(len(lines))
            lines.append(Line(shown, one.kind, source, int(found[1], 16)))
            instructions.append(one)
    while instructions and instructions[-1].mnemonic == "NOP":  # what fills the last 128 bytes
        del instructions[-1], lines[at[-1]], at[-1]
    return Code(tuple(lines), tuple(instructions), tuple(at), labels)


_SPACES = {"G": "global", "S": "shared", "L": "local"}


def _sass_instruction(address: int, opcode: str, operands: str, source: SourceLine | None) -> Instruction:
    head, *rest = opcode.split(".")
    one = Instruction(address, 16, opcode, operands, "other", line=source)
    if head in ("LDG", "LDS", "LDL", "LD", "STG", "STS", "STL", "ST", "ATOM", "ATOMG", "ATOMS", "RED", "REDG", "LDSM"):
        size = next((int(part) // 8 for part in rest if part in ("64", "128", "256")), 4)
        size = 1 if {"U8", "S8"} & set(rest) else 2 if {"U16", "S16"} & set(rest) else size
        reads, writes = head.startswith(("LD", "ATOM")), not head.startswith("LD")
        kind = "spill" if head.endswith("L") else "store" if head.startswith(("ST", "RED")) else "load"
        return replace(one, kind=kind, bytes=size, reads=reads, writes=writes, stack=kind == "spill",
                       vector_bits=8 * size)  # fmt: skip
    if re.search(r"(^|,\s*)-?RZ, (R\w+|-?RZ|[\w.-]+)", operands) and head in ("HFMA2", "FADD", "IMAD"):
        pieces = [piece.strip().lstrip("-") for piece in operands.split(",")[1:3]]
        if "RZ" in pieces and (head != "IMAD" or pieces == ["RZ", "RZ"]):
            return replace(one, kind="move")  # adding to or multiplying by zero: how a constant or a copy is written
    if head == "MUFU":
        special = rest[:1] and rest[0] not in ("RCP", "RSQ", "SQRT", "RCP64H", "RSQ64H")
        return replace(one, kind="special" if special else "divide", lanes=0 if special else 1, itemsize=4)
    arithmetic = {"FFMA": ("fma", 4), "FMUL": ("multiply", 4), "FADD": ("add", 4), "DFMA": ("fma", 8),
                  "DMUL": ("multiply", 8), "DADD": ("add", 8), "HFMA2": ("fma", 2), "HMUL2": ("multiply", 2),
                  "HADD2": ("add", 2), "FFMA2": ("fma", 4), "FMUL2": ("multiply", 4), "FADD2": ("add", 4)}  # fmt: skip
    plain = head.removesuffix("32I") if head not in arithmetic else head
    if plain in arithmetic:
        kind, itemsize = arithmetic[plain]
        return replace(one, kind=kind, lanes=2 if plain.endswith("2") else 1, itemsize=itemsize)
    if head == "IMAD" and rest[:1] in (["MOV"], ["SHL"], ["IADD"]):
        return replace(one, kind="move" if rest[0] == "MOV" else "scalar")
    kinds = {
        "compare": ("FSETP", "FMNMX", "FMNMX3", "FSET", "DSETP", "DMNMX", "FSEL", "FCHK"),
        "convert": ("F2F", "F2I", "I2F", "F2FP", "FRND", "I2FP", "I2I", "F2IP"),
        "shuffle": ("SHFL", "VOTE", "VOTEU", "MATCH", "REDUX", "PRMT"),
        "move": ("MOV", "UMOV", "CS2R", "CS2UR", "S2R", "S2UR", "SEL", "USEL", "R2UR", "LDC", "ULDC", "LDCU", "MOVM"),
        "barrier": ("BAR", "MEMBAR", "DEPBAR", "LDGDEPBAR", "ERRBAR", "FENCE", "WARPSYNC", "SYNCS"),
        "prefetch": ("LDGSTS", "CCTL", "UBLKCP", "UTMALDG"),
        "branch": ("BRA", "BRX", "JMP", "EXIT", "RET", "BSSY", "BSYNC", "BREAK", "YIELD", "BMOV", "KILL", "BRXU"),
        "call": ("CALL",),
        "other": ("NOP", "HMMA", "DMMA", "IMMA", "HGMMA", "NANOSLEEP"),
    }
    return replace(one, kind=next((kind for kind, heads in kinds.items() if head in heads), "scalar"))


# --- loops


def jump_of(one: Instruction, code: Code) -> int | None:
    """The number of the instruction that it jumps to, by a label that the code has; of several the farthest back."""
    if one.kind != "branch":
        return None
    names = re.findall(r"\.L_x_\w+|\$L\w+|(?<=label %)[\w.$-]+|(?<=label %\")[^\"]+", one.operands)
    return min((code.labels[name] for name in names if name in code.labels), default=None)


def loops_in(code: Code) -> list[tuple[Instruction, ...]]:
    """The innermost loops: what lies between a backward jump and its target, and holds no other."""
    spans = {
        (to, one.address) for one in code.instructions if (to := jump_of(one, code)) is not None and to <= one.address
    }
    inner = [s for s in spans if not any(s != o and s[0] <= o[0] and o[1] <= s[1] for o in spans)]
    return [code.instructions[first : last + 1] for first, last in sorted(inner)]


def hot_loop(code: Code, cc: tuple[int, int] | None = None) -> Loop | None:
    """The innermost loop with the most flops an instruction; where none computes, with the most bytes.

    cc  the compute capability by which its bound is told, where the code is SASS
    """
    candidates = [summary(one, cc) for one in loops_in(code)]

    def heat(loop: Loop) -> tuple[float, float, int]:
        length = len(loop.instructions)
        special = loop.counts.get("special", 0)
        return (loop.flops + special) / length, loop.bytes / length, length

    return max(candidates, key=heat, default=None)


def summary(instructions: tuple[Instruction, ...], cc: tuple[int, int] | None = None) -> Loop:
    """What a loop's instructions add up to, for one thread and one iteration."""
    counts = {kind: n for kind in KINDS if (n := sum(one.kind == kind for one in instructions))}
    counts["loads"] = sum(one.reads for one in instructions)
    counts["stores"] = sum(one.writes for one in instructions)
    counts["spills"] = sum(one.stack for one in instructions)
    accumulators, steps = _chains(instructions)
    loop = Loop(
        instructions=instructions,
        counts=counts,
        flops=sum(one.flops for one in instructions),
        bytes=sum(one.bytes for one in instructions),
        vector_bits=max((one.vector_bits for one in instructions), default=0),
        itemsize=max((one.itemsize for one in instructions), default=0),
        accumulators=accumulators,
        latency=float(LATENCY * steps),
    )
    return replace(loop, bound=_bound(loop, cc)) if cc is not None and cc in RATES else loop


def families(instructions: Sequence[Instruction]) -> dict[str, int]:
    """How many there are of each instruction by name, without what modifies it: FFMA, LDS; fma.f32, ld.shared.f32."""
    counted: dict[str, int] = {}
    for one in instructions:
        name = one.mnemonic.split(".")[0]
        if name.islower():
            parts = one.mnemonic.split(".")
            kept = [p for p in parts[1:] if re.fullmatch(r"global|shared|local|sync|f16|f32|f64|v2|v4", p)]
            name = ".".join([name, *kept])
        counted[name] = counted.get(name, 0) + 1
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


LATENCY = 4
"""Cycles until the result of a multiply-add can be used (Jia et al., *Dissecting the NVIDIA Volta GPU Architecture via
Microbenchmarking*, 2018, table 4.1; Turing and later have kept it)."""

_REGISTER = re.compile(r"%?\b(?:R\d+|[fr]d?\d+)\b")


def _chains(instructions: Sequence[Instruction]) -> tuple[int, int]:
    """How many registers carry arithmetic from one iteration to the next, and the most operations in such a chain."""
    flows = []
    for one in instructions:
        found = [name.lstrip("%") for name in _REGISTER.findall(one.operands.replace(".reuse", ""))]
        no_result = (one.writes and not one.reads) or one.kind in ("branch", "barrier")
        flows.append((one, None if no_result or not found else found[0], found if no_result else found[1:]))
    carried = {to for one, to, _ in flows if to and one.kind in ARITHMETIC}
    count = longest = 0
    for register in carried:
        since = {register: 0}
        for one, to, reads in flows:
            if to is None:
                continue
            taken = [since[name] for name in reads if name in since]
            if taken:
                since[to] = max(taken) + (one.kind in ARITHMETIC)
            else:
                since.pop(to, None)
        steps = since.get(register, 0)
        count += steps > 0
        longest = max(longest, steps)
    return count, longest


# --- what bounds a loop on the GPU


@dataclass(frozen=True)
class Rates:
    """Results a cycle of one multiprocessor: *CUDA C++ Programming Guide*, "Throughput of Native Arithmetic
    Instructions"."""

    fp32: int
    fp64: int
    special: int = 16
    memory: int = 32
    """Threads whose loads or stores are taken, from shared memory (32 banks) or L1."""


RATES: dict[tuple[int, int], Rates] = {
    (7, 0): Rates(64, 32),
    (7, 5): Rates(64, 2),
    (8, 0): Rates(64, 32),
    (8, 6): Rates(128, 2),
    (8, 7): Rates(128, 2),
    (8, 9): Rates(128, 2),
    (9, 0): Rates(128, 64),
    (10, 0): Rates(128, 64),
    (12, 0): Rates(128, 2),
}


def _bound(loop: Loop, cc: tuple[int, int]) -> Bound:
    """The cycles that a multiprocessor needs at least for an iteration of four warps, one on each scheduler.

    A scheduler issues an instruction a cycle. A load or a store counts as if its 32 threads met no conflict and
    needed no more than one access, so that the truth can only be worse; that data must come from memory is left out.
    """
    rates = RATES[cc]
    warp_threads = 4 * 32
    single = sum(one.kind in ARITHMETIC and one.itemsize <= 4 and one.mnemonic.split(".")[0] != "MUFU"
                 for one in loop.instructions)  # fmt: skip
    double = sum(one.kind in ARITHMETIC and one.itemsize == 8 for one in loop.instructions)
    special = sum(one.mnemonic.split(".")[0] == "MUFU" for one in loop.instructions)
    memory = sum(one.reads or one.writes for one in loop.instructions)
    cycles_by = {
        "FP32 units": single * warp_threads / rates.fp32,
        "FP64 units": double * warp_threads / rates.fp64,
        "special functions": special * warp_threads / rates.special,
        "loads and stores": memory * warp_threads / rates.memory,
        "instructions": float(len(loop.instructions)),
    }
    cycles_by = {name: cycles for name, cycles in cycles_by.items() if cycles}
    name, cycles = max(cycles_by.items(), key=lambda item: item[1])
    peak = loop.flops / 2 * warp_threads / (rates.fp64 if double > single else rates.fp32)
    share = peak / cycles if loop.flops else None
    of_peak = f": at most {100 * share:.0f} % of the peak" if share is not None else ""
    why = {
        "FP32 units": "bound by the FP32 units",
        "FP64 units": "bound by the FP64 units",
        "special functions": "bound by the unit for exponentials and reciprocals",
        "loads and stores": "bound by its loads and stores, of which a multiprocessor takes one warp's a cycle",
        "instructions": "bound by the number of its instructions: a scheduler issues one a cycle",
    }[name]
    waiting = ""
    if loop.latency > cycles:
        warps = -(-loop.latency // cycles)
        waiting = f" One warp alone waits for its own sums: {warps:.0f} on each scheduler hide that."
    need = f"Four warps, one on each scheduler, need at least {cycles:.0f} cycles for an iteration"
    return Bound(
        name, cycles, share, f"{need}{of_peak}; {why}.{waiting}", cycles_by, f"compute capability {cc[0]}.{cc[1]}"
    )
