"""How many warps of a kernel a GPU's multiprocessor holds at once, what limits that, and what to change.

A multiprocessor hides the latency of one warp's loads behind the instructions of others, so it matters how many it has.
A block is taken in whole or not at all. Each of its warps takes registers, and the block takes shared memory, a place
among the blocks and a barrier; what runs out first decides. The limits are NVIDIA's: *CUDA C++ Programming Guide*,
tables of technical specifications by compute capability and of the carve-outs of shared memory.

>>> found = occupancy("A100", threads=128, registers=37)
>>> found.blocks, found.warps, found.percent
(12, 48, 75)
>>> found.limited_by
('registers',)
>>> found.advice
'One block more fits with at most 32 registers a thread (now 37).'
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

WARP = 32
REGISTERS = 65536
"""32-bit registers of a multiprocessor; a single block may have them all."""
PARTITIONS = 4
"""A multiprocessor's schedulers, each with a quarter of the registers and of the warps."""
REGISTER_UNIT = 256
"""A warp gets its registers in such pieces: 8 a thread."""
MOST_REGISTERS = 255
MOST_THREADS = 1024
KIB = 1024


@dataclass(frozen=True)
class Limits:
    """What a multiprocessor of one compute capability holds; memory in bytes.

    warps, blocks    resident at once
    shared           shared memory at the largest carve-out
    block_shared     what one block may have of it; more than 48 KiB only as dynamic memory that the program asks for
    reserved         what the system takes of it for each block
    unit             shared memory is given out in such pieces
    carveouts        the sizes that shared memory may have, the rest being L1 cache
    barriers         for all blocks together; None where they are never what runs out
    """

    warps: int
    blocks: int
    shared: int
    block_shared: int
    reserved: int
    unit: int
    carveouts: tuple[int, ...]
    barriers: int | None = None


def _limits(
    warps: int, blocks: int, carveouts: str, block: int, *, old: bool = False, barriers: int | None = None
) -> Limits:
    """From figures in KiB, as the guide has them."""
    sizes = tuple(int(size) * KIB for size in carveouts.split())
    unit, reserved = (256, 0) if old else (128, KIB)
    return Limits(warps, blocks, sizes[-1], block * KIB, reserved, unit, sizes, barriers)


LIMITS: dict[tuple[int, int], Limits] = {
    (7, 0): _limits(64, 32, "0 8 16 32 64 96", 96, old=True),
    (7, 5): _limits(32, 16, "32 64", 64, old=True),
    (8, 0): _limits(64, 32, "0 8 16 32 64 100 132 164", 163),
    (8, 6): _limits(48, 16, "0 8 16 32 64 100", 99),
    (8, 7): _limits(48, 16, "0 8 16 32 64 100 132 164", 163),
    (8, 9): _limits(48, 24, "0 8 16 32 64 100", 99),
    (9, 0): _limits(64, 32, "0 8 16 32 64 100 132 164 196 228", 227, barriers=64),
    (10, 0): _limits(64, 32, "0 8 16 32 64 100 132 164 196 228", 227, barriers=64),
    (10, 3): _limits(64, 32, "0 8 16 32 64 100 132 164 196 228", 227, barriers=32),
    (11, 0): _limits(48, 24, "0 8 16 32 64 100 132 164 196 228", 227, barriers=24),
    (12, 0): _limits(48, 24, "0 8 16 32 64 100", 99, barriers=24),
    (12, 1): _limits(48, 24, "0 8 16 32 64 100", 99, barriers=24),
}
"""By compute capability."""


@dataclass(frozen=True)
class Gpu:
    """A GPU by the name under which it is sold.

    multiprocessors  0 where only the compute capability is known
    """

    name: str
    cc: tuple[int, int]
    multiprocessors: int

    @property
    def limits(self) -> Limits:
        return LIMITS[self.cc]

    @property
    def capability(self) -> str:
        return f"{self.cc[0]}.{self.cc[1]}"


GPUS: dict[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        Gpu("V100", (7, 0), 80),
        Gpu("T4", (7, 5), 40),
        Gpu("RTX 2080 Ti", (7, 5), 68),
        Gpu("A100", (8, 0), 108),
        Gpu("A30", (8, 0), 56),
        Gpu("A10", (8, 6), 72),
        Gpu("A40", (8, 6), 84),
        Gpu("RTX A6000", (8, 6), 84),
        Gpu("RTX 3080", (8, 6), 68),
        Gpu("RTX 3090", (8, 6), 82),
        Gpu("AGX Orin", (8, 7), 16),
        Gpu("L4", (8, 9), 58),
        Gpu("L40S", (8, 9), 142),
        Gpu("RTX 4080", (8, 9), 76),
        Gpu("RTX 4090", (8, 9), 128),
        Gpu("H100", (9, 0), 132),
        Gpu("H100 PCIe", (9, 0), 114),
        Gpu("H200", (9, 0), 132),
        Gpu("B200", (10, 0), 148),
        Gpu("RTX 5080", (12, 0), 84),
        Gpu("RTX 5090", (12, 0), 170),
    )
}
"""By name; the H100 without more is the one with SXM sockets."""


