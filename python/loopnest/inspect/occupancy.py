"""How many warps of a kernel a GPU's multiprocessor holds at once, and what limits that.

A multiprocessor hides the latency of one warp's loads behind the instructions of others, so their number matters. It
takes whole blocks. Each warp of a block needs registers, and the block needs shared memory and a place among the
blocks; the resource that runs out first decides. The limits are NVIDIA's: *CUDA C++ Programming Guide*, tables of
technical specifications by compute capability.

>>> occupancy((8, 0), threads=128, registers=37).sentence
'8.0 holds 12 blocks of 128 threads a multiprocessor, 48 of 64 warps (75 %), limited by registers.'
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from ..output.text import counted

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


class Limits(NamedTuple):
    """A multiprocessor's: resident warps and blocks; KiB of shared memory at the largest carve-out, and the part that
    one block may have (above 48 KiB only as dynamic memory that the program asks for)."""

    warps: int
    blocks: int
    shared: int
    block_shared: int


LIMITS = {
    (7, 0): Limits(64, 32, 96, 96),  # V100
    (7, 5): Limits(32, 16, 64, 64),  # T4, RTX 2080
    (8, 0): Limits(64, 32, 164, 163),  # A100, A30
    (8, 6): Limits(48, 16, 100, 99),  # A10, A40, RTX 3090
    (8, 7): Limits(48, 16, 164, 163),  # Orin
    (8, 9): Limits(48, 24, 100, 99),  # L4, L40S, RTX 4090
    (9, 0): Limits(64, 32, 228, 227),  # H100, H200
    (10, 0): Limits(64, 32, 228, 227),  # B200
    (10, 3): Limits(64, 32, 228, 227),
    (11, 0): Limits(48, 24, 228, 227),
    (12, 0): Limits(48, 24, 100, 99),  # RTX 5090
    (12, 1): Limits(48, 24, 100, 99),
}
"""By compute capability."""


class Occupancy(NamedTuple):
    """What a multiprocessor holds of one kernel.

    blocks, warps  resident at once; 0 if the kernel cannot be launched
    by             how many blocks each resource allows
    limited_by     the resources that allow the fewest
    sentence       the same in words
    """

    blocks: int
    warps: int
    by: Mapping[str, int]
    limited_by: tuple[str, ...]
    sentence: str


def reserved(cc: tuple[int, int]) -> int:
    """Bytes of shared memory that the system takes for each block."""
    return KIB if cc >= (8, 0) else 0


def occupancy(cc: tuple[int, int], *, threads: int, registers: int, shared: int = 0) -> Occupancy:
    """How many blocks, and so warps, of a kernel a multiprocessor of a compute capability in LIMITS holds at once.

    threads    of a block, 1 to 1024
    registers  of a thread, as the compiler reports them
    shared     bytes of a block, static and dynamic together, with the largest carve-out
    """
    name, limits, warps = f"{cc[0]}.{cc[1]}", LIMITS[cc], math.ceil(threads / WARP)
    of_warp = math.ceil(registers * WARP / REGISTER_UNIT) * REGISTER_UNIT
    unit = 128 if cc >= (8, 0) else 256  # shared memory is allocated in such pieces
    allocated = math.ceil((shared + reserved(cc)) / unit) * unit
    by = {"warps": limits.warps // warps if threads <= MOST_THREADS else 0, "blocks": limits.blocks}
    if registers:  # warps are dealt to the partitions, and each partition has whole ones
        most = REGISTERS // PARTITIONS // of_warp * PARTITIONS if registers <= MOST_REGISTERS else 0
        by["registers"] = most // warps
    if allocated:
        fits = allocated <= KIB * limits.block_shared + reserved(cc)
        by["shared memory"] = KIB * limits.shared // allocated if fits else 0
    blocks = min(by.values())
    limited_by = tuple(resource for resource, most in by.items() if most == blocks)
    limit = " and ".join(limited_by)
    sentence = f"{name} cannot launch this kernel: one block of {threads} threads has not enough {limit}."
    if blocks:
        percent = int(100 * blocks * warps / limits.warps + 0.5)
        sentence = (
            f"{name} holds {counted(blocks, 'block')} of {threads} threads a multiprocessor, "
            f"{blocks * warps} of {limits.warps} warps ({percent} %), limited by {limit}."
        )
    return Occupancy(blocks, blocks * warps, by, limited_by, sentence)
