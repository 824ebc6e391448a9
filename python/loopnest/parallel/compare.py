"""The tensor-parallel MLP two ways, beside one process: the same results, the same collectives, and the times.

>>> from loopnest.parallel.compare import Size
>>> str(Size(128, 768, 3072))
'128 x 768, hidden 3072'
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from ..arrays import Array
from ..nn import choose
from ..operation import Workload
from ..operations import OPERATIONS
from .by_dtensor import DTensorMLP
from .ranks import Ranks
from .tensor_parallel import NAMES, TensorParallelMLP

RESULTS = ("y", "dx", "dw1", "db1", "dw2", "db2")
REPEATS = 5
STEEPEST = 0.8
"""gelu's second derivative is φ(z)(2 - z²), and at most 2 φ(0) = 0.798; its tanh form's differs by less than 0.002."""


@dataclass(frozen=True)
class Size:
    """t tokens of d features, and h hidden ones."""

    t: int
    d: int
    h: int

    def __str__(self) -> str:
        return f"{self.t} x {self.d}, hidden {self.h}"


@dataclass(frozen=True)
class Traffic:
    """The collectives of a pass: how many of each kind, and the bytes of the arrays that they were given on a rank."""

    collectives: dict[str, int]
    bytes: int

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.collectives.items()) or "none"
        return f"{kinds}; {self.bytes:,} bytes"


@dataclass(frozen=True)
class Side:
    """One way of doing it.

    by                 what does it
    forward, backward  seconds: the median over the rounds of the slowest rank's
    forward_traffic, backward_traffic  what crosses between ranks
    errors             by result, the largest error as a share of what the contract allows: right where it is at most 1
    """

    by: str
    forward: float
    backward: float
    forward_traffic: Traffic | None
    backward_traffic: Traffic | None
    errors: dict[str, float]

    @property
    def right(self) -> bool:
        return all(error <= 1 for error in self.errors.values())


@dataclass(frozen=True)
class Comparison:
    """The sides, and by result how far the two parallel ones are apart, as a share of what the contract allows each."""

    size: Size
    dtype: str
    approximate: str
    ranks: int
    threads: int
    backend: str
    sides: tuple[Side, ...]
    apart: dict[str, float]

    @property
    def agree(self) -> bool:
        return all(side.right for side in self.sides) and all(apart <= 2 for apart in self.apart.values())

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "agree": self.agree}


def compare(
    ranks: Ranks,
    size: Size | None = None,
    *,
    dtype: str = "float32",
    approximate: str = "tanh",
    impl: str | None = None,
    seed: int = 0,
    repeats: int = REPEATS,
) -> Comparison:
    """TensorParallelMLP beside DTensor's way and one process with as many threads; a collective.

    Raises ValueError for a size of nothing.
    """
    size = size or Size(128, 768, 3072)
    if min(size.t, size.d, size.h) < 1:
        raise ValueError(f"the size is {size}, expected 1 or more of each")
    rng = np.random.default_rng(seed)  # the same on all ranks
    shape = {"t": size.t, "d": size.d, "h": size.h, "e": size.d}
    workload = Workload("tensor parallel", shape)
    x, w1, b1, w2, b2 = OPERATIONS["mlp_forward"].contract.sample(workload, np.dtype(dtype), rng).inputs
    dy = rng.standard_normal(x.shape).astype(dtype)
    exact, allowed = reference(x, w1, b1, w2, b2, dy, approximate)

    ours = TensorParallelMLP(w1, b1, w2, b2, ranks=ranks, approximate=approximate, impl=impl)
    theirs = DTensorMLP(w1, b1, w2, b2, ranks=ranks, approximate=approximate)
    made, sides = [], []
    for by, mlp in ((f"loopnest, {ours.chosen['mlp_forward'].id}", ours), ("torch's DTensor", theirs)):
        results, traffic = _results(mlp, x, dy)
        made.append(results)
        times = [_slowest(ranks, partial(_time, mlp, x, dy)) for _ in range(repeats)]
        sides.append(Side(by, *_medians(times), *traffic, _shares(results, exact, allowed)))
    alone = _Alone(w1, b1, w2, b2, approximate, impl)
    if ranks.rank == 0:
        results = dict(zip(RESULTS, _pass(alone, x, dy), strict=True))
        times = [_time(alone, x, dy) for _ in range(repeats)]
        of_one = Side("one process", *_medians(times), None, None, _shares(results, exact, allowed))
    one = ranks.from_first(lambda: of_one, "one process's times")
    apart = _shares(made[0], made[1], allowed)
    common = (ranks.size, ranks.threads, ranks.backend)
    return Comparison(size, dtype, approximate, *common, (*sides, one), apart)


def reference(
    x: Array, w1: Array, b1: Array, w2: Array, b2: Array, dy: Array, approximate: str
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The exact results by name, and the error that is allowed of each: the contract's, from x to the gradients.

    The contract bounds the backward pass's error for the z and h that it is given. Here it is given those of a forward
    pass with errors of its own, which pass on: h's into dw2; z's, by gelu's second derivative, into dz, and from there
    into dx, dw1 and db1.
    """
    forward, backward = OPERATIONS["mlp_forward"], OPERATIONS["mlp_backward"].contract
    y, z, h = forward.contract.reference(x, w1, b1, w2, b2, approximate=approximate)
    y_error, z_error, h_error = forward.contract.bound(x, w1, b1, w2, b2, approximate=approximate)
    _, cache = forward(x, w1, b1, w2, b2, approximate=approximate)
    cache = dataclasses.replace(cache, z=z.astype(x.dtype), h=h.astype(x.dtype))
    gradients = backward.reference(dy, dataclasses.replace(cache, z=z, h=h))
    exact = dict(zip(RESULTS, (y, *gradients), strict=True))
    bounds = backward.bound(dy, cache)
    wide, rows, columns = np.abs(dy), np.abs(w1), np.abs(x)
    # Twice: z and h as rounded above are themselves half an ulp from the exact ones, and less than their errors.
    dz_error = 2 * z_error * STEEPEST * (wide @ np.abs(w2).T)
    passed = (dz_error @ rows.T, columns.T @ dz_error, dz_error.sum(axis=0), 2 * h_error.T @ wide, np.zeros(len(b2)))
    allowed = {"y": y_error} | {
        name: bound + more for name, bound, more in zip(RESULTS[1:], bounds, passed, strict=True)
    }
    return exact, allowed


