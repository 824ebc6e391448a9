"""What a training is and told, as lines of text and as a picture."""

from __future__ import annotations

from typing import Any

from . import Run, Training


def heading(training: Training) -> list[str]:
    """What is trained, by what."""
    config, network = training.config, training.network
    parameters = sum(array.size for array in network.parameters.values())
    count = f"{len(training.data.labels):,} examples to learn from, {len(training.data.test_labels):,} held out"
    sizes = " - ".join(map(str, network.sizes))
    lines = [
        f"{training.data.name}: {count}",
        f"network: {sizes}, {config.activation}, {parameters:,} parameters of {config.dtype}, {config.init}, "
        f"seed {config.seed}",
        f"steps: {config.optimizer}, learning rate {config.rate:g}, batches of {config.batch}, {config.loss}",
        f"by: {_by(training.chosen.ids)}",
        *(f"note: {note}" for note in training.notes),
    ]
    if training.step_number:
        lines.append(f"going on after {training.step_number} steps")
    return [*lines, ""]


def _by(ids: dict[str, str]) -> str:
    """The implementations, each with its operations where they are not all by one."""
    theirs: dict[str, list[str]] = {}
    for operation, id in ids.items():
        theirs.setdefault(id, []).append(operation)
    return "; ".join(f"{id} ({', '.join(names)})" for id, names in theirs.items())


def summary(run: Run) -> list[str]:
    """The epochs as a table, and what came of them."""
    lines = ["epoch    loss  accuracy  seconds"]
    shown = run.epochs if len(run.epochs) <= 12 else (*run.epochs[:5], None, *run.epochs[-5:])
    for epoch in shown:
        if epoch is None:
            lines.append("    …")
        else:
            lines.append(f"{epoch.number:5}  {_four(epoch.loss):>6}  {epoch.accuracy:8.1%}  {epoch.seconds:7.3f}")
    if not run.epochs:
        return [f"{run.steps} steps, no whole epoch"]
    rate = run.steps / run.seconds if run.seconds else 0.0
    lines += ["", f"{run.accuracy:.1%} of the held-out {run.data} are right after {run.steps} steps"]
    lines.append(f"{run.seconds:.2f} s of steps, {rate:,.0f} a second")
    if run.diverged is not None:
        lines.append(f"the loss is no finite number from step {run.diverged} on: try a smaller learning rate than")
        lines[-1] += f" {run.config.rate:g}"
    return lines


def _four(loss: float) -> str:
    """Four decimals, and four digits of what is large."""
    return f"{loss:.4f}" if loss < 1000 else f"{loss:.3g}"


def title(run: Run) -> str:
    config = run.config
    units = f"{config.hidden} hidden units"
    return f"{run.data}: {config.optimizer}, batches of {config.batch}, {units}, seed {config.seed}"


def picture(run: Run) -> str:
    """The loss of every step, and the accuracy after every epoch, as an SVG file."""
    from ..output.pictures import SERIES, Picture

    made = Picture(7, 3, columns=2, title=title(run))
    with made as grid:
        _curve(grid[0, 0], run, SERIES[0])
        axes = grid[0, 1]
        epochs = [epoch.number for epoch in run.epochs]
        axes.plot(epochs, [100 * epoch.accuracy for epoch in run.epochs], color=SERIES[1])
        axes.set_title("Held-out accuracy")
        axes.set_xlabel("epoch")
        axes.set_ylabel("%")
    return made.svg


def _curve(axes: Any, run: Run, colour: str) -> None:
    axes.plot(range(1, run.steps + 1), run.losses, color=colour, linewidth=0.8)
    axes.set_yscale("log")
    axes.set_title("Loss of each step")
    axes.set_xlabel("step")
