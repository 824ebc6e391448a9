"""How much of what a core does in a cycle, by processor family; and the bound of a loop that follows.

The table holds what matters to loops of floating-point arithmetic: docs/inspect.md prints it, with the sources;
scripts/measure_ports.py measures the machine that it runs on.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .records import ARITHMETIC, Bound, InspectError, Instruction, Loop


@dataclass(frozen=True)
class Family:
    """What a core starts in a cycle, by the vectors' bits, and how long results take.

    128 stands for scalars in vector registers too, 64 for general registers, where these differ.

    fma      multiplies and multiply-adds
    adds     additions; None where these run on the units of multiply-adds
    shuffles permutations, broadcasts between registers
    loads    and stores
    width    instructions of any kind
    latency  cycles by kind
    divide   cycles that a division or a root keeps its unit busy, by the vectors' bits, float and double
    models   what compilers and llvm-mca call it, the best first
    """

    name: str
    fma: Mapping[int, float]
    adds: Mapping[int, float] | None
    shuffles: Mapping[int, float]
    loads: Mapping[int, float]
    stores: Mapping[int, float]
    width: int
    latency: Mapping[str, float]
    divide: Mapping[tuple[int, int], float]
    models: tuple[str, ...] = ()

    def latency_of(self, one: Instruction) -> float:
        return self.latency.get(one.kind, 0.0 if one.kind in ("move", "load", "spill") else 1.0)

    def peak(self, itemsize: int, most_bits: int) -> float:
        """Flops a cycle of multiply-adds, with vectors of at most so many bits."""
        return max(2 * bits / 8 / itemsize * n for bits, n in self.fma.items() if bits <= max(most_bits, 128))


_AMD = {"fma": 4, "multiply": 3, "add": 3, "divide": 11, "compare": 2, "logic": 1, "shuffle": 1, "convert": 3}
_INTEL = {"fma": 4, "multiply": 4, "add": 4, "divide": 11, "compare": 4, "logic": 1, "shuffle": 1, "convert": 4}


def _same(each: float, *bits: int) -> dict[int, float]:
    """The same number at each width."""
    return dict.fromkeys(bits or (128, 256), each)


def _divider(float32: tuple[float, ...], float64: tuple[float, ...]) -> dict[tuple[int, int], float]:
    """Cycles of a division by the vectors' bits (128, 256, 512) and the elements' bytes."""
    widths = (128, 256, 512)
    rows = [(4, float32), (8, float64)]
    return {(bits, size): n for size, row in rows for bits, n in zip(widths, row, strict=False)}


FAMILIES = (
    Family(
        "Haswell",
        fma=_same(2),
        adds=_same(1),
        shuffles=_same(1),
        loads=_same(2),
        stores=_same(1),
        width=4,
        latency={**_INTEL, "fma": 5, "multiply": 5, "add": 3, "compare": 3},
        divide=_divider((7, 14), (14, 28)),
        models=("haswell",),
    ),
    Family(
        "Skylake",
        fma=_same(2),
        adds=None,
        shuffles=_same(1),
        loads=_same(2),
        stores=_same(1),
        width=4,
        latency=_INTEL,
        divide=_divider((3, 5), (4, 8)),
        models=("skylake",),
    ),
    Family(
        "Skylake-X",
        fma=_same(2, 128, 256, 512),
        adds=None,
        shuffles=_same(1, 128, 256, 512),
        loads=_same(2, 128, 256, 512),
        stores=_same(1, 128, 256, 512),
        width=4,
        latency=_INTEL,
        divide=_divider((3, 5, 10), (4, 8, 16)),
        models=("skylake-avx512",),
    ),
    Family(
        "Ice Lake server",
        fma=_same(2, 128, 256, 512),
        adds=None,
        shuffles={128: 2, 256: 2, 512: 1},
        loads=_same(2, 128, 256, 512),
        stores={128: 2, 256: 2, 512: 1},
        width=5,
        latency=_INTEL,
        divide=_divider((3, 5, 10), (4, 8, 16)),
        models=("icelake-server",),
    ),
    Family(
        "Ice Lake",
        fma={128: 2, 256: 2, 512: 1},
        adds=None,
        shuffles={128: 2, 256: 2, 512: 1},
        loads=_same(2, 128, 256, 512),
        stores={128: 2, 256: 2, 512: 1},
        width=5,
        latency=_INTEL,
        divide=_divider((3, 5, 10), (4, 8, 16)),
        models=("icelake-client",),
    ),
    Family(
        "Golden Cove",
        fma=_same(2, 128, 256, 512),
        adds=_same(2, 128, 256, 512),
        shuffles={128: 2, 256: 2, 512: 1},
        loads={128: 3, 256: 3, 512: 2},
        stores={128: 2, 256: 2, 512: 1},
        width=6,
        latency={**_INTEL, "add": 3},
        divide=_divider((3, 5, 10), (4, 8, 16)),
        models=("sapphirerapids", "alderlake"),
    ),
    Family(
        "Zen 2",
        fma=_same(2),
        adds=_same(2),
        shuffles=_same(2),
        loads=_same(2),
        stores=_same(1),
        width=6,
        latency={**_AMD, "fma": 5},
        divide=_divider((3, 6), (5, 10)),
        models=("znver2",),
    ),
    Family(
        "Zen 3",
        fma=_same(2),
        adds=_same(2),
        shuffles=_same(2),
        loads={64: 3, 128: 2, 256: 2},
        stores={64: 2, 128: 1, 256: 1},
        width=6,
        latency=_AMD,
        divide=_divider((3, 3), (5, 5)),
        models=("znver3",),
    ),
    Family(
        "Zen 4",
        fma={128: 2, 256: 2, 512: 1},
        adds={128: 2, 256: 2, 512: 1},
        shuffles={128: 2, 256: 2, 512: 1},
        loads={64: 3, 128: 2, 256: 2, 512: 1},
        stores={64: 2, 128: 1, 256: 1, 512: 0.5},
        width=6,
        latency=_AMD,
        divide=_divider((3, 3, 6), (5, 5, 9)),
        models=("znver4", "znver3"),
    ),
    Family(
        "Zen 5",
        fma=_same(2, 128, 256, 512),
        adds=_same(2, 128, 256, 512),
        shuffles=_same(2, 128, 256, 512),
        loads={64: 4, 128: 2, 256: 2, 512: 2},
        stores={128: 2, 256: 2, 512: 1},
        width=8,
        latency=_AMD,
        divide=_divider((3, 3, 6), (5, 5, 10)),
        models=("znver5", "znver4"),
    ),
)

_MODELS = {
    "Haswell": (0x3C, 0x3F, 0x45, 0x46, 0x3D, 0x47, 0x4F, 0x56),  # and Broadwell
    "Skylake": (0x4E, 0x5E, 0x8E, 0x9E, 0xA5, 0xA6),
    "Skylake-X": (0x55,),
    "Ice Lake server": (0x6A, 0x6C),
    "Ice Lake": (0x7D, 0x7E, 0x8C, 0x8D, 0xA7),  # and Tiger Lake, Rocket Lake
    "Golden Cove": (0x8F, 0xCF, 0xAD, 0xAE, 0x97, 0x9A, 0xB7, 0xBA, 0xBF),  # of hybrid ones the fast cores
}
"""Intel's models of family 6, as /proc/cpuinfo has them."""

