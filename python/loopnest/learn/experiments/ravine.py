"""In a ravine, steep across and shallow along, plain gradient descent zigzags.

The loss is ½ (x² + κ y²), κ times as steep in y as in x. SGD's rate must stay below 2/κ, or y blows up; with that rate
it needs about κ steps along x. Momentum adds up what the gradients agree on, along the ravine, and cancels the rest: √κ
steps. RMSprop and Adam divide each coordinate by the size of its own gradients, so the two directions look alike while
the ravine runs along an axis. Turned by 45° it is harder for them.

Each optimizer has the best learning rate of a grid: the one with the fewest steps to a thousandth of the first loss, as
a mean over twelve starts. Polyak, Some methods of speeding up the convergence of iteration methods (1964), has √κ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import nn
from ...arrays import Array
from ...output.pictures import GRID, SERIES, Picture
from .experiment import Experiment, Rows

KAPPA = 50.0
STARTS = np.array([(x, y) for x in (-9.0, -7.0, -5.0, 8.0) for y in (1.5, -1.2, 0.7)])
"""Twelve, so that no rate wins by hitting the minimum by luck. The picture has the path from the first, and the mean of
the steps."""
PART = 1e-3
RATES = tuple(float(rate) for rate in np.geomspace(1e-3, 3, 36))
OPTIONS: dict[str, dict[str, Any]] = {"rmsprop": {"rho": 0.9}}


@dataclass(frozen=True, eq=False)
class Descent:
    """One optimizer with its best rate.

    path   (steps + 1, 2) the path from the first start, in the ravine's own axes
    steps  until the loss is below a thousandth: the mean over all starts
    """

    optimizer: str
    rate: float
    path: Array
    steps: float


@dataclass(frozen=True, eq=False)
class Ravine:
    """The descents with the ravine along x, and turned by 45°."""

    kappa: float
    along: tuple[Descent, ...]
    turned: tuple[Descent, ...]


def run(limit: int = 200) -> Ravine:
    """Let four optimizers descend, each with the best of 36 learning rates, along an axis and turned."""
    turns = [
        tuple(
            min((_descent(name, rate, angle, limit) for rate in RATES), key=lambda descent: descent.steps)
            for name in nn.OPTIMIZERS
        )
        for angle in (0.0, np.pi / 4)
    ]
    return Ravine(KAPPA, *turns)


def _descent(name: str, rate: float, angle: float, limit: int) -> Descent:
    """Descend from all starts at once, since the optimizers update each number by itself, for at most `limit` steps.

    A rate with which a loss rises above its first value counts as failed: it comes down again by luck only.
    """
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    curvature = turn @ np.diag([1.0, KAPPA]) @ turn.T
    places = STARTS @ turn.T
    optimizer = nn.Optimizer(name, {"places": places}, rate, **OPTIONS.get(name, {}))

    def losses() -> Array:
        return np.asarray(0.5 * np.einsum("ni,ij,nj->n", places, curvature, places))

    first = losses()
    reached = np.full(len(STARTS), limit + 1)
    path = [places[0].copy()]
    for step in range(1, limit + 1):
        optimizer.step({"places": places @ curvature})
        parts = losses() / first
        reached = np.where((parts < PART) & (reached > limit), step, reached)
        if reached[0] >= step:
            path.append(places[0].copy())
        if parts.max() > 1:
            reached[:] = limit + 1
        if parts.max() > 1 or (reached <= limit).all():
            break
    return Descent(name, rate, np.array(path) @ turn, float(reached.mean()))


def finding(data: Ravine) -> str:
    along, turned = (", ".join(f"{d.optimizer} {d.steps:.0f}" for d in found) for found in (data.along, data.turned))
    return (
        f"In a ravine {data.kappa:g} times as steep across as along, steps to a thousandth of the loss: {along}. "
        f"Turned by 45°: {turned}. The turn changes nothing for SGD and momentum; it slows those that scale each "
        f"coordinate."
    )


def rows(data: Ravine) -> Rows:
    pairs = zip(data.along, data.turned, strict=True)
    table = [[a.optimizer, f"{a.rate:.3g}", f"{a.steps:.0f}", f"{t.rate:.3g}", f"{t.steps:.0f}"] for a, t in pairs]
    return [["optimizer", "rate", "steps", "turned: rate", "steps"], *table]


def picture(data: Ravine) -> str:
    made = Picture(7.6, 4.4, 2, 2, title="Paths of four optimizers through a ravine")
    with made as grid:
        from matplotlib.patches import Ellipse

        for axes, d, colour in zip(grid.flat, data.along, SERIES, strict=False):
            for level in np.geomspace(0.3, 100, 8):
                wide = 2 * np.sqrt(2 * level)
                axes.add_patch(Ellipse((0, 0), wide, wide / np.sqrt(data.kappa), fill=False, edgecolor=GRID))
            axes.plot(*d.path.T, color=colour, linewidth=1, marker="o", markersize=2)
            axes.plot(0, 0, marker="+", color="black", markersize=8)
            axes.set_title(f"{d.optimizer}: {d.steps:.0f} steps, rate {d.rate:.2g}", fontsize=9)
            axes.set(xlim=(-10, 3), ylim=(-2, 2))
            axes.grid(False)
    return made.svg


EXPERIMENT = Experiment(
    "ravine", "How do SGD, momentum, RMSprop and Adam get through a ravine?", run, finding, rows, picture
)
