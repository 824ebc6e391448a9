"""How many warps of a kernel a GPU's multiprocessor holds at once, and what limits that.

A multiprocessor hides the latency of one warp's loads behind the instructions of others, so their number matters. It
takes whole blocks. Each warp of a block needs registers, and the block needs shared memory and a place among the
blocks; the resource that runs out first decides. The limits are NVIDIA's: *CUDA C++ Programming Guide*, tables of
technical specifications by compute capability.

>>> occupancy(gpu_named("A100"), threads=128, registers=37).sentence
'A100 holds 12 blocks of 128 threads a multiprocessor, 48 of 64 warps (75 %), limited by registers.'
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

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

TABLE = """
cc   | warps | blocks | shared | block | GPUs
7.0  | 64    | 32     | 96     | 96    | V100
7.5  | 32    | 16     | 64     | 64    | T4, RTX 2080 Ti
8.0  | 64    | 32     | 164    | 163   | A100, A30
8.6  | 48    | 16     | 100    | 99    | A10, A40, RTX A6000, RTX 3080, RTX 3090
8.7  | 48    | 16     | 164    | 163   | AGX Orin
8.9  | 48    | 24     | 100    | 99    | L4, L40S, RTX 4080, RTX 4090
9.0  | 64    | 32     | 228    | 227   | H100, H200
10.0 | 64    | 32     | 228    | 227   | B200
10.3 | 64    | 32     | 228    | 227   |
11.0 | 48    | 24     | 228    | 227   |
12.0 | 48    | 24     | 100    | 99    | RTX 5080, RTX 5090
12.1 | 48    | 24     | 100    | 99    |
"""
"""A multiprocessor's limits by compute capability: resident warps and blocks; KiB of shared memory at the largest
carve-out, and one block's part of it."""


@dataclass(frozen=True)
class Gpu:
    """A GPU, and what one of its multiprocessors holds; memory in bytes.

    most_warps    resident at once; most_blocks: the same for blocks
    shared        shared memory at the largest carve-out
    block_shared  the part that one block may have; above 48 KiB only as dynamic memory that the program asks for
    """

    name: str
    cc: tuple[int, int]
    most_warps: int
    most_blocks: int
    shared: int
    block_shared: int

    @property
    def capability(self) -> str:
        return f"{self.cc[0]}.{self.cc[1]}"

    @property
    def reserved(self) -> int:
        """The shared memory that the system takes for each block."""
        return KIB if self.cc >= (8, 0) else 0


def _gpus() -> dict[str, Gpu]:
    found = {}
    for line in TABLE.strip().splitlines()[1:]:
        capability, warps, blocks, shared, block, products = (cell.strip() for cell in line.split("|"))
        major, minor = map(int, capability.split("."))
        for name in filter(None, [capability, *products.split(", ")]):
            limits = int(warps), int(blocks), KIB * int(shared), KIB * int(block)
            found[name] = Gpu(name, (major, minor), *limits)
    return found


GPUS = _gpus()
"""By name: "H100"; and by compute capability: "9.0"."""


def gpu_named(name: str) -> Gpu:
    """The GPU with this name: `H100`, `rtx4090`, `NVIDIA A100`, `9.0`, `sm_90`; case and spaces do not matter.

    Raises ValueError for a name that is not in GPUS.

    >>> gpu_named("rtx4090").capability
    '8.9'
    """
    found = next((gpu for known, gpu in GPUS.items() if _plain(known) == _plain(name)), None)
    if found is None:
        raise ValueError(f"gpu is {name!r}, expected one of {', '.join(GPUS)}")
    return found


def _plain(name: str) -> str:
    words = name.lower().replace("-", " ").replace(".", "").removeprefix("sm_").split()
    return "".join(word for word in words if word not in ("nvidia", "tesla", "geforce"))


@dataclass(frozen=True)
class Occupancy:
    """What a multiprocessor holds of one kernel.

    blocks, warps  resident at once; 0 if the kernel cannot be launched
    by             how many blocks each resource allows
    limited_by     the resources that allow the fewest
    sentence       the same in words
    """

    gpu: Gpu
    blocks: int
    warps: int
    by: Mapping[str, int]
    limited_by: tuple[str, ...]
    sentence: str


def occupancy(gpu: Gpu, *, threads: int, registers: int, shared: int = 0) -> Occupancy:
    """How many blocks, and so warps, of a kernel a multiprocessor holds at once.

    threads    of a block, 1 to 1024
    registers  of a thread, as the compiler reports them
    shared     bytes of a block, static and dynamic together, with the largest carve-out
    """
    warps = math.ceil(threads / WARP)
    of_warp = math.ceil(registers * WARP / REGISTER_UNIT) * REGISTER_UNIT
    unit = 128 if gpu.cc >= (8, 0) else 256  # shared memory is allocated in such pieces
    allocated = math.ceil((shared + gpu.reserved) / unit) * unit
    by = {"warps": gpu.most_warps // warps if threads <= MOST_THREADS else 0, "blocks": gpu.most_blocks}
    if registers:  # warps are dealt to the partitions, and each partition has whole ones
        most = REGISTERS // PARTITIONS // of_warp * PARTITIONS if registers <= MOST_REGISTERS else 0
        by["registers"] = most // warps
    if allocated:
        by["shared memory"] = gpu.shared // allocated if allocated <= gpu.block_shared + gpu.reserved else 0
    blocks = min(by.values())
    limits = tuple(name for name, most in by.items() if most == blocks)
    limit = " and ".join(limits)
    if blocks:
        percent = int(100 * blocks * warps / gpu.most_warps + 0.5)
        sentence = (
            f"{gpu.name} holds {blocks} block{'s' if blocks > 1 else ''} of {threads} threads a multiprocessor, "
            f"{blocks * warps} of {gpu.most_warps} warps ({percent} %), limited by {limit}."
        )
    else:
        sentence = f"{gpu.name} cannot launch this kernel: one block of {threads} threads has not enough {limit}."
    return Occupancy(gpu, blocks, blocks * warps, by, limits, sentence)
