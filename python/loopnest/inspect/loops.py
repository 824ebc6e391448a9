"""Finding a function's loops, and which of them is hot.

A loop is what a backward jump closes: in the function's graph of basic blocks, an edge to a block that every way to the
jump passes through (which dominates it), with all blocks between the two (Aho, Lam, Sethi, Ullman, Compilers, §9.6). An
innermost loop contains no other.

Hot is the innermost loop that could do the most flops a cycle, by the bound of `ports.py` for a usual processor (the
same everywhere, so that the loop does not depend on the machine that looks): so a vector loop wins over the scalar one
that does what is left over, and an unrolled one, or a full tile, over its remainder. Of several the one with the most
flops an iteration is taken. Where no loop computes, it is the one that moves the most bytes a cycle.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .ports import USUAL, Family, bound_of, cycles_by
from .records import ARITHMETIC, KINDS, Instruction, Loop
from .x86 import falls_through, flow, target_of

Code = Sequence[Instruction]


@dataclass(frozen=True)
class _Block:
    first: int
    last: int  # the index behind its last instruction
    next: tuple[int, ...]  # blocks


def _blocks(code: Code) -> list[_Block]:
    index_of = {one.address: n for n, one in enumerate(code)}
    starts = {0}
    for n, one in enumerate(code):
        if one.kind == "branch" or not falls_through(one):
            starts.add(n + 1)
            if (target := target_of(one)) is not None and one.kind == "branch" and target in index_of:
                starts.add(index_of[target])
    ordered = sorted(n for n in starts if n < len(code))
    blocks = []
    for at, first in enumerate(ordered):
        last = ordered[at + 1] if at + 1 < len(ordered) else len(code)
        end = code[last - 1]
        next: list[int] = []
        if falls_through(end) and last < len(code):
            next.append(at + 1)
        if end.kind == "branch" and (target := target_of(end)) in index_of:
            next.append(bisect.bisect_left(ordered, index_of[target]))
        blocks.append(_Block(first, last, tuple(dict.fromkeys(next))))
    return blocks


def _dominators(next: Sequence[Sequence[int]], roots: Iterable[int]) -> dict[int, int]:
    """Of each block that can be reached the one that immediately dominates it; -1 is the entry before all roots.

    Cooper, Harvey, Kennedy, A Simple, Fast Dominance Algorithm, 2001.
    """
    order: list[int] = []
    seen: set[int] = set()
    for root in roots:
        stack = [(root, iter(next[root]))] if root not in seen else []
        seen.add(root)
        while stack:
            block, followers = stack[-1]
            for follower in followers:
                if follower not in seen:
                    seen.add(follower)
                    stack.append((follower, iter(next[follower])))
                    break
            else:
                order.append(block)
                stack.pop()
    number = {block: n for n, block in enumerate(order)}  # in postorder
    number[-1] = len(order)
    before: dict[int, list[int]] = {block: [] for block in order}
    for block in order:
        for follower in next[block]:
            before[follower].append(block)
    for root in roots:
        before[root].append(-1)
    above: dict[int, int] = {-1: -1}

    def common(a: int, b: int) -> int:
        while a != b:
            while number[a] < number[b]:
                a = above[a]
            while number[b] < number[a]:
                b = above[b]
        return a

    changed = True
    while changed:
        changed = False
        for block in reversed(order):
            known = [b for b in before[block] if b in above]
            new = known[0]
            for other in known[1:]:
                new = common(new, other)
            if above.get(block) != new:
                above[block], changed = new, True
    return above


@dataclass(frozen=True)
class Found:
    """A loop's usual way from its top back to its top, and all of its instructions, with those beside that way."""

    path: tuple[Instruction, ...]
    body: tuple[Instruction, ...]


def loops_in(code: Code) -> list[Found]:
    """The innermost loops, and those whose usual way enters no loop in them, in the order of their addresses.

    Compilers lay the usual way out in one piece: a conditional jump forward is seldom taken. What is jumped to, or
    jumped over, lies beside it.
    """
    if not code:
        return []
    blocks = _blocks(code)
    next = [block.next for block in blocks]
    above = _dominators(next, _roots(code, blocks))
    before: list[list[int]] = [[] for _ in blocks]
    for n, followers in enumerate(next):
        for follower in followers if n in above else ():  # padding falls through to what it pads, and is never run
            before[follower].append(n)

    def dominates(a: int, b: int) -> bool:
        while b != -1:
            if a == b:
                return True
            b = above[b]
        return False

    by_head: dict[int, set[int]] = {}
    for n, followers in enumerate(next):
        for head in followers if n in above else ():
            if dominates(head, n):
                body = by_head.setdefault(head, {head})
                waiting = [n]
                while waiting:
                    block = waiting.pop()
                    if block not in body:
                        body.add(block)
                        waiting.extend(before[block])
    found = []
    for head, body in sorted(by_head.items()):
        inner = {h for h in by_head if h != head and h in body}
        path = _usual_way(head, body, next)
        if path is None or inner.intersection(path):
            if inner:
                continue
            path = sorted(body)
        instructions = tuple(one for n in path for one in code[blocks[n].first : blocks[n].last])
        whole = tuple(one for n in sorted(body) for one in code[blocks[n].first : blocks[n].last])
        found.append(Found(instructions, whole))
    return found


