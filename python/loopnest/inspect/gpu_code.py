"""PTX, SASS and LLVM IR as data: the kind of each instruction and its source line.

PTX is the compiler's output for an abstract GPU with as many registers as it likes, SASS is what a GPU runs; LLVM IR is
what an optimiser hands to its code generator. All are read as text: PTX from numba.cuda or NVRTC, SASS from nvdisasm.
PTX and SASS are for one thread; 32 of them run an instruction at once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from .loops import hot_loop
from .records import Instruction, Line, Loop, SourceLine
from .source import source_line

KINDS = {
    "fma": "fma mad FFMA DFMA HFMA2 FFMA2 llvm.fma llvm.fmuladd",
    "multiply": "mul FMUL DMUL HMUL2 FMUL2 fmul",
    "add": "add sub FADD DADD HADD2 FADD2 fadd fsub llvm.vector.reduce.fadd",
    "divide": "div rcp sqrt rsqrt fdiv frem llvm.sqrt",
    "special": "ex2 lg2 sin cos tanh MUFU",
    "compare": "min max setp set FSETP FMNMX FMNMX3 FSET DSETP DMNMX FSEL FCHK fcmp llvm.maxnum llvm.minnum",
    "logic": "abs neg copysign testp fneg llvm.fabs llvm.copysign",
    "convert": "cvt F2F F2I I2F F2FP FRND I2FP I2I fptrunc fpext sitofp uitofp fptosi fptoui",
    "shuffle": "shfl vote match redux SHFL VOTE MATCH REDUX PRMT shufflevector insertelement extractelement",
    "move": "mov selp cvta slct MOV UMOV CS2R CS2UR S2R S2UR SEL USEL R2UR LDC ULDC LDCU select phi",
    "load": "ld ldu atom LDG LDS LDL LD LDSM ATOM ATOMG ATOMS load",
    "store": "st red STG STS STL ST RED REDG store",
    "prefetch": "prefetch prefetchu cp LDGSTS CCTL UBLKCP UTMALDG llvm.prefetch",
    "barrier": "bar barrier membar fence BAR MEMBAR DEPBAR LDGDEPBAR ERRBAR FENCE WARPSYNC SYNCS",
    "branch": "bra brx ret exit trap BRA BRX JMP EXIT RET BSSY BSYNC BREAK YIELD BMOV KILL BRXU br switch unreachable",
    "call": "call CALL invoke",
    "other": "NOP HMMA DMMA IMMA HGMMA NANOSLEEP",
}
"""The names of instructions by kind; all others are scalar."""

_KIND_OF = {name: kind for kind, names in KINDS.items() for name in names.split()}
_FLOATING = ("fma", "multiply", "add", "divide", "compare", "logic")
_STOPS = ("bra", "ret", "exit", "trap", "BRA", "JMP", "RET", "EXIT", "KILL")


class Code(NamedTuple):
    """A kernel's lines, those of its hot loop marked; its instructions by the index of their line, whose addresses
    count instructions from 0; and the loop."""

    lines: tuple[Line, ...]
    instructions: dict[int, Instruction]
    loop: Loop | None = None


def names_of(instructions: Iterable[Instruction]) -> dict[str, int]:
    """Counts by name, without modifiers: FFMA, LDS; fma.f32, ld.shared.f32."""
    counted: Counter[str] = Counter()
    for one in instructions:
        name, *rest = one.mnemonic.split(".")
        kept = [part for part in rest if re.fullmatch(r"global|shared|local|sync|f16|f32|f64|v2|v4", part)]
        counted[one.mnemonic if name == "llvm" else ".".join([name, *kept]) if name.islower() else name] += 1
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


class _Reader:
    """Lines and instructions as they are read; jumps get their targets at the end, when all labels are known."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.instructions: dict[int, Instruction] = {}
        self.labels: dict[str, int] = {}

    def label(self, name: str, shown: str) -> None:
        self.labels[name] = len(self.instructions)
        self.lines.append(Line(shown, "label"))

    def instruction(self, name: str, operands: str, shown: str, source: SourceLine | None, guarded: bool) -> None:
        one = _classified(len(self.instructions), name, operands, guarded)
        self.instructions[len(self.lines)] = replace(one, line=source)
        self.lines.append(Line(shown.rstrip(), one.kind, source))

    def code(self) -> Code:
        for n, one in self.instructions.items():
            names = re.findall(r"\.L_x_\w+|\$L\w+", one.operands) if one.kind == "branch" else []
            self.instructions[n] = replace(one, target=self.labels.get(names[-1]) if names else None)
        loop = hot_loop(tuple(self.instructions.values()))
        hot = loop.addresses if loop is not None else frozenset()
        at = [n for n, one in self.instructions.items() if one.address in hot]
        inside = range(at[0], at[-1] + 1) if at else range(0)
        lines = (replace(line, hot=n in inside) for n, line in enumerate(self.lines))
        return Code(tuple(lines), self.instructions, loop)


