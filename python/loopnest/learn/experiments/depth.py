"""Each layer multiplies a gradient by the weights and by the activation's slope: it shrinks or it blows up.

Backward, dh_(l-1) = (dh_l ⊙ f'(z_l)) W_lᵀ. For n units and weights of variance s², each layer multiplies the gradient's
mean square by n s² E[f'(z)²]. That factor is the same in all layers, so L layers make its L-th power. Sigmoid's slope
is at most 1/4: with Xavier's s² = 1/n a layer leaves less than a sixteenth. relu's slope is 1 for half of the numbers,
so He's s² = 2/n makes the factor 1. With weights twice as large it is 4.

Glorot and Bengio (2010); He et al., Delving Deep into Rectifiers (2015), section 2.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ... import nn
from ...arrays import Array
from ...operations import OPERATIONS
from ...output.pictures import SERIES, Picture
from .experiment import Experiment, Rows

WIDTH = 128
CASES = (
    ("sigmoid", "xavier", 1.0),
    ("tanh", "xavier", 1.0),
    ("relu", "xavier", 1.0),
    ("relu", "he", 1.0),
    ("gelu", "he", 1.0),
    ("relu", "he", 2.0),
)
"""Activation, initialiser, and the factor by which all weights are multiplied."""


@dataclass(frozen=True)
class Stack:
    """One activation with one initialisation.

    gradients  by layer, the first layer first: the root mean square of the gradient by the layer's input, relative to
               the gradient by the network's output
    factor     by which a layer multiplies the gradient: the geometric mean
    """

    gradients: tuple[float, ...]
    factor: float


@dataclass(frozen=True)
class Depth:
    layers: int
    stacks: dict[str, Stack]


def run(seed: int = 0, layers: int = 20, batch: int = 64) -> Depth:
    """Propagate a gradient back through 20 untrained layers of 128 units, for six kinds of network."""
    names = (f"{activation}, {init}{f' x {gain:g}' if gain != 1 else ''}" for activation, init, gain in CASES)
    stacks = (_stack(*case, seed=seed, layers=layers, batch=batch) for case in CASES)
    return Depth(layers, dict(zip(names, stacks, strict=True)))


def _stack(activation: str, init: str, gain: float, *, seed: int, layers: int, batch: int) -> Stack:
    p = nn.initialise((WIDTH,) * (layers + 1), init, seed, np.float64)
    linear, matmul = OPERATIONS["linear"], OPERATIONS["matmul"]
    forward, backward = OPERATIONS[activation], OPERATIONS[f"{activation}_backward"]
    rng = np.random.default_rng(seed)
    h = rng.standard_normal((batch, WIDTH))
    zs: list[Array] = []
    for layer in range(1, layers + 1):
        zs.append(linear(h, gain * p[f"w{layer}"], p[f"b{layer}"]))
        h = forward(zs[-1])
    dh = rng.standard_normal((batch, WIDTH))
    sizes = [np.sqrt(np.mean(dh**2))]
    for layer in range(layers, 0, -1):
        dh = matmul(backward(zs[layer - 1], dh), gain * p[f"w{layer}"].T)
        sizes.append(np.sqrt(np.mean(dh**2)))
    gradients = tuple(float(size / sizes[0]) for size in reversed(sizes[1:]))
    return Stack(gradients, gradients[0] ** (1 / layers))


def finding(data: Depth) -> str:
    names = sorted(data.stacks, key=lambda name: data.stacks[name].factor)
    even = min(names, key=lambda name: abs(math.log(data.stacks[name].factor)))
    least, middle, most = (
        f"{data.stacks[name].gradients[0]:.2g} with {name} ({data.stacks[name].factor:.2f} a layer)"
        for name in (names[0], even, names[-1])
    )
    return f"After {data.layers} layers the gradient is {least}, {middle}, and {most}."


def rows(data: Depth) -> Rows:
    table = [[name, f"{stack.factor:.3f}", f"{stack.gradients[0]:.1e}"] for name, stack in data.stacks.items()]
    return [["gradient, relative to the output's", "a layer", "first layer"], *table]


def picture(data: Depth) -> str:
    title = f"The gradient on its way back through {data.layers} layers"
    made = Picture(7, 4, title=title)
    with made as grid:
        axes = grid[0, 0]
        low = -math.inf
        pairs = zip(data.stacks.items(), SERIES, strict=False)
        for (name, stack), colour in sorted(pairs, key=lambda pair: pair[0][1].gradients[0]):
            low = max(math.log10(stack.gradients[0]), low + 0.9)  # no label over another
            label = f"{name}: {stack.factor:.2f} a layer"
            where = {"ha": "right", "va": "center", "fontsize": 8}
            axes.semilogy(range(1, data.layers + 1), stack.gradients, color=colour, marker="o", markersize=2.5)
            axes.annotate(label, (0.7, 10**low), color=colour, **where)
        axes.set(title=title, xlabel="by the input of this layer; the output is on the right")
        axes.set(xlim=(-8.5, data.layers + 0.5), xticks=range(5, data.layers + 1, 5))
    return made.svg


EXPERIMENT = Experiment("depth", "How do depth and activation change gradients?", run, finding, rows, picture)
