"""A linear two-layer network is a single linear layer, however long it is trained.

(x W1 + b1) W2 + b2 = x (W1 W2) + (b1 W2 + b2): the product of two matrices is one matrix, and one linear layer divides
the plane by a straight line. No line separates the four points of XOR, or two spirals. An activation between the layers
changes this: with GELU the same network separates both.

Minsky and Papert, Perceptrons (1969), is about XOR.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ... import nn
from ...arrays import Array
from ...output.pictures import SERIES, Picture
from .experiment import Experiment, Rows

CONFIGS = {
    "xor": nn.Config(hidden=8, batch=4, epochs=200, lr=0.05, init="xavier", dtype="float64"),
    "spirals": nn.Config(hidden=32, batch=32, epochs=150, lr=0.02, init="xavier", dtype="float64"),
}
SIDE = np.linspace(-1.4, 1.4, 40)


@dataclass(frozen=True, eq=False)
class Fit:
    """One network after its training.

    accuracy  on the held-out points; for XOR, on its four
    collapse  the largest |network(x) - (x (W1 W2) + (b1 W2 + b2))|: 0 up to rounding for a linear network
    map       (40, 40) the second output minus the first over the plane [-1.4, 1.4]², the first row at the bottom
    """

    data: str
    activation: str
    accuracy: float
    collapse: float
    map: Array
    points: Array
    labels: Array


@dataclass(frozen=True, eq=False)
class Nonlinearity:
    fits: tuple[Fit, ...]


def run(seed: int = 0) -> Nonlinearity:
    """Learn XOR and spirals without an activation and with GELU, from the same weights."""
    datasets = nn.xor(), nn.spirals(turns=1.25)
    return Nonlinearity(tuple(_fit(data, f, seed) for data in datasets for f in ("identity", "gelu")))


def _fit(data: nn.Data, activation: str, seed: int) -> Fit:
    training = nn.Training(data, dataclasses.replace(CONFIGS[data.name], activation=activation, seed=seed))
    accuracy = training.run().accuracy
    p = training.network.parameters
    one_layer = data.x @ (p["w1"] @ p["w2"]) + (p["b1"] @ p["w2"] + p["b2"])
    collapse = float(np.abs(training.network(data.x) - one_layer).max())
    plane = np.stack(np.meshgrid(SIDE, SIDE), axis=-1).reshape(-1, 2)
    outputs = training.network(plane)
    margins = (outputs[:, 1] - outputs[:, 0]).reshape(len(SIDE), len(SIDE))
    return Fit(data.name, activation, accuracy, collapse, margins, data.x, data.labels)


def finding(data: Nonlinearity) -> str:
    shares = {(fit.data, fit.activation): f"{fit.accuracy:.0%}" for fit in data.fits}
    return (
        f"Without an activation two layers are one, and draw a straight line: {shares['xor', 'identity']} of XOR and "
        f"{shares['spirals', 'identity']} of the spirals are right. With GELU between them it is "
        f"{shares['xor', 'gelu']} and {shares['spirals', 'gelu']}."
    )


def rows(data: Nonlinearity) -> Rows:
    table = [[f"{fit.data}, {fit.activation}", f"{fit.accuracy:.0%}", f"{fit.collapse:.0e}"] for fit in data.fits]
    return [["network", "right", "from one layer W1 W2"], *table]


def picture(data: Nonlinearity) -> str:
    made = Picture(6.4, 6.4, 2, 2, title="XOR and two spirals, learnt without an activation and with GELU")
    with made as grid:
        for axes, fit in zip(grid.flat, data.fits, strict=True):
            colours = SERIES[:2]
            axes.contourf(SIDE, SIDE, fit.map, levels=[-1e9, 0, 1e9], colors=colours, alpha=0.22)
            for label in (0, 1):
                points = fit.points[fit.labels == label][:60]
                axes.scatter(*points.T, s=70 if fit.data == "xor" else 9, color=colours[label], linewidths=0)
            name = "no activation" if fit.activation == "identity" else "GELU"
            axes.set_title(f"{fit.data}, {name}: {fit.accuracy:.0%} right", fontsize=9)
            axes.set(aspect="equal", xticks=[], yticks=[])
    return made.svg


EXPERIMENT = Experiment("nonlinearity", "Why are non-linear activations needed?", run, finding, rows, picture)
