"""A training step on many ranks costs computing, bytes on the wire and latency.

A message of n bytes takes α + n/B seconds: the latency α, then B bytes a second (Hockney, 1994). An all-reduce over p
ranks, by a ring, is 2 (p - 1) messages of n/p bytes, one after another:

    all_reduce(n) = 2 (p - 1) α + 2 (p - 1)/p · n/B

(Thakur, Rabenseifner and Gropp, 2005, §4.4; no algorithm sends fewer bytes: Patarasuk and Yuan, 2009.)

The work is a stack of MLPs, forward and backward: W = 12 t d h flops a layer for t tokens, d features, h hidden units.
A rank computes F flops a second.

- Tensor parallel: the ranks share the hidden units. A layer waits for two sums of t d elements, one in each direction:
  T(p) = W/(p F) + 2 all_reduce(t d). (Shoeybi et al., Megatron-LM, 2019, §3.)
- Data parallel: each rank has t tokens of its own, and one sum of all gradients ends the step: T(p) = W/F +
  all_reduce(parameters). (torch hides most of the sum behind the backward pass: Li et al., 2020, §3.2.)

The model takes kernels to the processor's limit, and knows no contention and no stragglers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...operations import OPERATIONS
from ...output.pictures import SERIES, Picture
from ...output.text import duration, three_digits, unknown
from .experiment import Experiment, Rows

RANKS = (1, 2, 8, 64, 1024)


@dataclass(frozen=True)
class Network:
    """A network between ranks.

    latency    α: seconds that an empty message takes
    bandwidth  B: bytes a second that a rank sends while it receives as many
    most       the number of ranks that it can join; 0 for any
    """

    name: str
    latency: float
    bandwidth: float
    most: int = 0


@dataclass(frozen=True)
class Processor:
    """The processor of a rank: its limit in flops a second, for elements of `itemsize` bytes."""

    name: str
    flops: float
    itemsize: int = 4


@dataclass(frozen=True)
class Work:
    """A training step of `layers` MLPs d -> h -> d with t tokens."""

    tokens: int
    features: int
    hidden: int
    layers: int = 12

    @property
    def flops(self) -> float:
        """Six products of 2 t d h flops in each layer: two forward, four backward."""
        return 12.0 * self.tokens * self.features * self.hidden * self.layers

    @property
    def parameters(self) -> int:
        return self.layers * (2 * self.features * self.hidden + self.hidden + self.features)


NETWORKS = {
    network.name: network
    for network in (
        Network("loopback", 214e-6, 1.82e9),  # measured: gloo between two processes of an AMD EPYC (Zen 4)
        Network("ethernet-10", 30e-6, 10e9 / 8),  # IEEE 802.3ae; α assumed: TCP through two kernels and a switch
        Network("ethernet-100", 9.6e-6, 100e9 / 8),  # IEEE 802.3ba; α: NCCL's between machines (src/graph/tuning.cc)
        Network("infiniband-400", 9.6e-6, 400e9 / 8),  # NVIDIA ConnectX-7; α: as above
        Network("nvlink-4", 3.4e-6, 450e9, most=256),  # NVIDIA H100; α: NCCL's over NVLink
    )
}
PROCESSORS = {
    processor.name: processor
    for processor in (
        Processor("core", 118e9),  # measured: one core of an AMD EPYC (Zen 4, AVX-512), float32
        Processor("h100-float32", 66.9e12),  # NVIDIA's white paper, 2022
        Processor("h100-bfloat16", 989.4e12, itemsize=2),
    )
}


def all_reduce(nbytes: float, ranks: int, network: Network) -> float:
    """The seconds in which a ring sums an array of `nbytes` over all ranks and leaves the sum with each.

    >>> round(1e6 * all_reduce(1_000_000, 8, Network("10 Gb/s", latency=30e-6, bandwidth=1.25e9)))
    1820
    """
    return 2 * (ranks - 1) * (network.latency + nbytes / ranks / network.bandwidth)


def tensor_parallel(work: Work, ranks: int, processor: Processor, network: Network) -> float:
    """The seconds of a step in which `ranks` ranks share the hidden units of one batch."""
    activation = work.tokens * work.features * processor.itemsize
    return work.flops / (ranks * processor.flops) + 2 * work.layers * all_reduce(activation, ranks, network)


def data_parallel(work: Work, ranks: int, processor: Processor, network: Network) -> float:
    """The seconds of a step in which each of `ranks` ranks has `work.tokens` tokens of its own."""
    return work.flops / processor.flops + all_reduce(work.parameters * processor.itemsize, ranks, network)


def fastest(work: Work, processor: Processor, network: Network) -> int:
    """The number of ranks at which tensor parallelism is fastest; more ranks make the step slower.

    >>> fastest(Work(512, 768, 3072), PROCESSORS["core"], NETWORKS["ethernet-10"])
    31
    """
    most = min(network.most or work.hidden, work.hidden)
    return min(range(1, most + 1), key=lambda ranks: tensor_parallel(work, ranks, processor, network))


def stack(name: str, layers: int) -> Work:
    """The workload `name` of `ln.mlp_forward` as a stack of MLPs; GPT-2 small has 12 layers."""
    shapes = {w.name: w.shape for w in OPERATIONS["mlp_forward"].contract.workloads if w.shape["d"] == w.shape["e"]}
    if name not in shapes:
        raise ValueError(unknown("workload of an MLP that can be stacked", name, shapes))
    return Work(shapes[name]["t"], shapes[name]["d"], shapes[name]["h"], layers)


@dataclass(frozen=True)
class Steps:
    """By number of ranks, the seconds of a step on one network; `fastest` is for tensor parallelism."""

    network: str
    ranks: tuple[int, ...]
    tensor: tuple[float, ...]
    data: tuple[float, ...]
    fastest: int
    gain: float  # of the fastest number of ranks over one


@dataclass(frozen=True)
class ParallelCost:
    """seconds: of a step on one rank, which sends nothing"""

    work: Work
    processor: Processor
    seconds: float
    steps: tuple[Steps, ...]


def run(
    network: str = "all", processor: str = "core", workload: str = "gpt2-small-mlp-512", layers: int = 12
) -> ParallelCost:
    """Compute what a step costs on 1 to 1,024 ranks: by network and processor, or by all networks."""
    if processor not in PROCESSORS:
        raise ValueError(unknown("processor", processor, PROCESSORS))
    if network not in ("all", *NETWORKS):
        raise ValueError(unknown("network", network, ("all", *NETWORKS)))
    work, rank = stack(workload, layers), PROCESSORS[processor]
    chosen = NETWORKS.values() if network == "all" else [NETWORKS[network]]
    return ParallelCost(work, rank, work.flops / rank.flops, tuple(_steps(work, rank, network) for network in chosen))


def _steps(work: Work, processor: Processor, network: Network) -> Steps:
    ranks = tuple(p for p in RANKS if p <= (network.most or p))
    tensor, data = (
        tuple(step(work, p, processor, network) for p in ranks) for step in (tensor_parallel, data_parallel)
    )
    p = fastest(work, processor, network)
    gain = work.flops / processor.flops / tensor_parallel(work, p, processor, network)
    return Steps(network.name, ranks, tensor, data, p, gain)


def finding(data: ParallelCost) -> str:
    best = (
        f"{steps.fastest:,} ranks of {steps.network} ({three_digits(steps.gain)} times one)" for steps in data.steps
    )
    last = min(data.seconds / steps.data[-1] for steps in data.steps)
    return (
        f"A step of {data.work.layers} layers {data.work.features} -> {data.work.hidden} -> {data.work.features} with "
        f"{data.work.tokens} tokens takes {duration(data.seconds)} on one {data.processor.name}. By tensor parallelism "
        f"it is fastest on {', '.join(best)}. Data parallelism keeps at least {last:.1%} of each rank."
    )


def rows(data: ParallelCost) -> Rows:
    table = [["network, ranks", "tensor parallel", "efficiency", "data parallel", "efficiency"]]
    for steps in data.steps:
        for p, tensor, separate in zip(steps.ranks, steps.tensor, steps.data, strict=True):
            cells = duration(tensor), f"{data.seconds / p / tensor:.1%}", duration(separate)
            table.append([f"{steps.network}, {p:,}", *cells, f"{data.seconds / separate:.1%}"])
    return table


def picture(data: ParallelCost) -> str:
    made = Picture(9.6, 3.8, columns=2, title="Efficiency of a training step on many ranks")
    with made as grid:
        for axes, way in zip(grid[0], ("tensor", "data"), strict=True):
            for steps, colour in zip(data.steps, SERIES, strict=False):
                of_one = 1 if way == "data" else np.array(steps.ranks)
                efficiency = 100 * data.seconds / of_one / np.array(getattr(steps, way))
                axes.semilogx(steps.ranks, efficiency, color=colour, marker="o", markersize=4, label=steps.network)
            axes.set(title=f"{way.capitalize()} parallelism", xlabel="ranks", ylabel="% of a step computes")
            axes.set(ylim=(0, 105), xticks=RANKS, xticklabels=[f"{p:,}" for p in RANKS])
        grid[0, 0].legend(loc="lower left")
    return made.svg


EXPERIMENT = Experiment("parallel-cost", "What does a training step cost on many ranks?", run, finding, rows, picture)
