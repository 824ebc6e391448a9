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
from .progress import Progress

if TYPE_CHECKING:
    from ..nn import Config, Data, Training

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
    """The argument and the options of `loopnest train`, which `loopnest parallel train` has too."""
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
            return
        from ..nn import Training

        if resume is None:
            training = Training(learnt, config(options))
        else:
            given = {name: options[name] for name in ("epochs", "impl") if typed(ctx, name)}
            training = Training.resume(resume, learnt, **given)
        status = go(training, checkpoint or resume, as_json, svg, html)
    except (ValueError, LookupError, RuntimeError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if status:
        raise SystemExit(status)


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
    """Train, and print the result. Returns the exit status: 0, 128 and the signal that stopped it, or 1.

    command  resumes the training, with `--resume FILE`
    silent   print nothing
    """
    from ..nn import training_tables as tables

    if not (as_json or silent):
        click.echo("\n".join(tables.heading(training)))
    with _stopped_by_signals() as stopped, Progress(quiet=as_json or silent) as progress:
        run = training.run(
            on_step=lambda training: progress.on_event("round", _at(training)),
            stop=lambda: bool(stopped),
            checkpoint=checkpoint,
        )
    status = 128 + stopped[0] if stopped else int(not run.finished)  # another rank may have been stopped
    if silent:
        return status
    if as_json:
        record = {**msgspec.to_builtins(run), "accuracy": run.accuracy, "seconds": run.seconds}
        click.echo(msgspec.json.encode(record))  # a loss that is not finite becomes null
    else:
        click.echo("\n".join(tables.summary(run)))
    if svg or html:
        write_pictures(tables.title(run), tables.picture(run), tables.summary(run), svg, html, quiet=as_json)
    if not run.finished:
        where = f"go on with it: {command} {run.data} --resume {checkpoint}" if checkpoint else "nothing was kept"
        click.echo(f"stopped after {run.steps} steps; {where}", err=True)
    return status


def _compare(data: Data, config: Config, as_json: bool, svg: Path | None, html: Path | None) -> None:
    from ..nn.time_to_accuracy import picture, report, time_to_accuracy
    from ..timing import fairness

    missing = fairness.why_not_here()
    if missing:
        raise click.ClickException(missing)
    with Progress(quiet=as_json) as progress:
        found = time_to_accuracy(
            data, config, on_event=lambda who, share: progress.on_event("at", f"{who}: {share:.1%}")
        )
    lines = report(found)
    click.echo(msgspec.json.encode(found) if as_json else "\n".join(lines))
    if svg or html:
        write_pictures(lines[0], picture(found), lines[1:], svg, html, quiet=as_json)
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


def _at(training: Training) -> tuple[str, int, int]:
    """What the progress bar shows: epoch, loss and accuracy; the steps done, and how many there are."""
    epoch = min(len(training.epochs) + 1, training.config.epochs)
    loss = f", loss {training.losses[-1]:.4f}" if training.losses else ""
    accuracy = f", accuracy {training.epochs[-1].accuracy:.1%}" if training.epochs else ""
    return f"epoch {epoch}{loss}{accuracy}", training.step_number, training.steps_an_epoch * training.config.epochs