@dataclass(frozen=True, eq=False)
class _Alone:
    """One process's MLP, with the calls of the parallel ones."""

    w1: Array
    b1: Array
    w2: Array
    b2: Array
    approximate: str
    impl: str | None

    def forward(self, x: Array) -> Any:
        run = choose(self.impl, NAMES)["mlp_forward"]
        return run(x, self.w1, self.b1, self.w2, self.b2, approximate=self.approximate)

    def backward(self, dy: Array, cache: Any) -> Any:
        return choose(self.impl, NAMES)["mlp_backward"](dy, cache)


def _pass(mlp: Any, x: Array, dy: Array) -> tuple[Any, ...]:
    y, cache = mlp.forward(x)
    return y, *mlp.backward(dy, cache)


def _results(mlp: Any, x: Array, dy: Array) -> tuple[dict[str, Array], tuple[Traffic, Traffic]]:
    """The whole results, and what crossed between ranks for them."""
    with counted() as forward:
        y, cache = mlp.forward(x)
    with counted() as backward:
        dx, *gradients = mlp.backward(dy, cache)
    parts = dict(zip(("w1", "b1", "w2", "b2"), gradients, strict=True))
    whole = {f"d{name}": array for name, array in mlp.gather(parts).items()}
    return {"y": y, "dx": dx, **whole}, (forward(), backward())


def _shares(results: dict[str, Array], exact: dict[str, Array], allowed: dict[str, Array]) -> dict[str, float]:
    shares = {}
    for name in RESULTS:
        error = np.abs(results[name].astype(np.longdouble) - exact[name])
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(error == 0, 0, error / allowed[name])
        shares[name] = float(np.max(share, initial=0)) if np.isfinite(results[name]).all() else float("inf")
    return shares


