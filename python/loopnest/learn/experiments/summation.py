"""The order in which numbers are added decides how many digits of a float32 sum are right.

Every addition rounds to 24 bits. In one running sum of n numbers of one size, each rounding is up to u times the sum so
far. The roundings add up like a random walk to about u √n of the result, and to u n at worst. K running sums, as in
vector code, are each a K-th as long and as large. Pairwise summation adds halves of halves: each number takes part in
log2(n) additions, so its error hardly grows with n. All three are rungs of `ln.sum`.

Higham, Accuracy and Stability of Numerical Algorithms, section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...numerics import unit_roundoff
from ...operations.linalg import sum as rungs_of_sum
from ...output.pictures import FAINT, SERIES, Picture
from .experiment import Experiment, Rows

SUMS = {"one running sum": "cpp.row_wise", "many": "cpp.many_accumulators", "pairwise": "numpy.sum"}
"""By order of the additions, a rung with this order."""


@dataclass(frozen=True)
class Summation:
    """errors: by order, for each n the root mean square of the relative error over some draws of n numbers, uniform
    between 0 and 1; slopes: of the errors' logarithms against n's, over the larger half"""

    n: tuple[int, ...]
    errors: dict[str, tuple[float, ...]]
    slopes: dict[str, float]


def run(seed: int = 0, most: int = 22, draws: int = 6) -> Summation:
    """Compare float32 sums of 2^8 to 2^most numbers with sums in float64, whose errors are 2^29 times smaller."""
    sizes = tuple(2**power for power in range(8, most + 1, 2))
    rng = np.random.default_rng(seed)
    errors: dict[str, tuple[float, ...]] = dict.fromkeys(SUMS, ())
    for n in sizes:
        numbers = [rng.random((1, n), dtype=np.float32) for _ in range(draws)]
        exact = [float(np.sum(x, dtype=np.float64)) for x in numbers]
        for order, impl in SUMS.items():
            relative = [float(rungs_of_sum(x, impl=impl)) / e - 1 for x, e in zip(numbers, exact, strict=True)]
            errors[order] += (float(np.sqrt(np.mean(np.square(relative)))),)
    half = len(sizes) // 2
    floor = 1e-2 * unit_roundoff(np.float32)  # an error of 0 has no logarithm
    slopes = {
        order: float(np.polyfit(np.log(sizes[half:]), np.log(np.maximum(found[half:], floor)), 1)[0])
        for order, found in errors.items()
    }
    return Summation(sizes, errors, slopes)


def finding(data: Summation) -> str:
    one, many, pairwise = (errors[-1] for errors in data.errors.values())
    return (
        f"For {data.n[-1]:,} float32 numbers one running sum has the relative error {one:.0e}, which grows as n to the "
        f"power {data.slopes['one running sum']:.1f}; many accumulators {many:.0e}; pairwise {pairwise:.0e}, about one "
        f"rounding of the result, {unit_roundoff(np.float32):.0e}."
    )


def rows(data: Summation) -> Rows:
    shown = range(1, len(data.n), 2)
    table = [
        [f"{order} ({SUMS[order]})", *(f"{errors[k]:.0e}" for k in shown), f"n^{data.slopes[order]:.2f}"]
        for order, errors in data.errors.items()
    ]
    return [["relative error for n =", *(str(data.n[k]) for k in shown), "grows as"], *table]


def picture(data: Summation) -> str:
    u = unit_roundoff(np.float32)
    made = Picture(7, 4, title="The relative error of a float32 sum against how many numbers are added")
    with made as grid:
        axes = grid[0, 0]
        n = np.array(data.n, float)
        axes.loglog(n, u * np.sqrt(n), color=FAINT, linewidth=0.8, linestyle=":", label="u √n")
        axes.loglog(n, u * n, color=FAINT, linewidth=0.8, linestyle="--", label="u n, the bound")
        for (order, errors), colour in zip(data.errors.items(), SERIES, strict=False):
            axes.loglog(n, errors, color=colour, marker="o", markersize=4, label=f"{order} ({SUMS[order]})")
        axes.set(title="Relative error of a float32 sum", xlabel="n, numbers added", ylim=(1e-8, 10))
        axes.legend(loc="upper left")
    return made.svg


EXPERIMENT = Experiment("summation", "How does a float32 sum's error grow with n?", run, finding, rows, picture)
