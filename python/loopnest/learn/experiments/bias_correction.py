"""Adam's two means begin at 0 and are too small at first; bias correction makes up for it.

For a constant gradient g, after t steps m = (1 - β1^t) g and v = (1 - β2^t) g². Divided by these factors they are g and
g² from the first step on, and each step is lr. Without the division a step is lr (1 - β1^t) / √(1 - β2^t). With
β1 = 0.9 and β2 = 0.999 the second mean is the slower one, so steps are too long: 3.2 times at first, 6.6 times after a
dozen steps, and still 1.3 times after a thousand. With a learning rate near what the loss bears, the loss jumps.

Kingma and Ba, Adam (ICLR 2015), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import nn
from ...operations.optimizers import adam
from .experiment import Experiment, Rows

BETA1, BETA2 = 0.9, 0.999


@dataclass(frozen=True)
class BiasCorrection:
    """The lengths of steps for a constant gradient, in learning rates, with the correction, without it and by the
    formula for those without; and the losses of one training with it and without."""

    with_correction: tuple[float, ...]
    without: tuple[float, ...]
    formula: tuple[float, ...]
    losses_with: tuple[float, ...]
    losses_without: tuple[float, ...]


def run(seed: int = 0, steps: int = 3000) -> BiasCorrection:
    """Take Adam's steps for a constant gradient, and learn two spirals with the learning rate 0.1."""
    t = np.arange(1, steps + 1)
    formula = (1 - BETA1**t) / np.sqrt(1 - BETA2**t)
    lengths = _steps(steps, True), _steps(steps, False)
    return BiasCorrection(*lengths, tuple(formula.tolist()), _losses(seed, True), _losses(seed, False))


def _steps(count: int, correction: bool) -> tuple[float, ...]:
    """The lengths of steps of learning rate 1 for the gradient 0.01."""
    w, m, v, g = np.zeros(1), np.zeros(1), np.zeros(1), np.full(1, 0.01)
    lengths = []
    for step in range(1, count + 1):
        w[0] = 0.0
        adam(w, g, m, v, step=step, lr=1.0, eps=0.0, bias_correction=correction)
        lengths.append(abs(float(w[0])))
    return tuple(lengths)


def _losses(seed: int, correction: bool) -> tuple[float, ...]:
    data = nn.spirals()
    network = nn.Network((2, 64, 2), seed=seed, dtype=np.float64)
    optimizer = nn.Optimizer("adam", network.parameters, 0.1, bias_correction=correction)
    losses = []
    for epoch in range(6):
        for batch in nn.batches(len(data.labels), 64, seed, epoch):
            loss, gradients = network.gradients(data.x[batch], data.labels[batch])
            optimizer.step(gradients)
            losses.append(loss)
    return tuple(losses)


def finding(data: BiasCorrection) -> str:
    longest = max(data.without)
    until = next((t for t, step in enumerate(data.without, 1) if t > 100 and step < 1.1), len(data.without))
    return (
        f"With the correction every step is 1.00 learning rates. Without it the first is {data.without[0]:.2f}, the "
        f"longest {longest:.2f}, at step {data.without.index(longest) + 1}, and steps are more than a tenth too long "
        f"until step {until:,}. The loss of a training rises to {max(data.losses_with):.1f} with the correction and to "
        f"{max(data.losses_without):.1f} without."
    )


def rows(data: BiasCorrection) -> Rows:
    shown = [t for t in (1, 3, 10, 30, 100, 300, 1000, 3000) if t <= len(data.without)]
    lengths = {"with the correction": data.with_correction, "without": data.without}
    table = [[name, *(f"{values[t - 1]:.2f}" for t in shown)] for name, values in lengths.items()]
    return [["step, in learning rates", *map(str, shown)], *table]


def picture(data: BiasCorrection) -> str:
    from ...output.pictures import SERIES, Picture

    made = Picture(8, 3.2, columns=2, title="Adam with and without bias correction: its steps, and a training's loss")
    with made as grid:
        lengths, losses = grid[0]
        shown = np.unique(np.geomspace(1, len(data.without), 100).astype(int))
        for values, curve, colour, name in (
            (data.without, data.losses_without, SERIES[1], "without"),
            (data.with_correction, data.losses_with, SERIES[0], "with bias correction"),
        ):
            lengths.semilogx(shown, np.array(values)[shown - 1], color=colour, label=name)
            losses.plot(range(1, len(curve) + 1), curve, color=colour)
        lengths.set(title="A step, in learning rates", xlabel="step, for a constant gradient")
        lengths.set_ylim(0)
        lengths.legend()
        losses.set(title="Loss of two spirals, rate 0.1", xlabel="step")
    return made.svg


EXPERIMENT = Experiment(
    "bias-correction", "What does Adam's bias correction do in the first steps?", run, finding, rows, picture
)
