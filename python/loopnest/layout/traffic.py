"""The bytes that cross between the caches: a rung's own addresses, replayed in a simulator of this machine's caches.

>>> import numpy as np, loopnest as ln
>>> from loopnest.layout.traffic import CacheLevel, simulate
>>> a = np.ones((64, 128), np.float32)[:, :64]                  # rows 512 bytes apart
>>> small = (CacheLevel(size=4096, ways=4, line=64),)           # 64 lines, in 16 sets
>>> down = simulate(ln.sum["cpp.column_wise"], a, caches=small, warm=False)
>>> down.accesses, down.misses("L1")                            # a column's 64 lines compete for the 8 of two sets
(4097, 4097)
>>> along = simulate(ln.sum["cpp.row_wise"], a, caches=small, warm=False)
>>> along.misses("L1")                                          # each of 256 lines once, and the sum
257

The addresses come from the C++ rungs' templates, run on elements that record every load and store
(csrc/measure/traced.hpp). The caches are set-associative, replace the least recently used line, allocate on writes and
write back (csrc/measure/cache_simulator.hpp). docs/layouts.md lists what that leaves out.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from .._core import isa
from ..arrays import Array
from ..machine.card import caches as machine_caches
from ..machine.records import MEMORY
from ..operation import Implementation

OPERANDS = {"matmul": ("a", "b", "c"), "transpose": ("a", "out"), "sum": ("a", "sum"), "add": ("a", "b", "c")}
"""The rungs' parameters: the inputs, then the result."""

SCRATCH = ("packed a", "packed b", "buffer")
"""Memory that a rung uses besides its operands, in the order of csrc/measure/tracer.hpp."""

FIRST_SCRATCH = 4


@dataclass(frozen=True)
class CacheLevel:
    """A cache: its size and its lines' in bytes, and the lines of a set.

    One way is a direct-mapped cache. As many ways as lines is a fully associative one. A TLB is one too, with pages as
    lines.
    """

    size: int
    ways: int
    line: int = 64


