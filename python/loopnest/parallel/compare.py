"""The MLP on many ranks by loopnest and by torch's DTensor, compared with one process: results, collectives, times."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from ..arrays import Array
from ..operation import Workload
from ..operations import OPERATIONS
from .by_dtensor import DTensorMLP
from .ranks import Ranks
from .tensor_parallel import TensorParallelMLP

RESULTS = ("y", "dx", "dw1", "db1", "dw2", "db2")
ROUNDS = 5
STEEPEST = 0.8
"""gelu's second derivative is φ(z)(2 - z²), and at most 2 φ(0) = 0.798; its tanh form's differs by less than 0.002."""


@dataclass(frozen=True)
class Traffic:
    """The collectives of a pass: their number by kind, and the bytes of the arrays that one rank passed to them."""

    collectives: dict[str, int]
    bytes: int


@dataclass(frozen=True)
class Contender:
    """One way to compute the MLP.

    forward, backward  seconds: the slowest rank of each round, and the median over the rounds
    traffic            of the forward and of the backward pass
    errors             by result, the largest error as a share of what the contract allows: at most 1 if it is right
    """

    name: str
    forward: float
    backward: float
    traffic: tuple[Traffic, Traffic]
    errors: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """The contenders: loopnest, DTensor and one process.

    shape  t tokens of d features, h hidden units
    apart  by result, the difference between loopnest and DTensor, as a share of what the contract allows each
    """

    shape: dict[str, int]
    dtype: str
    approximate: str
    ranks: int
    threads: int
    backend: str
    contenders: tuple[Contender, ...]
    apart: dict[str, float]

    @property
    def agree(self) -> bool:
        errors = [error for contender in self.contenders for error in contender.errors.values()]
        return max(errors) <= 1 and max(self.apart.values()) <= 2


def compare(
    ranks: Ranks,
    tokens: int = 128,
    features: int = 768,
    hidden: int = 3072,
    *,
    dtype: str = "float32",
    approximate: str = "tanh",
    impl: str | None = None,
    seed: int = 0,
    rounds: int = ROUNDS,
) -> Comparison:
    """Compare TensorParallelMLP with DTensor's MLP and with one process that has as many threads; a collective.

    Raises ValueError for a size below 1.
    """
    shape = {"t": tokens, "d": features, "h": hidden, "e": features}
    if min(shape.values()) < 1:
        raise ValueError(
            f"tokens, features and hidden are {tokens}, {features} and {hidden}, expected 1 or more of each"
        )
    rng = np.random.default_rng(seed)  # the same on all ranks
    contract = OPERATIONS["mlp_forward"].contract
    x, w1, b1, w2, b2 = contract.sample(Workload("tensor parallel", shape), np.dtype(dtype), rng).inputs
    dy = rng.standard_normal(x.shape).astype(dtype)
    exact, allowed = reference(x, w1, b1, w2, b2, dy, approximate)

    weights = w1, b1, w2, b2
    how: dict[str, Any] = {"approximate": approximate}
    ours = TensorParallelMLP(*weights, ranks=ranks, impl=impl, **how)
    one = TensorParallelMLP(*weights, ranks=ranks.alone(), impl=impl, **how)
    mlps = {
        f"loopnest, {ours.chosen['mlp_forward'].id}": ours,
        "torch's DTensor": DTensorMLP(*weights, ranks=ranks, **how),
        "one process": one,
    }
    made, contenders = [], []
    for name, mlp in mlps.items():
        results, traffic = _results(mlp, x, dy)
        made.append(results)
        times = [_time(ranks, None if mlp is one and ranks.rank else mlp, x, dy) for _ in range(rounds)]
        forward, backward = (median(passes) for passes in zip(*times, strict=True))
        contenders.append(Contender(name, forward, backward, traffic, _shares(results, exact, allowed)))
    apart = _shares(made[0], made[1], allowed)
    return Comparison(shape, dtype, approximate, ranks.size, ranks.threads, ranks.backend, tuple(contenders), apart)


def reference(
    x: Array, w1: Array, b1: Array, w2: Array, b2: Array, dy: Array, approximate: str
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The exact results by name, and the error that the contracts allow each, from x to the gradients.

    The backward contract bounds the error for given z and h. Here these come from a forward pass with errors of its
    own, which pass on: h's error to dw2; z's error, by gelu's second derivative, to dz, and so to dx, dw1 and db1.
    """
    forward, backward = OPERATIONS["mlp_forward"], OPERATIONS["mlp_backward"].contract
    y, z, h = forward.contract.reference(x, w1, b1, w2, b2, approximate=approximate)
    y_error, z_error, h_error = forward.contract.bound(x, w1, b1, w2, b2, approximate=approximate)
    _, cache = forward(x, w1, b1, w2, b2, approximate=approximate)
    cache = dataclasses.replace(cache, z=z.astype(x.dtype), h=h.astype(x.dtype))
    gradients = backward.reference(dy, dataclasses.replace(cache, z=z, h=h))
    bounds = backward.bound(dy, cache)
    # Twice: the rounded z and h above are themselves half an ulp off, which is less than their errors.
    dz_error = 2 * z_error * STEEPEST * (np.abs(dy) @ np.abs(w2).T)
    passed_on = (
        dz_error @ np.abs(w1).T,
        np.abs(x).T @ dz_error,
        dz_error.sum(axis=0),
        2 * h_error.T @ np.abs(dy),
        np.zeros(len(b2)),
    )
    allowed = (y_error, *(bound + more for bound, more in zip(bounds, passed_on, strict=True)))
    return dict(zip(RESULTS, (y, *gradients), strict=True)), dict(zip(RESULTS, allowed, strict=True))


