"""What an x86-64 instruction does, from its text in Intel's syntax: kind, memory, lanes, registers.

Only what floating-point loops are made of is told apart; the rest is "scalar" or "other". The text is that of capstone,
of objdump -M intel, or of an assembler's listing: `vfmadd231ps zmm1, zmm2, dword ptr [rax + rdx*4]{1to16}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .records import Instruction

_WIDTHS = {"byte": 1, "word": 2, "dword": 4, "qword": 8, "tbyte": 10, "xmmword": 16, "ymmword": 32, "zmmword": 64}
_MEMORY = re.compile(r"(?:(\w+) (?:ptr|bcst) )?(?:[fg]s:)?\[([^\]]*)\]", re.IGNORECASE)
_REGISTER = re.compile(
    r"\b([xyz]mm\d+|k[0-7]|st\(\d\)|r(?:ax|bx|cx|dx|si|di|bp|sp|\d+)[dwb]?|e(?:ax|bx|cx|dx|si|di|bp|sp)"
    r"|[abcd][xlh]|[sd]il?|[sb]pl?)\b"
)
_VECTOR = re.compile(r"\b([xyz])mm(\d+)\b")
_BITS = {"x": 128, "y": 256, "z": 512}

_FMA = re.compile(r"vf(?:n?m(?:add|sub)|maddsub|msubadd)(?:132|213|231)?([ps])([sdh])$")
_FLOAT = re.compile(
    r"v?(add|sub|addsub|hadd|hsub|mul|div|sqrt|min|max|cmp\w*|rcp14|rsqrt14|rcp|rsqrt|round|rndscale|scalef"
    r"|getexp|getmant|range|reduce|fixupimm|dp)([ps])([sdh])$"
)
_FLOAT_KINDS = {
    **dict.fromkeys(("add", "sub", "addsub", "hadd", "hsub"), "add"),
    "mul": "multiply",
    "div": "divide",
    "sqrt": "divide",
    "min": "compare",
    "max": "compare",
}
_LOGIC = re.compile(
    r"v?(?:p?andn?|p?x?or|pternlog|blend[mv]?|pblend[mv]?\w*|ptest\w*|movmsk|pmovmsk)(?:ps|pd|[bwdq])?$"
)
_SHUFFLE = re.compile(
    r"v?(?:p?shuf\w*|p?perm\w*|unpck\w*|punpck\w*|p?broadcast\w*|broadcast\w*|extract\w*|pextr\w*|insert\w*|pinsr\w*"
    r"|palignr|valign\w*|movhl\w*|movlh\w*|movddup|movs[hl]dup|p?compress\w*|p?expand\w*|pack\w+|mov[hl]p[sd])$"
)
_VECTOR_MOVE = re.compile(
    r"v?(?:mov(?:[au]p[sd]|dq[au]\d*|nt\w+|s[sd]|[dq]|q2dq|dq2q)|lddqu|maskmov\w*|pmaskmov\w*"
    r"|p?gather\w*|p?scatter\w*|pgather\w*|pmov[sz]x\w+)$"
)
_CONVERT = re.compile(r"v?cvt\w+$")
_JUMP = re.compile(r"j[a-z]+$|loop(?:n?e)?$")
_NEVER_WRITES_FIRST = re.compile(r"(?:v?u?comis[sdh]|v?ptest\w*|cmp|test|push|bt|v?testp[sd]|prefetch\w*)$")
_COMPARES = re.compile(r"v?u?comis[sdh]$|v?cmp\w*[ps][sdh]$|vp?cmp\w+$|pcmp\w+$")


def kind_of(mnemonic: str, operands: str) -> str:
    """One of records.KINDS, but for "spill", which depends on the place."""
    memory = _MEMORY.search(operands)
    if _FMA.match(mnemonic):
        return "fma"
    if (found := _FLOAT.match(mnemonic)) and not _COMPARES.match(mnemonic):
        return _FLOAT_KINDS.get(found[1], "convert" if found[1].startswith(("r", "get", "scale")) else "other")
    if _COMPARES.match(mnemonic):
        return "compare"
    if mnemonic in ("call", "ret", "leave"):
        return "call"
    if _JUMP.match(mnemonic):
        return "branch"
    if mnemonic.startswith("prefetch"):
        return "prefetch"
    if mnemonic.startswith(("nop", "endbr", "vzero", "data16", "sfence", "lfence", "mfence", "pause")):
        return "other"
    if _CONVERT.match(mnemonic):
        return "convert"
    if _VECTOR_MOVE.match(mnemonic) or mnemonic.startswith("kmov"):
        if memory is None:
            return "move" if _VECTOR.search(operands) or mnemonic.startswith("k") else "scalar"
        return "store" if operands.lstrip().startswith(memory[0]) else "load"
    if _SHUFFLE.match(mnemonic):
        if memory is None:
            return "shuffle"
        if operands.lstrip().startswith(memory[0]):
            return "store"  # extracts to memory
        return "load" if "broadcast" in mnemonic or mnemonic.endswith("movddup") else "shuffle"
    if _LOGIC.match(mnemonic) and _VECTOR.search(operands):
        return "logic"
    if _VECTOR.search(operands) or re.match(r"k[a-z]+[bwdq]$", mnemonic):
        return "logic" if mnemonic.lstrip("v").startswith(("p", "k")) else "other"
    if mnemonic in ("mov", "movabs", "movzx", "movsx", "movsxd", "movbe") and memory is not None:
        return "store" if operands.lstrip().startswith(memory[0]) else "load"
    return "scalar"


def instruction(address: int, size: int, mnemonic: str, operands: str, *, frame_pointer: bool = False) -> Instruction:
    """All that the text tells.

    frame_pointer  whether rbp points into the function's stack, as in functions that begin with `mov rbp, rsp`
    """
    mnemonic = mnemonic.lower()
    words = mnemonic.split()
    if len(words) > 1 and words[0] in ("rep", "repe", "repne", "repz", "lock", "notrack", "bnd", "data16"):
        mnemonic = words[-1]
    kind = kind_of(mnemonic, operands)
    memory = _MEMORY.search(operands)
    touches = memory is not None and mnemonic not in ("lea", "nop") and kind not in ("prefetch", "branch")
    first = bool(memory) and operands.lstrip().startswith(memory[0] if memory else "")
    writes = touches and first and not _NEVER_WRITES_FIRST.match(mnemonic) and kind != "call"
    reads = touches and not (writes and kind in ("store",)) and not mnemonic.startswith("set")
    stack = touches and memory is not None and _at_stack(memory[2], frame_pointer)
    lanes, itemsize = _lanes(mnemonic, operands)
    vectors = _VECTOR.findall(operands)
    bits = max((_BITS[letter] for letter, _ in vectors), default=0)
    return Instruction(
        address=address,
        size=size,
        mnemonic=mnemonic,
        operands=operands,
        kind="spill" if stack and kind in ("load", "store") else kind,
        bytes=_bytes(mnemonic, operands, memory) * (1 + (reads and writes)) if touches else 0,
        reads=reads,
        writes=writes,
        stack=stack,
        vector_bits=0 if lanes == 1 else bits,
        lanes=lanes,
        itemsize=itemsize,
    )


def _at_stack(place: str, frame_pointer: bool) -> bool:
    """Whether this is a fixed place in the function's stack frame. With an index it is an array's element."""
    terms = [term.strip() for term in re.split(r"[+-]", place)]
    registers = [term for term in terms if re.match(r"[a-z]", term)]
    return registers in (["rsp"], ["esp"]) or (frame_pointer and registers == ["rbp"])


def _lanes(mnemonic: str, operands: str) -> tuple[int, int]:
    found = _FMA.match(mnemonic) or (None if _COMPARES.match(mnemonic) else _FLOAT.match(mnemonic))
    if found is None:
        return 0, 0
    how, element = found.groups()[-2:]
    itemsize = {"s": 4, "d": 8, "h": 2}[element]
    if how == "s":
        return 1, itemsize
    bits = max((_BITS[letter] for letter, _ in _VECTOR.findall(operands)), default=128)
    return bits // 8 // itemsize, itemsize


def _bytes(mnemonic: str, operands: str, memory: re.Match[str] | None) -> int:
    if memory is None:
        return 0
    if memory[1] and memory[1].lower() in _WIDTHS:
        width = _WIDTHS[memory[1].lower()]
        if "gather" in mnemonic or "scatter" in mnemonic:  # an element a lane of the index
            vectors = [_BITS[letter] for letter, _ in _VECTOR.findall(operands)]
            return max(vectors, default=128) // 8
        return width
    vectors = [_BITS[letter] for letter, _ in _VECTOR.findall(operands)]
    return max(vectors, default=64) // 8


@dataclass(frozen=True)
class Flow:
    """The vector registers that an instruction reads and writes, by number: xmm3, ymm3 and zmm3 are one."""

    reads: frozenset[int]
    writes: int | None


def flow(one: Instruction) -> Flow:
    """Where values of vector registers go. A register that is cleared by xor with itself depends on nothing."""
    operands = _split(one.operands)
    registers = [_number(operand) for operand in operands]
    if not operands or registers[0] is None:
        return Flow(frozenset(r for r in registers if r is not None), None)
    target, sources = registers[0], {r for r in registers[1:] if r is not None}
    mnemonic = one.mnemonic
    if _NEVER_WRITES_FIRST.match(mnemonic):
        return Flow(frozenset(sources | {target}), None)
    if re.match(r"v?p?xor", mnemonic) and sources == {target} and len({*registers} - {None}) == 1:
        return Flow(frozenset(), target)
    vex = mnemonic.startswith("v")
    if (
        one.kind == "fma"
        or mnemonic.startswith(("vpternlog", "vfixupimm", "vpermt2", "vpermi2", "vpdp"))
        or (not vex and one.kind not in ("move", "load", "spill", "convert") and not mnemonic.startswith("pshuf"))
    ):
        sources.add(target)
    elif "{k" in operands[0].replace(" ", "") and "{z}" not in one.operands:
        sources.add(target)  # lanes that the mask leaves out keep what they were
    return Flow(frozenset(sources), target)


def _split(operands: str) -> list[str]:
    """Operands, at the commas outside brackets."""
    return [operand.strip() for operand in re.split(r",(?![^\[]*\])", operands) if operand.strip()]


def _number(operand: str) -> int | None:
    found = _VECTOR.match(operand)
    return int(found[2]) if found else None


def target_of(one: Instruction) -> int | None:
    """The address that a jump or a call goes to; None where a register or memory says it."""
    if one.kind not in ("branch", "call"):
        return None
    found = re.match(r"(?:0x)?([0-9a-f]+)\b(?!\])", one.operands.strip())
    return int(found[1], 16) if found and not _REGISTER.match(one.operands.strip()) else None


def falls_through(one: Instruction) -> bool:
    """Whether the next instruction may be the one behind it."""
    return not one.mnemonic.startswith("jmp") and one.mnemonic not in ("ret", "ud2", "hlt", "int3")


def referred_to(one: Instruction) -> int | None:
    """The address of `[rip + …]`."""
    found = re.search(r"\[rip(?: ([+-]) (0x[0-9a-f]+|\d+))?\]", one.operands)
    if found is None:
        return None
    offset = int(found[2], 0) if found[2] else 0
    return one.address + one.size + (offset if found[1] != "-" else -offset)
