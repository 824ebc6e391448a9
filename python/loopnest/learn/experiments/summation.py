"""In which order numbers are added decides how many digits of a float32 sum are right.

Every addition rounds to 24 bits, of a sum that has grown large: in a single running sum of n numbers of one size the
roundings are up to u times the sum so far, and add up like a random walk, to some u √n of the result, and to u n at
worst. K running sums, as vector code has them, are each a K-th as long and as large. Pairwise summation adds halves of
halves, so that each number takes part in log2(n) additions: its error hardly grows with n. All of them are rungs of
`ln.sum`.

Higham, Accuracy and Stability of Numerical Algorithms, section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import loopnest as ln

from ...numerics import unit_roundoff
from .characters import chart
from .experiment import Experiment

SUMS = {
    "naive": "cpp.row_wise",
    "many accumulators": "cpp.many_accumulators",
    "pairwise": "numpy.sum",
}
"""By way of summing, the rung that does it so."""
NAMES = {
    "naive": "one running sum (cpp.row_wise)",
    "many accumulators": "many (cpp.many_accumulators)",
    "pairwise": "pairwise (numpy.sum)",
}


@dataclass(frozen=True)
class Summation:
    """errors: by way of summing, the root mean square of the relative error for each n, over some draws of n numbers
    that are uniform between 0 and 1; slopes: of the errors' logarithms against n's, over the larger half."""

    n: tuple[int, ...]
    draws: int
    errors: dict[str, tuple[float, ...]]
    slopes: dict[str, float]


def run(seed: int = 0, most: int = 22, draws: int = 6) -> Summation:
    """float32 sums of 2^8 to 2^most numbers, against sums in float64, whose errors are 2^29 times smaller."""
    sizes = tuple(2**power for power in range(8, most + 1, 2))
    rng = np.random.default_rng(seed)
    squares: dict[str, list[float]] = {way: [] for way in SUMS}
    for n in sizes:
        found: dict[str, list[float]] = {way: [] for way in SUMS}
        for _ in range(draws):
            x = rng.random((1, n), dtype=np.float32)
            exact = float(np.sum(x, dtype=np.float64))
            for way, impl in SUMS.items():
                found[way].append((float(ln.sum(x, impl=impl)) / exact - 1) ** 2)
        for way, errors in found.items():
            squares[way].append(float(np.sqrt(np.mean(errors))))
    half = len(sizes) // 2
    floor = 1e-2 * unit_roundoff(np.float32)  # an error of 0 has no logarithm
    slopes = {
        way: float(np.polyfit(np.log(sizes[half:]), np.log(np.maximum(errors[half:], floor)), 1)[0])
        for way, errors in squares.items()
    }
    return Summation(sizes, draws, {way: tuple(errors) for way, errors in squares.items()}, slopes)


def finding(data: Summation) -> str:
    last = {way: errors[-1] for way, errors in data.errors.items()}
    return (
        f"Of {data.n[-1]:,} float32 numbers a single running sum has the relative error {last['naive']:.0e}, growing "
        f"as n to the power {data.slopes['naive']:.1f}; many accumulators {last['many accumulators']:.0e}; pairwise "
        f"{last['pairwise']:.0e}, which is about a rounding of the result itself, {unit_roundoff(np.float32):.0e}."
    )


def text(data: Summation, width: int) -> list[str]:
    curves = {NAMES[way]: (data.n, errors) for way, errors in data.errors.items()}
    title = f"relative error of a float32 sum, mean of {data.draws} draws (both logarithmic)"
    lines = [title, *chart(curves, width, 14, log_x=True, log_y=True, x_label="n"), ""]
    return lines + [f"{NAMES[way]:32} grows as n^{slope:.2f}" for way, slope in data.slopes.items()]


def picture(data: Summation) -> str:
    from ...output.pictures import FAINT, SERIES, Picture

    u = unit_roundoff(np.float32)
    made = Picture(7, 4, title="The relative error of a float32 sum against how many numbers are added")
    with made as grid:
        axes = grid[0, 0]
        n = np.array(data.n, float)
        axes.loglog(n, u * np.sqrt(n), color=FAINT, linewidth=0.8, linestyle=":", label="u √n")
        axes.loglog(n, u * n, color=FAINT, linewidth=0.8, linestyle="--", label="u n, the bound")
        for (way, errors), colour in zip(data.errors.items(), SERIES, strict=False):
            axes.loglog(n, errors, color=colour, marker="o", markersize=4, label=NAMES[way])
        axes.set_ylim(1e-8, 10)
        axes.set_title("Relative error of a float32 sum")
        axes.set_xlabel("n, numbers added")
        axes.legend(loc="upper left")
    return made.svg


EXPERIMENT = Experiment("summation", "How does a float32 sum's error grow with n?", run, finding, text, picture)
