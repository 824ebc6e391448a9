"""Hidden units that begin alike stay alike: the network is as wide as one of them.

What a hidden unit learns depends on its incoming and outgoing weights alone. Where these are the same for all units, so
are all gradients, and after every step they are the same still: 8 units then do the work of one. With all weights 0 and
GELU it is worse: the hidden layer's output is gelu(0) = 0 and nothing flows back through weights of 0, so that the
outputs' biases alone are learnt. Random weights break the symmetry; it is all that they have to do.

Here a network with 8 hidden units learns the digits from three beginnings, and every unit is shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import nn
from ...arrays import Array
from .experiment import Experiment

HIDDEN = 8
STARTS = {"zeros": "all weights 0", "constant": "all weights alike", "he": "random weights (He)"}


@dataclass(frozen=True, eq=False)
class Start:
    """One network after its training.

    w1        (64, 8) the weights into each hidden unit, a column each
    w2        (8, 10) the weights out of each, a row each
    moved     by unit, how far its weights are from where they began: the norm of the difference
    apart     by unit, how far its weights are from those of the first unit
    """

    init: str
    losses: tuple[float, ...]
    accuracy: float
    w1: Array
    w2: Array
    moved: tuple[float, ...]
    apart: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class ZeroInit:
    """single: how many digits are right with a single hidden unit."""

    starts: tuple[Start, ...]
    single: float

    def start(self, init: str) -> Start:
        return next(start for start in self.starts if start.init == init)


def run(seed: int = 0, impl: str | None = None, epochs: int = 10) -> ZeroInit:
    """The digits, learnt with 8 hidden units from zeros, from weights that are all alike, and from random ones."""
    data = nn.digits()
    single = nn.train(data, nn.Config(impl=impl, hidden=1, seed=seed, epochs=epochs, dtype="float64"))
    return ZeroInit(tuple(_start(data, init, seed, impl, epochs) for init in STARTS), single.accuracy)


def _start(data: nn.Data, init: str, seed: int, impl: str | None, epochs: int) -> Start:
    config = nn.Config(impl=impl, hidden=HIDDEN, init=init, seed=seed, epochs=epochs, dtype="float64")
    training = nn.Training(data, config)
    before = _units(training)
    told = training.run()
    after = _units(training)
    p = training.network.parameters
    return Start(
        init,
        told.losses,
        told.accuracy,
        p["w1"].copy(),
        p["w2"].copy(),
        tuple(np.linalg.norm(after - before, axis=1).tolist()),
        tuple(np.linalg.norm(after - after[0], axis=1).tolist()),
    )


def _units(training: nn.Training) -> Array:
    """All that belongs to each hidden unit, a row each: weights in, bias, weights out."""
    p = training.network.parameters
    return np.hstack([p["w1"].T, p["b1"][:, None], p["w2"]])


def finding(data: ZeroInit) -> str:
    zeros, alike, random = (data.start(init) for init in STARTS)
    return (
        f"From zeros no hidden unit moves, and {zeros.accuracy:.0%} of the digits are right. From weights that are all "
        f"alike the units move, but together: {alike.accuracy:.0%}, where a single unit reaches {data.single:.0%}. "
        f"From random weights each learns something else: {random.accuracy:.0%}."
    )


def text(data: ZeroInit, width: int) -> list[str]:
    lines = [f"{'':22}" + "".join(f"{'unit ' + str(unit + 1):>7}" for unit in range(HIDDEN))]
    for start in data.starts:
        lines.append(f"{STARTS[start.init]}: {start.accuracy:.1%} right")
        lines.append(f"  {'moved from its start':20}" + "".join(f"{distance:7.2g}" for distance in start.moved))
        lines.append(f"  {'away from unit 1':20}" + "".join(f"{distance:7.2g}" for distance in start.apart))
    return lines


def picture(data: ZeroInit) -> str:
    from ...output.pictures import Picture

    title = "The weights into each of 8 hidden units, after learning the digits from three beginnings"
    made = Picture(7.2, 2.9, len(data.starts), HIDDEN, title=title)
    with made as grid:
        for row, start in zip(grid, data.starts, strict=True):
            size = float(np.abs(start.w1).max()) or 1.0
            for unit, axes in enumerate(row):
                axes.imshow(start.w1[:, unit].reshape(8, 8), vmin=-size, vmax=size, interpolation="nearest")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.grid(False)
                for spine in axes.spines.values():
                    spine.set_visible(True)
                if start is data.starts[0]:
                    axes.set_title(f"unit {unit + 1}", fontsize=8, fontweight="normal", loc="center")
            label = f"{STARTS[start.init]}\n{start.accuracy:.0%} right"
            row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    return made.svg


EXPERIMENT = Experiment("zero-init", "What does zero initialisation do?", run, finding, text, picture, nn.why_no_digits)
