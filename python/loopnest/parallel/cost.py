"""What many ranks cost: arithmetic at the measured limit, bytes on the wire, latency. docs/cost-model.md derives it.

A message of n bytes takes α + n/B seconds: α until its first byte is there, the latency, and then B bytes a second
(Hockney, The communication challenge for MPP, 1994). An all-reduce of n bytes over p ranks is made of messages:

    ring      2 (p - 1) messages of n/p bytes one after the other    2 (p - 1) α + 2 (p - 1)/p · n/B
    halving   by halves, quarters, … and back: 2 log₂ p messages     2 log₂ p α  + 2 (p - 1)/p · n/B
    doubling  log₂ p messages of all n bytes                         log₂ p α    + log₂ p · n/B

(Thakur, Rabenseifner and Gropp, Optimization of collective communication operations in MPICH, 2005, §4.4; Chan et al.,
Collective communication: theory, practice, and experience, 2007.) Each rank must send 2 (p - 1)/p · n bytes in any case
(Patarasuk and Yuan, 2009), so ring and halving differ in latency alone.

The work is a stack of MLPs, forward and backward: 12 t d h flops a layer of t tokens, d features and h hidden ones.
`tensor_parallel` shares its hidden units out among the ranks, `data_parallel` gives each rank t tokens of its own.
"""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..operations.mlp import mlp_forward

RANKS = (1, 2, 8, 64, 1024)
"""Numbers of ranks that the tables have."""

BUCKET = 25 << 20
"""Bytes of a bucket of gradients that are summed in one all-reduce: what torch's DistributedDataParallel takes."""

Algorithm = Literal["ring", "halving", "doubling"]


@dataclass(frozen=True)
class Network:
    """What joins the ranks.

    latency    α: seconds of a message without content
    bandwidth  B: bytes a second that a rank sends, while it receives as many
    algorithm  of the all-reduce: "ring", "halving" or "doubling"
    most       how many ranks it joins at most; 0 where that is not limited
    source     where the figures are from
    """

    name: str
    latency: float
    bandwidth: float
    algorithm: Algorithm = "ring"
    most: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        if self.latency < 0 or not self.bandwidth > 0:
            raise ValueError(
                f"Network: latency is {self.latency} and bandwidth {self.bandwidth}, expected 0 s or more, and more "
                f"than 0 bytes a second"
            )
        if self.algorithm not in ("ring", "halving", "doubling"):
            raise ValueError(f"Network: algorithm is {self.algorithm!r}, expected 'ring', 'halving' or 'doubling'")


@dataclass(frozen=True)
class Processor:
    """What a rank computes with: flops a second that it reaches at most, in numbers of so many bytes."""

    name: str
    flops: float
    itemsize: int = 4
    source: str = ""

    def __post_init__(self) -> None:
        if not self.flops > 0:
            raise ValueError(f"Processor: flops is {self.flops}, expected more than 0 a second")


@dataclass(frozen=True)
class Work:
    """A step of training a stack of MLPs: t tokens through `layers` of d -> h -> d, forward and backward."""

    name: str
    tokens: int
    features: int
    hidden: int
    layers: int = 1

    def __post_init__(self) -> None:
        for name in ("tokens", "features", "hidden", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"Work: {name} is {getattr(self, name)}, expected a whole number from 1 up")

    @property
    def forward(self) -> float:
        """Flops: two products of 2 t d h in each layer."""
        return 4.0 * self.tokens * self.features * self.hidden * self.layers

    @property
    def backward(self) -> float:
        """Flops: four such products, the gradients by both factors of each."""
        return 2 * self.forward

    @property
    def activation(self) -> int:
        """Elements of x, y or dx: t d."""
        return self.tokens * self.features

    @property
    def parameters(self) -> int:
        return self.layers * (2 * self.features * self.hidden + self.hidden + self.features)


@dataclass(frozen=True)
class Exchange:
    """What communication costs: seconds on the wire, seconds of latency, bytes that each rank sends, messages."""

    wire: float = 0.0
    latency: float = 0.0
    bytes: float = 0.0
    messages: int = 0

    @property
    def seconds(self) -> float:
        return self.wire + self.latency

    def times(self, count: int) -> Exchange:
        return Exchange(count * self.wire, count * self.latency, count * self.bytes, count * self.messages)