def _classified(address: int, name: str, operands: str, guarded: bool) -> Instruction:
    """An instruction of PTX or SASS."""
    head, *rest = name.split(".")
    kind = _KIND_OF.get(head.removesuffix("32I"), "scalar")
    floating = head.isupper() or any(part in ("f16", "f16x2", "bf16", "f32", "f64") for part in rest)
    if kind in _FLOATING and not floating:
        kind = "scalar"
    if head == "MUFU" and rest[:1] and rest[0] in ("RCP", "RSQ", "SQRT", "RCP64H", "RSQ64H"):
        kind = "divide"
    factors = [piece.strip().lstrip("-") for piece in operands.split(",")[1:3]]
    if (head in ("HFMA2", "FADD") and "RZ" in factors) or (
        head == "IMAD" and (rest[:1] == ["MOV"] or factors == ["RZ"] * 2)
    ):
        kind = "move"  # adding zero, or multiplying by it, is how SASS writes a copy or a constant
    one = Instruction(address, 0, name, operands, kind, continues=guarded or head not in _STOPS)
    if kind in ("load", "store"):
        if {"param", "const"} & set(rest):
            return replace(one, kind="move")
        bits = [int(n) for part in rest if (n := re.sub(r"^[bsufUSE]", "", part)).isdigit()]
        size = (bits[-1] if bits else 32) // 8 * (4 if "v4" in rest else 2 if "v2" in rest else 1)
        atomic = head.lower().startswith("atom")
        local = "local" in rest or head in ("LDL", "STL")
        return replace(one, kind="spill" if local else kind, bytes=size, reads=kind == "load",
                       writes=kind == "store" or atomic, stack=local, vector_bits=8 * size)  # fmt: skip
    if kind in ("fma", "multiply", "add", "divide"):
        double, half = head.startswith("D") or "f64" in rest, head.startswith("H") or "f16x2" in rest
        return replace(one, lanes=2 if half or head.endswith("2") else 1, itemsize=8 if double else 2 if half else 4)
    return one


_PTX = re.compile(r"(?P<guard>@!?%p\d+\s+)?(?P<name>[a-z][\w.:]*)\s*(?P<operands>.*?);$")


def read_ptx(text: str, name: str | None = None) -> Code:
    """The kernel with this (mangled) name, or the first, of a PTX module.

    >>> code = read_ptx(".entry f() {\\n ld.global.f32 %f1, [%rd1];\\n fma.rn.f32 %f2, %f1, %f1, %f2;\\n ret;\\n}")
    >>> [one.kind for one in code.instructions.values()]
    ['load', 'fma', 'branch']
    """
    files = dict(re.findall(r'\.file\s+(\d+)\s+"([^"]+)"', text))
    reader, source = _Reader(), None
    for raw in _entry(text, name):
        line = raw.strip()
        if found := re.match(r"\.loc\s+(\d+)\s+(\d+)", line):
            if found[1] in files and int(found[2]):
                source = source_line(files[found[1]], int(found[2]))
        elif line.endswith(":"):
            reader.label(line[:-1], raw.rstrip())
        elif (found := _PTX.match(line)) and not line.startswith("."):
            guard, operands = (found["guard"] or "").strip(), " ".join(found["operands"].split())
            reader.instruction(
                found["name"], operands, f"{guard:6}{found['name']:<18} {operands};", source, bool(guard)
            )
        elif not line.startswith(".param"):
            reader.lines.append(Line(raw.replace("\t", "  ").rstrip()))
    return reader.code()


def _entry(text: str, name: str | None) -> Iterator[str]:
    """The lines of a kernel, from its `.entry` to the brace that closes it."""
    inside, depth = False, 0
    for line in text.splitlines():
        found = re.match(r"\s*(?:\.visible\s+|\.weak\s+)*\.entry\s+([\w$]+)", line)
        inside = inside or (found is not None and name in (None, found[1]))
        if inside:
            yield line
            depth += line.count("{") - line.count("}")
            if depth <= 0 and "}" in line:
                return


_SASS = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?P<guard>@!?U?P\w+\s+)?(?P<name>[A-Z][\w.]*)\s*(?P<operands>.*?)\s*;\s*$")


