"""The bars: what loopnest is to reach beside its peers and the machine's limits, and whether it did."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .records import Item

EACH = "each"
MEAN = "geometric mean"


@dataclass(frozen=True)
class Bar:
    """For the items of `part` that have all of these tags: a least ratio, of each or of their geometric mean.

    against  a contender, "best peer" or a limit: see Item.ratio
    cost     whether the bar is on our cost in theirs instead, "at most" so much, as for memory
    """

    part: str
    tags: tuple[str, ...]
    against: str
    bar: float
    rule: str = EACH
    cost: bool = False

    @property
    def work(self) -> str:
        return ", ".join((TITLES[self.part], *self.tags))


@dataclass(frozen=True)
class Verdict:
    """How a bar ended.

    figure  the ratio that decides: the worst, or the mean; None where nothing was measured
    where   the item with the worst ratio
    """

    bar: Bar
    figure: float | None = None
    where: str = ""

    @property
    def word(self) -> str:
        if self.figure is None:
            return "not measured"
        return "met" if (self.figure <= self.bar.bar if self.bar.cost else self.figure >= self.bar.bar) else "not met"


TITLES = {
    "matmul-square": "square matmul",
    "matmul-tiny": "tiny matmul from Python",
    "matmul-transformer": "transformer matmul",
    "matmul-odd": "odd matmul",
    "threads": "two threads",
    "isa-v3": "ISA level v3 (AVX2)",
    "gelu": "GELU",
    "mlp": "MLP 512 x 768 x 3072",
    "memory": "extra memory of mlp_backward",
    "torch-mlp": "loopnest.torch.MLP beside nn.Sequential",
    "torch-mlp-threads": "the same on two threads",
    "torch-calls": "calls of the MLP, 1 x 8 x 8",
}
"""The parts of a run, in order. All but those of threads and `memory` run on one thread, pinned to one processor."""

FMA, READ, COPY = "FMA loop", "read", "copy"
"""The machine's limits: machine/limits.py."""

ONE_THREAD = "one thread"

BARS = (
    Bar("matmul-square", ("float32", "n < 512"), FMA, 0.90),
    Bar("matmul-square", ("float32", "n >= 512"), FMA, 0.95),
    Bar("matmul-square", ("float32",), "best peer", 1.00),
    Bar("matmul-square", ("float32",), "best peer", 1.05, MEAN),
    Bar("matmul-square", ("float64",), FMA, 0.93),
    Bar("matmul-square", ("float64",), "NumPy", 1.10),
    Bar("matmul-tiny", (), "best peer", 1.00),
    Bar("matmul-tiny", (), "best peer", 1.50, MEAN),
    Bar("matmul-transformer", (), "best peer", 1.00),
    Bar("matmul-transformer", ("m = 1",), READ, 0.95),
    Bar("matmul-odd", (), "best peer", 1.00),
    Bar("threads", (), ONE_THREAD, 1.85),
    Bar("isa-v3", (), FMA, 0.90),
    Bar("isa-v3", (), "torch", 1.00),
    Bar("gelu", ("tanh form",), "torch", 6.0),
    Bar("gelu", ("erf form",), "torch", 1.5),
    Bar("gelu", ("into out",), COPY, 0.9),
    *(
        Bar("mlp", (passes,), against, bar)
        for passes in ("forward", "forward and backward")
        for against, bar in (("torch", 2.0), ("best peer", 1.0), (FMA, 0.92))
    ),
    Bar("memory", (), "torch", 1.0, cost=True),
    *(
        Bar(part, tags, "torch", bar)
        for part in ("torch-mlp", "torch-mlp-threads")
        for tags, bar in (((), 1.0), (("512 x 768 x 3072",), 2.0))
    ),
)


def judge(bar: Bar, items: Iterable[Item]) -> Verdict:
    """The verdict on one bar by the items that it is about; those without the other side's figure do not count."""
    about = [item for item in items if item.part == bar.part and set(bar.tags) <= set(item.tags)]
    ratios = {item.name: ratio for item in about if (ratio := item.ratio(bar.against)) is not None}
    if not ratios:
        return Verdict(bar)
    worst = min(ratios, key=lambda name: ratios[name])
    figure = geometric_mean(list(ratios.values())) if bar.rule == MEAN else ratios[worst]
    return Verdict(bar, 1 / figure if bar.cost else figure, worst if len(ratios) > 1 else "")


def verdicts(items: Sequence[Item], parts: Iterable[str] = tuple(TITLES)) -> list[Verdict]:
    """Those on all bars of these parts."""
    wanted = set(parts)
    return [judge(bar, items) for bar in BARS if bar.part in wanted]


def geometric_mean(ratios: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
