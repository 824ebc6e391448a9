"""A training as lines of text and as a picture."""

from . import Run, Training


def heading(training: Training) -> list[str]:
    """The data, the network, the steps and the implementations."""
    config, data = training.config, training.data
    parameters = sum(array.size for array in training.network.parameters.values())
    operations: dict[str, list[str]] = {}
    for operation, id in training.chosen.ids.items():
        operations.setdefault(id, []).append(operation)
    by = "; ".join(f"{id} ({', '.join(names)})" for id, names in operations.items())
    lines = [
        f"{data.name}: {len(data.labels):,} examples to learn from, {len(data.test_labels):,} held out",
        f"network: {' - '.join(map(str, training.network.sizes))}, {config.activation}, {parameters:,} parameters of "
        f"{config.dtype}, {config.init}, seed {config.seed}",
        f"steps: {config.optimizer}, learning rate {config.rate:g}, batches of {config.batch}, {config.loss}",
        f"by: {by}",
        *(f"note: {note}" for note in training.notes),
    ]
    going_on = [f"going on after {training.step_number} steps"] if training.step_number else []
    return [*lines, *going_on, ""]


def summary(run: Run) -> list[str]:
    """The epochs as a table, and the result."""
    if not run.epochs:
        return [f"{run.steps} steps, no whole epoch"]
    rows = []
    for epoch in run.epochs:
        loss = f"{epoch.loss:.4f}" if epoch.loss < 1000 else f"{epoch.loss:.3g}"
        rows.append(f"{epoch.number:5}  {loss:>6}  {epoch.accuracy:8.1%}  {epoch.seconds:7.3f}")
    if len(rows) > 12:
        rows[5:-5] = ["    …"]
    rate = run.steps / run.seconds if run.seconds else 0.0
    lines = [
        "epoch    loss  accuracy  seconds",
        *rows,
        "",
        f"{run.accuracy:.1%} of the held-out {run.data} are right after {run.steps} steps",
        f"{run.seconds:.2f} s of steps, {rate:,.0f} a second",
    ]
    if run.diverged is not None:
        lines.append(
            f"the loss is not finite from step {run.diverged} on: try a smaller learning rate than {run.config.rate:g}"
        )
    return lines


def picture(run: Run) -> str:
    """The loss of every step and the accuracy after every epoch, as an SVG file."""
    from ..output.pictures import SERIES, Picture

    c = run.config
    title = f"{run.data}: {c.optimizer}, batches of {c.batch}, {c.hidden} hidden units, seed {c.seed}"
    made = Picture(7, 3, columns=2, title=title)
    with made as grid:
        loss, accuracy = grid[0]
        loss.plot(range(1, run.steps + 1), run.losses, color=SERIES[0], linewidth=0.8)
        loss.set_yscale("log")
        loss.set(title="Loss of each step", xlabel="step")
        numbers = [epoch.number for epoch in run.epochs]
        accuracy.plot(numbers, [100 * epoch.accuracy for epoch in run.epochs], color=SERIES[1])
        accuracy.set(title="Held-out accuracy", xlabel="epoch", ylabel="%")
    return made.svg
