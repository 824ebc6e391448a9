"""The cost model's figures measured: the network's by all-reduces of many sizes, and steps to hold the model to.

Every rank computes with one thread, so that one, two and more ranks differ in their number alone. Times are medians of
calls that all ranks make together, as rank 0's clock has them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array
from ..backends.threads import num_threads, processors, set_num_threads
from ..operations.mlp import MLPCache, mlp_backward, mlp_forward
from ..timing.load import between, disturbances, usage
from .cost import Network, Processor, Sample, Work, data_parallel, fit, tensor_parallel

if TYPE_CHECKING:
    from .ranks import Ranks

SIZES = tuple(64 << 2 * i for i in range(10))
"""Bytes of the arrays that are summed: 64 to 16 Mi."""

FORMAT = "loopnest measured costs 1"


@dataclass(frozen=True)
class Step:
    """A step that was measured.

    split    "tensor", "data" or "data, overlapped"
    buckets  all-reduces of gradients; 0 with "tensor"
    seconds  the median; fastest: of all that were timed
    """

    split: str
    ranks: int
    work: Work
    buckets: int
    seconds: float
    fastest: float

    def predicted(self, processor: Processor, network: Network | None) -> float:
        """What the model says of it."""
        joined = network or Network("none", 0.0, 1.0)  # of one rank, which sends nothing
        if self.split == "tensor":
            return tensor_parallel(self.work, self.ranks, processor, joined).total
        bucket = -(-self.work.parameters * processor.itemsize // max(self.buckets, 1))
        overlap = self.split == "data, overlapped"
        return data_parallel(self.work, self.ranks, processor, joined, overlap=overlap, bucket=bucket).total


@dataclass(frozen=True)
class Measured:
    """What was measured on a machine.

    machine    which it is
    processor  what a rank computes with: the limit of one core while the others are at work too
    network    between its ranks, how many they were, and the samples that it was fitted to; None where it was one
    notes      what disturbed the measurement
    """

    machine: str
    processor: Processor
    network: Network | None = None
    ranks: int = 1
    samples: tuple[Sample, ...] = ()
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, data: Any) -> Measured:
        """What `to_json` told. Raises ValueError for anything else."""
        found = data.get("format") if isinstance(data, Mapping) else type(data).__name__
        if found != FORMAT:
            raise ValueError(f"measured costs of format {found!r}, expected {FORMAT!r}: `measure` writes them")
        try:
            return cls(
                machine=data["machine"],
                processor=Processor(**data["processor"]),
                network=Network(**data["network"]) if data["network"] else None,
                ranks=data["ranks"],
                samples=tuple(Sample(**sample) for sample in data["samples"]),
                steps=tuple(Step(**{**step, "work": Work(**step["work"])}) for step in data["steps"]),
                notes=tuple(data["notes"]),
            )
        except (TypeError, KeyError) as error:
            raise ValueError(f"not measured costs: {error}") from None

    def joined(self, new: Measured) -> Measured:
        """This with what was measured anew in the place of the same: steps by their ranks, the network by the newer."""
        measured_again = {step.ranks for step in new.steps}
        kept = [step for step in self.steps if step.ranks not in measured_again]
        newer = new if new.network else self
        return dataclasses.replace(
            new,
            network=newer.network,
            ranks=newer.ranks,
            samples=newer.samples,
            steps=tuple(sorted((*kept, *new.steps), key=lambda step: step.ranks)),
            notes=tuple(dict.fromkeys((*self.notes, *new.notes))),
        )


def load(path: str | Path) -> Measured:
    """What was written to a file. Raises OSError or ValueError, naming it, where it cannot be read or is another's."""
    try:
        return Measured.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def measure(ranks: Ranks, work: Work, *, seconds: float = 1.0, sizes: Sequence[int] = SIZES) -> Measured:
    """All of it; each rank calls it, and rank 0's result is right.

    work     of the steps
    seconds  that each kind of step, and each size of array, is timed for, about
    """
    from ..timing.environment import environment

    here = environment()
    start = usage()
    with _one_thread():
        processor = _processor(ranks)
        samples = network_samples(ranks, sizes, seconds / 2) if ranks.size > 1 else ()
        steps = measure_steps(ranks, work, seconds)
    end = usage()
    mine = between(start, end)
    of_all = sum(ranks.gather_facts(end.own - start.own)) - (end.own - start.own)
    # What the other ranks of this machine did is no disturbance.
    others = None if mine.others is None else max(0.0, mine.others - of_all / (end.passed - start.passed))
    notes = tuple(disturbances(dataclasses.replace(mine, others=others)))
    torch = here.versions.get("torch", "?")
    return Measured(
        machine=f"{here.cpu}, {here.cores} processors, {here.system}, torch {torch}",
        processor=processor,
        network=_fitted(samples, ranks, here.cpu) if samples else None,
        ranks=ranks.size,
        samples=tuple(samples),
        steps=tuple(steps),
        notes=notes,
    )