def _roots(code: Code, blocks: Sequence[_Block]) -> list[int]:
    """Where the function begins; and, if it has jumps to what a table says, the blocks that nothing else reaches."""
    if all(one.kind != "branch" or target_of(one) is not None for one in code):
        return [0]
    reached = {follower for block in blocks for follower in block.next}
    return [
        n
        for n, block in enumerate(blocks)
        if n == 0 or (n not in reached and any(one.kind != "other" for one in code[block.first : block.last]))
    ]


def _usual_way(head: int, body: set[int], next: Sequence[Sequence[int]]) -> list[int] | None:
    """The blocks from the head back to it, straight on wherever that stays in the loop."""
    path, at = [head], head
    while True:
        inside = [n for n in next[at] if n in body]
        if head in next[at] and (len(inside) == 1 or at + 1 != inside[0] or len(path) > 1):
            return path
        followers = [n for n in inside if n not in path]
        if not followers:
            return None
        at = followers[0]
        path.append(at)


def summary(found: Found, family: Family | None = None, most_bits: int = 512) -> Loop:
    """What a loop's instructions add up to, and what bounds them.

    most_bits  of vectors at the ISA level, for the peak that the bound's share is of
    """
    instructions = found.path
    counts = {kind: n for kind in KINDS if (n := sum(one.kind == kind for one in instructions))}
    counts["loads"] = sum(one.reads for one in instructions)
    counts["stores"] = sum(one.writes for one in instructions)
    counts["spills"] = sum(one.stack for one in instructions)
    arithmetic = [one for one in instructions if one.kind in ARITHMETIC]
    moves = [one for one in instructions if one.reads or one.writes]
    widths = [one.vector_bits for one in arithmetic or moves]
    bits = max(set(widths), key=lambda b: (sum(w == b for w in widths), b)) if widths else 0
    accumulators, latency = _chains(instructions, family)
    loop = Loop(
        instructions=instructions,
        counts=counts,
        flops=sum(one.flops for one in instructions),
        bytes=sum(one.bytes for one in instructions),
        vector_bits=bits,
        itemsize=max((one.itemsize for one in arithmetic), default=0),
        accumulators=accumulators,
        latency=latency,
        beside=len(found.body) - len(found.path),
    )
    return bound_of(loop, family, most_bits) if family else loop


def _chains(instructions: Code, family: Family | None) -> tuple[int, float]:
    """How many registers carry arithmetic from one iteration to the next, and the longest that one waits for itself.

    For each register in turn: how many cycles after its value at the top of the loop is its value at the bottom there?
    """
    flows = [(one, flow(one)) for one in instructions]
    carried = {f.writes for _, f in flows if f.writes is not None}
    count, longest = 0, 0.0
    for register in sorted(carried):
        since: dict[int, tuple[float, int]] = {register: (0.0, 0)}  # cycles, and how much of it was arithmetic
        for one, f in flows:
            if f.writes is None:
                continue
            taken = [since[r] for r in f.reads if r in since]
            if taken:
                cycles, computed = max(taken)
                since[f.writes] = (
                    cycles + (family.latency_of(one) if family else 1.0),
                    computed + (one.kind in ARITHMETIC or one.kind == "compare"),
                )
            else:
                since.pop(f.writes, None)
        cycles, computed = since.get(register, (0.0, 0))
        if computed:
            count += 1
            longest = max(longest, cycles)
    return count, longest


def heat(loop: Loop) -> tuple[float, ...]:
    """By how much a loop is hot: flops a cycle, or else bytes. Of loops alike in this, one without side ways, with many
    accumulators, many flops for each byte, and few instructions."""
    cycles = max(cycles_by(loop, USUAL).values())
    flops, moved = round(loop.flops / cycles, 1), round(loop.bytes / cycles, 1)
    intensity = round(loop.flops / max(loop.bytes, 1), 2)
    return flops, 0.0 if flops else moved, not loop.beside, loop.accumulators, intensity, -len(loop.instructions)


def hot_loop(code: Code, family: Family | None = None, most_bits: int = 512) -> Loop | None:
    """The hot loop of a function's instructions; None where it has no loop.

    >>> from loopnest.inspect import x86
    >>> text = ["vmovss xmm1, dword ptr [rax]", "vaddss xmm0, xmm0, xmm1", "add rax, 4", "cmp rax, rdx", "jne 0x0"]
    >>> loop = hot_loop([x86.instruction(n, 1, *line.split(" ", 1)) for n, line in enumerate(text)])
    >>> loop.flops, loop.bytes, loop.accumulators, loop.counts["loads"]
    (1, 4, 1, 1)
    """
    candidates = [summary(one, family, most_bits) for one in loops_in(code)]
    return max(candidates, key=heat, default=None)
