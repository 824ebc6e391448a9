"""`loopnest train`: a network trained on the lab's operations."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from .. import nn
from .options import DTYPE, JSON, SVG, choice, failures, need, number, output_file, print_json, save_picture, stacked
from .progress import progress

DATA: dict[str, Callable[[], nn.Data]] = {"digits": nn.digits, "spirals": nn.spirals, "xor": nn.xor}
KEPT = ("optimizer", "lr", "batch", "hidden", "loss", "init", "seed", "dtype")
"""The options that a checkpoint holds."""

of_a_training = stacked(
    click.argument("data", type=click.Choice(tuple(DATA)), default="digits"),
    click.option("--impl", help="A backend or a rung's id, as cpp or numpy.vectorized; the fastest of each operation."),
    choice("--optimizer", nn.OPTIMIZERS, "adam"),
    click.option("--lr", type=float, help="The learning rate; each optimizer has its own."),
    number("--batch", default=64, help="Examples in a step."),
    number("--epochs", default=20, help="Passes over all examples."),
    number("--hidden", default=128, help="Units of the hidden layer."),
    choice("--loss", nn.LOSSES, "cross_entropy"),
    choice("--init", tuple(nn.INITIALISERS), "he"),
    number("--seed", default=0, least=0, help="Of weights and batches."),
    DTYPE,
    output_file("--checkpoint", help="Write a checkpoint here after each epoch."),
    click.option(
        "--resume",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Go on with the training of this checkpoint, and write to it again.",
    ),
    JSON,
    SVG,
)
"""The argument and the options of `loopnest train`, which `loopnest parallel train` has too."""


class Request:
    """What the command line asks for: data, where to write, and the settings of an `nn.Config`."""

    def __init__(self, ctx: click.Context, data: str, resume: Path | None, **options: Any) -> None:
        self.data, self.resume, self.file = data, resume, options.pop("checkpoint") or resume
        self.as_json, self.svg = options.pop("as_json"), options.pop("svg")
        self.config = options
        given = [name for name in options if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        self.changed = {name: options[name] for name in given if name not in KEPT}
        kept = [f"--{name}" for name in given if name in KEPT]
        if resume is not None and kept:
            raise click.UsageError(f"{kept[0]} is in the checkpoint: --resume takes --epochs and --impl alone")
        if data == "digits":
            need(nn.why_no_digits())

    @property
    def kept(self) -> str:
        """How to go on with a training that was stopped."""
        return f"go on with it: --resume {self.file}" if self.file else "nothing was kept"

    def training(self, kind: type[nn.Training] = nn.Training, **how: Any) -> nn.Training:
        """A new training, or the checkpoint's."""
        examples = DATA[self.data]()
        if self.resume is None:
            return kind(examples, nn.Config(**self.config), **how)
        return kind.resume(self.resume, examples, **self.changed, **how)

    def run(self, training: nn.Training, *, silent: bool = False) -> int:
        """Train, and print the result unless `silent`. Returns 0, 128 and the signal that stopped it, or 1."""
        from ..nn import training_tables as tables

        quiet = self.as_json or silent
        if not quiet:
            click.echo("\n".join(tables.heading(training)))
        with _stopped_by_signals() as stopped, progress(quiet=quiet) as on_event:
            run = training.run(
                on_step=lambda training: on_event("round", _at(training)),
                stop=lambda: bool(stopped),
                checkpoint=self.file,
            )
        status = 128 + stopped[0] if stopped else int(not run.finished)  # another rank may have been stopped
        if silent:
            return status
        summary = tables.summary(run)
        if self.as_json:
            print_json({**msgspec.to_builtins(run), "accuracy": run.accuracy, "seconds": run.seconds})
        else:
            click.echo("\n".join(summary))
        if self.svg:
            save_picture(tables.picture(run), self.svg, quiet=quiet)
        if not run.finished:
            click.echo(f"stopped after {run.steps} steps; {self.kept}", err=True)
        return status


@click.command("train")
@of_a_training
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Train a two-layer network with GELU on DATA, by the lab's own operations.

    DATA is digits, the handwritten digits that scikit-learn ships, or spirals or xor, which need no other package.

    \b
    loopnest train digits --impl cpp
    loopnest train digits --checkpoint digits.npz    stop it with Ctrl-C, and go on:
    loopnest train digits --resume digits.npz

    A training that goes on from a checkpoint makes the same numbers, bit for bit, as one that was never stopped.
    """
    request = Request(ctx, **options)
    with failures(ValueError, LookupError, RuntimeError, OSError):
        status = request.run(request.training())
    if status:
        raise SystemExit(status)


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


def _at(training: nn.Training) -> tuple[str, int, int]:
    """What the progress bar shows: epoch, loss and accuracy; the steps done, and how many there are."""
    epoch = min(len(training.epochs) + 1, training.config.epochs)
    loss = f", loss {training.losses[-1]:.4f}" if training.losses else ""
    accuracy = f", accuracy {training.epochs[-1].accuracy:.1%}" if training.epochs else ""
    return f"epoch {epoch}{loss}{accuracy}", training.step_number, training.steps_an_epoch * training.config.epochs
