"""Finding a function's loops, and which of them is hot: the same for x86-64, PTX and SASS.

A loop is closed by an edge in the graph of basic blocks that leads back to a block on the way there; its body is all
blocks from which that edge is reached without leaving through the loop's head (Aho, Lam, Sethi, Ullman, Compilers,
§9.6). An innermost loop contains no other.

The hot loop is the innermost one that could do the most flops a cycle, by the bound of families.py for a typical
processor (the same on every machine). So a vector loop wins over the scalar loop for the remainder, and a full tile
over its edge cases. Where no loop computes, it is the loop that moves the most bytes a cycle.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .families import TYPICAL, Family, bound_of, cycles_by
from .records import ARITHMETIC, KINDS, Instruction, Loop

Code = Sequence[Instruction]


@dataclass(frozen=True)
class Found:
    """A loop's common path from its top back to its top, and all of its instructions."""

    path: tuple[Instruction, ...]
    body: tuple[Instruction, ...]


@dataclass(frozen=True)
class _Block:
    first: int
    last: int  # the index behind its last instruction
    next: tuple[int, ...]  # blocks


def _blocks(code: Code) -> list[_Block]:
    index_of = {one.address: n for n, one in enumerate(code)}

    def jump(one: Instruction) -> int | None:
        return index_of.get(one.target) if one.kind == "branch" and one.target is not None else None

    ends = [n + 1 for n, one in enumerate(code) if one.kind == "branch" or not one.continues]
    targets = [to for one in code if (to := jump(one)) is not None]
    starts = sorted(n for n in {0, *ends, *targets} if n < len(code))
    blocks = []
    for at, (first, last) in enumerate(zip(starts, [*starts[1:], len(code)], strict=True)):
        end = code[last - 1]
        next = [at + 1] if end.continues and last < len(code) else []
        if (to := jump(end)) is not None:
            next.append(bisect.bisect_left(starts, to))
        blocks.append(_Block(first, last, tuple(dict.fromkeys(next))))
    return blocks


def loops_in(code: Code) -> list[Found]:
    """The innermost loops, and those whose common path enters no loop in them, in the order of their addresses.

    Compilers lay the common path out in one piece: conditional jumps forward are seldom taken.
    """
    if not code:
        return []
    blocks = _blocks(code)
    before: list[list[int]] = [[] for _ in blocks]
    closing, reached = _back_edges(blocks, _roots(code, blocks))
    for n in reached:  # padding falls through to the code behind it, and is never run
        for follower in blocks[n].next:
            before[follower].append(n)
    bodies: dict[int, set[int]] = {}
    for n, head in closing:
        body = bodies.setdefault(head, {head})
        waiting = [n]
        while waiting:
            block = waiting.pop()
            if block not in body:
                body.add(block)
                waiting.extend(before[block])
    found = []
    for head, body in sorted(bodies.items()):
        inner = {other for other in bodies if other != head and other in body}
        path = _common_path(head, body, blocks)
        if path is None or inner.intersection(path):
            if inner:
                continue
            path = sorted(body)
        parts = [tuple(one for n in some for one in code[blocks[n].first : blocks[n].last])
                 for some in (path, sorted(body))]  # fmt: skip
        found.append(Found(*parts))
    return found


def _roots(code: Code, blocks: Sequence[_Block]) -> list[int]:
    """The first block; and, if the function has computed jumps (of a `switch`), the blocks that no edge reaches."""
    if all(one.kind != "branch" or one.target is not None for one in code):
        return [0]
    reached = {follower for block in blocks for follower in block.next}
    return [
        n
        for n, block in enumerate(blocks)
        if n == 0 or (n not in reached and any(one.kind != "other" for one in code[block.first : block.last]))
    ]


def _back_edges(blocks: Sequence[_Block], roots: Sequence[int]) -> tuple[list[tuple[int, int]], set[int]]:
    """By a search in depth, the edges to a block that is still on the way; and all blocks that were reached."""
    edges: list[tuple[int, int]] = []
    seen: set[int] = set()
    for root in roots:
        if root in seen:
            continue
        seen.add(root)
        stack: list[tuple[int, Iterator[int]]] = [(root, iter(blocks[root].next))]
        on_the_way = {root}
        while stack:
            block, followers = stack[-1]
            follower = next(followers, None)
            if follower is None:
                stack.pop()
                on_the_way.discard(block)
            elif follower in on_the_way:
                edges.append((block, follower))
            elif follower not in seen:
                seen.add(follower)
                on_the_way.add(follower)
                stack.append((follower, iter(blocks[follower].next)))
    return edges, seen


