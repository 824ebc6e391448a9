"""What a core does in a cycle, by processor family, and the bound of a loop that follows from it.

The table has what matters to loops of floating-point arithmetic. docs/inspect.md prints it, with the sources;
scripts/measure_ports.py measures the machine that it runs on.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .records import Bound, InspectError, Instruction, Loop

TABLE = """
family          | FMA   | adds     | shuffles | loads   | stores    | instructions | latency   | float32 | float64 | LLVM's names
Haswell         | 2/2   | 1/1      | 1/1      | 2/2     | 1/1       | 4            | 5,5,3,3,4 | 7/14    | 14/28   | haswell broadwell
Skylake         | 2/2   | with FMA | 1/1      | 2/2     | 1/1       | 4            | 4,4,4,4,4 | 3/5     | 4/8     | skylake
Skylake-X       | 2/2/2 | with FMA | 1/1/1    | 2/2/2   | 1/1/1     | 4            | 4,4,4,4,4 | 3/5/10  | 4/8/16  | skylake-avx512 cascadelake cooperlake
Ice Lake server | 2/2/2 | with FMA | 2/2/1    | 2/2/2   | 2/2/1     | 5            | 4,4,4,4,4 | 3/5/10  | 4/8/16  | icelake-server
Ice Lake        | 2/2/1 | with FMA | 2/2/1    | 2/2/2   | 2/2/1     | 5            | 4,4,4,4,4 | 3/5/10  | 4/8/16  | icelake-client tigerlake rocketlake
Golden Cove     | 2/2/2 | 2/2/2    | 2/2/1    | 3/3/2   | 2/2/1     | 6            | 4,4,3,4,4 | 3/5/10  | 4/8/16  | sapphirerapids emeraldrapids alderlake raptorlake
Zen 2           | 2/2   | 2/2      | 2/2      | 2/2     | 1/1       | 6            | 5,3,3,2,3 | 3/6     | 5/10    | znver2
Zen 3           | 2/2   | 2/2      | 2/2      | 3:2/2   | 2:1/1     | 6            | 4,3,3,2,3 | 3/3     | 5/5     | znver3
Zen 4           | 2/2/1 | 2/2/1    | 2/2/1    | 3:2/2/1 | 2:1/1/0.5 | 6            | 4,3,3,2,3 | 3/3/6   | 5/5/9   | znver4
Zen 5           | 2/2/2 | 2/2/2    | 2/2/2    | 4:2/2/2 | 2:2/2/1   | 8            | 4,3,3,2,3 | 3/3/6   | 5/5/10  | znver5
typical         | 2/2/2 | with FMA | 1/1/1    | 2/2/2   | 1/1/1     | 4            | 4,4,4,4,4 | 4/5/10  | 4/8/16  |
"""  # noqa: E501
"""Per cycle with vectors of 128/256/512 bits, before a colon with general registers. Latency: cycles of an FMA, a
multiply, an add, a comparison, a conversion. float32 and float64: cycles that a division keeps its unit busy."""

WIDTHS = (128, 256, 512)
"""Bits of vectors. 128 also stands for scalars in vector registers; 64 for general registers, where these differ."""


@dataclass(frozen=True, eq=False)  # one object a family
class Family:
    """A row of the table.

    rates    instructions a cycle by unit (FMA units, add units, shuffles, loads, stores) and bits; no add units where
             additions run on the FMA units
    width    instructions a cycle
    latency  cycles by kind
    divide   cycles by itemsize and bits
    models   LLVM's names
    """

    name: str
    rates: Mapping[str, Mapping[int, float]]
    width: int
    latency: Mapping[str, float]
    divide: Mapping[int, Mapping[int, float]]
    models: Sequence[str]

    def latency_of(self, one: Instruction) -> float:
        return self.latency.get(one.kind, 0.0 if one.kind in ("move", "load", "spill") else 1.0)

    def peak(self, itemsize: int, most_bits: int) -> float:
        """Flops a cycle of FMAs, with vectors of at most this many bits."""
        fma = self.rates["FMA units"]
        return max(2 * bits / 8 / itemsize * fma[bits] for bits in fma if bits <= max(most_bits, 128))

    def cycles(self, unit: str, bits: int) -> float:
        """Of an instruction in a unit; vectors wider than the family's are done in pieces."""
        rates = self.rates[unit]
        widest = max(rates)
        bits = 128 if bits == 64 and bits not in rates else bits
        return 1 / rates[bits] if bits in rates else bits / widest / rates[widest]