def all_reduce(nbytes: float, ranks: int, network: Network) -> Exchange:
    """The sum of an array of so many bytes over all ranks, left with each of them.

    >>> ten_gigabit = Network("10 Gb/s", latency=30e-6, bandwidth=1.25e9)
    >>> cost = all_reduce(1_000_000, 8, ten_gigabit)
    >>> cost.messages, round(cost.bytes), round(1e6 * cost.wire), round(1e6 * cost.latency)
    (14, 1750000, 1400, 420)
    """
    if ranks < 1:
        raise ValueError(f"all_reduce: ranks is {ranks}, expected a whole number from 1 up")
    if ranks == 1 or nbytes == 0:
        return Exchange()
    rounds = math.ceil(math.log2(ranks))
    if network.algorithm == "doubling":
        messages, sent = rounds, rounds * nbytes
    else:
        messages = 2 * (ranks - 1) if network.algorithm == "ring" else 2 * rounds
        sent = 2 * (ranks - 1) / ranks * nbytes
    return Exchange(sent / network.bandwidth, messages * network.latency, sent, messages)


@dataclass(frozen=True)
class Cost:
    """A step of so many ranks, in seconds.

    split       "tensor" or "data"
    compute     of each rank, at its processor's limit
    wire        in which its bytes are on the wire; latency: that its messages wait for one another
    total       of the step: less than the sum where communication is overlapped with computing
    efficiency  the time of the work at the limit of all ranks together, over the total
    """

    split: str
    ranks: int
    compute: float
    wire: float
    latency: float
    total: float
    efficiency: float
    bytes: float
    messages: int


def tensor_parallel(work: Work, ranks: int, processor: Processor, network: Network) -> Cost:
    """Hidden units shared out: each rank does 1/p of the work, and two sums of t d elements a layer are waited for.

    T(p) = W/(p F) + 2 layers · all_reduce(t d), W the flops of all, F a rank's flops a second. The sums cannot be
    overlapped: what comes next needs them (Shoeybi et al., Megatron-LM, 2019, §3).
    """
    compute = (work.forward + work.backward) / (ranks * processor.flops)
    exchange = all_reduce(work.activation * processor.itemsize, ranks, network).times(2 * work.layers)
    total = compute + exchange.seconds
    return _cost("tensor", ranks, compute, exchange, total)


def data_parallel(
    work: Work, ranks: int, processor: Processor, network: Network, *, overlap: bool = True, bucket: int = BUCKET
) -> Cost:
    """Each rank has t tokens of its own, and all gradients are summed, in buckets of so many bytes.

    A bucket is ready when its share of the backward pass is done, and its sum goes on beside the rest of that. Of n
    equal buckets, with c seconds for the sum of one and T_b for the backward pass, the step ends after

        T_f + max(T_b + c, T_b/n + n c)

    as either the last bucket waits for its gradients, or all wait for the first one's and then for the wire (Li et al.,
    PyTorch Distributed, 2020, §3.2). Without overlap it is T_f + T_b + n c.
    """
    if bucket < 1:
        raise ValueError(f"data_parallel: bucket is {bucket}, expected a number of bytes of 1 or more")
    forward, backward = work.forward / processor.flops, work.backward / processor.flops
    nbytes = work.parameters * processor.itemsize
    count = max(1, math.ceil(nbytes / bucket))
    each = all_reduce(nbytes / count, ranks, network)
    together = each.times(count)
    if overlap and ranks > 1:
        ends = max(backward + each.seconds, backward / count + together.seconds)
    else:
        ends = backward + together.seconds
    return _cost("data", ranks, forward + backward, together, forward + ends)


def _cost(split: str, ranks: int, compute: float, exchange: Exchange, total: float) -> Cost:
    """compute is at the limit and shared out, so that its part in the total is the efficiency."""
    return Cost(
        split,
        ranks,
        compute,
        exchange.wire,
        exchange.latency,
        total,
        compute / total,
        exchange.bytes,
        exchange.messages,
    )


# --- where tensor parallelism stops paying


@dataclass(frozen=True)
class Stops:
    """Where tensor parallelism stops paying.

    pays        whether two ranks are faster than one
    fastest     the number of ranks from which one more makes the step slower; 1 where the first does, the number of
                hidden units where none does
    speedup     at that number, over one rank
    half        ranks up to which the efficiency is at least a half
    half_bound  the same without any latency, 1 + 3 h B / (F · itemsize): of neither tokens nor features
    """

    pays: bool
    fastest: int
    speedup: float
    half: int
    half_bound: float