def _common_path(head: int, body: set[int], blocks: Sequence[_Block]) -> list[int] | None:
    """The blocks from the head back to it, straight on wherever that stays in the loop."""
    path, at = [head], head
    while True:
        inside = [n for n in blocks[at].next if n in body]
        if head in inside and (len(inside) == 1 or at + 1 != inside[0] or len(path) > 1):
            return path
        followers = [n for n in inside if n not in path]
        if not followers:
            return None
        at = followers[0]
        path.append(at)


def summary(found: Found, family: Family | None = None, most_bits: int = 512) -> Loop:
    """The sums over a loop's instructions, and its bound on a processor family.

    most_bits  of vectors at the ISA level: the bound's share is of the peak with these
    """
    instructions = found.path
    counts = {kind: n for kind in KINDS if (n := sum(one.kind == kind for one in instructions))}
    counts["loads"] = sum(one.reads for one in instructions)
    counts["stores"] = sum(one.writes for one in instructions)
    counts["spills"] = sum(one.stack for one in instructions)
    arithmetic = [one for one in instructions if one.kind in ARITHMETIC]
    widths = [one.vector_bits for one in arithmetic or instructions if arithmetic or one.reads or one.writes]
    accumulators, latency = _chains(instructions, family)
    loop = Loop(
        instructions=instructions,
        counts=counts,
        flops=sum(one.flops for one in instructions),
        bytes=sum(one.bytes for one in instructions),
        vector_bits=max(set(widths), key=lambda bits: (widths.count(bits), bits), default=0),
        itemsize=max((one.itemsize for one in arithmetic), default=0),
        accumulators=accumulators,
        latency=latency,
        skipped=len(found.body) - len(found.path),
    )
    return replace(loop, bound=bound_of(loop, family, most_bits)) if family else loop


def _chains(instructions: Code, family: Family | None) -> tuple[int, float]:
    """How many registers carry arithmetic from one iteration to the next, and the cycles of the longest such chain.

    For each register: how many cycles after its value at the loop's top is its value at the bottom there?
    """
    writers = [one for one in instructions if one.gives is not None]
    count, longest = 0, 0.0
    for register in sorted({one.gives for one in writers if one.gives is not None}):
        since: dict[int, tuple[float, int]] = {register: (0.0, 0)}  # cycles, and how many instructions computed
        for one in writers:
            assert one.gives is not None
            taken = [since[r] for r in one.needs if r in since]
            if taken:
                cycles, computed = max(taken)
                latency = family.latency_of(one) if family else 1.0
                since[one.gives] = cycles + latency, computed + (one.kind in (*ARITHMETIC, "compare"))
            else:
                since.pop(one.gives, None)
        cycles, computed = since.get(register, (0.0, 0))
        if computed:
            count += 1
            longest = max(longest, cycles)
    return count, longest


def heat(loop: Loop) -> tuple[float, ...]:
    """How hot a loop is: flops a cycle, or else bytes. Among equals, a loop without skipped instructions, with many
    accumulators, many flops a byte, and few instructions."""
    cycles = max(cycles_by(loop, TYPICAL).values())
    flops, moved = round(loop.flops / cycles, 1), round(loop.bytes / cycles, 1)
    intensity = round(loop.flops / max(loop.bytes, 1), 2)
    return flops, 0.0 if flops else moved, not loop.skipped, loop.accumulators, intensity, -len(loop.instructions)


def hot_loop(code: Code, family: Family | None = None, most_bits: int = 512) -> Loop | None:
    """The hot loop of a function's instructions; None if it has no loop.

    >>> from loopnest.inspect.records import Instruction
    >>> load = Instruction(0, 4, "vmovss", "xmm1, [rax]", "load", bytes=4, reads=True, gives=1)
    >>> add = Instruction(4, 4, "vaddss", "xmm0, xmm0, xmm1", "add", lanes=1, itemsize=4, needs=(0, 1), gives=0)
    >>> loop = hot_loop([load, add, Instruction(8, 2, "jne", "0", "branch", target=0)])
    >>> loop.flops, loop.bytes, loop.accumulators, loop.counts["loads"]
    (1, 4, 1, 1)
    """
    candidates = [summary(one, family, most_bits) for one in loops_in(code)]
    return max(candidates, key=heat, default=None)