def _results(mlp: Any, x: Array, dy: Array) -> tuple[dict[str, Array], tuple[Traffic, Traffic]]:
    """The whole results by name, and the traffic of the two passes."""
    with counted() as forward:
        y, cache = mlp.forward(x)
    with counted() as backward:
        dx, *gradients = mlp.backward(dy, cache)
    whole = mlp.gather(dict(zip(("w1", "b1", "w2", "b2"), gradients, strict=True)))
    return {"y": y, "dx": dx, **{f"d{name}": array for name, array in whole.items()}}, (forward(), backward())


def _shares(results: dict[str, Array], exact: dict[str, Array], allowed: dict[str, Array]) -> dict[str, float]:
    """By result, the largest error as a share of the allowed one; infinite if a result is not finite."""
    shares = {}
    for name in RESULTS:
        error = np.abs(results[name].astype(np.longdouble) - exact[name])
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(error == 0, 0, error / allowed[name])
        shares[name] = float(np.max(share, initial=0)) if np.isfinite(results[name]).all() else float("inf")
    return shares


def _time(ranks: Ranks, mlp: Any, x: Array, dy: Array) -> tuple[float, float]:
    """The seconds of the two passes on the slowest rank; a rank without an mlp waits."""
    ranks.barrier("a round of the comparison")
    forward = backward = 0.0
    if mlp is not None:
        begin = time.perf_counter()
        _, cache = mlp.forward(x)
        forward = time.perf_counter() - begin
        mlp.backward(dy, cache)
        backward = time.perf_counter() - begin - forward
    times = ranks.gather_facts((forward, backward), "times")
    return max(f for f, _ in times), max(b for _, b in times)


@contextmanager
def counted() -> Iterator[Callable[[], Traffic]]:
    """Count the collectives that are called in the block; call what it yields after the block.

    loopnest calls torch.distributed's functions and DTensor its functional collectives: both are operators of torch,
    which a dispatch mode sees.
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
        yield lambda: Traffic(_by_kind(mode.get_comm_counts()), mode.bytes)


def _by_kind(counts: dict[Any, int]) -> dict[str, int]:
    """The counts by kind: all-reduce for both c10d.allreduce_ and _c10d_functional.all_reduce."""
    kinds: Counter[str] = Counter()
    for operator, count in counts.items():
        kind = str(operator).rpartition(".")[2].strip("_").replace("_", "-")
        kinds["all-reduce" if kind == "allreduce" else kind] += count
    return dict(kinds)


def table(found: Comparison) -> list[str]:
    """The comparison as lines of at most 80 columns."""
    t, d, h, _ = found.shape.values()
    width = max(len(contender.name) for contender in found.contenders)
    lines = [
        f"{t} x {d}, hidden {h}, {found.dtype}, GELU's {'tanh' if found.approximate == 'tanh' else 'exact'} form",
        f"ranks: {found.ranks}, by {found.backend}; threads of each rank: {found.threads}",
        "",
        f"{'':{width}}  {'forward':>10}  {'backward':>10}  {'collectives':>11}  {'bytes':>9}  {'error':>6}",
    ]
    for contender in found.contenders:
        calls = " + ".join(str(sum(traffic.collectives.values())) for traffic in contender.traffic)
        nbytes = f"{sum(traffic.bytes for traffic in contender.traffic):,}"
        times = f"{1e3 * contender.forward:7.2f} ms  {1e3 * contender.backward:7.2f} ms"
        error = max(contender.errors.values())
        lines.append(f"{contender.name:{width}}  {times}  {calls:>11}  {nbytes:>9}  {error:6.1%}")
    apart = f"loopnest and DTensor {'agree' if found.agree else 'DO NOT AGREE'}: {max(found.apart.values()):.1%} apart"
    return [*lines, "", "error: the largest of all results, as a share of what the contract allows", apart]