def gpu_named(name: str) -> Gpu:
    """The GPU of this name: `H100`, `rtx4090`, `NVIDIA A100`; case, spaces and the maker's name do not matter.

    Raises ValueError for a name that is none of GPUS.

    >>> gpu_named("rtx4090").capability
    '8.9'
    """
    plain = _plain(name)
    for gpu in GPUS.values():
        if _plain(gpu.name) == plain:
            return gpu
    near = difflib.get_close_matches(plain, [_plain(known) for known in GPUS], n=1)
    hint = next((f"; did you mean {known!r}?" for known in GPUS if near and _plain(known) == near[0]), ".")
    raise ValueError(f"gpu is {name!r}, which is not known{hint} Known: {', '.join(GPUS)}")


def _plain(name: str) -> str:
    words = name.lower().replace("-", " ").split()
    return "".join(word for word in words if word not in ("nvidia", "tesla", "geforce"))


def gpu_of(cc: tuple[int, int]) -> Gpu:
    """The first known GPU of a compute capability, or one without a name. Raises ValueError where limits are not known.

    >>> gpu_of((8, 9)).name, gpu_of((12, 1)).name
    ('L4', 'a GPU of 12.1')
    """
    for gpu in GPUS.values():
        if gpu.cc == cc:
            return gpu
    if cc in LIMITS:
        return Gpu(f"a GPU of {cc[0]}.{cc[1]}", cc, 0)
    known = ", ".join(f"{major}.{minor}" for major, minor in LIMITS)
    raise ValueError(f"cc is {cc[0]}.{cc[1]}, whose limits are not known; known: {known}")


@dataclass(frozen=True)
class Occupancy:
    """What a multiprocessor holds of one kernel.

    threads            of a block
    registers          of a thread, as the compiler says
    shared             bytes of a block, static and dynamic together, without what the system reserves
    barriers           of a block
    blocks, warps      resident at once; 0 where the kernel cannot be launched
    most_warps         that the multiprocessor can hold
    by                 how many blocks each resource would allow; what sets no limit is not there
    limited_by         the resources that allow the fewest
    block_registers    what a block is given: whole pieces of REGISTER_UNIT for each warp
    block_shared       likewise, in whole units and with what is reserved; bytes
    carveout           the least shared memory that holds these blocks, in bytes; the rest stays L1 cache
    """

    gpu: str
    capability: str
    threads: int
    registers: int
    shared: int
    barriers: int
    blocks: int
    warps: int
    most_warps: int
    by: Mapping[str, int]
    limited_by: tuple[str, ...]
    block_registers: int
    block_shared: int
    carveout: int
    advice: str

    @property
    def share(self) -> float:
        """Of the warps that the multiprocessor can hold."""
        return self.warps / self.most_warps

    @property
    def percent(self) -> int:
        """The share in whole per cent, a half rounded up."""
        return int(100 * self.share + 0.5)

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        if not self.blocks:
            what = " and ".join(self.limited_by)
            return f"{self.gpu} cannot launch this kernel: one block of {self.threads} threads has not enough {what}."
        blocks = f"{self.blocks} block{'s' if self.blocks > 1 else ''}"
        limit = " and ".join(self.limited_by)
        return (
            f"{self.gpu} holds {blocks} of {self.threads} threads a multiprocessor, {self.warps} of {self.most_warps} "
            f"warps ({self.percent} %), limited by {limit}."
        )

    def to_json(self) -> dict[str, Any]:
        """The record and its share as plain values."""
        return dataclasses.asdict(self) | {"share": self.share, "sentence": self.sentence}