USUAL = Family(
    "usual",
    fma={128: 2, 256: 2, 512: 2},
    adds=None,
    shuffles={128: 1, 256: 1, 512: 1},
    loads={128: 2, 256: 2, 512: 2},
    stores={128: 1, 256: 1, 512: 1},
    width=4,
    latency=_INTEL,
    divide=_divider((4, 5, 10), (4, 8, 16)),
)
"""No processor, and near to many: by it hot loops are chosen."""


def family_called(name: str) -> Family:
    """The family of this name, such as "Zen 4" or "zen4". Raises InspectError."""
    for family in FAMILIES:
        if family.name.lower().replace(" ", "") == name.lower().replace(" ", ""):
            return family
    raise InspectError(f"family is {name!r}, expected one of {', '.join(f.name for f in FAMILIES)}")


@functools.cache
def this_family() -> Family | None:
    """The family of this machine's processor; None where the table does not have it."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return None
    facts = dict(_pair(line) for line in file.read_text().split("\n\n")[0].splitlines() if ":" in line)
    name = name_of(facts)
    return family_called(name) if name else None


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()


def name_of(facts: Mapping[str, str]) -> str | None:
    """The family's name by what /proc/cpuinfo says of the processor."""
    family, model = int(facts.get("cpu family", 0)), int(facts.get("model", 0))
    if facts.get("vendor_id") == "GenuineIntel" and family == 6:
        return next((name for name, models in _MODELS.items() if model in models), None)
    if facts.get("vendor_id") == "AuthenticAMD":
        if family == 23:
            return "Zen 2" if model >= 0x30 else None
        if family == 25:
            return "Zen 4" if 0x10 <= model <= 0x1F or 0x60 <= model <= 0xAF else "Zen 3"
        if family == 26:
            return "Zen 5" if model < 0x20 or 0x40 <= model < 0x50 else None  # the others have narrower vector units
    return None


