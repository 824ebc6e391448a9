"""Products of many shapes next to NumPy, torch and JAX, to find cliffs: `loopnest bench sweep`. Other operations, too.

Points are drawn here from a seed, and measured by benchmarks/bench_sweep.py in a process of its own. sweep_figures.py
makes summaries and lists of dips of them. docs/performance.md explains the figures.

>>> points = all_points(seed=0)
>>> points == all_points(seed=0), sorted({point.layout for point in points})
(True, ['NN', 'NT', 'TN', 'TT'])
"""

from __future__ import annotations

import dataclasses
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from ..output.files import save_json
from .peers import PeerResults, ask
from .reporting import Collector, OnEvent, ignore

LAYOUTS = ("NN", "NT", "TN", "TT")
Dtype = Literal["float32", "float64"]
DTYPES: tuple[Dtype, ...] = ("float32", "float64")

SHAPES = 200
"""How many random shapes a full sweep has; each is measured in both dtypes."""

LARGEST_SIZE = 8192
FEWEST_FLOPS, MOST_FLOPS = 2 * 32**3, 10**10
"""Of a random shape. Below, the cost of a call decides, which `bench peers` measures in its tiny products."""

STEPS = (320, 384, 448, 640, 768, 896, 1280, 1536, 1792, 2560, 3072, 3584, 4608)
POWERS = (256, 512, 1024, 2048, 4096)
SQUARES = sorted({*STEPS, *(n + step for n in POWERS for step in (-16, -1, 0, 1, 16) if n + step >= POWERS[0])})
"""The n of the n sweep: powers of two with their neighbours, and steps between them."""

OPERATIONS = (
    *("dot", "sum", "add", "transpose", "relu", "relu_backward", "sigmoid", "sigmoid_backward", "tanh"),
    *("tanh_backward", "softmax", "gelu", "gelu_backward", "mse", "mse_backward", "cross_entropy"),
)
"""The operations besides matmul that a sweep takes; benchmarks/bench_sweep.py says what NumPy and torch are asked."""

EXPONENTS = range(10, 25)
"""Of the elements of an operation's operand, as powers of two."""

Group = Literal["random", "n", "strides", "sizes"]