def _fitted(samples: Sequence[Sample], ranks: Ranks, cpu: str) -> Network:
    hosts = len({place.host for place in ranks.places})
    where = "one machine" if hosts == 1 else f"{hosts} machines"
    found = fit(samples, ranks.size, "loopback" if hosts == 1 else "network")
    return dataclasses.replace(found, source=f"measured: {ranks.backend} between {ranks.size} ranks on {where}, {cpu}")


def processor_of(dtype: Any = "float32", threads: int | None = None) -> Processor:
    """One core of this machine, at the limit that it is now measured to reach while so many are at work: all of them
    where threads is None. It takes half a second."""
    from ..machine.limits import peak_flops
    from ..timing.environment import environment

    busy = threads or processors()
    flops = peak_flops(dtype, busy, seconds=0.5) / busy
    return Processor("one core", flops, np.dtype(dtype).itemsize, f"measured: {environment().cpu}")


def _processor(ranks: Ranks) -> Processor:
    """One core while all ranks compute, each on its own: the mean of what they reach."""
    ranks.barrier("the measurement of a core's limit")
    mine = processor_of(threads=1)
    return dataclasses.replace(mine, flops=statistics.fmean(ranks.gather_facts(mine.flops)))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = num_threads()
    set_num_threads(1)
    try:
        yield
    finally:
        set_num_threads(before)


