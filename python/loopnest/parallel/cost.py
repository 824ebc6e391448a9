"""What a training step costs on many ranks: computing, bytes on the wire, latency. docs/parallel.md shows the table.

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

from collections.abc import Sequence
from dataclasses import dataclass

from ..operations import OPERATIONS
from ..output.text import duration, three_digits


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


def table(
    work: Work, processor: Processor, networks: Sequence[Network], ranks: Sequence[int] = (1, 2, 8, 64, 1024)
) -> list[str]:
    """The time and efficiency of a step, by network and number of ranks, as lines of at most 80 columns."""
    lines = [
        f"{work.layers} layers of {work.features} -> {work.hidden} -> {work.features}, {work.tokens} tokens",
        f"a rank: {processor.name}, {three_digits(processor.flops / 1e9)} GFLOP/s",
        "",
        f"{'':15} {'':>6} {'tensor parallel':>24} {'data parallel':>24}",
        f"{'network':15} {'ranks':>6} {'step':>13} {'efficiency':>10} {'step':>13} {'efficiency':>10}",
    ]
    one = work.flops / processor.flops
    for network in networks:
        for p in ranks:
            if network.most and p > network.most:
                continue
            shared, separate = (step(work, p, processor, network) for step in (tensor_parallel, data_parallel))
            cells = f"{duration(shared):>13} {one / p / shared:>10.1%} {duration(separate):>13} {one / separate:>10.1%}"
            lines.append(f"{network.name:15} {p:>6,} {cells}")
        p = fastest(work, processor, network)
        best = tensor_parallel(work, p, processor, network)
        found = f"tensor parallelism is fastest at {p:,} ranks: {three_digits(one / best)} times one"
        lines += [f"{'':15} {found if p > 1 else 'tensor parallelism does not pay: one rank is fastest'}", ""]
    return lines[:-1]


def workload(name: str, layers: int = 12) -> Work:
    """The workload `name` of `ln.mlp_forward` as a stack of MLPs; GPT-2 small has 12 layers."""
    shapes = {w.name: w.shape for w in OPERATIONS["mlp_forward"].contract.workloads if w.shape["d"] == w.shape["e"]}
    if name not in shapes:
        raise ValueError(f"workload is {name!r}, expected one of {', '.join(shapes)}")
    return Work(shapes[name]["t"], shapes[name]["d"], shapes[name]["h"], layers)
