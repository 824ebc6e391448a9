"""How many warps of a kernel a GPU's multiprocessor holds at once, and what limits that.

A multiprocessor hides the latency of one warp's loads behind the instructions of others, so their number matters. It
takes whole blocks. Each warp of a block needs registers, and the block needs shared memory and a place among the
blocks; the resource that runs out first decides. The limits are NVIDIA's: *CUDA C++ Programming Guide*, tables of
technical specifications by compute capability.

>>> occupancy("A100", threads=128, registers=37).sentence
'A100 holds 12 blocks of 128 threads a multiprocessor, 48 of 64 warps (75 %), limited by registers.'
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
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
cc   | warps | blocks | shared | block | GPUs and their multiprocessors
7.0  | 64    | 32     | 96     | 96    | V100 80
7.5  | 32    | 16     | 64     | 64    | T4 40, RTX 2080 Ti 68
8.0  | 64    | 32     | 164    | 163   | A100 108, A30 56
8.6  | 48    | 16     | 100    | 99    | A10 72, A40 84, RTX A6000 84, RTX 3080 68, RTX 3090 82
8.7  | 48    | 16     | 164    | 163   | AGX Orin 16
8.9  | 48    | 24     | 100    | 99    | L4 58, L40S 142, RTX 4080 76, RTX 4090 128
9.0  | 64    | 32     | 228    | 227   | H100 132, H100 PCIe 114, H200 132
10.0 | 64    | 32     | 228    | 227   | B200 148
10.3 | 64    | 32     | 228    | 227   |
11.0 | 48    | 24     | 228    | 227   |
12.0 | 48    | 24     | 100    | 99    | RTX 5080 84, RTX 5090 170
12.1 | 48    | 24     | 100    | 99    |
"""
"""A multiprocessor's limits by compute capability: resident warps and blocks; KiB of shared memory at the largest
carve-out, and one block's part of it. H100 is the one with SXM sockets."""


@dataclass(frozen=True)
class Gpu:
    """A GPU, and what one of its multiprocessors holds; memory in bytes.

    cc               its compute capability
    multiprocessors  0 if only the compute capability is known
    most_warps       resident at once; most_blocks: the same for blocks
    shared           shared memory at the largest carve-out
    block_shared     the part that one block may have; above 48 KiB only as dynamic memory that the program asks for
    """

    name: str
    cc: tuple[int, int]
    multiprocessors: int
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

    @property
    def unit(self) -> int:
        """Shared memory is allocated in such pieces."""
        return 128 if self.cc >= (8, 0) else 256


def _gpus(line: str) -> Iterator[Gpu]:
    """The GPUs of a row: first the one that is known by its compute capability alone."""
    capability, warps, blocks, shared, block, names = (cell.strip() for cell in line.split("|"))
    major, minor = map(int, capability.split("."))
    for name, count in [(capability, "0"), *(name.rsplit(" ", 1) for name in names.split(", ") if name)]:
        yield Gpu(name, (major, minor), int(count), int(warps), int(blocks), KIB * int(shared), KIB * int(block))


GPUS = {gpu.name: gpu for line in TABLE.strip().splitlines()[1:] for gpu in _gpus(line)}
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

    threads        of a block
    blocks, warps  resident at once; 0 if the kernel cannot be launched
    by             how many blocks each resource allows
    limited_by     the resources that allow the fewest
    """

    gpu: Gpu
    threads: int
    blocks: int
    warps: int
    by: Mapping[str, int]
    limited_by: tuple[str, ...]

    @property
    def percent(self) -> int:
        """The resident warps' share of those that the multiprocessor can hold, a half rounded up."""
        return int(100 * self.warps / self.gpu.most_warps + 0.5)

    @property
    def sentence(self) -> str:
        """The result in words."""
        name, limit = self.gpu.name, " and ".join(self.limited_by)
        if not self.blocks:
            return f"{name} cannot launch this kernel: one block of {self.threads} threads has not enough {limit}."
        return (
            f"{name} holds {self.blocks} block{'s' if self.blocks > 1 else ''} of {self.threads} threads a "
            f"multiprocessor, {self.warps} of {self.gpu.most_warps} warps ({self.percent} %), limited by {limit}."
        )


def occupancy(gpu: Gpu | str, *, threads: int, registers: int, shared: int = 0) -> Occupancy:
    """How many blocks, and so warps, of a kernel a multiprocessor of `gpu` holds at once.

    gpu        a name such as "A100", or a Gpu
    threads    of a block, 1 to 1024
    registers  of a thread, as the compiler reports them
    shared     bytes of a block, static and dynamic together

    The carve-out of shared memory is the largest, which a program can ask for. Raises ValueError for arguments that no
    launch can have.
    """
    gpu = gpu_named(gpu) if isinstance(gpu, str) else gpu
    for name, value, least in (("threads", threads, 1), ("registers", registers, 0), ("shared", shared, 0)):
        if value < least:
            raise ValueError(f"{name} is {value}, expected at least {least}")
    warps = math.ceil(threads / WARP)
    of_warp = math.ceil(registers * WARP / REGISTER_UNIT) * REGISTER_UNIT
    allocated = math.ceil((shared + gpu.reserved) / gpu.unit) * gpu.unit
    by = {"warps": gpu.most_warps // warps if threads <= MOST_THREADS else 0, "blocks": gpu.most_blocks}
    if registers:  # warps are dealt to the partitions, and each partition has whole ones
        most = REGISTERS // PARTITIONS // of_warp * PARTITIONS if registers <= MOST_REGISTERS else 0
        by["registers"] = most // warps
    if allocated:
        by["shared memory"] = gpu.shared // allocated if allocated <= gpu.block_shared + gpu.reserved else 0
    blocks = min(by.values())
    return Occupancy(gpu, threads, blocks, blocks * warps, by, tuple(n for n, most in by.items() if most == blocks))