def _row(line: str) -> Family:
    name, fma, adds, shuffles, loads, stores, width, latency, single, double, models = map(str.strip, line.split("|"))
    cells = {"FMA units": fma, "add units": adds, "shuffles": shuffles, "loads": loads, "stores": stores}
    rates = {unit: _by_bits(cell) for unit, cell in cells.items() if cell != "with FMA"}
    cycles = dict(zip(("fma", "multiply", "add", "compare", "convert"), map(float, latency.split(",")), strict=True))
    divide = {4: _by_bits(single), 8: _by_bits(double)}
    return Family(name, rates, int(width), cycles | {"divide": 11.0}, divide, models.split())


def _by_bits(cell: str) -> dict[int, float]:
    general, _, vectors = cell.rpartition(":")
    found = dict(zip(WIDTHS, map(float, vectors.split("/")), strict=False))
    return {64: float(general), **found} if general else found


*FAMILIES, TYPICAL = map(_row, TABLE.strip().splitlines()[1:])


def family_called(name: str) -> Family:
    """The family with this name, such as "Zen 4" or "zen4". Raises InspectError."""
    known = {family.name.lower().replace(" ", ""): family for family in FAMILIES}
    if family := known.get(name.lower().replace(" ", "")):
        return family
    raise InspectError(f"family is {name!r}, expected one of {', '.join(f.name for f in FAMILIES)}")


@functools.cache
def this_family() -> Family | None:
    """The family of this machine's processor; None if it is not in the table."""
    import llvmlite.binding as llvm  # comes with Numba

    return next((family for family in FAMILIES if llvm.get_host_cpu_name() in family.models), None)


RESOURCES = ("FMA units", "add units", "divider", "shuffles", "loads", "stores", "latency", "instructions")
UNITS = {"add": "add units", **dict.fromkeys(("fma", "multiply", "compare"), "FMA units"), "shuffle": "shuffles"}
"""Of the kinds of instructions that need one."""


def bound_of(loop: Loop, family: Family, most_bits: int) -> Bound:
    """A loop's limit: the resource that takes the most cycles an iteration."""
    cycles = cycles_by(loop, family)
    name, most = max(cycles.items(), key=lambda item: item[1])
    share = None
    if loop.flops and most and loop.itemsize > 2:  # the table has no peaks of reduced precision
        # With units of its own for additions, a core can do more than the peak of multiply-adds.
        share = min(1.0, loop.flops / (most * family.peak(loop.itemsize, most_bits)))
    others = ", ".join(f"{other} {n:.3g}" for other, n in cycles.items() if n and other != name)
    reach = "" if share is None else f": at most {100 * share:.3g} % of the peak"
    count = f"{most:.3g} cycle{'' if most == 1 else 's'} an iteration"
    sentence = f"Bound by {name} on {family.name}: {count} ({others}){reach}."
    return Bound(name, most, share, sentence)


def cycles_by(loop: Loop, family: Family) -> dict[str, float]:
    """The cycles of an iteration by resource."""
    cycles = dict.fromkeys(RESOURCES, 0.0)
    for one in loop.instructions:
        bits = max(one.vector_bits, 128)
        unit = UNITS.get(one.kind)
        if one.kind == "divide":
            cycles["divider"] += family.divide.get(one.itemsize, {}).get(bits, 5.0)
        elif unit is not None:
            unit = unit if unit in family.rates else "FMA units"
            cycles[unit] += family.cycles(unit, bits)
        moved = bits if one.lanes or one.vector_bits else 64
        cycles["loads"] += one.reads * family.cycles("loads", moved)
        cycles["stores"] += one.writes * family.cycles("stores", moved)
    cycles["latency"] = loop.latency
    cycles["instructions"] = (len(loop.instructions) - _fused(loop)) / family.width
    return cycles


def _fused(loop: Loop) -> int:
    """Pairs of a comparison and the jump behind it: the decoder makes one of them."""
    pairs = zip(loop.instructions, loop.instructions[1:], strict=False)
    compares = ("cmp", "test", "sub", "add", "and", "dec", "inc")
    return sum(b.kind == "branch" and a.mnemonic in compares for a, b in pairs)
