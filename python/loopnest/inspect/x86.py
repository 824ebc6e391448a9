"""x86-64 machine code as instructions: capstone decodes operands, registers and memory; this file names the kinds.

What capstone does not know, binutils' objdump names (further.py). Only the instructions of floating-point loops have
kinds of their own; all others are "scalar" or "other".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .further import PRODUCTS, further_instruction, named_by_objdump
from .records import ARITHMETIC, Instruction

_STEMS = {
    "fma": "fmadd fmsub fnmadd fnmsub fmaddsub fmsubadd",
    "add": "add sub addsub hadd hsub",
    "multiply": "mul",
    "divide": "div sqrt",
    "compare": "min max cmp comi ucomi",
    "logic": "and andn or xor blend blendv blendm movmsk test",
    "convert": "round rndscale getexp getmant scalef reduce",
    "shuffle": "shuf unpckl unpckh perm permil permi2 permt2 insert extract movl movh compress expand",
    "move": "mova movu mov movnt maskmov",
}
FLOAT = {stem: kind for kind, stems in _STEMS.items() for stem in stems.split()}
"""Kinds of floating-point instructions by their stem: `add` of vaddps."""

_STEM = re.compile(r"v?(?P<stem>[a-z]+?2?)(?:132|213|231)?(?P<lanes>[ps])(?P<element>[sdh])$")
_BY_NAME = {
    "prefetch": r"prefetch",
    "other": r"(nop|endbr64|vzeroupper|vzeroall|[slm]fence|pause|ud2|hlt|int3)$",
    "compare": r"v?pcmp|v?cmp\w*[ps][sd]$",
    "convert": r"v?cvt",
    "move": r"v?(mov(d|q|dq[au]\d*|ntdqa?|q2dq|dq2q)|lddqu|p?(gather|scatter)\w+|pmaskmov\w|pmov[sz]x\w+)$|kmov",
    "shuffle": r"v?(p(shuf|erm|unpck|insr|extr|ack|alignr|compress|expand)|p?broadcast|align|insert|extract|perm"
    r"|movddup|movs[hl]dup|mov(hl|lh)ps|shuf)",
}
"""Kinds of all other instructions, by the beginning of their names."""

_LOGIC = re.compile(r"v?(p|kor|kand|kxor|knot|kxnor|ktest|kshift|kunpck|kadd)")
_STOPS = ("jmp", "ret", "ud2", "hlt", "int3")
_NEVER_STORES = ("nop", "lea", "cmp", "test", "bt", "push", "call", "jmp")


def decode(code: bytes, address: int) -> Iterator[Instruction]:
    """The instructions of a function's bytes, which begin at an address. Needs capstone."""
    found, further, end = list(_reader(detail=False).disasm_lite(code, address)), set[int](), address + len(code)
    names: dict[int, tuple[int, str, str]] = {}
    while (at := found[-1][0] + found[-1][1] if found else address) < end:  # there capstone has stopped
        names = names or named_by_objdump(code, address)
        if at not in names or names[at][1] == "(bad)":
            break
        further.add(at)
        after = at + names[at][0]
        found += [(at, *names[at]), *_reader(detail=False).disasm_lite(code[after - address :], after)]
    framed = any(name == "mov" and operands == "rbp, rsp" for _, _, name, operands in found[:24])
    for at, size, name, operands in found:
        if at in further:
            yield further_instruction(at, size, name, operands)
            continue
        one = _decoded(code[at - address : at - address + size], framed)
        target = at + one.target if one.target is not None else None
        refers_to = at + one.refers_to if one.refers_to is not None else None
        yield replace(one, address=at, operands=operands, target=target, refers_to=refers_to)


@functools.cache
def _reader(detail: bool) -> Any:
    import capstone

    reader = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    reader.detail = detail
    return reader