@functools.cache
def this_machine() -> tuple[CacheLevel, ...]:
    """This machine's data caches as one core sees them, from L1 on; common ones where it does not report them."""
    levels = []
    for cache in machine_caches():
        line, ways = cache.line or 64, cache.ways or 8
        # The figures of a virtual machine need not fit together: then the size gives way.
        levels.append(CacheLevel(max(cache.size // (ways * line), 1) * ways * line, ways, line))
    return tuple(levels) or tuple(CacheLevel(size, 8) for size in _core.cache_sizes())


@dataclass(frozen=True)
class Stream:
    """The loops that are replayed: a variant of the C++ ladder; `blocked_with` has the given block sizes."""

    operation: str
    variant: str
    blocks: tuple[int, int, int] = (0, 0, 0)


SAME_LOOPS = {
    ("matmul", "numba.naive"): "naive",
    ("matmul", "numba.reordered"): "reordered",
    ("sum", "numba.row_wise"): "row_wise",
    ("sum", "numba.column_wise"): "column_wise",
    ("transpose", "numba.naive"): "naive",
    ("add", "numba.vectorized"): "scalar",
}
"""Rungs of other backends with the loops of one in C++, on the same memory."""


def stream_of(implementation: Implementation) -> Stream | None:
    """The loops that stand for an implementation; None for one that the simulator does not know."""
    operation = implementation.operation.name
    variant = SAME_LOOPS.get((operation, implementation.id))
    if implementation.backend == "cpp":
        variant = implementation.variant
    return Stream(operation, variant) if variant and (operation, variant) in _core.traced_rungs(isa()) else None


@dataclass(frozen=True)
class Traffic:
    """The lines that a call accessed, and where they were found.

    line          bytes
    levels        the caches' names, L1 first
    found         by operand: the lines found in L1, in L2, …, and in memory
    asked         by operand: the bytes that were read or written
    written_back  changed lines that moved from L1 to L2, from L2 to L3, …, from the last level to memory
    how           what was replayed, if not the whole call
    """

    line: int
    levels: tuple[str, ...]
    found: Mapping[str, tuple[int, ...]]
    asked: Mapping[str, int]
    written_back: tuple[int, ...]
    how: str = ""

    @property
    def accesses(self) -> int:
        """A load or store counts once for each line that it touches."""
        return sum(map(sum, self.found.values()))

    def misses(self, level: str, operand: str | None = None) -> int:
        """The accesses that a level did not serve, to one operand or to all."""
        beyond = self.levels.index(level) + 1
        return sum(sum(found[beyond:]) for name, found in self.found.items() if operand in (None, name))

    def bytes(self, level: str) -> int:
        """Bytes that cross between a level and the one below it: lines fetched, and changed lines written back."""
        return self.line * (self.misses(level) + self.written_back[self.levels.index(level)])

    def below(self, level: str) -> str:
        """The level that serves a level's misses."""
        return (*self.levels, MEMORY)[self.levels.index(level) + 1]


def simulate(
    implementation: Implementation,
    *inputs: Any,
    caches: Sequence[CacheLevel] | None = None,
    warm: bool = True,
    stream: Stream | None = None,
    out: Any = None,
    **options: Any,
) -> Traffic:
    """Replay one call, and count.

    inputs  as the implementation takes them, of float32; only their shapes and strides matter
    caches  from L1 on, at most four; None: this machine's
    warm    whether the call is the second of two equal ones, as in a benchmark, or finds the caches empty
    stream  the loops, if not the implementation's own
    out     for the result, as in a call of the operation

    Raises ValueError for an implementation that cannot be replayed or for caches that cannot be, TypeError for another
    dtype.
    """
    replay = Replay.of(implementation, inputs, caches, stream, out=out, **options)
    if warm:
        replay.run()
    return replay.run()


# --- how a call is cut into parts


AXES = {"matmul": ("mp", "pn", "mn"), "transpose": ("mn", "nm"), "sum": ("mn", ""), "add": ("mn", "mn", "mn")}
"""The axes of the operands."""

LOOPS: Mapping[str, Mapping[str, tuple[float, str]]] = {
    "matmul": {
        "naive": (2, "m"),
        "jik": (2, "n"),
        "reordered": (4, "m"),
        "jki": (4, "n"),
        "kij": (4, "p"),
        "kji": (4, "p"),
        **dict.fromkeys(("blocked", "blocked_with"), (2.5, "")),
        **dict.fromkeys(("register_tiled", "packed", "prefetched"), (0.25, "")),
    },
    "transpose": {"naive": (2, "m"), "column_wise": (2, "n"), "blocked": (4, "m"), "simd": (0.25, "")},
    "sum": {"row_wise": (1, "m"), "column_wise": (1, "n"), "simd": (1, "m")},
    "add": dict.fromkeys(("scalar", "vectorized", "simd"), (3, "m")),
}
"""Accesses for each multiply-add or element, and the axis of the outermost loop; none where a part of that loop does
not stand for the whole."""

TURNS = 16
"""Of the outermost loop: the elements of a line, since the first of them pays for the line."""


class Replay:
    """A kernel's call and the caches that it runs with."""

    def __init__(self, stream: Stream, operands: Sequence[Array], caches: Sequence[CacheLevel]) -> None:
        self.stream, self.operands, self.caches = stream, tuple(operands), tuple(caches)
        self._axes = AXES[stream.operation]
        shapes = (zip(axes, x.shape, strict=True) for axes, x in zip(self._axes, operands, strict=True))
        self._sizes: dict[str, int] = dict(itertools.chain.from_iterable(shapes))
        self._simulator = _core.CacheSimulator([(level.size, level.ways, level.line) for level in caches])

    @classmethod
    def of(
        cls,
        implementation: Implementation,
        inputs: Sequence[Any],
        caches: Sequence[CacheLevel] | None = None,
        stream: Stream | None = None,
        **options: Any,
    ) -> Replay:
        """The call that `simulate` describes. Raises what it raises."""
        operation = implementation.operation
        stream = stream or stream_of(implementation)
        if stream is None:
            known = ", ".join(f"cpp.{variant}" for name, variant in _core.traced_rungs(isa()) if name == operation.name)
            expected = f"expected one of {known}" if known else "no rung of this operation can be"
            raise ValueError(f"{operation.name}: {implementation.id} cannot be replayed; {expected}")
        calls: list[tuple[Array, ...]] = []
        operation.contract.run(lambda *args: calls.append(args), *inputs, **options)
        if len(calls) != 1:
            raise ValueError(f"{operation.name}: {len(calls)} calls of the kernel, expected inputs for one")
        if calls[0][0].dtype != np.float32:
            raise TypeError(f"{operation.name}: inputs of {calls[0][0].dtype}, expected float32")
        return cls(stream, calls[0], this_machine() if caches is None else caches)

    def run(self, operands: Sequence[Array] | None = None) -> Traffic:
        """The whole call, or the part of it on these views of the operands."""
        found, asked, written_back, _ = self._run(operands or self.operands, record=False)
        names = OPERANDS[self.stream.operation]
        used = dict(enumerate(names)) | {
            FIRST_SCRATCH + n: name for n, name in enumerate(SCRATCH) if found[FIRST_SCRATCH + n].any()
        }
        return Traffic(
            self.caches[0].line,
            tuple(f"L{number + 1}" for number in range(len(self.caches))),
            {name: tuple(found[region].tolist()) for region, name in used.items()},
            {name: asked[region] for region, name in used.items()},
            tuple(written_back),
        )

    def accesses(self) -> Array:
        """Each access of the whole call, in order: offset and bytes in the memory of its region, found, write."""
        return self._run(self.operands, record=True)[3]

    def _run(self, operands: Sequence[Array], record: bool) -> tuple[Array, list[int], list[int], Array]:
        loops, views, memory = self.stream, list(operands), list(self.operands)
        return self._simulator.run(loops.operation, loops.variant, isa(), views, memory, loops.blocks, record)

    def within(self, most: int) -> Traffic | None:
        """The traffic of a warm call, found with about `most` simulated accesses; None where that is not enough.

        A call that is too large is replayed in part: some turns of its outermost loop, which all do the same, on the
        whole operands' memory. `how` then says which part.
        """
        of_each, outermost = LOOPS[self.stream.operation][self.stream.variant]
        whole = of_each * math.prod(self._sizes.values())
        if 2 * whole <= most:
            self.run()
            return self.run()
        if not outermost:
            if whole > most:
                return None
            self._simulator.read_all(list(self.operands))
            return dataclasses.replace(self.run(), how="after each operand was read once, in place of a first call")
        turns = self._sizes[outermost]
        return self.in_part(outermost) if turns >= 4 * TURNS and 2 * whole * TURNS / turns <= most else None

    def in_part(self, axis: str) -> Traffic:
        """Replay two parts: the first brings the caches into their state, the second is counted. Work that a rung does
        once for any number of turns, such as clearing c, is counted by a call without turns."""

        def part(begin: int, end: int) -> Traffic:
            cuts = [tuple(slice(begin, end) if axis == x else slice(None) for x in axes) for axes in self._axes]
            return self.run([x[(*cut, ...)] for cut, x in zip(cuts, self.operands, strict=True)])

        self._simulator.read_all(list(self.operands))
        part(0, TURNS)
        counted, once, turns = part(TURNS, 2 * TURNS), part(0, 0), self._sizes[axis]

        def whole(count: int, fixed: int) -> int:
            return round(fixed + turns / TURNS * (count - fixed))

        return Traffic(
            counted.line,
            counted.levels,
            {name: tuple(map(whole, found, once.found[name])) for name, found in counted.found.items()},
            {name: whole(nbytes, once.asked[name]) for name, nbytes in counted.asked.items()},
            tuple(map(whole, counted.written_back, once.written_back)),
            f"{TURNS} of {turns} turns of the outermost loop replayed",
        )
