"""How much of what a core does in a cycle, by processor family; and the bound of a loop that follows.

The table holds what matters to loops of floating-point arithmetic: docs/inspect.md has the sources.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .records import ARITHMETIC, Bound, Instruction, Loop


@dataclass(frozen=True)
class Family:
    """What a core starts in a cycle, by the vectors' bits (128 stands for scalars too), and how long results take.

    fma      multiplies and multiply-adds
    adds     additions; None where these run on the units of multiply-adds
    shuffles permutations, broadcasts between registers
    loads    and stores
    width    instructions of any kind
    latency  cycles by kind
    divide   cycles that a division or a root keeps its unit busy, by the vectors' bits, float and double
    peak     flops a cycle follow from fma
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
    mca: str = ""

    def latency_of(self, one: Instruction) -> float:
        return self.latency.get(one.kind, 0.0 if one.kind in ("move", "load", "spill") else 1.0)

    def peak(self, itemsize: int, most_bits: int) -> float:
        """Flops a cycle of multiply-adds, with vectors of at most so many bits."""
        return max(2 * bits / 8 / itemsize * n for bits, n in self.fma.items() if bits <= max(most_bits, 128))


_ZEN_LATENCY = {"fma": 4, "multiply": 3, "add": 3, "divide": 11, "compare": 1, "logic": 1, "shuffle": 1, "convert": 3}
_INTEL_LATENCY = {"fma": 4, "multiply": 4, "add": 4, "divide": 11, "compare": 4, "logic": 1, "shuffle": 1, "convert": 4}

FAMILIES = (
    Family(
        "Zen 2",
        fma={128: 2, 256: 2},
        adds={128: 2, 256: 2},
        shuffles={128: 2, 256: 2},
        loads={128: 2, 256: 2},
        stores={128: 1, 256: 1},
        width=5,
        latency={**_ZEN_LATENCY, "fma": 5},
        divide={(128, 4): 3, (256, 4): 6, (128, 8): 5, (256, 8): 8},
        mca="znver2",
    ),
    Family(
        "Zen 3",
        fma={128: 2, 256: 2},
        adds={128: 2, 256: 2},
        shuffles={128: 2, 256: 2},
        loads={128: 2, 256: 2},
        stores={128: 1, 256: 1},
        width=6,
        latency=_ZEN_LATENCY,
        divide={(128, 4): 3, (256, 4): 3, (128, 8): 5, (256, 8): 5},
        mca="znver3",
    ),
    Family(
        "Zen 4",
        fma={128: 2, 256: 2, 512: 1},
        adds={128: 2, 256: 2, 512: 1},
        shuffles={128: 2, 256: 2, 512: 1},
        loads={128: 2, 256: 2, 512: 1},
        stores={128: 1, 256: 1, 512: 0.5},
        width=6,
        latency=_ZEN_LATENCY,
        divide={(128, 4): 3, (256, 4): 3, (512, 4): 6, (128, 8): 5, (256, 8): 5, (512, 8): 10},
        mca="znver4",
    ),
)


USUAL = Family(
    "usual",
    fma={128: 2, 256: 2, 512: 2},
    adds=None,
    shuffles={128: 1, 256: 1, 512: 1},
    loads={128: 2, 256: 2, 512: 2},
    stores={128: 1, 256: 1, 512: 1},
    width=4,
    latency=_INTEL_LATENCY,
    divide={(128, 4): 4, (256, 4): 5, (512, 4): 10, (128, 8): 4, (256, 8): 8, (512, 8): 16},
)
"""No processor, and near to many: by it hot loops are chosen."""


def family_called(name: str) -> Family:
    """The family of this name. Raises ValueError."""
    for family in FAMILIES:
        if family.name.lower().replace(" ", "") == name.lower().replace(" ", ""):
            return family
    raise ValueError(f"family is {name!r}, expected one of {', '.join(f.name for f in FAMILIES)}")


@functools.cache
def this_family() -> Family | None:
    """The family of this machine's processor; None where the table does not have it."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return None
    facts = dict(_pair(line) for line in file.read_text().split("\n\n")[0].splitlines() if ":" in line)
    name = _name_of(facts)
    return family_called(name) if name else None


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()


def _name_of(facts: Mapping[str, str]) -> str | None:
    """The family's name by what /proc/cpuinfo says of the processor."""
    family, model = int(facts.get("cpu family", 0)), int(facts.get("model", 0))
    if facts.get("vendor_id") == "AuthenticAMD":
        if family == 23:
            return "Zen 2" if model >= 0x30 else None
        if family == 25:
            return "Zen 4" if 0x10 <= model <= 0x1F or 0x60 <= model <= 0xAF else "Zen 3"
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
            wide = one.vector_bits if one.bytes * 8 >= one.vector_bits else 128  # a broadcast reads an element
            loads += 1 / _of(family.loads, max(wide, 128))
        if one.writes:
            stores += 1 / _of(family.stores, max(one.vector_bits, 128))
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


def _of(table: Mapping[int, float], bits: int) -> float:
    """Per cycle; of vectors wider than the family has, in pieces."""
    widest = max(table)
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
    return f"Bound by {name} on {family.name}: {cycles:.3g} cycles an iteration, {_WHY[name]}{reach}."


__all__ = ["ARITHMETIC", "FAMILIES", "Family", "bound_of", "cycles_by", "family_called", "this_family"]
