"""`loopnest train`: a network trained on the lab's operations, and the backends' times to an accuracy."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from .options import DTYPE, JSON, need_matplotlib, output_file, typed, write_pictures
from .progress import console

if TYPE_CHECKING:
    from ..nn import Config, Data, Run, Training

CHECKPOINT = click.Path(dir_okay=False, path_type=Path)
OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adam")

_OPTIONS = (
    click.argument("data", type=click.Choice(("digits", "spirals", "xor")), default="digits"),
    click.option("--impl", help="A backend or a rung's id, as cpp or numpy.vectorized; the fastest of each operation."),
    click.option("--optimizer", type=click.Choice(OPTIMIZERS), default="adam", show_default=True),
    click.option("--lr", type=float, help="The learning rate; each optimizer has its own."),
    click.option("--batch", type=click.IntRange(min=1), default=64, show_default=True, help="Examples in a step."),
    click.option(
        "--epochs", type=click.IntRange(min=1), default=20, show_default=True, help="Passes over all examples."
    ),
    click.option(
        "--hidden", type=click.IntRange(min=1), default=128, show_default=True, help="Units of the hidden layer."
    ),
    click.option("--loss", type=click.Choice(("cross_entropy", "mse")), default="cross_entropy", show_default=True),
    click.option("--init", type=click.Choice(("zeros", "constant", "xavier", "he")), default="he", show_default=True),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights and batches."),
    DTYPE,
    output_file("--checkpoint", help="Write a checkpoint here after each epoch."),
    click.option(
        "--resume",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Go on with the training of this checkpoint, and write to it again.",
    ),
    JSON,
    output_file("--svg", help="Write what is drawn to this file."),
    output_file("--html", help="The same as one HTML file."),
)


def of_a_training(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument and the options of `loopnest train`, which `python -m loopnest.cli.parallel train` has too."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("train")
@of_a_training
@click.option("--compare", is_flag=True, help="Train by each backend, and draw their times to 95 % accuracy.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    data: str,
    checkpoint: Path | None,
    resume: Path | None,
    compare: bool,
    as_json: bool,
    svg: Path | None,
    html: Path | None,
    **options: Any,
) -> None:
    """Train a two-layer network with GELU on DATA, by the lab's own operations.

    DATA is digits, the handwritten digits that scikit-learn ships, or spirals or xor, which need no other package.

    \b
    loopnest train digits --impl cpp
    loopnest train digits --compare
    loopnest train digits --checkpoint digits.npz    stop it with Ctrl-C, and go on:
    loopnest train digits --resume digits.npz

    A training that goes on from a checkpoint makes the same numbers, bit for bit, as one that was never stopped.
    """
    refuse_what_is_kept(ctx, resume)
    if compare:
        refused = [f"--{name}" for name in ("impl", "checkpoint", "resume") if typed(ctx, name)]
        if refused:
            raise click.UsageError(f"{refused[0]} is not for --compare, which trains by each backend and keeps nothing")
    need_matplotlib(svg, html)
    try:
        learnt = examples(data)
        if compare:
            _compare(learnt, config(options), as_json, svg, html)
        elif resume is not None:
            from ..nn import Training

            given = {name: options[name] for name in ("epochs", "impl") if typed(ctx, name)}
            _go(Training.resume(resume, learnt, **given), checkpoint or resume, as_json, svg, html)
        else:
            from ..nn import Training

            _go(Training(learnt, config(options)), checkpoint, as_json, svg, html)
    except (ValueError, LookupError, RuntimeError, OSError) as error:
        raise click.ClickException(str(error)) from None


def refuse_what_is_kept(ctx: click.Context, resume: Path | None) -> None:
    """Options that are in a checkpoint are not given again."""
    kept = ("optimizer", "lr", "batch", "hidden", "loss", "init", "seed", "dtype")
    if resume is not None:
        given = [f"--{name}" for name in kept if typed(ctx, name)]
        if given:
            raise click.UsageError(f"{given[0]} is in the checkpoint: --resume takes --epochs and --impl alone")


def examples(name: str) -> Data:
    """The data of this name."""
    from .. import nn

    makers: dict[str, Callable[[], Data]] = {"digits": nn.digits, "spirals": nn.spirals, "xor": nn.xor}
    return makers[name]()


def config(options: dict[str, Any]) -> Config:
    """What the options ask for."""
    from ..nn import Config

    return Config(**options)


def _go(training: Training, checkpoint: Path | None, as_json: bool, svg: Path | None, html: Path | None) -> None:
    ended = go(training, checkpoint, as_json, svg, html)
    if ended:
        raise SystemExit(ended)


def go(
    training: Training,
    checkpoint: Path | None,
    as_json: bool,
    svg: Path | None,
    html: Path | None,
    *,
    command: str = "loopnest train",
    silent: bool = False,
) -> int:
    """Train, and tell of it; what the process should exit with: 0, 128 and the signal that stopped it, or 1.

    command  by which the training can be gone on with
    silent   whether to tell nothing
    """
    from ..nn import training_tables as tables

    out = console()
    if not (as_json or silent):
        for line in tables.heading(training):
            out.print(line, markup=False)
    with _stopped_by_signals() as stopped, _Bar(training, quiet=as_json or silent) as bar:
        run = training.run(on_step=bar.step, stop=lambda: bool(stopped), checkpoint=checkpoint)
    status = 128 + stopped[0] if stopped else int(not run.finished)  # another rank may have been stopped
    if silent:
        return status
    if as_json:
        record = {**msgspec.to_builtins(run), "accuracy": run.accuracy, "seconds": run.seconds}
        click.echo(msgspec.json.encode(record))  # a loss that is not finite becomes null
    else:
        for line in tables.summary(run):
            out.print(line, markup=False)
    _write(run, svg, html, as_json)
    if not run.finished:
        where = f"go on with it: {command} {run.data} --resume {checkpoint}" if checkpoint else "nothing was kept"
        click.echo(f"stopped after {run.steps} steps; {where}", err=True)
    return status


def _write(run: Run, svg: Path | None, html: Path | None, as_json: bool) -> None:
    from ..nn import training_tables as tables

    if svg or html:
        for file in write_pictures(tables.title(run), tables.picture(run), tables.summary(run), svg, html):
            click.echo(f"written: {file}", err=as_json)


def _compare(data: Data, config: Config, as_json: bool, svg: Path | None, html: Path | None) -> None:
    from ..nn.time_to_accuracy import picture, report, time_to_accuracy
    from ..timing import fairness

    missing = fairness.why_not_here()
    if missing:
        raise click.ClickException(missing)
    out = console()
    errors = console(stderr=True)
    with errors.status("training", spinner="line") as status:
        found = time_to_accuracy(
            data, config, on_event=lambda backend, accuracy: status.update(f"{backend}: {accuracy:.1%}")
        )
    lines = report(found)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        for line in lines:
            out.print(line, markup=False, soft_wrap=True)
    if svg or html:
        for file in write_pictures(lines[0], picture(found), lines[1:], svg, html):
            click.echo(f"written: {file}", err=as_json)
    if not any(t.steps for t in found.times):
        raise SystemExit(1)


@contextmanager
def _stopped_by_signals() -> Iterator[list[int]]:
    """Ctrl-C and `kill` end the training between two steps; a second one ends it at once.

    The list holds the signal that came.
    """
    came: list[int] = []

    def handler(number: int, frame: Any) -> None:
        if came:
            raise SystemExit(128 + number)
        came.append(number)

    here = threading.current_thread() is threading.main_thread()  # others may not set handlers
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM) if here}
    try:
        yield came
    finally:
        for number, theirs in before.items():
            signal.signal(number, theirs)


class _Bar:
    """The progress, with loss and accuracy: on standard error, and on a terminal alone."""

    def __init__(self, training: Training, quiet: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        errors = console(stderr=True)
        columns = (
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("loss {task.fields[loss]}  accuracy {task.fields[accuracy]}"),
        )
        hidden = quiet or not errors.is_terminal
        self._progress = Progress(*columns, console=errors, transient=True, disable=hidden)
        total = training.steps_an_epoch * training.config.epochs
        facts = self._facts(training)
        self._task = self._progress.add_task("", total=total, completed=training.step_number, **facts)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.stop()

    def step(self, training: Training) -> None:
        self._progress.update(self._task, completed=training.step_number, **self._facts(training))

    @staticmethod
    def _facts(training: Training) -> dict[str, Any]:
        accuracy = f"{training.epochs[-1].accuracy:.1%}" if training.epochs else "-"
        loss = f"{training.losses[-1]:.4f}" if training.losses else "-"
        return {"epoch": f"{min(len(training.epochs) + 1, training.config.epochs)}", "loss": loss, "accuracy": accuracy}