def network_samples(ranks: Ranks, sizes: Sequence[int] = SIZES, seconds: float = 0.5) -> list[Sample]:
    """The seconds of an all-reduce of arrays of so many bytes, each a multiple of 4."""
    samples = []
    for size in sizes:
        x = np.zeros(size // 4, np.float32)
        samples.append(Sample(size, _timed(ranks, functools.partial(ranks.sum, x), seconds)[0]))
    return samples


def _timed(ranks: Ranks, step: Callable[[], object], seconds: float) -> tuple[float, float]:
    """The median and the shortest time of a step that all ranks make together."""
    for _ in range(2):
        step()
    ranks.barrier("a measurement")
    begin = time.perf_counter()
    step()
    took = time.perf_counter() - begin
    count = ranks.from_first(lambda: max(5, min(1000, round(seconds / max(took, 1e-6)))))
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    median, fastest = ranks.from_first(lambda: (statistics.median(times), min(times)))
    return median, fastest


def measure_steps(ranks: Ranks, work: Work, seconds: float = 1.0) -> list[Step]:
    """A step of each split: tensor-parallel, data-parallel, and this with its sums overlapped."""
    found = []
    weights = [_weights(work, layer) for layer in range(work.layers)]
    x = _x(work)
    step = _tensor_step(ranks, weights, x)
    found.append(Step("tensor", ranks.size, work, 0, *_timed(ranks, step, seconds)))
    for overlap in (False, True) if ranks.size > 1 else (False,):
        step, count = _data_step(ranks, weights, x, overlap)
        split = "data, overlapped" if overlap else "data"
        found.append(Step(split, ranks.size, work, count, *_timed(ranks, step, seconds)))
    return found


Weights = tuple[Array, Array, Array, Array]


def _x(work: Work) -> Array:
    return np.random.default_rng(0).standard_normal((work.tokens, work.features)).astype(np.float32)


def _weights(work: Work, layer: int) -> Weights:
    """The same on all ranks, and of a size that keeps x's."""
    rng = np.random.default_rng([1, layer])
    d, h = work.features, work.hidden
    w1, w2 = rng.standard_normal((d, h)) * d**-0.5, rng.standard_normal((h, d)) * h**-0.5
    return w1.astype(np.float32), np.zeros(h, np.float32), w2.astype(np.float32), np.zeros(d, np.float32)


def _tensor_step(ranks: Ranks, weights: Sequence[Weights], x: Array) -> Callable[[], None]:
    from .tensor_parallel import TensorParallelMLP

    stack = [TensorParallelMLP(*layer, ranks=ranks) for layer in weights]

    def step() -> None:
        y, caches = x, []
        for mlp in stack:
            y, cache = mlp.forward(y)
            caches.append(cache)
        dy = y
        for mlp, cache in zip(reversed(stack), reversed(caches), strict=True):
            dy = mlp.backward(dy, cache)[0]

    return step


def _data_step(
    ranks: Ranks | None, weights: Sequence[Weights], x: Array, overlap: bool
) -> tuple[Callable[[], None], int]:
    """A step, and in how many all-reduces its gradients are summed: one for each of the large matrices."""
    from .data_parallel import Buckets

    names = ("w1", "b1", "w2", "b2")
    parameters = {
        f"{name}.{layer}": array
        for layer, arrays in enumerate(weights)
        for name, array in zip(names, arrays, strict=True)
    }
    large = weights[0][0].nbytes
    buckets = Buckets(parameters, ranks, large, large)
    gradients = buckets.gradients

    def step() -> None:
        y, caches = x, list[MLPCache]()
        for layer in weights:
            y, cache = mlp_forward(y, *layer)
            caches.append(cache)
        dy = y
        made: list[str] = []
        for number in reversed(range(len(weights))):
            theirs = [f"{name}.{number}" for name in names]
            out = (np.empty_like(x), *(gradients[name] for name in theirs))
            dy = mlp_backward(dy, caches[number], out=out)[0]
            made += reversed(theirs)
            while overlap and made:
                buckets.ready(made.pop(0))
        for name in made:
            buckets.ready(name)
        buckets.wait()

    return step, len(buckets)


def check_table(measured: Measured) -> list[str]:
    """The model beside the measurement, as lines of 80 columns.

    The ratio is the fastest call's: the model is of what the machine does where nothing else disturbs it, and two ranks
    are disturbed by anything on either core.
    """
    from .cost import _time

    lines = [f"{'split':<18} {'ranks':>5} {'predicted':>11} {'fastest':>11} {'ratio':>7} {'median':>11}"]
    for step in measured.steps:
        said = step.predicted(measured.processor, measured.network)
        figures = f"{_time(said):>11} {_time(step.fastest):>11} {step.fastest / said:>7.2f} {_time(step.seconds):>11}"
        lines.append(f"{step.split:<18} {step.ranks:>5} {figures}")
    return lines


def network_lines(measured: Measured) -> list[str]:
    """The all-reduces that were measured, and what the fitted network says of them."""
    from .cost import _rate, _time, all_reduce

    if measured.network is None:
        return []
    lines = [f"{'all-reduce of':>13} {'predicted':>11} {'measured':>11} {'ratio':>7}"]
    for sample in measured.samples:
        said = all_reduce(sample.bytes, measured.ranks, measured.network).seconds
        size = _rate(sample.bytes, "B")
        lines.append(f"{size:>13} {_time(said):>11} {_time(sample.seconds):>11} {sample.seconds / said:>7.2f}")
    return lines
