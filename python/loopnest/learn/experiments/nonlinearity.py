"""A linear two-layer network is a single linear layer, however long it is trained.

(x W1 + b1) W2 + b2 = x (W1 W2) + (b1 W2 + b2): the product of the two matrices is one matrix, and what one linear layer
can say of a plane is a straight line. The four points of XOR cannot be parted by a line, nor can two spirals. An
activation between the layers ends this: with GELU the same network parts both.

Minsky and Papert, Perceptrons (1969), is about XOR.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import nn
from ...arrays import Array
from .characters import beside
from .experiment import Experiment

CONFIGS = {
    "xor": nn.Config(hidden=8, batch=4, epochs=200, lr=0.05),
    "spirals": nn.Config(hidden=32, batch=32, epochs=150, lr=0.02),
}


@dataclass(frozen=True, eq=False)
class Fit:
    """One network after its training.

    accuracy  on the held-out points; of XOR, on its four
    collapse  the largest |network(x) - (x (W1 W2) + (b1 W2 + b2))|: 0 but for rounding where it is linear
    map       (40, 40) by how much it takes each place of the plane, [-1.4, 1.4]², for the second class rather than the
              first: the difference of its outputs, the first row below
    """

    data: str
    activation: str
    losses: tuple[float, ...]
    accuracy: float
    collapse: float
    map: Array
    points: Array
    labels: Array


@dataclass(frozen=True, eq=False)
class Nonlinearity:
    fits: tuple[Fit, ...]

    def fit(self, data: str, activation: str) -> Fit:
        return next(fit for fit in self.fits if (fit.data, fit.activation) == (data, activation))


def run(seed: int = 0, impl: str | None = None) -> Nonlinearity:
    """XOR and spirals, learnt without an activation and with GELU, from the same weights."""
    return Nonlinearity(
        tuple(
            _fit(data, activation, seed, impl)
            for data in (nn.xor(), nn.spirals(turns=1.25))
            for activation in ("identity", "gelu")
        )
    )


def _fit(data: nn.Data, activation: str, seed: int, impl: str | None) -> Fit:
    import dataclasses

    config = dataclasses.replace(
        CONFIGS[data.name], activation=activation, seed=seed, impl=impl, init="xavier", dtype="float64"
    )
    training = nn.Training(data, config)
    told = training.run()
    p = training.network.parameters
    one_layer = data.x @ (p["w1"] @ p["w2"]) + (p["b1"] @ p["w2"] + p["b2"])
    side = np.linspace(-1.4, 1.4, 40)
    plane = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    outputs = training.network(plane)
    return Fit(
        data.name,
        activation,
        told.losses,
        told.accuracy,
        float(np.abs(training.network(data.x) - one_layer).max()),
        (outputs[:, 1] - outputs[:, 0]).reshape(40, 40),
        data.x,
        data.labels,
    )


def finding(data: Nonlinearity) -> str:
    shares = {(fit.data, fit.activation): f"{fit.accuracy:.0%}" for fit in data.fits}
    return (
        f"Without an activation two layers are one, and draw a straight line: {shares['xor', 'identity']} of XOR and "
        f"{shares['spirals', 'identity']} of the spirals are right. With GELU between them it is "
        f"{shares['xor', 'gelu']} and {shares['spirals', 'gelu']}."
    )


def text(data: Nonlinearity, width: int) -> list[str]:
    blocks = []
    for fit in data.fits:
        rows = ["".join("█" if margin > 0 else "·" for margin in row[::2]) for row in fit.map[::-4]]
        blocks.append([f"{fit.data}, {fit.activation}: {fit.accuracy:.0%}", *rows])
    lines = [*beside(*blocks[:2], gap=6), "", *beside(*blocks[2:], gap=6), ""]
    linear = [fit for fit in data.fits if fit.activation == "identity"]
    worst = max(fit.collapse for fit in linear)
    return [*lines, f"The linear network against one layer W1 W2: outputs differ by {worst:.0e} at most."]


def picture(data: Nonlinearity) -> str:
    from ...output.pictures import SERIES, Picture

    made = Picture(6.4, 6.4, 2, 2, title="XOR and two spirals, learnt without an activation and with GELU")
    with made as grid:
        for axes, fit in zip(grid.flat, data.fits, strict=True):
            side = np.linspace(-1.4, 1.4, 40)
            colours = [SERIES[0], SERIES[1]]
            axes.contourf(side, side, fit.map, levels=[-1e9, 0, 1e9], colors=colours, alpha=0.22)
            for label in (0, 1):
                these = fit.points[fit.labels == label][:60]
                size = 70 if fit.data == "xor" else 9
                axes.scatter(*these.T, s=size, color=colours[label], linewidths=0)
            name = "no activation" if fit.activation == "identity" else "GELU"
            axes.set_title(f"{fit.data}, {name}: {fit.accuracy:.0%} right", fontsize=9)
            axes.set_aspect("equal")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(False)
    return made.svg


EXPERIMENT = Experiment("nonlinearity", "Why are non-linear activations needed?", run, finding, text, picture)