def stops_paying(work: Work, processor: Processor, network: Network) -> Stops:
    """Where tensor parallelism of this work stops paying, by the closed forms below.

    With w = W/F seconds of work, and n bytes of an activation, a layer's two sums over a ring take T(p) = w/p +
    4 (p - 1) α + 4 (p - 1)/p · n/B. Its derivative is zero at

        p = √((w - 4 n/B) / 4 α)

    and there is no such p where w < 4 n/B: then each rank more is a loss. By halving, whose latency is 4 log₂ p α, it
    is near p = (w - 4 n/B) · ln 2 / 4 α: at a power of two, as rounds are whole. The efficiency is a half where
    w = p (T(p) - w/p): over a ring, where 4 (p - 1)(p α + n/B) = w; without latency, at p = 1 + w B / 4 n =
    1 + 3 h B / (F · itemsize).

    >>> rank = Processor("a core", 100e9)
    >>> found = stops_paying(Work("an MLP", 512, 768, 3072), rank, Network("10 Gb/s", 30e-6, 1.25e9))
    >>> found.fastest, found.half, round(found.half_bound, 1)
    (34, 20, 29.8)
    """
    one = dataclasses.replace(work, layers=1)  # all layers are alike
    limit = min(network.most or one.hidden, one.hidden)

    def seconds(ranks: int) -> float:
        return tensor_parallel(one, ranks, processor, network).total

    if network.algorithm == "ring":
        near = _fastest(one, processor, network)
        candidates = {1, math.floor(near), math.ceil(near), limit}
    else:  # the rounds of a tree are whole: T falls from each power of two to the next, but for latency
        candidates = {limit, *(2**r for r in range(limit.bit_length()))}
    fastest = min((p for p in candidates if 1 <= p <= limit), key=lambda p: (seconds(p), p))
    return Stops(
        pays=limit > 1 and seconds(2) < seconds(1),
        fastest=fastest,
        speedup=seconds(1) / seconds(fastest),
        half=_half(one, processor, network, limit),
        half_bound=1 + 3 * one.hidden * network.bandwidth / (processor.flops * processor.itemsize),
    )


def _fastest(work: Work, processor: Processor, network: Network) -> float:
    """Where the derivative of T over a ring is zero, a number of ranks that need not be whole."""
    w = (work.forward + work.backward) / processor.flops
    gain = w - 4 * work.activation * processor.itemsize / network.bandwidth
    if gain <= 0:
        return 1.0
    return math.sqrt(gain / (4 * network.latency)) if network.latency else float(work.hidden)


def _half(work: Work, processor: Processor, network: Network, limit: int) -> int:
    """The largest number of ranks with an efficiency of a half, or more: it falls with p, so by bisection."""
    low, high = 1, limit
    while low < high:
        middle = (low + high + 1) // 2
        if tensor_parallel(work, middle, processor, network).efficiency >= 0.5:
            low = middle
        else:
            high = middle - 1
    return low


# --- the networks and the processors that are known


PUBLISHED: Mapping[str, Network] = {
    network.name: network
    for network in (
        Network(
            "ethernet-10",
            30e-6,
            10e9 / 8,
            source="10 Gb/s (IEEE 802.3ae); α assumed: TCP through two kernels and a switch takes 20 to 50 µs",
        ),
        Network(
            "ethernet-100",
            9.6e-6,
            100e9 / 8,
            source="100 Gb/s (IEEE 802.3ba); α: NCCL's for a step between machines (src/graph/tuning.cc of 2020)",
        ),
        Network(
            "infiniband-400",
            9.6e-6,
            400e9 / 8,
            source="400 Gb/s, InfiniBand NDR (NVIDIA ConnectX-7); α: NCCL's, as above",
        ),
        Network(
            "nvlink-4",
            3.4e-6,
            450e9,
            most=256,
            source="NVIDIA H100: 900 GB/s both ways together, up to 256 GPUs; α: NCCL's for a step over NVLink",
        ),
    )
}

PROCESSORS: Mapping[str, Processor] = {
    processor.name: processor
    for processor in (
        Processor("h100-float32", 66.9e12, 4, "NVIDIA H100 SXM: 66.9 TFLOP/s of float32 (white paper, 2022)"),
        Processor("h100-bfloat16", 989.4e12, 2, "NVIDIA H100 SXM: 989.4 TFLOP/s of dense bfloat16 (white paper, 2022)"),
    )
}


