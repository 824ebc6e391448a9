"""Hidden units that begin alike stay alike: the network is as wide as one of them.

A hidden unit's gradient depends on its own incoming and outgoing weights alone. If these are the same for all units, so
are the gradients, and they remain the same after every step: 8 units do the work of one. With all weights 0 and GELU it
is worse: the hidden layer's output is gelu(0) = 0 and no gradient flows back through weights of 0, so only the biases
of the outputs are learnt. Random weights break the symmetry; that is their whole purpose.

Here a network with 8 hidden units learns the digits from three initialisations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import nn
from ...arrays import Array
from ...output.pictures import Picture
from .experiment import Experiment, Rows

HIDDEN = 8
STARTS = {"zeros": "all weights 0", "constant": "all weights alike", "he": "random weights (He)"}


@dataclass(frozen=True, eq=False)
class Start:
    """One network after its training.

    w1     (64, 8) the weights into each hidden unit, a column each
    moved  by unit, the distance of its weights from their initial values
    apart  by unit, the distance of its weights from the first unit's
    """

    accuracy: float
    w1: Array
    moved: tuple[float, ...]
    apart: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class ZeroInit:
    """starts: by initialisation; single: the accuracy with a single hidden unit"""

    starts: dict[str, Start]
    single: float


def run(seed: int = 0, epochs: int = 10) -> ZeroInit:
    """Learn the digits with 8 hidden units from zeros, from weights that are all alike, and from random ones."""
    data = nn.digits()
    single = nn.train(data, nn.Config(hidden=1, seed=seed, epochs=epochs, dtype="float64"))
    return ZeroInit({init: _start(data, init, seed, epochs) for init in STARTS}, single.accuracy)


def _start(data: nn.Data, init: str, seed: int, epochs: int) -> Start:
    config = nn.Config(hidden=HIDDEN, init=init, seed=seed, epochs=epochs, dtype="float64")
    training = nn.Training(data, config)
    before = _units(training)
    accuracy = training.run().accuracy
    after = _units(training)
    moved, apart = (tuple(np.linalg.norm(after - other, axis=1).tolist()) for other in (before, after[0]))
    return Start(accuracy, training.network.parameters["w1"].copy(), moved, apart)


def _units(training: nn.Training) -> Array:
    """The weights in, the bias and the weights out of each hidden unit, a row each."""
    p = training.network.parameters
    return np.hstack([p["w1"].T, p["b1"][:, None], p["w2"]])


def finding(data: ZeroInit) -> str:
    zeros, alike, random = data.starts.values()
    return (
        f"From zeros no hidden unit moves, and {zeros.accuracy:.0%} of the digits are right. From weights that are all "
        f"alike the units move together: {alike.accuracy:.0%}, and a single unit reaches {data.single:.0%}. From "
        f"random weights each unit learns something else: {random.accuracy:.0%}."
    )


def rows(data: ZeroInit) -> Rows:
    table = [
        [STARTS[init], f"{s.accuracy:.1%}", f"{min(s.moved):.2g} to {max(s.moved):.2g}", f"{max(s.apart):.2g}"]
        for init, s in data.starts.items()
    ]
    return [["initialisation", "right", "units moved by", "at most apart"], *table]


def picture(data: ZeroInit) -> str:
    title = "The weights into each of 8 hidden units, after learning the digits from three beginnings"
    made = Picture(7.2, 2.9, len(data.starts), HIDDEN, title=title)
    with made as grid:
        for row, (init, start) in zip(grid, data.starts.items(), strict=True):
            size = float(np.abs(start.w1).max()) or 1.0
            for unit, axes in enumerate(row):
                axes.imshow(start.w1[:, unit].reshape(8, 8), vmin=-size, vmax=size, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(True)
                if init == "zeros":
                    axes.set_title(f"unit {unit + 1}", fontsize=8, fontweight="normal", loc="center")
            label = f"{STARTS[init]}\n{start.accuracy:.0%} right"
            row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    return made.svg


EXPERIMENT = Experiment("zero-init", "What does zero initialisation do?", run, finding, rows, picture, nn.why_no_digits)
