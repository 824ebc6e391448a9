"""Finding a function's loops, and which of them is hot.

A loop is closed by a jump back to an instruction on the way to the jump; its body is all instructions from which that
jump is reached without leaving through the loop's head (Aho, Lam, Sethi, Ullman, Compilers, §9.6). An innermost loop
contains no other.

The hot loop is the innermost one that could do the most flops a cycle, by the bound of families.py for a typical
processor (the same on every machine). So a vector loop wins over the scalar loop for the remainder, and a full tile
over its edge cases. Where no loop computes, it is the loop that moves the most bytes a cycle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .families import TYPICAL, Family, bound_of, cycles_by
from .records import ARITHMETIC, KINDS, Instruction, Loop

Code = Sequence[Instruction]


@dataclass(frozen=True)
class Found:
    """A loop's common path from its top back to its top, and all of its instructions."""

    path: tuple[Instruction, ...]
    body: tuple[Instruction, ...]


def loops_in(code: Code) -> list[Found]:
    """The innermost loops, and those whose common path enters no loop in them, in the order of their addresses.

    Compilers lay the common path out in one piece: conditional jumps forward are seldom taken.
    """
    after = _followers(code)
    closing, reached = _jumps_back(after, _roots(code, after))
    before: list[list[int]] = [[] for _ in code]
    for n in reached:  # padding falls through to the code behind it, and is never run
        for follower in after[n]:
            before[follower].append(n)
    bodies: dict[int, set[int]] = {}
    for end, head in closing:
        body = bodies.setdefault(head, {head})
        waiting = [end]
        while waiting:
            n = waiting.pop()
            if n not in body:
                body.add(n)
                waiting.extend(before[n])
    found = []
    for head, body in sorted(bodies.items()):
        inner = {other for other in bodies if other != head and other in body}
        path = _common_path(head, body, after)
        if path is None or inner.intersection(path):
            if inner:
                continue
            path = sorted(body)
        found.append(Found(tuple(code[n] for n in path), tuple(code[n] for n in sorted(body))))
    return found


def _followers(code: Code) -> list[list[int]]:
    """For each instruction the ones that may follow it, by their indices: the next one first."""
    index_of = {one.address: n for n, one in enumerate(code)}
    after = []
    for n, one in enumerate(code):
        target = index_of.get(one.target) if one.kind == "branch" and one.target is not None else None
        straight_on = n + 1 if one.continues and n + 1 < len(code) else None
        after.append([follower for follower in (straight_on, target) if follower is not None])
    return after


def _roots(code: Code, after: Sequence[Sequence[int]]) -> list[int]:
    """The first instruction, and those that no other leads to but a computed jump (of a `switch`); no padding."""
    led_to = {follower for followers in after for follower in followers}
    return [n for n, one in enumerate(code) if n == 0 or (n not in led_to and one.kind != "other")]


def _jumps_back(after: Sequence[Sequence[int]], roots: Sequence[int]) -> tuple[list[tuple[int, int]], set[int]]:
    """By a search in depth, from and to of the jumps to what is still on the way; and all that was reached."""
    jumps: list[tuple[int, int]] = []
    reached: set[int] = set()
    for root in roots:
        stack, on_the_way = ([] if root in reached else [(root, iter(after[root]))]), {root}
        reached.add(root)
        while stack:
            n, followers = stack[-1]
            follower = next(followers, None)
            if follower is None:
                stack.pop()
                on_the_way.discard(n)
            elif follower in on_the_way:
                jumps.append((n, follower))
            elif follower not in reached:
                reached.add(follower)
                on_the_way.add(follower)
                stack.append((follower, iter(after[follower])))
    return jumps, reached


def _common_path(head: int, body: set[int], after: Sequence[Sequence[int]]) -> list[int] | None:
    """From the head back to it, straight on wherever that stays in the loop; None if that does not lead back."""
    path, passed = [head], {head}
    while True:
        inside = [n for n in after[path[-1]] if n in body]
        if head in inside:
            return path
        following = next((n for n in inside if n not in passed), None)
        if following is None:
            return None
        path.append(following)
        passed.add(following)


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
    in_table = family and not any("tmm" in one.operands for one in instructions)  # which has no tile units
    return replace(loop, bound=bound_of(loop, family, most_bits)) if family and in_table else loop


def _chains(instructions: Code, family: Family | None) -> tuple[int, float]:
    """How many registers carry arithmetic from one iteration to the next, and the cycles of the longest such chain.

    For each register: how many cycles after its value at the loop's top is its value at the bottom there?
    """
    writers = [(one.gives, one) for one in instructions if one.gives is not None]
    count, longest = 0, 0.0
    for register in {gives for gives, _ in writers}:
        since: dict[int, tuple[float, int]] = {register: (0.0, 0)}  # cycles, and how many instructions computed
        for gives, one in writers:
            taken = [since[r] for r in one.needs if r in since]
            if taken:
                cycles, computed = max(taken)
                latency = family.latency_of(one) if family else 1.0
                since[gives] = cycles + latency, computed + (one.kind in (*ARITHMETIC, "compare"))
            else:
                since.pop(gives, None)
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