def workloads(layers: int = 12) -> Mapping[str, Work]:
    """The workloads of the operation mlp_forward by name, as stacks of so many layers; GPT-2 small has 12.

    >>> workloads()["gpt2-small-mlp-512"]
    Work(name='gpt2-small-mlp-512', tokens=512, features=768, hidden=3072, layers=12)
    """
    shapes = {w.name: w.shape for w in mlp_forward.contract.workloads if w.shape["d"] == w.shape["e"]}
    return {name: Work(name, s["t"], s["d"], s["h"], layers) for name, s in shapes.items()}


# --- a network measured


@dataclass(frozen=True)
class Sample:
    """An all-reduce that was measured: bytes of the array, and seconds."""

    bytes: int
    seconds: float


def fit(samples: Sequence[Sample], ranks: int, name: str = "measured", algorithm: Algorithm = "ring") -> Network:
    """The α and B whose all-reduces come nearest to those measured, by relative error.

    The times are linear in α and in 1/B, so these are found by least squares, each sample weighted by 1/seconds: else
    the largest would count alone. Neither is let below zero.
    Raises ValueError for fewer than two sizes, or one rank, which sends nothing.

    >>> truth = Network("truth", 20e-6, 1e9)
    >>> sizes = (64, 4096, 1 << 20)
    >>> found = fit([Sample(n, all_reduce(n, 2, truth).seconds) for n in sizes], 2)
    >>> round(1e6 * found.latency, 3), round(found.bandwidth / 1e9, 3)
    (20.0, 1.0)
    """
    if ranks < 2:
        raise ValueError(f"fit: ranks is {ranks}, expected 2 or more: one sends nothing")
    if len({s.bytes for s in samples}) < 2:
        raise ValueError(f"fit: samples have {len({s.bytes for s in samples})} sizes, expected 2 or more")
    import numpy as np

    unit = Network("", 1.0, 1.0, algorithm)
    parts = [all_reduce(s.bytes, ranks, unit) for s in samples]
    rows = np.array([[part.messages, part.bytes] for part in parts])
    weights = 1 / np.array([s.seconds for s in samples])
    latency, a_byte = np.linalg.lstsq(rows * weights[:, None], np.ones(len(samples)), rcond=None)[0]
    if latency < 0:
        latency, a_byte = 0.0, _one(rows[:, 1] * weights)
    elif a_byte <= 0:
        raise ValueError("fit: larger arrays did not take longer, so there is no bandwidth: measure larger ones")
    return Network(name, float(latency), float(1 / a_byte), algorithm)


def _one(row: Any) -> float:
    """The x with row · x nearest to ones."""
    return float(row.sum() / (row @ row))


# --- telling it


def table(
    work: Work, processor: Processor, network: Network, ranks: Sequence[int] = RANKS, *, overlap: bool = True
) -> list[str]:
    """The costs of both splits by number of ranks, as lines of 80 columns."""
    lines = _heading(work, processor, network)
    tokens = f"{work.tokens} token{'s'[: work.tokens != 1]}"
    tensor = f"tensor parallel: {tokens} by all ranks, hidden units shared out"
    lines += ["", tensor, *_rows([tensor_parallel(work, p, processor, network) for p in _reached(ranks, network)])]
    how = "sums overlapped with the backward pass" if overlap else "sums after the backward pass"
    lines += ["", f"data parallel: {tokens} a rank, {how}"]
    lines += _rows([data_parallel(work, p, processor, network, overlap=overlap) for p in _reached(ranks, network)])
    if network.most and max(ranks) > network.most:
        lines += ["", f"{network.name} joins {network.most} ranks at most."]
    return [*lines, "", *verdict(work, processor, network)]


def _reached(ranks: Sequence[int], network: Network) -> list[int]:
    return [p for p in ranks if not network.most or p <= network.most]


def _heading(work: Work, processor: Processor, network: Network) -> list[str]:
    layers = "a layer" if work.layers == 1 else f"{work.layers} layers"
    return [
        f"work       {work.name}: {layers} of {work.features} -> {work.hidden} -> {work.features}, t = {work.tokens}",
        f"a rank     {processor.name}: {_rate(processor.flops, 'FLOP/s')}, {8 * processor.itemsize}-bit numbers",
        f"network    {network.name}: {_time(network.latency)} a message, {_rate(network.bandwidth, 'B/s')}, "
        f"all-reduce by {network.algorithm}",
    ]


