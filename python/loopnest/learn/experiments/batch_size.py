"""A batch's gradient is the mean of its examples' gradients: its variance falls as 1/B.

For B examples drawn independently, Var(1/B · Σ g_i) = Var(g_i) / B. The noise falls with 1/√B, and the work grows with
B: half the noise costs four times the work. Large batches therefore need fewer steps. Small ones need fewer examples
and fewer seconds, until a step is so small that the calls cost more than their work.

Bottou, Curtis and Nocedal, Optimization Methods for Large-Scale Machine Learning (2018), section 4.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ... import nn
from ...arrays import Array
from ...backends.threads import num_threads, set_num_threads
from ...output.pictures import FAINT, SERIES, Picture
from .experiment import Experiment, Rows

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CURVES = (4, 32, 256)
TARGET = 0.2


@dataclass(frozen=True)
class Curve:
    """A descent with one batch size: the loss over all examples, by steps and by seconds of one processor."""

    batch: int
    steps: tuple[int, ...]
    seconds: tuple[float, ...]
    losses: tuple[float, ...]

    def first_below(self, target: float) -> int | None:
        """The index of the first point with a loss below the target."""
        return next((k for k, loss in enumerate(self.losses) if loss < target), None)


@dataclass(frozen=True)
class BatchSize:
    """variances: by batch size, the mean of |g_B - g|², g the gradient over all examples; slope: of their logarithms"""

    sizes: tuple[int, ...]
    variances: tuple[float, ...]
    slope: float
    curves: tuple[Curve, ...]


def run(seed: int = 0, draws: int = 200, epochs: int = 12) -> BatchSize:
    """Measure the variance of a batch's gradient by its size, and descents by plain SGD with one learning rate."""
    data = nn.digits()
    network = nn.Network((data.features, 32, data.classes), seed=seed, dtype=np.float64)
    rng = np.random.default_rng(seed)

    def gradient(x: Array, labels: Array) -> Array:
        return np.concatenate([g.ravel() for g in network.gradients(x, labels)[1].values()])

    whole = gradient(data.x, data.labels)
    variances = []
    for size in SIZES:
        batches = (rng.integers(0, len(data.labels), size) for _ in range(draws))
        errors = [np.sum((gradient(data.x[batch], data.labels[batch]) - whole) ** 2) for batch in batches]
        variances.append(float(np.mean(errors)))
    slope = float(np.polyfit(np.log(SIZES), np.log(variances), 1)[0])
    curves = tuple(_descent(data, size, seed, epochs) for size in CURVES)
    return BatchSize(SIZES, tuple(variances), slope, curves)


def _descent(data: nn.Data, batch: int, seed: int, epochs: int) -> Curve:
    config = nn.Config(optimizer="sgd", lr=0.05, batch=batch, hidden=32, seed=seed, epochs=epochs)
    training = nn.Training(data, config)
    training.clock = time.process_time
    x = data.x.astype(np.float32)
    every = max(1, training.steps_an_epoch // 8)
    points = []

    def note(training: nn.Training) -> None:
        if training.step_number % every == 0:
            loss = training.network.gradients(x, data.labels)[0]
            points.append((training.step_number, training.seconds, loss))

    threads = num_threads()
    set_num_threads(1)
    try:
        training.run(on_step=note)
    finally:
        set_num_threads(threads)
    return Curve(batch, *zip(*points, strict=True))


def finding(data: BatchSize) -> str:
    ways = []
    for curve in data.curves:
        k = curve.first_below(TARGET)
        if k is None:
            ways.append(f"not reached with batches of {curve.batch}")
        else:
            examples, ms = curve.steps[k] * curve.batch, 1000 * curve.seconds[k]
            ways.append(f"{curve.steps[k]:,} steps of {curve.batch} ({examples:,} examples, {ms:.0f} ms)")
    power = f"The gradient's variance falls as B to the power {data.slope:.2f}."
    return f"{power} A loss of {TARGET}: {', '.join(ways)}."


def rows(data: BatchSize) -> Rows:
    header = ["examples in a batch", *map(str, data.sizes)]
    times = (f"{data.variances[0] / variance:.3g}" for variance in data.variances)
    return [header, ["variance falls by", *times], ["1/B", *map(str, data.sizes)]]


def picture(data: BatchSize) -> str:
    made = Picture(9.6, 3.2, columns=3, title="Batch size: the gradient's variance, loss against steps and seconds")
    with made as grid:
        variance, steps, seconds = grid[0]
        ideal = data.variances[0] / np.array(data.sizes)
        variance.loglog(data.sizes, ideal, color=FAINT, linewidth=1, linestyle="--", label="1/B")
        variance.loglog(data.sizes, data.variances, color=SERIES[0], marker="o", markersize=4, label="measured")
        variance.set(title="Variance of the gradient", xlabel="examples in a batch, B")
        variance.legend()
        for axes, name in ((steps, "steps"), (seconds, "seconds")):
            for curve, colour in zip(data.curves, SERIES, strict=False):
                axes.loglog(getattr(curve, name), curve.losses, color=colour, label=f"B = {curve.batch}")
            axes.set(title=f"Loss against {name}", xlabel=name)
        steps.legend()
    return made.svg


EXPERIMENT = Experiment(
    "batch-size", "How does the batch's size affect descent?", run, finding, rows, picture, nn.why_no_digits
)
