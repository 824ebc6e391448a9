"""PTX and SASS, read as text: the kind of each instruction, its source line, and the loop that computes most.

PTX is the compiler's output for an abstract GPU with as many registers as it likes, SASS is what a GPU runs. Both are
for one thread; 32 of them run an instruction at once.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace

from .records import ARITHMETIC, Line, SourceLine
from .source import source_line

KINDS = {
    "fma": "fma mad mma FFMA DFMA HFMA2 FFMA2 HMMA DMMA IMMA HGMMA IGMMA",
    "multiply": "mul FMUL DMUL HMUL2 FMUL2",
    "add": "add sub FADD DADD HADD2 FADD2",
    "divide": "div rcp sqrt rsqrt",
    "special": "ex2 lg2 sin cos tanh MUFU",
    "compare": "min max setp set FSETP FMNMX FSET DSETP DMNMX FSEL FCHK",
    "logic": "abs neg copysign testp",
    "convert": "cvt F2F F2I I2F F2FP FRND I2FP I2I",
    "shuffle": "shfl vote match redux SHFL VOTE MATCH REDUX PRMT",
    "move": "mov selp cvta MOV UMOV CS2R S2R S2UR SEL USEL R2UR LDC ULDC LDCU",
    "load": "ld ldu ldmatrix load atom LDG LDS LDL LD LDSM ATOM ATOMG ATOMS",
    "store": "st store red STG STS STL ST RED REDG",
    "prefetch": "prefetch cp LDGSTS CCTL UBLKCP",
    "barrier": "bar barrier membar fence BAR MEMBAR DEPBAR LDGDEPBAR ERRBAR FENCE WARPSYNC SYNCS",
    "branch": "bra brx ret exit trap BRA BRX JMP EXIT RET BSSY BSYNC BREAK YIELD KILL",
    "call": "call CALL",
    "other": "NOP NANOSLEEP",
}
"""The names of instructions by kind; all others are scalar."""

_KIND_OF = {name: kind for kind, names in KINDS.items() for name in names.split()}


@dataclass
class Code:
    """A kernel's lines, and the names of the instructions among them by the index of the line."""

    lines: list[Line] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    jumps: list[tuple[int, str]] = field(default_factory=list)

    def label(self, name: str, shown: str) -> None:
        self.labels[name] = len(self.lines)
        self.lines.append(Line(shown, "label"))

    def instruction(self, name: str, shown: str, source: SourceLine | None, address: int | None = None) -> None:
        kind = _kind(name)
        if kind == "branch" and (found := re.search(r"\.L_x_\w+|\$L\w+", shown)):
            self.jumps.append((len(self.lines), found[0]))
        self.names[len(self.lines)] = name
        self.lines.append(Line(shown.rstrip(), kind, source, address))

    def mark_hot(self) -> None:
        """Mark the innermost loop, a label to the jump back to it, with the largest share of arithmetic, and of those
        with nearly that share the longest. A loop that only copies does not count as one inside of another."""
        loops = [range(self.labels[to], n + 1) for n, to in self.jumps if self.labels.get(to, n) < n]
        found = [loop for loop in loops if self._share_of_arithmetic(loop)[0]] or loops
        inner = [r for r in found if not any(o != r and r.start <= o.start and o.stop <= r.stop for o in found)]
        most = max(map(self._share_of_arithmetic, inner), default=(0.0, 0.0))
        near = [loop for loop in inner if self._share_of_arithmetic(loop)[0] > 0.9 * most[0]]
        hot = max(near or inner, key=lambda loop: (len(loop), self._share_of_arithmetic(loop)), default=range(0))
        self.lines = [replace(line, hot=n in hot) for n, line in enumerate(self.lines)]

    def _share_of_arithmetic(self, lines: range) -> tuple[float, float]:
        kinds = Counter(self.lines[n].kind for n in lines if n in self.names)
        return sum(map(kinds.__getitem__, ARITHMETIC)) / kinds.total(), kinds["load"] / kinds.total()

    def counts(self) -> dict[str, int]:
        """The instructions, of the hot loop if there is one, by name without modifiers: FFMA, LDS; ld.shared.f32."""
        hot = any(line.hot for line in self.lines)
        counted: Counter[str] = Counter()
        for n, full in self.names.items():
            name, *rest = full.split(".")
            kept = [part for part in rest if re.fullmatch(r"global|shared|local|sync|f16|f32|f64|v2|v4", part)]
            short = ".".join([name, *kept]) if name.islower() else name
            counted[short] += not hot or self.lines[n].hot
        return dict(sorted((+counted).items(), key=lambda item: (-item[1], item[0])))