def occupancy(
    gpu: Gpu | str, *, threads: int, registers: int, shared: int = 0, barriers: int = 1, advise: bool = True
) -> Occupancy:
    """How many blocks, and so warps, of a kernel a multiprocessor of `gpu` holds at once.

    gpu        a name such as "A100", or a Gpu
    threads    of a block, 1 to 1024
    registers  of a thread, as the compiler reports them
    shared     bytes of a block, static and dynamic together
    barriers   that a block uses; 1 where it synchronises at all
    advise     also look for what would fit one block more

    The carve-out of shared memory is taken to be the largest, which is what a program can ask for. Raises ValueError
    for arguments that no launch can have.
    """
    gpu = gpu_named(gpu) if isinstance(gpu, str) else gpu
    for name, value, least in (("threads", threads, 1), ("registers", registers, 0), ("shared", shared, 0)):
        if value < least:
            raise ValueError(f"{name} is {value}, expected at least {least}")
    by = _blocks_by(gpu.limits, threads, registers, shared, barriers)
    blocks = min(by.values())
    warps = _warps(threads)
    given = _given(shared, gpu.limits)
    return Occupancy(
        gpu=gpu.name,
        capability=gpu.capability,
        threads=threads,
        registers=registers,
        shared=shared,
        barriers=barriers,
        blocks=blocks,
        warps=blocks * warps,
        most_warps=gpu.limits.warps,
        by=by,
        limited_by=tuple(name for name, most in by.items() if most == blocks),
        block_registers=_registers_of_warp(registers) * warps,
        block_shared=given,
        carveout=next((size for size in gpu.limits.carveouts if size >= blocks * given), gpu.limits.shared),
        advice=_advice(gpu, by, threads, registers, shared, barriers) if advise else "",
    )


def _warps(threads: int) -> int:
    return math.ceil(threads / WARP)


def _registers_of_warp(registers: int) -> int:
    return math.ceil(registers * WARP / REGISTER_UNIT) * REGISTER_UNIT


def _given(shared: int, limits: Limits) -> int:
    return math.ceil((shared + limits.reserved) / limits.unit) * limits.unit


def _blocks_by(limits: Limits, threads: int, registers: int, shared: int, barriers: int) -> dict[str, int]:
    """How many blocks each resource allows."""
    warps = _warps(threads)
    by = {"warps": limits.warps // warps if threads <= MOST_THREADS else 0, "blocks": limits.blocks}
    if registers:
        of_warp = _registers_of_warp(registers)
        # Warps are dealt to the partitions, each of which has whole ones.
        most = REGISTERS // PARTITIONS // of_warp * PARTITIONS if registers <= MOST_REGISTERS else 0
        by["registers"] = most // warps
    given = _given(shared, limits)
    if given:
        by["shared memory"] = limits.shared // given if given <= limits.block_shared + limits.reserved else 0
    if limits.barriers is not None and barriers:
        by["barriers"] = limits.barriers // barriers
    return by


def _advice(gpu: Gpu, by: Mapping[str, int], threads: int, registers: int, shared: int, barriers: int) -> str:
    """What to change so that one block more fits, or why that would gain nothing."""
    limits, blocks = gpu.limits, min(by.values())
    wanted = blocks + 1
    if blocks and blocks * _warps(threads) == limits.warps:
        return "All warps are taken: there is nothing to gain."

    def most(low: int, high: int, fits: Callable[[int], bool]) -> int | None:
        """The largest number of the range that fits; more of a resource never fits where less does not."""
        return next((value for value in range(high, low - 1, -1) if fits(value)), None)

    changes = []
    if by["warps"] < wanted or by["blocks"] < wanted or by.get("barriers", wanted) < wanted:
        return _advice_on_threads(gpu, blocks, threads, registers, shared, barriers)
    if by.get("registers", wanted) < wanted:
        least = most(1, registers, lambda n: _blocks_by(limits, threads, n, 0, 0)["registers"] >= wanted)
        if least is None:
            return _advice_on_threads(gpu, blocks, threads, registers, shared, barriers)
        changes.append(f"at most {least} registers a thread (now {registers})")
    if by.get("shared memory", wanted) < wanted:
        room = min(limits.shared // wanted, limits.block_shared + limits.reserved) // limits.unit * limits.unit
        if room < limits.reserved:
            return "Shared memory is what the system reserves for each block: larger blocks use it better."
        changes.append(f"at most {room - limits.reserved:,} bytes of shared memory a block (now {shared:,})")
    more = "It can be launched" if not blocks else "One block more fits"
    return f"{more} with {' and '.join(changes)}."


def _advice_on_threads(gpu: Gpu, blocks: int, threads: int, registers: int, shared: int, barriers: int) -> str:
    """The block size nearest to this one with which more warps are resident."""

    def held(size: int) -> int:
        return min(_blocks_by(gpu.limits, size, registers, shared, barriers).values()) * _warps(size)

    now = blocks * _warps(threads)
    sizes = sorted(range(WARP, MOST_THREADS + 1, WARP), key=lambda size: (abs(size - threads), size))
    better = next((size for size in sizes if held(size) > now), None)
    if better is None:
        return "No other size of a block holds more warps."
    what = "More warps fit" if blocks else "It can be launched"
    return f"{what} with blocks of {better} threads (now {threads}): {held(better)} of {gpu.limits.warps} warps."