def _rows(costs: Sequence[Cost]) -> Iterator[str]:
    names = " ".join(f"{name:>10}" for name in ("compute", "wire", "latency", "step"))
    yield f"{'ranks':>6} {names} {'efficiency':>11} {'sent a rank':>13}"
    for c in costs:
        times = " ".join(f"{_time(x):>10}" for x in (c.compute, c.wire, c.latency, c.total))
        yield f"{c.ranks:>6,} {times} {c.efficiency:>11.1%} {_rate(c.bytes, 'B'):>13}"


def verdict(work: Work, processor: Processor, network: Network) -> list[str]:
    """Where tensor parallelism stops paying, in words, as lines of 80 columns."""
    found = stops_paying(work, processor, network)
    if not found.pays:
        least = work.hidden / (found.half_bound - 1)  # w > 4 n/B says h > F · itemsize / 3 B
        why = f"h is {work.hidden:,}, and must be more than {least:,.0f} for the wire alone"
        if least < work.hidden:
            why = f"the wire alone would let it, as h is more than {least:,.0f}; the latency does not"
        return textwrap.wrap(f"Tensor parallelism does not pay: two ranks are slower than one. {_capital(why)}.", 80)
    gain = f"{found.speedup:.3g} times as fast as one"
    most = min(network.most or work.hidden, work.hidden)
    pays = f"Tensor parallelism stops paying at {found.fastest:,} ranks, {gain}: more are slower."
    if found.fastest >= most:
        pays = f"Tensor parallelism pays up to {most:,} ranks, all that there can be: {gain}."
    half = (
        f"Half of the time is lost from {found.half + 1:,} ranks on" if found.half < most else "Less than half is lost"
    )
    alone = f"without latency it would be from 1 + 3 h B / (F · {processor.itemsize}) = {_three(found.half_bound)} on"
    return textwrap.wrap(f"{pays} {half}; {alone}.", 80)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _time(seconds: float) -> str:
    """Three digits with a unit."""
    if seconds == 0:
        return "0"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        if seconds >= 0.9995 * size or unit == "ns":
            return f"{_three(seconds / size)} {unit}"
    raise AssertionError


def _rate(x: float, unit: str) -> str:
    if x == 0:
        return "0"
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0)):
        if x >= 0.9995 * size or not prefix:
            return f"{_three(x / size)} {prefix}{unit}"
    raise AssertionError


def _three(x: float) -> str:
    return f"{x:.0f}" if x >= 99.95 else f"{x:.1f}" if x >= 9.995 else f"{x:.2f}"


def network_table(work: Work, pairs: Sequence[tuple[Processor, Network]]) -> list[str]:
    """Where tensor parallelism stops paying on each network, as lines of 80 columns."""
    lines = [f"{'a rank':<15} {'network':<15} {'pays':>5} {'fastest at':>11} {'speed-up':>9} {'half lost from':>15}"]
    for processor, network in pairs:
        found = stops_paying(work, processor, network)
        lines.append(
            f"{processor.name:<15} {network.name:<15} {'yes' if found.pays else 'no':>5} {found.fastest:>11,} "
            f"{found.speedup:>9.3g} {found.half + 1:>15,}"
        )
    return lines


def efficiency_picture(work: Work, pairs: Sequence[tuple[Processor, Network]], most: int = 1024) -> str:
    """Efficiency against the number of ranks, of both splits on each network, as an SVG file."""
    from ..output.pictures import FAINT, SERIES, Picture

    made = Picture(9, 3.8, columns=2, title=f"Efficiency against ranks: {work.name}, {work.layers} layers", sharey=True)
    with made as grid:
        for axes, split in zip(grid[0], ("tensor parallel", "data parallel"), strict=True):
            for (processor, network), colour in zip(pairs, SERIES, strict=False):
                numbers = _reached([2**r for r in range(most.bit_length())], network)
                of = tensor_parallel if split == "tensor parallel" else data_parallel
                shares = [100 * of(work, p, processor, network).efficiency for p in numbers]
                label = f"{network.name}, {processor.name}"
                axes.plot(numbers, shares, color=colour, marker="o", markersize=3, label=label)
            axes.axhline(50, color=FAINT, linewidth=1, linestyle="--")
            axes.set_xscale("log", base=2)
            axes.set_xticks(RANKS, [f"{p:,}" for p in RANKS])
            axes.set_ylim(0, 103)
            axes.set_title(split.capitalize())
            axes.set_xlabel("ranks")
        grid[0, 0].set_ylabel("efficiency, %")
        made.figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return made.svg
