"""Through every layer a gradient is multiplied by the weights and by the activation's slope: it shrinks or it blows up.

On its way back, dh_(l-1) = (dh_l ⊙ f'(z_l)) W_lᵀ. For weights of variance s² from n units the gradient's mean square is
multiplied by n s² E[f'(z)²] in each layer: by a number that is the same for all of them, and L layers make a power of
it. Sigmoid's slope is 1/4 at most, so that with Xavier's s² = 1/n a layer leaves less than a sixteenth. relu's slope is
1 for half of the numbers: He's s² = 2/n makes it 1. Of weights twice as large each layer makes 4 times as much.

Glorot and Bengio (2010); He et al., Delving Deep into Rectifiers (2015), section 2.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

import loopnest as ln

from ... import nn
from ...arrays import Array
from .characters import chart
from .experiment import Experiment

WIDTH = 128
CASES = (
    ("sigmoid", "xavier", 1.0),
    ("tanh", "xavier", 1.0),
    ("relu", "xavier", 1.0),
    ("relu", "he", 1.0),
    ("gelu", "he", 1.0),
    ("relu", "he", 2.0),
)


@dataclass(frozen=True)
class Stack:
    """One activation and one way to begin.

    gain       by which all weights are multiplied
    gradients  the root mean square of the gradient by each layer's input, the first layer's first, as a part of that
               by the network's output
    factor     by which a layer multiplies it on its way back: the geometric mean
    """

    activation: str
    init: str
    gain: float
    gradients: tuple[float, ...]
    factor: float

    @property
    def name(self) -> str:
        return f"{self.activation}, {self.init}{f' x {self.gain:g}' if self.gain != 1 else ''}"


@dataclass(frozen=True)
class Depth:
    layers: int
    stacks: tuple[Stack, ...]

    def stack(self, name: str) -> Stack:
        return next(stack for stack in self.stacks if stack.name == name)


def run(seed: int = 0, impl: str | None = None, layers: int = 20, batch: int = 64) -> Depth:
    """The gradient through 20 layers of 128 units, at the beginning, for six pairs of activation and weights."""
    return Depth(layers, tuple(_stack(*case, seed=seed, impl=impl, layers=layers, batch=batch) for case in CASES))


def _stack(activation: str, init: str, gain: float, *, seed: int, impl: str | None, layers: int, batch: int) -> Stack:
    p = nn.initialise((WIDTH,) * (layers + 1), init, seed, np.float64)
    forward, backward = ln.OPERATIONS[activation], ln.OPERATIONS[f"{activation}_backward"]
    rng = np.random.default_rng(seed)
    h = rng.standard_normal((batch, WIDTH))
    zs: list[Array] = []
    for layer in range(1, layers + 1):
        zs.append(ln.linear(h, gain * p[f"w{layer}"], p[f"b{layer}"], impl=impl))
        h = forward(zs[-1], impl=impl)
    dh = rng.standard_normal((batch, WIDTH))
    sizes = [_size(dh)]
    for layer in range(layers, 0, -1):
        dz = backward(zs[layer - 1], dh, impl=impl)
        dh = ln.matmul(dz, gain * p[f"w{layer}"].T, impl=impl)
        sizes.append(_size(dh))
    relative = tuple(size / sizes[0] for size in reversed(sizes[1:]))
    return Stack(activation, init, gain, relative, float(relative[0] ** (1 / layers)))


def _size(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def finding(data: Depth) -> str:
    least, most = (choose(data.stacks, key=lambda stack: stack.factor) for choose in (min, max))
    even = min(data.stacks, key=lambda stack: abs(np.log(stack.factor)))
    return (
        f"After {data.layers} layers {least.gradients[0]:.0e} of the gradient is left with {least.name} "
        f"({least.factor:.2f} a layer), {even.gradients[0]:.1f} of it with {even.name}, and with {most.name} it is "
        f"{most.gradients[0]:.0e} times as large ({most.factor:.2f} a layer)."
    )


def text(data: Depth, width: int) -> list[str]:
    numbers = range(1, data.layers + 1)
    curves = {stack.name: (list(numbers), list(stack.gradients)) for stack in data.stacks}
    lines = ["the gradient by each layer's input, as a part of that by the output"]
    lines += [*chart(curves, width, 15, log_y=True, x_label="layer, the output on the right"), ""]
    wide = max(len(stack.name) for stack in data.stacks)
    lines.append(f"{'':{wide}}  a layer  first layer")
    return lines + [f"{s.name:{wide}}  {s.factor:7.3f}  {s.gradients[0]:11.1e}" for s in data.stacks]


def picture(data: Depth) -> str:
    from ...output.pictures import SERIES, Picture

    made = Picture(7, 4, title=f"The gradient on its way back through {data.layers} layers")
    with made as grid:
        axes = grid[0, 0]
        low = -math.inf
        for stack, colour in sorted(zip(data.stacks, SERIES, strict=False), key=lambda pair: pair[0].gradients[0]):
            layers = range(1, data.layers + 1)
            low = max(math.log10(stack.gradients[0]), low + 0.9)  # no label over another
            axes.semilogy(layers, stack.gradients, color=colour, marker="o", markersize=2.5)
            axes.annotate(
                f"{stack.name}: {stack.factor:.2f} a layer",
                (0.7, 10**low),
                ha="right",
                va="center",
                color=colour,
                fontsize=8,
            )
        axes.set_xlim(-8.5, data.layers + 0.5)
        axes.set_xticks(range(0, data.layers + 1, 5)[1:])
        axes.set_title(f"The gradient on its way back through {data.layers} layers")
        axes.set_xlabel("by the input of this layer; the output is on the right")
    return made.svg


EXPERIMENT = Experiment("depth", "How do depth and activation change gradients?", run, finding, text, picture)