def bound_of(loop: Loop, family: Family, most_bits: int) -> Loop:
    """The loop with what limits it: the resource that takes the most cycles an iteration."""
    cycles = cycles_by(loop, family)
    name = max(cycles, key=lambda resource: cycles[resource])
    most = cycles[name]
    share = None
    if loop.flops and most:  # where additions have units of their own, more than the peak of multiply-adds is possible
        share = min(1.0, loop.flops / (most * family.peak(loop.itemsize, most_bits)))
    bound = Bound(name, most, share, _sentence(loop, name, most, share, family), cycles, family.name)
    return replace(loop, bound=bound)


def cycles_by(loop: Loop, family: Family) -> dict[str, float]:
    """What each resource takes of an iteration."""
    fma = adds = shuffles = loads = stores = divides = 0.0
    for one in loop.instructions:
        bits = max(one.vector_bits, 128)
        if one.kind in ("fma", "multiply", "compare") or (one.kind == "add" and family.adds is None):
            fma += 1 / _of(family.fma, bits)
        elif one.kind == "add" and family.adds is not None:
            adds += 1 / _of(family.adds, bits)
        elif one.kind == "divide":
            divides += family.divide.get((bits, one.itemsize), 5.0)
        elif one.kind == "shuffle":
            shuffles += 1 / _of(family.shuffles, bits)
        if one.reads:
            loads += 1 / _of(family.loads, _moved(one))
        if one.writes:
            stores += 1 / _of(family.stores, _moved(one))
    instructions = len(loop.instructions) - _fused(loop)
    return {
        "FMA units": fma,
        "add units": adds,
        "divider": divides,
        "shuffles": shuffles,
        "loads": loads,
        "stores": stores,
        "latency": loop.latency,
        "instructions": instructions / family.width,
    }


def _moved(one: Instruction) -> int:
    """The column of a load or a store; a broadcast is as wide as what it fills."""
    return max(one.vector_bits, 128) if one.lanes or one.vector_bits or "xmm" in one.operands else 64


def _of(table: Mapping[int, float], bits: int) -> float:
    """Per cycle; of vectors wider than the family has, in pieces."""
    widest = max(table)
    if bits == 64 and bits not in table:
        bits = 128
    return table[bits] if bits in table else table[widest] * widest / bits


def _fused(loop: Loop) -> int:
    """Pairs of a comparison and the jump behind it, which the decoder makes one."""
    pairs = zip(loop.instructions, loop.instructions[1:], strict=False)
    return sum(
        b.kind == "branch" and a.mnemonic in ("cmp", "test", "sub", "add", "and", "dec", "inc") for a, b in pairs
    )


_WHY = {
    "FMA units": "the units for multiply-adds are busy in every cycle",
    "add units": "the units for additions are busy in every cycle",
    "divider": "the divider is busy all the time",
    "shuffles": "the units that move elements between lanes are busy in every cycle",
    "loads": "memory is read in every cycle that can read",
    "stores": "memory is written in every cycle that can write",
    "latency": "each iteration waits for the one before",
    "instructions": "no more instructions can be started in a cycle",
}


def _sentence(loop: Loop, name: str, cycles: float, share: float | None, family: Family) -> str:
    reach = "" if share is None else f": at most {100 * share:.3g} % of the peak"
    count = f"{cycles:.3g} cycle{'' if cycles == 1 else 's'} an iteration"
    return f"Bound by {name} on {family.name}: {count}, {_WHY[name]}{reach}."


__all__ = ["ARITHMETIC", "FAMILIES", "Family", "bound_of", "cycles_by", "family_called", "this_family"]