def _kind(name: str) -> str:
    head, *rest = name.removeprefix("wmma.").split(".")
    kind = _KIND_OF.get(head, "scalar")
    floating = head.isupper() or head[0] == "f" or {"f16", "f16x2", "bf16", "f32", "f64"} & set(rest)
    if kind in (*ARITHMETIC, "compare", "logic") and not floating:
        return "scalar"  # `add` and `mul` of integers
    return "spill" if "local" in rest or head in ("LDL", "STL") else kind


_PTX = re.compile(r"(?P<guard>@!?%p\d+\s+)?(?P<name>[a-z][\w.:]*)\s*(?P<operands>.*?);$")


def read_ptx(text: str, name: str) -> Code:
    """The kernel with this (mangled) name of a PTX module.

    >>> text = ".entry f() {\\n ld.global.f32 %f1, [%rd1];\\n fma.rn.f32 %f2, %f1, %f1, %f2;\\n ret;\\n}"
    >>> [line.kind for line in read_ptx(text, "f").lines if line.kind]
    ['load', 'fma', 'branch']
    """
    files = dict(re.findall(r'\.file\s+(\d+)\s+"([^"]+)"', text))
    code, source = Code(), None
    kernel = re.search(rf"^[^\n{{}}]*\.entry\s+{re.escape(name)}(?![\w$]).*?^}}$", text, re.MULTILINE | re.DOTALL)
    for raw in kernel[0].splitlines() if kernel else ():
        line = raw.strip()
        if found := re.match(r"\.loc\s+(\d+)\s+(\d+)", line):
            if found[1] in files and int(found[2]):
                source = source_line(files[found[1]], int(found[2]))
        elif line.endswith(":"):
            code.label(line[:-1], line)
        elif (found := _PTX.match(line)) and not line.startswith("."):
            guard, operands = (found["guard"] or "").strip(), " ".join(found["operands"].split())
            code.instruction(found["name"], f"{guard:6}{found['name']:<18} {operands};", source)
        elif not line.startswith(".param"):
            code.lines.append(Line(raw.replace("\t", "  ").rstrip()))
    code.mark_hot()
    return code


_SASS = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?P<guard>@!?U?P\w+\s+)?(?P<name>[A-Z][\w.]*)\s*(?P<operands>.*?)\s*;\s*$")


def read_sass(text: str, name: str) -> Code:
    """The kernel with this name of nvdisasm's output."""
    code, source, inside = Code(), None, False
    for raw in text.splitlines():
        if section := re.match(r"\s*\.section\s+\.text\.([\w$.]+)", raw):
            inside = name == section[1]
        elif not inside:
            continue
        elif found := re.search(r'//## File "([^"]+)", line (\d+)', raw):
            if "inlined at" not in raw or source is None:
                source = source_line(found[1], int(found[2]))
        elif found := re.match(r"(\.L_x_\w+):", raw.strip()):
            code.label(found[1], raw.strip())
        elif found := _SASS.search(raw):
            operands = re.sub(r"`\((.*?)\)", r"\1", found["operands"])
            guard = (found["guard"] or "").strip()
            code.instruction(found["name"], f"{guard:5}{found['name']:<14} {operands}", source, int(found[1], 16))
    while code.lines and code.names.get(len(code.lines) - 1) == "NOP":  # it fills the last 128 bytes
        del code.names[len(code.lines) - 1], code.lines[-1]
    code.mark_hot()
    return code