@functools.lru_cache(maxsize=1 << 16)
def _decoded(code: bytes, framed: bool) -> Instruction:
    """One instruction as if it were at address 0: detail takes time, and a program repeats its instructions."""
    from capstone import CS_AC_READ, CS_AC_WRITE, CS_GRP_CALL, CS_GRP_JUMP, CS_GRP_RET
    from capstone.x86 import X86_OP_IMM, X86_OP_MEM, X86_OP_REG, X86_REG_RIP

    one = next(_reader(detail=True).disasm(code, 0))
    name = one.mnemonic.split()[-1]  # without `rep`, `lock`, `notrack`
    operands = one.operands
    memory: Any = next((o for o in operands if o.type == X86_OP_MEM), None)
    registers = [(one.reg_name(o.reg), o) for o in operands if o.type == X86_OP_REG]
    vectors = [(int(r[3:]), o) for r, o in registers if r[1:3] == "mm" and r[0] in "xyz"]
    first: Any = operands[0] if operands else None
    jumps, calls = one.group(CS_GRP_JUMP), one.group(CS_GRP_CALL)
    target = first.imm if first is not None and (jumps or calls) and first.type == X86_OP_IMM else None

    if name in PRODUCTS:
        return further_instruction(one.address, one.size, name, one.op_str)
    found = _STEM.match(name)
    stem = found["stem"] if found else ""
    kind = "branch" if jumps else "call" if calls or one.group(CS_GRP_RET) or name == "leave" else _kind(name, stem)
    if kind == "scalar" and (vectors or name.startswith("k")):
        kind = "logic" if _LOGIC.match(name) else "other"

    touches = memory is not None and name not in ("lea", "nop") and not jumps and kind != "prefetch"
    # Of AVX's stores capstone calls the place in memory read; but only `v…` instructions' first operand is in doubt.
    stores = touches and memory is first and (name[0] in "vk" or bool(memory.access & CS_AC_WRITE))
    stores = stores and not name.startswith(_NEVER_STORES) and not calls
    reads = touches and not (stores and (name[0] in "vk" or not memory.access & CS_AC_READ))
    plain = name.startswith("mov") and kind in ("scalar", "move")
    if kind == "move" and not vectors and name[0] != "k":
        kind = "scalar"
    copies = kind == "shuffle" and (stores or "broadcast" in name or "dup" in name)
    if touches and (kind == "move" or plain or copies):
        kind = "store" if stores else "load"
    base = one.reg_name(memory.mem.base) if touches and memory.mem.base else ""
    # A fixed place in the stack frame. With an index it is an array's element.
    stack = touches and not memory.mem.index and (base == "rsp" or (framed and base == "rbp"))
    computes = kind in ARITHMETIC and found is not None
    itemsize = {"s": 4, "d": 8, "h": 2}[found["element"]] if found and computes else 0
    widest = max((o.size for _, o in vectors), default=0)
    lanes = 0 if not computes or found is None else 1 if found["lanes"] == "s" else widest // itemsize
    cleared = stem in ("xor", "pxor") or "pxor" in name
    if cleared and len({number for number, _ in vectors}) == 1:
        vectors = vectors[:1]
    gives = vectors[0][0] if vectors and vectors[0][1] is first and first.access & CS_AC_WRITE else None
    needs = [number for number, o in vectors if o is not first or (o.access & CS_AC_READ and not cleared)]
    return Instruction(
        address=one.address,
        size=one.size,
        mnemonic=name,
        operands=one.op_str,
        kind="spill" if stack and kind in ("load", "store") else kind,
        bytes=memory.size * (stores + reads) if touches else 0,
        reads=reads,
        writes=stores,
        stack=stack,
        vector_bits=0 if lanes == 1 else 8 * widest,
        lanes=lanes,
        itemsize=itemsize,
        needs=tuple(needs),
        gives=gives,
        target=target,
        refers_to=one.address + one.size + memory.mem.disp if memory and memory.mem.base == X86_REG_RIP else None,
        continues=not name.startswith(_STOPS),
    )


def _kind(name: str, stem: str) -> str:
    """By the mnemonic alone; "scalar" for all that is not about vectors."""
    if stem in FLOAT:
        return FLOAT[stem]
    return next((kind for kind, pattern in _BY_NAME.items() if re.match(pattern, name)), "scalar")
