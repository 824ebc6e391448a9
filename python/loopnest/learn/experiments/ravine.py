"""In a ravine, steep across and shallow along, plain gradient descent zigzags; the others were made for it.

The loss is ½ (x² + κ y²), κ times as steep in y as in x. SGD's rate must stay below 2/κ, or y blows up, and with that
it creeps along x: it needs some κ steps. Momentum adds up what gradients agree on, along the ravine, and cancels what
they do not, across it: √κ steps. RMSprop and Adam divide each coordinate by its own gradients' size, and so do not
notice that the two differ, as long as the ravine runs along an axis; turned by 45° it is harder for them.

Each optimizer has the best rate of a grid, the one that comes below a thousandth of the first loss soonest, as a mean
over twelve starts.

Polyak, Some methods of speeding up the convergence of iteration methods (1964), is the source for √κ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import nn
from ...arrays import Array
from .characters import chart
from .experiment import Experiment

KAPPA = 50.0
STARTS = np.array([(x, y) for x in (-9.0, -7.0, -5.0, 8.0) for y in (1.5, -1.2, 0.7)])
"""Twelve, so that no rate is the best for having hit the minimum by luck. The first one's path is drawn."""
PART = 1e-3
RATES = tuple(float(rate) for rate in np.geomspace(1e-3, 3, 36))
OPTIONS: dict[str, dict[str, Any]] = {"rmsprop": {"rho": 0.9}}


@dataclass(frozen=True, eq=False)
class Descent:
    """One optimizer with its best rate.

    path    (steps + 1, 2) where it was, from the first start on, in the ravine's own axes
    losses  there, as a part of the first one
    steps   until the loss was first below a thousandth: the mean over all starts
    """

    optimizer: str
    rate: float
    path: Array
    losses: tuple[float, ...]
    steps: float


@dataclass(frozen=True, eq=False)
class Ravine:
    """along: the ravine runs along x; turned: by 45°."""

    kappa: float
    along: tuple[Descent, ...]
    turned: tuple[Descent, ...]

    def descent(self, optimizer: str, turned: bool = False) -> Descent:
        return next(d for d in (self.turned if turned else self.along) if d.optimizer == optimizer)


def run(impl: str | None = None, limit: int = 200) -> Ravine:
    """All four optimizers, each with the best of 36 learning rates, along an axis and turned."""
    turns = [
        tuple(
            min((_descent(name, rate, angle, impl, limit) for rate in RATES), key=lambda descent: descent.steps)
            for name in nn.OPTIMIZERS
        )
        for angle in (0.0, np.pi / 4)
    ]
    return Ravine(KAPPA, *turns)


def _descent(name: str, rate: float, angle: float, impl: str | None, limit: int) -> Descent:
    """From all starts at once: the optimizers update each number by itself. It ends `limit` steps on, or when all are
    below. A rate with which a loss rises above its first value does not count: that it comes down again is luck."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    curvature = turn @ np.diag([1.0, KAPPA]) @ turn.T
    places = STARTS @ turn.T
    optimizer = nn.Optimizer(name, {"places": places}, rate, impl=impl, **OPTIONS.get(name, {}))
    first = _losses(places, curvature)
    reached = np.full(len(STARTS), limit + 1)
    path, losses = [places[0].copy()], [1.0]
    for step in range(1, limit + 1):
        optimizer.step({"places": places @ curvature})
        parts = _losses(places, curvature) / first
        reached = np.where((parts < PART) & (reached > limit), step, reached)
        if reached[0] >= step:  # the drawn one goes on until it is there
            path.append(places[0].copy())
            losses.append(float(parts[0]))
        if parts.max() > 1:
            reached = np.full(len(STARTS), limit + 1)
            break
        if (reached <= limit).all():
            break
    return Descent(name, rate, np.array(path) @ turn, tuple(losses), float(reached.mean()))


def _losses(places: Array, curvature: Array) -> Array:
    """½ pᵀ H p of each place."""
    result: Array = 0.5 * np.einsum("ni,ij,nj->n", places, curvature, places)
    return result


def finding(data: Ravine) -> str:
    along = ", ".join(f"{d.optimizer} {d.steps:.0f}" for d in data.along)
    turned = ", ".join(f"{d.optimizer} {d.steps:.0f}" for d in data.turned)
    return (
        f"In a ravine {data.kappa:g} times as steep across as along, steps to a thousandth of the loss: {along}. "
        f"Turned by 45°: {turned}. SGD and momentum do not notice the turn; those that scale each coordinate do."
    )


def text(data: Ravine, width: int) -> list[str]:
    curves = {d.optimizer: (list(range(len(d.losses))), list(d.losses)) for d in data.along}
    lines = [
        "loss, as a part of the first one (logarithmic)",
        *chart(curves, width, 14, log_y=True, x_label="step"),
        "",
    ]
    lines.append(f"{'':9} rate   steps   turned by 45°: rate   steps")
    for along, turned in zip(data.along, data.turned, strict=True):
        lines.append(
            f"{along.optimizer:9} {along.rate:<6.3g} {along.steps:5.0f}   {turned.rate:19.3g} {turned.steps:7.0f}"
        )
    return lines


def picture(data: Ravine) -> str:
    from ...output.pictures import GRID, SERIES, Picture

    made = Picture(7.6, 4.4, 2, 2, title="Paths of four optimizers through a ravine")
    with made as grid:
        from matplotlib.patches import Ellipse

        for axes, d, colour in zip(grid.flat, data.along, SERIES, strict=False):
            for level in np.geomspace(0.3, 100, 8):
                wide = 2 * np.sqrt(2 * level)
                axes.add_patch(Ellipse((0, 0), wide, wide / np.sqrt(data.kappa), fill=False, edgecolor=GRID))
            axes.plot(*d.path.T, color=colour, linewidth=1, marker="o", markersize=2)
            axes.plot(0, 0, marker="+", color="black", markersize=8)
            axes.set_title(f"{d.optimizer}: {len(d.losses) - 1} steps, rate {d.rate:.2g}", fontsize=9)
            axes.set_xlim(-10, 3)
            axes.set_ylim(-2, 2)
            axes.grid(False)
    return made.svg


EXPERIMENT = Experiment(
    "ravine", "How do SGD, momentum, RMSprop and Adam get through a ravine?", run, finding, text, picture
)
