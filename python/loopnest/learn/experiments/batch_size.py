"""A batch's gradient is the mean of its examples' gradients: B of them have a variance 1/B of one's.

With examples drawn independently, Var(1/B · Σ g_i) = Var(g_i) / B: the noise falls with 1/√B, and the work grows with
B. So a larger batch makes a step more certain, and twice as certain for four times the work. Against steps, large
batches win; against examples or seconds, small ones do, until a step is so small that calling the operations costs more
than their work.

Bottou, Curtis and Nocedal, Optimization Methods for Large-Scale Machine Learning (2018), section 4.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ... import nn
from ...arrays import Array
from ...backends.threads import num_threads, set_num_threads
from .characters import chart
from .experiment import Experiment

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CURVES = (4, 32, 256)
TARGET = 0.2


@dataclass(frozen=True)
class Curve:
    """A descent with one batch size: the loss over all examples to learn from, after so many steps, and seconds of one
    processor."""

    batch: int
    steps: tuple[int, ...]
    seconds: tuple[float, ...]
    losses: tuple[float, ...]

    def first_below(self, target: float) -> int | None:
        """The number of the point at which the loss is first below the target."""
        return next((k for k, loss in enumerate(self.losses) if loss < target), None)


@dataclass(frozen=True)
class BatchSize:
    """variances  by batch size, the mean of |g_B - g|², where g is the gradient over all examples
    slope      of their logarithms
    """

    sizes: tuple[int, ...]
    variances: tuple[float, ...]
    slope: float
    curves: tuple[Curve, ...]


def run(seed: int = 0, impl: str | None = None, draws: int = 200, epochs: int = 12) -> BatchSize:
    """The variance of a batch's gradient by its size, and descents by plain SGD with the same learning rate."""
    data = nn.digits()
    network = nn.Network((data.features, 32, data.classes), seed=seed, dtype=np.float64, impl=impl)
    whole = _gradient(network, data.x, data.labels)
    rng = np.random.default_rng(seed)
    variances = []
    for size in SIZES:
        errors = []
        for _ in range(draws):
            batch = rng.integers(0, len(data.labels), size)
            errors.append(np.sum((_gradient(network, data.x[batch], data.labels[batch]) - whole) ** 2))
        variances.append(float(np.mean(errors)))
    slope = float(np.polyfit(np.log(SIZES), np.log(variances), 1)[0])
    curves = tuple(_descent(data, size, seed, impl, epochs) for size in CURVES)
    return BatchSize(SIZES, tuple(variances), slope, curves)


def _gradient(network: nn.Network, x: Array, labels: Array) -> Array:
    """All parameters' gradients in one vector."""
    _, gradients = network.gradients(x, labels)
    return np.concatenate([g.ravel() for g in gradients.values()])


def _descent(data: nn.Data, batch: int, seed: int, impl: str | None, epochs: int) -> Curve:
    config = nn.Config(impl=impl, optimizer="sgd", lr=0.05, batch=batch, hidden=32, seed=seed, epochs=epochs)
    training = nn.Training(data, config)
    training.clock = time.process_time
    x = data.x.astype(np.float32)
    every = max(1, training.steps_an_epoch // 8)
    steps, seconds, losses = [], [], []

    def note(training: nn.Training) -> None:
        if training.step_number % every == 0:
            steps.append(training.step_number)
            seconds.append(training.seconds)
            losses.append(training.network.gradients(x, data.labels)[0])

    threads = num_threads()
    set_num_threads(1)
    try:
        training.run(on_step=note)
    finally:
        set_num_threads(threads)
    return Curve(batch, tuple(steps), tuple(seconds), tuple(losses))


def finding(data: BatchSize) -> str:
    small, large = data.curves[0], data.curves[-1]
    parts = [f"The gradient's variance falls as B to the power {data.slope:.2f}: as 1/B."]
    reached = [(curve, curve.first_below(TARGET)) for curve in data.curves]
    told = [
        f"{curve.steps[k]:,} steps of {curve.batch} ({curve.steps[k] * curve.batch:,} examples, "
        f"{1000 * curve.seconds[k]:.0f} ms)"
        for curve, k in reached
        if k is not None
    ]
    if told:
        parts.append(f"With one learning rate, a loss of {TARGET} is reached after {', '.join(told)}.")
    missed = [curve.batch for curve, k in reached if k is None]
    if missed:
        parts.append(
            f"Batches of {missed[-1]} have not reached it in as many passes over the examples: "
            f"{large.steps[-1]:,} steps against the {small.steps[-1]:,} of batches of {small.batch}."
        )
    return " ".join(parts)


def text(data: BatchSize, width: int) -> list[str]:
    lines = ["variance of a batch's gradient, by the batch's size (both logarithmic)"]
    ideal = [data.variances[0] / size for size in data.sizes]
    curves = {"1/B": (data.sizes, ideal), "measured": (data.sizes, data.variances)}
    lines += [*chart(curves, width, 9, log_x=True, log_y=True, x_label="examples in a batch"), ""]
    by_steps = {f"batches of {c.batch}": (c.steps, c.losses) for c in data.curves}
    lines += ["loss against steps", *chart(by_steps, width, 9, log_x=True, log_y=True, x_label="steps"), ""]
    by_seconds = {f"batches of {c.batch}": (c.seconds, c.losses) for c in data.curves}
    return [*lines, "loss against seconds", *chart(by_seconds, width, 9, log_x=True, log_y=True, x_label="seconds")]


def picture(data: BatchSize) -> str:
    from ...output.pictures import FAINT, SERIES, Picture

    made = Picture(9.6, 3.2, columns=3, title="Batch size: the gradient's variance, loss against steps and seconds")
    with made as grid:
        variance, steps, seconds = grid[0]
        ideal = [data.variances[0] / size for size in data.sizes]
        variance.loglog(data.sizes, ideal, color=FAINT, linewidth=1, linestyle="--", label="1/B")
        variance.loglog(data.sizes, data.variances, color=SERIES[0], marker="o", markersize=4, label="measured")
        variance.set_title("Variance of the gradient")
        variance.set_xlabel("examples in a batch, B")
        variance.legend()
        for axes, name in ((steps, "steps"), (seconds, "seconds")):
            for curve, colour in zip(data.curves, SERIES, strict=False):
                axes.loglog(getattr(curve, name), curve.losses, color=colour, label=f"B = {curve.batch}")
            axes.set_title(f"Loss against {name}")
            axes.set_xlabel(name)
        steps.legend()
    return made.svg


EXPERIMENT = Experiment(
    "batch-size", "How does the batch's size affect descent?", run, finding, text, picture, nn.why_no_digits
)
