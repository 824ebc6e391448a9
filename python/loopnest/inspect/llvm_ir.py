"""LLVM IR as data: what kind each instruction is, its source line, and the hot loop.

IR is what a compiler's optimiser hands to its code generator, with as many registers as it likes and vectors of any
width.
Language Reference: https://llvm.org/docs/LangRef.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from .gpu_code import Code, loops_in, source_line
from .loops import heat
from .records import ARITHMETIC, KINDS, Instruction, Line, Loop, SourceLine

_INSTRUCTION = re.compile(
    r"\s+(?:(?P<result>%[\w.\"$-]+) = )?(?:(?:tail|musttail|notail) )?(?P<opcode>[a-z]+)\b(?P<rest>.*)"
)
_LABEL = re.compile(r"^(\"[^\"]+\"|[\w.$-]+):")
_TYPE = re.compile(r"(?:<(?P<lanes>\d+) x )?(?P<element>float|double|half|i\d+|ptr)>?")
_SIZES = {"float": 4, "double": 8, "half": 2, "ptr": 8}

_KINDS = {
    "fadd": "add",
    "fsub": "add",
    "fmul": "multiply",
    "fdiv": "divide",
    "frem": "divide",
    "fneg": "logic",
    "fcmp": "compare",
    "load": "load",
    "store": "store",
    "shufflevector": "shuffle",
    "insertelement": "shuffle",
    "extractelement": "shuffle",
    "select": "move",
    "phi": "move",
    "br": "branch",
    "switch": "branch",
    "ret": "branch",
    "unreachable": "branch",
    "call": "call",
    "invoke": "call",
    "fptrunc": "convert",
    "fpext": "convert",
    "sitofp": "convert",
    "uitofp": "convert",
    "fptosi": "convert",
    "fptoui": "convert",
}
_INTRINSICS = {
    "fma": "fma",
    "fmuladd": "fma",
    "sqrt": "divide",
    "fabs": "logic",
    "copysign": "logic",
    "maxnum": "compare",
    "minnum": "compare",
    "maximum": "compare",
    "minimum": "compare",
    "prefetch": "prefetch",
    "vector.reduce.fadd": "add",
}


def read_ir(text: str, name: str) -> Code:
    """The function called `name` of a module. Instructions are numbered from 0; the number stands as their address.

    >>> code = read_ir("define void @f(ptr %p) {\\n  %x = load <8 x float>, ptr %p\\n  ret void\\n}", "f")
    >>> [(one.kind, one.bytes) for one in code.instructions]
    [('load', 32), ('branch', 0)]
    """
    metadata = _locations(text)
    lines: list[Line] = []
    instructions: list[Instruction] = []
    at: list[int] = []
    labels: dict[str, int] = {}
    for raw in _function(text, name):
        shown = re.sub(
            r"(, )?!(dbg|tbaa|noalias|alias\.scope|prof|range|nonnull|noundef|invariant\.load) !\d+", "", raw
        )
        shown = re.sub(r"(, )?!llvm\.loop !\d+", "", shown).rstrip()
        if found := _LABEL.match(raw):
            labels[found[1].strip('"')] = len(instructions)
            lines.append(Line(shown, "label"))
        elif (found := _INSTRUCTION.match(raw)) and not raw.startswith(("define", "}", ";")) and "@llvm.dbg" not in raw:
            place = re.search(r"!dbg !(\d+)", raw)
            source = metadata.get(int(place[1])) if place else None
            one = _instruction(len(instructions), found["opcode"], found["rest"], found["result"] or "", source)
            at.append(len(lines))
            lines.append(Line(shown, one.kind, source))
            instructions.append(one)
        elif "@llvm.dbg" not in raw and "#dbg_" not in raw:
            lines.append(Line(shown))
    return Code(tuple(lines), tuple(instructions), tuple(at), labels)


def _function(text: str, name: str) -> Iterator[str]:
    inside = False
    for line in text.splitlines():
        if line.startswith("define") and re.search(rf'@"?{re.escape(name)}"?\(', line):
            inside = True
        if inside:
            yield line
            if line == "}":
                return


def _locations(text: str) -> dict[int, SourceLine]:
    """Metadata by number: where in the source it is, as far as the file is known."""
    named = re.findall(r'^!(\d+) = !DIFile\(filename: "([^"]+)", directory: "([^"]*)"', text, re.MULTILINE)
    files = {int(n): (name, folder) for n, name, folder in named}
    scopes: dict[int, int] = {}
    for n, body in re.findall(r"^!(\d+) = (?:distinct )?!DI(?:Subprogram|LexicalBlock\w*)\((.*)\)", text, re.MULTILINE):
        if found := re.search(r"\bfile: !(\d+)", body):
            scopes[int(n)] = int(found[1])
    places: dict[int, SourceLine] = {}
    for n, body in re.findall(r"^!(\d+) = (?:distinct )?!DILocation\((.*)\)", text, re.MULTILINE):
        line, scope = re.search(r"\bline: (\d+)", body), re.search(r"\bscope: !(\d+)", body)
        file = files.get(scopes.get(int(scope[1]), -1)) if scope else None
        if line and file and int(line[1]):
            name, folder = file
            places[int(n)] = source_line(name if name.startswith("/") else f"{folder}/{name}", int(line[1]))
    return places


_FLAGS = re.compile(
    r"\b(fast|contract|reassoc|nnan|ninf|nsz|arcp|afn|nuw|nsw|exact|inbounds|volatile|disjoint|samesign)\b"
)


def _instruction(address: int, opcode: str, rest: str, result: str, source: SourceLine | None) -> Instruction:
    plain = _FLAGS.sub("", rest)
    one = Instruction(address, 0, opcode, f"{result} {plain}".strip(), _KINDS.get(opcode, "scalar"), line=source)
    found = _TYPE.search(plain)
    lanes = int(found["lanes"] or 1) if found else 1
    element = found["element"] if found else ""
    size = _SIZES.get(element) or (int(element[1:]) + 7) // 8 if element else 0
    floating = element in ("float", "double", "half")
    if opcode in ("load", "store"):
        return replace(one, bytes=lanes * size, reads=opcode == "load", writes=opcode == "store",
                       vector_bits=8 * lanes * size if lanes > 1 else 0)  # fmt: skip
    if opcode in ("call", "invoke"):
        name = re.search(r'@"?([\w.$]+)', plain)
        intrinsic = re.match(r"llvm\.([a-z.]+?)\.(?:v\d+)?(?:f\d+|p0|i\d+)", name[1]) if name else None
        kind = _INTRINSICS.get(intrinsic[1], "other" if intrinsic else "call") if intrinsic else "call"
        one = replace(one, mnemonic=name[1] if name and intrinsic else "call", kind=kind)
        if "masked.load" in (name[1] if name else "") or "gather" in (name[1] if name else ""):
            return replace(one, kind="load", bytes=lanes * size, reads=True, vector_bits=8 * lanes * size)
    if one.kind in ARITHMETIC and floating:
        return replace(one, lanes=lanes, itemsize=size, vector_bits=8 * lanes * size if lanes > 1 else 0)
    if lanes > 1 and one.kind == "scalar":
        return replace(one, kind="logic", vector_bits=8 * lanes * size)
    return one


def hot_loop_of_ir(code: Code) -> Loop | None:
    """The innermost loop with the most flops an instruction; where none computes, with the most bytes."""
    return max((_summary(one) for one in loops_in(code)), key=heat, default=None)


def _summary(instructions: tuple[Instruction, ...]) -> Loop:
    counts = {kind: n for kind in KINDS if (n := sum(one.kind == kind for one in instructions))}
    counts |= {"loads": sum(one.reads for one in instructions), "stores": sum(one.writes for one in instructions)}
    counts["spills"] = 0
    arithmetic = [one for one in instructions if one.kind in ARITHMETIC]
    widths = [one.vector_bits for one in arithmetic or instructions]
    sums = sum(one.mnemonic == "phi" and bool(re.match(r"\S+ +(<\d+ x )?(float|double)", one.operands))
               for one in instructions)  # fmt: skip
    return Loop(
        instructions=instructions,
        counts=counts,
        flops=sum(one.flops for one in instructions),
        bytes=sum(one.bytes for one in instructions),
        vector_bits=max(set(widths), key=widths.count) if widths else 0,
        itemsize=max((one.itemsize for one in arithmetic), default=0),
        accumulators=sums,
        latency=0.0,
    )