def read_sass(text: str, name: str | None = None) -> Code:
    """The kernel with this name, or the first, of nvdisasm's output."""
    reader, source, inside = _Reader(), None, False
    for raw in text.splitlines():
        if section := re.match(r"\s*\.section\s+\.text\.([\w$.]+)", raw):
            if inside and reader.instructions:
                break
            inside = name in (None, section[1])
        if not inside:
            continue
        if found := re.search(r'//## File "([^"]+)", line (\d+)', raw):
            if "inlined at" not in raw or source is None:
                source = source_line(found[1], int(found[2]))
        elif found := re.match(r"(\.L_x_\w+):", raw.strip()):
            reader.label(found[1], raw.strip())
        elif found := _SASS.search(raw):
            operands = re.sub(r"`\((.*?)\)", r"\1", found["operands"])
            guard = (found["guard"] or "").strip()
            reader.instruction(found["name"], operands, f"{guard:5}{found['name']:<14} {operands}", source, bool(guard))
            reader.lines[-1] = replace(reader.lines[-1], address=int(found[1], 16))
    while reader.lines and reader.lines[-1].text.strip() == "NOP":  # it fills the last 128 bytes
        del reader.instructions[len(reader.lines) - 1], reader.lines[-1]
    return reader.code()


_IR = re.compile(r"\s+(?:%[\w.\"$-]+ = )?(?:(?:tail|musttail|notail) )?(?P<name>[a-z]+)\b(?P<operands>.*)")
_METADATA = re.compile(
    r",? !(dbg|tbaa|noalias|alias\.scope|prof|range|nonnull|noundef|invariant\.load|llvm\.loop) !\d+"
)


def read_ir(text: str, name: str) -> Code:
    """The function with this name of a module of LLVM IR (https://llvm.org/docs/LangRef.html).

    >>> code = read_ir("define void @f(ptr %p) {\\n  %x = load <8 x float>, ptr %p\\n  ret void\\n}", "f")
    >>> [one.kind for one in code.instructions.values()]
    ['load', 'branch']
    """
    places, reader, inside = _locations(text), _Reader(), False
    for raw in text.splitlines():
        inside = inside or (raw.startswith("define") and re.search(rf'@"?{re.escape(name)}"?\(', raw) is not None)
        if not inside or "@llvm.dbg" in raw or "#dbg_" in raw:
            continue
        shown = _METADATA.sub("", raw).rstrip()
        if found := re.match(r"(\"[^\"]+\"|[\w.$-]+):", raw):
            reader.label(found[1].strip('"'), shown)
        elif (found := _IR.match(raw)) and not raw.startswith(("define", "}", ";")):
            intrinsic = re.search(r"@(llvm\.[a-z.]+?)\.(?:v\d+)?(?:f\d+|p0|i\d+)", found["operands"])
            opcode = intrinsic[1] if intrinsic else found["name"]
            place = re.search(r"!dbg !(\d+)", raw)
            kind = _KIND_OF.get(opcode, "other" if intrinsic else "scalar")
            if kind in _FLOATING and not opcode.startswith(("f", "llvm")):
                kind = "scalar"  # `add` and `mul` are integers'
            source = places.get(place[1]) if place else None
            one = Instruction(len(reader.instructions), 0, opcode, "", kind, line=source)
            reader.instructions[len(reader.lines)] = one
            reader.lines.append(Line(shown, one.kind, one.line))
        else:
            reader.lines.append(Line(shown))
        if raw == "}":
            break
    return Code(tuple(reader.lines), reader.instructions)


def _locations(text: str) -> dict[str, SourceLine]:
    """The source lines of metadata, by number."""
    named = re.findall(r'^!(\d+) = !DIFile\(filename: "([^"]+)", directory: "([^"]*)"', text, re.MULTILINE)
    files = {n: name if name.startswith("/") else f"{folder}/{name}" for n, name, folder in named}
    scoped = r"^!(\d+) = (?:distinct )?!DI(?:Subprogram|LexicalBlock\w*)\(.*?\bfile: !(\d+)"
    scopes = {n: files.get(file) for n, file in re.findall(scoped, text, re.MULTILINE)}
    placed = r"^!(\d+) = (?:distinct )?!DILocation\(line: (\d+),.*?\bscope: !(\d+)"
    found = ((n, int(line), scopes.get(scope)) for n, line, scope in re.findall(placed, text, re.MULTILINE))
    return {n: source_line(file, line) for n, line, file in found if file and line}
