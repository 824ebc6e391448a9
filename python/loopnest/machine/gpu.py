"""What can the GPU do? Its peak, its bandwidths and a launch, measured by csrc/measure/gpu_limits.cu: a machine card.

    loopnest machine --gpu

It takes some seconds and is not kept. Figures are the best of rounds in which all probes take turns.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ..arrays import dtype_called
from ..backends.cpp import csrc
from ..backends.cuda_device import DeviceArray, gpu, launch, on_device, to_device
from ..timing.gpu_clock import GpuClock
from ..timing.turns import run_rounds, seconds_of
from .limits import Limit
from .records import LAUNCH, MEMORY, SHARED, WAIT, Bandwidth, Cache, MachineCard, Peak

FILE = csrc() / "measure" / "gpu_limits.cu"
THREADS, CHAINS, PRODUCTS, PACK = 256, 16, 8, 16
"""The kernels' constants: threads of a block, multiply-adds and products of a step, bytes of a pack."""

FLOPS_OF_A_PRODUCT = 2 * 16 * 8 * 16 // 32
"""Of each thread of the warp that multiplies 16 x 16 by 16 x 8."""


@dataclass(frozen=True)
class Sizes:
    """How much the probes do. The defaults are for a GPU; a simulation takes less.

    blocks  a multiprocessor
    steps   of the loops in registers and in shared memory
    memory  bytes of the arrays that are read and copied; cached: of the array that the L2 cache holds
    passes  over that
    """

    blocks: int = 8
    steps: int = 8192
    memory: int = 1 << 30
    cached: int = 16 << 20
    passes: int = 50


FULL = Sizes()


@dataclass(frozen=True)
class GpuProbe:
    """Launches that do an amount of work: flops, or bytes. `out` is what they compute."""

    what: tuple[str, ...]
    amount: float
    launches: Sequence[Callable[[], object]]
    out: DeviceArray


def probes(multiprocessors: int, sizes: Sizes) -> list[GpuProbe]:
    """All probes, on arrays of ones: ("peak", dtype), ("bandwidth", level, kind) and ("launch",)."""
    blocks, found = sizes.blocks * multiprocessors, []
    threads = blocks * THREADS
    for dtype in (np.float32, np.float64):
        out, operands = on_device((threads,), dtype), to_device(np.array([0.5, 1], dtype))
        run = functools.partial(launch, FILE, "limit_multiply_adds", operands, out, sizes.steps, blocks)
        amount = 2.0 * CHAINS * sizes.steps * threads
        found.append(GpuProbe(("peak", np.dtype(dtype).name), amount, [run], out))
    for name in ("bfloat16", "float16"):
        out, operands = on_device((threads,), np.float32), to_device(np.ones(1, dtype_called(name)))
        run = functools.partial(launch, FILE, "limit_products", operands, out, sizes.steps // 8 + 1, blocks)
        amount = float(FLOPS_OF_A_PRODUCT * PRODUCTS * (sizes.steps // 8 + 1) * threads)
        found.append(GpuProbe(("peak", name), amount, [run], out))
    elements = sizes.memory // 4
    x, y = to_device(np.ones(elements, np.float32)), on_device((elements,), np.float32)
    out = on_device((threads,), np.float32)
    packs, cached = sizes.memory // PACK, sizes.cached // PACK
    read = functools.partial(launch, FILE, "limit_read", x, out)
    copy = functools.partial(launch, FILE, "limit_copy", x, y, packs, blocks)
    of_cache = functools.partial(read, cached, sizes.passes, blocks)
    of_shared = functools.partial(launch, FILE, "limit_shared", x, out, sizes.steps, 37, blocks)
    found += [  # from the nearest to the multiprocessors to memory
        GpuProbe(("bandwidth", SHARED, "read"), PACK * sizes.steps * threads, [of_shared], out),
        GpuProbe(("bandwidth", "L2", "read"), sizes.cached * sizes.passes, [of_cache], out),
        GpuProbe(("bandwidth", MEMORY, "read"), sizes.memory, [functools.partial(read, packs, 1, blocks)], out),
        GpuProbe(("bandwidth", MEMORY, "copy"), 2 * sizes.memory, [copy], y),
        GpuProbe(("launch",), 1, [functools.partial(launch, FILE, "limit_launch", out)], out),
    ]
    return found


def gpu_card(seconds: float = 3.0, sizes: Sizes = FULL) -> MachineCard:
    """Measure the GPU in about these seconds. Raises RuntimeError for an error of the driver."""
    here, clock = gpu(), GpuClock()
    count = here.attribute("MULTIPROCESSOR_COUNT")
    most = here.call("cuDeviceTotalMem", here.number) // 4
    every = probes(count, dataclasses.replace(sizes, memory=min(sizes.memory, most // PACK * PACK)))
    turns = [clock.turn(" ".join(probe.what), probe.launches)[0] for probe in every]
    run_rounds(turns, seconds=seconds, least=3)
    best = {probe.what: turn.best / probe.amount for probe, turn in zip(every, turns, strict=True)}  # seconds of one
    (nothing,) = every[-1].launches
    waits = []
    for _ in range(50):
        here.call("cuCtxSynchronize")
        waits.append(seconds_of(lambda: (nothing(), here.call("cuCtxSynchronize"))))
    levels = [what[1:] for what in best if what[0] == "bandwidth"]
    return MachineCard(
        cpu=_text(here.call("cuDeviceGetName", 64, here.number)),
        cores=1,
        system=about(here, count),
        isa_levels=(here.arch,),
        caches=(Cache(2, here.attribute("L2_CACHE_SIZE"), 0, 128, True),),
        peaks=tuple(Peak(here.arch, what[1], 1, 1 / best[what]) for what in best if what[0] == "peak"),
        bandwidths=tuple(Bandwidth(level, kind, 1, 1 / best["bandwidth", level, kind]) for level, kind in levels),
        latencies={LAUNCH: best["launch",], WAIT: min(waits)},
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def about(here: Any, multiprocessors: int) -> str:
    """The GPU's size and its driver, in a line."""
    version, total = here.call("cuDriverGetVersion"), here.call("cuDeviceTotalMem", here.number)
    cuda = f"{version // 1000}.{version % 1000 // 10}"
    return f"{multiprocessors} multiprocessors, {total / 2**30:.0f} GiB, a driver for CUDA {cuda}"


def _text(name: bytes | str) -> str:
    return name.decode().rstrip("\0 ") if isinstance(name, bytes) else name


def gpu_limit(card: MachineCard, flops: float, nbytes: float, written: float, dtype: str) -> Limit | None:
    """The least time of a call whose inputs come from memory; None where the card has no peak for the dtype.

    written  bytes of the results, which may stay in the L2 cache where it holds them
    """
    if dtype not in {peak.dtype for peak in card.peaks}:
        return None
    held = min(written, card.caches[0].size)
    computing, moving = flops / card.peak(dtype), (nbytes - held) / card.bandwidth(MEMORY, None)
    return Limit(max(computing, moving), "flops" if computing >= moving else "bytes", MEMORY, 1)
