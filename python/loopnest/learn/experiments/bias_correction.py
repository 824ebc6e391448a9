"""Adam's two means begin at 0 and so are too small at first; bias correction makes up for it.

For a constant gradient g, after t steps m = (1 - β1^t) g and v = (1 - β2^t) g². Divided by these factors they are g and
g² from the first step on, and each step is lr. Left as they are, a step is lr (1 - β1^t) / √(1 - β2^t): with the usual
β1 = 0.9 and β2 = 0.999 the second mean is the slower one, so that steps are too long, 3.2 times at first, 6.6 times
after a dozen steps, and still 1.3 times after a thousand. Where the learning rate is near what the loss bears, it
jumps.

Kingma and Ba, Adam (ICLR 2015), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import loopnest as ln

from ... import nn
from .characters import chart
from .experiment import Experiment

BETA1, BETA2 = 0.9, 0.999


@dataclass(frozen=True)
class BiasCorrection:
    """Steps of `ln.adam` with a constant gradient, in learning rates, with the correction and without; what the formula
    says of those without; and the losses of the same training, with and without."""

    with_correction: tuple[float, ...]
    without: tuple[float, ...]
    formula: tuple[float, ...]
    losses_with: tuple[float, ...]
    losses_without: tuple[float, ...]


def run(seed: int = 0, impl: str | None = None, steps: int = 3000) -> BiasCorrection:
    """Adam's steps for a constant gradient, and two spirals learnt with the learning rate 0.1."""
    t = np.arange(1, steps + 1)
    formula = (1 - BETA1**t) / np.sqrt(1 - BETA2**t)
    corrected, plain = (_steps(steps, correction, impl) for correction in (True, False))
    losses = [_losses(seed, correction, impl) for correction in (True, False)]
    return BiasCorrection(corrected, plain, tuple(formula.tolist()), *losses)


def _steps(count: int, correction: bool, impl: str | None) -> tuple[float, ...]:
    """The lengths of steps of learning rate 1 for a gradient that is 0.01 throughout."""
    w, m, v = np.zeros(1), np.zeros(1), np.zeros(1)
    g = np.full(1, 0.01)
    lengths = []
    for step in range(1, count + 1):
        w[0] = 0.0
        ln.adam(w, g, m, v, step=step, lr=1.0, eps=0.0, bias_correction=correction, impl=impl)
        lengths.append(abs(float(w[0])))
    return tuple(lengths)


def _losses(seed: int, correction: bool, impl: str | None) -> tuple[float, ...]:
    data = nn.spirals()
    network = nn.Network((2, 64, 2), seed=seed, dtype=np.float64, impl=impl)
    adam = nn.Optimizer("adam", network.parameters, 0.1, impl=impl, bias_correction=correction)
    losses = []
    for epoch in range(6):
        for batch in nn.batches(len(data.labels), 64, seed, epoch):
            loss, gradients = network.gradients(data.x[batch], data.labels[batch])
            adam.step(gradients)
            losses.append(loss)
    return tuple(losses)


def finding(data: BiasCorrection) -> str:
    longest = max(data.without)
    until = next((t for t, step in enumerate(data.without, 1) if t > 100 and step < 1.1), len(data.without))
    return (
        f"With the correction every step is 1.00 learning rates. Without it the first is {data.without[0]:.2f}, the "
        f"longest {longest:.2f}, at step {data.without.index(longest) + 1}, and {until:,} steps go by until they are "
        f"less than a tenth too long. The same training's loss rises to {max(data.losses_with):.1f} with it and to "
        f"{max(data.losses_without):.1f} without."
    )


def text(data: BiasCorrection, width: int) -> list[str]:
    lines = ["length of a step for a constant gradient, in learning rates"]
    shown = sorted({int(t) for t in np.geomspace(1, len(data.without), 60)})
    curves = {
        "without the correction": (shown, [data.without[t - 1] for t in shown]),
        "with it": (shown, [data.with_correction[t - 1] for t in shown]),
    }
    lines += [*chart(curves, width, 10, log_x=True, x_label="step, logarithmic"), ""]
    steps = list(range(1, len(data.losses_with) + 1))
    losses = {"without the correction": (steps, data.losses_without), "with it": (steps, data.losses_with)}
    return [*lines, "loss of two spirals, learning rate 0.1", *chart(losses, width, 10, x_label="step")]


def picture(data: BiasCorrection) -> str:
    from ...output.pictures import SERIES, Picture

    made = Picture(8, 3.2, columns=2, title="Adam with and without bias correction: its steps, and a training's loss")
    with made as grid:
        lengths, losses = grid[0]
        shown = np.unique(np.geomspace(1, len(data.without), 100).astype(int))
        for values, colour, name in (
            (data.without, SERIES[1], "without"),
            (data.with_correction, SERIES[0], "with bias correction"),
        ):
            lengths.semilogx(shown, np.array(values)[shown - 1], color=colour, label=name)
        lengths.set_ylim(0)
        lengths.set_title("A step, in learning rates")
        lengths.set_xlabel("step, for a constant gradient")
        lengths.legend()
        losses.plot(range(1, len(data.losses_without) + 1), data.losses_without, color=SERIES[1])
        losses.plot(range(1, len(data.losses_with) + 1), data.losses_with, color=SERIES[0])
        losses.set_title("Loss of two spirals, rate 0.1")
        losses.set_xlabel("step")
    return made.svg


EXPERIMENT = Experiment(
    "bias-correction", "What does Adam's bias correction do in the first steps?", run, finding, text, picture
)