@dataclass(frozen=True)
class Point:
    """One product: (m, k) by (k, n). With another `op`, operands of m rows and n columns without gaps.

    layout    a letter for a and one for b: N is a row-major array, T the transposed view of one
    a_stride  elements from one row to the next in the row-major array of a; more than its columns leave gaps
    group     a random shape, a point of the n sweep, a dip's shape with other strides, or a size of another operation
    """

    m: int
    k: int
    n: int
    dtype: Dtype
    layout: str
    a_stride: int
    b_stride: int
    group: Group = "random"
    op: str = "matmul"

    @property
    def flops(self) -> int:
        return 2 * self.m * self.k * self.n

    @property
    def size(self) -> int:
        """Flops of a product, elements of another operation's operand."""
        return self.flops if self.op == "matmul" else self.m * self.n

    @property
    def shape(self) -> str:
        return f"{self.m} x {self.k} x {self.n}" if self.op == "matmul" else f"{self.m} x {self.n}"

    @property
    def name(self) -> str:
        if self.op != "matmul":
            return f"{self.op}, {self.dtype}, {self.shape}"
        return f"{self.group}, {self.dtype}, {self.layout}, {self.shape}, strides {self.a_stride}, {self.b_stride}"

    @property
    def stored(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns of the row-major arrays of a and b."""
        a, b = (self.m, self.k), (self.k, self.n)
        return (a[::-1] if self.layout[0] == "T" else a), (b[::-1] if self.layout[1] == "T" else b)


def without_gaps(m: int, k: int, n: int, dtype: Dtype, layout: str, group: Group = "random") -> Point:
    """The product whose rows follow each other in memory."""
    point = Point(m, k, n, dtype, layout, 0, 0, group)
    (_, a_columns), (_, b_columns) = point.stored
    return dataclasses.replace(point, a_stride=a_columns, b_stride=b_columns)


def all_points(seed: int = 0) -> list[Point]:
    """The random points and the n sweep, in a random order. The same seed gives the same list.

    Products of more than MOST_FLOPS, whose calls take a good part of a second, come last: a short run has none of them.
    """
    coin = random.Random(seed)
    drawn = [_random_shape(coin) for _ in range(SHAPES)]
    points = [
        without_gaps(*shape, dtype, LAYOUTS[number % len(LAYOUTS)])
        for number, shape in enumerate(drawn)
        for dtype in DTYPES
    ]
    points += n_sweep()
    coin.shuffle(points)
    return sorted(points, key=lambda point: point.flops > MOST_FLOPS)


def sizes(op: str, seed: int = 0) -> list[Point]:
    """Points of another operation, in a random order: 2^10 … 2^24 elements, and rows that are one element shorter."""
    points = [
        Point(1 << exponent // 2, 1, (1 << exponent - exponent // 2) - less, dtype, "", 0, 0, "sizes", op)
        for exponent in EXPONENTS
        for less in (0, 1)
        for dtype in DTYPES
    ]
    random.Random(seed).shuffle(points)
    return points


def _random_shape(coin: random.Random) -> tuple[int, int, int]:
    while True:
        m, k, n = (_random_size(coin) for _ in range(3))
        if FEWEST_FLOPS <= 2 * m * k * n <= MOST_FLOPS:
            return m, k, n


def _random_size(coin: random.Random) -> int:
    """A power of two, one next to it, or an odd number; small and large ones equally often, by their logarithm."""
    power = 1 << coin.randint(0, LARGEST_SIZE.bit_length() - 1)
    odd = int(LARGEST_SIZE ** coin.random()) | 1
    near = power + coin.choice((-16, -1, 1, 16))
    kinds = [power, odd, *([near] if near > 0 else [])]
    return coin.choice(kinds)


def n_sweep() -> Iterator[Point]:
    """Squares, whose rows are n, n + 16 and the next power of two elements apart."""
    for n in SQUARES:
        for stride in sorted({n, n + 16, 1 << (n - 1).bit_length()}):
            for dtype in DTYPES:
                yield Point(n, n, n, dtype, "NN", stride, stride, "n")


def other_strides(point: Point) -> list[Point]:
    """The same product with its rows as they lie, 64 bytes further apart, and 4,096 bytes further apart.

    64 bytes more move a row's columns to other sets of every cache. 4,096 bytes more leave them in their sets of L1 and
    move them to other sets of L2 and of the TLB. So if only 64 bytes help, sets of L1 conflict. If 4,096 bytes help,
    sets of L2 or pages do. If neither helps, the strides are innocent: look at the blocks.
    """
    size = np.dtype(point.dtype).itemsize
    return [
        dataclasses.replace(
            point, a_stride=point.a_stride + gap // size, b_stride=point.b_stride + gap // size, group="strides"
        )
        for gap in (0, 64, 4096)
    ]


def operands(point: Point) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Arrays of random numbers with the point's layout and strides; the gaps hold numbers too."""
    rng = np.random.default_rng(0)
    made = []
    strides = point.a_stride, point.b_stride
    for (rows, columns), stride, letter in zip(point.stored, strides, point.layout, strict=True):
        whole = rng.random((rows, stride), point.dtype)
        array = np.subtract(whole, 0.5, out=whole)[:, :columns]
        made.append(array.T if letter == "T" else array)
    return made[0], made[1]


# --- a run


@dataclass(frozen=True)
class SweepResults(PeerResults):
    """A run, or what it measured until Ctrl-C.

    points   all that were asked for, in their order; items has those that were measured
    closer   the worst dips' shapes with other strides, three to a dip
    """

    points: tuple[Point, ...] = ()
    closer: tuple[Point, ...] = ()
    op: str = "matmul"
    threads: int = 1
    seed: int = 0


def run_sweep(
    points: Sequence[Point],
    *,
    seed: int = 0,
    threads: int = 1,
    dips: Callable[[SweepResults], Sequence[Point]] = lambda results: (),
    on_event: OnEvent = ignore,
) -> SweepResults:
    """Measure points in their order, then some of them with other strides.

    dips      chooses the points that are worth a closer look
    on_event  is called with ("start", the number of points), ("running", a point), and a kind and a row of results
    """
    op = points[0].op if points else "matmul"
    results = SweepResults(None, points=tuple(points), op=op, threads=threads, seed=seed)
    results = _measured(results, points, on_event)
    closer = [near for point in dips(results) for near in other_strides(point)] if not results.interrupted else []
    return _measured(dataclasses.replace(results, closer=tuple(closer)), closer, on_event)


def _measured(results: SweepResults, points: Sequence[Point], on_event: OnEvent) -> SweepResults:
    """The results with these points'. A point that ends the process is a failure; another process takes the rest."""
    run = Collector(results, lambda kind, content: on_event("running" if kind == "at" else kind, content))
    left = list(points)
    if left:
        on_event("start", len(left))
    while left and not run.results.interrupted:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "points.json")
            save_json(msgspec.to_builtins(left), file)
            ask(run, ["bench_sweep.py", str(file)], results.threads)
        names = [f"sweep: {point.name}" for point in left]
        left = left[names.index(run.at) + 1 :] if run.at in names else []
    return run.results