def _time(mlp: Any, x: Array, dy: Array) -> tuple[float, float]:
    begin = time.perf_counter()
    _, cache = mlp.forward(x)
    between = time.perf_counter()
    mlp.backward(dy, cache)
    return between - begin, time.perf_counter() - between


def _slowest(ranks: Ranks, measure: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    ranks.barrier("a round of the comparison")
    forward, backward = zip(*ranks.gather_facts(measure(), "times"), strict=True)
    return max(forward), max(backward)


def _medians(times: list[tuple[float, float]]) -> tuple[float, float]:
    forward, backward = zip(*times, strict=True)
    return median(forward), median(backward)


@contextmanager
def counted() -> Iterator[Callable[[], Traffic]]:
    """Count the collectives that are called in the block; what it yields is called after the block, and tells.

    Ours call torch.distributed's functions, and DTensor its functional collectives: both are operators of torch, which
    a dispatch mode sees.
    """
    from torch.distributed.tensor.debug import CommDebugMode

    class Counting(CommDebugMode):  # type: ignore[misc]
        bytes = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            before = self.get_total_counts()
            out = super().__torch_dispatch__(func, types, args, kwargs)
            if self.get_total_counts() > before:
                tensors = args[0] if isinstance(args[0], list | tuple) else [args[0]]
                self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            return out

    with Counting() as mode:
        yield lambda: Traffic(_named(mode.get_comm_counts()), mode.bytes)


def _named(counts: dict[Any, int]) -> dict[str, int]:
    """The counts by a collective's name: all-reduce for c10d.allreduce_ and for _c10d_functional.all_reduce."""
    named: Counter[str] = Counter()
    for operator, count in counts.items():
        name = str(operator).rpartition(".")[2].strip("_").replace("_", "-")
        named[{"allreduce": "all-reduce"}.get(name, name)] += count
    return dict(named)


def table(found: Comparison) -> list[str]:
    """The comparison as lines of text, 80 columns wide at most."""
    width = max(len(side.by) for side in found.sides)
    form = "GELU's tanh form" if found.approximate == "tanh" else "the exact GELU"
    lines = [
        f"the MLP of {found.size}, {found.dtype}, {form}",
        f"{found.ranks} rank{'s' * (found.ranks > 1)} by {found.backend}, {found.threads} "
        f"thread{'s' * (found.threads > 1)} each",
        "",
        f"{'':{width}}  {'forward':>10}  {'backward':>10}  {'collectives':>11}  {'bytes':>9}  {'error':>6}",
    ]
    for side in found.sides:
        traffic = [t for t in (side.forward_traffic, side.backward_traffic) if t is not None]
        count = " + ".join(str(sum(t.collectives.values())) for t in traffic) or "-"
        size = f"{sum(t.bytes for t in traffic):,}" if traffic else "-"
        times = f"{1e3 * side.forward:7.2f} ms  {1e3 * side.backward:7.2f} ms"
        lines.append(f"{side.by:{width}}  {times}  {count:>11}  {size:>9}  {max(side.errors.values()):6.1%}")
    kinds = {
        kind
        for side in found.sides
        for t in (side.forward_traffic, side.backward_traffic)
        if t
        for kind in t.collectives
    }
    others = sorted(kinds - {"all-reduce"})
    lines += ["", "error: the largest of all results, of what the contract allows"]
    if others:
        lines.append(f"the collectives are all-reduces, but for {', '.join(others)}")
    verdict = "agree" if found.agree else "DO NOT AGREE"
    lines.append(f"the two {verdict}: they are {max(found.apart.values()):.1%} of it apart, and each is within it")
    if not found.agree:
        wrong = [f"{side.by}: {name}" for side in found.sides for name, share in side.errors.items() if share > 1]
        lines[-1] = f"the two {verdict}: beyond what is allowed are {', '.join(wrong) or 'their differences'}"
    return lines
