"""`loopnest train`: a network trained on the lab's operations."""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from .. import nn
from ..operation import UnavailableError
from ..parallel.ranks import TIMEOUT, RankLostError, start
from .options import DTYPE, JSON, SVG, choice, failures, need, number, output_file, print_json, real, save_picture
from .progress import progress

DATA: dict[str, Callable[[], nn.Data]] = {"digits": nn.digits, "spirals": nn.spirals, "xor": nn.xor}
KEPT = ("optimizer", "lr", "batch", "hidden", "loss", "init", "seed", "dtype")
"""The options that a checkpoint holds."""

EXPECTED = (RankLostError, ValueError, LookupError, UnavailableError, OSError)
"""Errors whose messages say what to do."""


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


class OnRanks(click.Command):
    """A command that torchrun may start on several ranks."""

    def make_context(self, *args: Any, **how: Any) -> click.Context:
        with _errors_of_a_rank():
            return super().make_context(*args, **how)

    def invoke(self, ctx: click.Context) -> Any:
        with _errors_of_a_rank():
            return super().invoke(ctx)


@contextmanager
def _errors_of_a_rank() -> Iterator[None]:
    """Under torchrun an error is printed once, with its rank, and the process ends at once: an ordinary end would wait
    for the other ranks, which may never come."""
    if not on_ranks():
        with failures(*EXPECTED):
            yield
        return
    rank, code, text = os.environ["RANK"], 1, ""
    try:
        yield
        return
    except click.exceptions.Exit:  # after --help
        raise
    except KeyboardInterrupt:  # where there is nothing to finish
        code, text = 130, "stopped"
    except click.ClickException as error:
        code = error.exit_code
        if rank == "0":  # all ranks have the same error
            error.show()
        else:
            time.sleep(3)  # or torchrun would end rank 0 before it has printed
    except EXPECTED as error:
        text = f"{'' if isinstance(error, RankLostError) else 'Error: '}{error}"
    except Exception:
        text = traceback.format_exc().rstrip()
    sys.stderr.write(f"rank {rank}: {text}\n" if text else "")  # in one piece, so that the ranks' lines do not mix
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def on_ranks() -> bool:
    """Whether torchrun has started this process, as one of its ranks."""
    return "RANK" in os.environ


@click.command("train", cls=OnRanks)
@click.argument("data", type=click.Choice(tuple(DATA)), default="digits")
@click.option("--impl", metavar="ID", help="A backend, as cpp, or a rung's id; by default the fastest.")
@choice("--optimizer", nn.OPTIMIZERS, "adam")
@click.option("--lr", type=float, metavar="X", help="The learning rate; by default the optimizer's.")
@number("--batch", default=64, help="Examples in a step.")
@number("--epochs", default=20, help="Passes over all examples.")
@number("--hidden", default=128, help="Units of the hidden layer.")
@choice("--loss", nn.LOSSES, "cross_entropy")
@choice("--init", tuple(nn.INITIALISERS), "he")
@number("--seed", default=0, least=0, help="Of weights and batches.")
@DTYPE
@output_file("--checkpoint", help="Write a checkpoint here after each epoch.")
@click.option(
    "--resume",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Go on with this checkpoint, and write to it.",
)
@JSON
@SVG
@real("--timeout", default=TIMEOUT, help="Under torchrun: seconds to wait for a rank.")
@click.pass_context
def command(ctx: click.Context, /, timeout: float, **options: Any) -> None:
    """Train a two-layer network with GELU on DATA, by the lab's own operations.

    DATA is digits, the handwritten digits that scikit-learn ships, or spirals or xor, which need no other package. A
    training that goes on from a checkpoint makes the same numbers, bit for bit, as one that was never stopped.

    \b
    loopnest train digits --checkpoint digits.npz    after Ctrl-C go on:
    loopnest train digits --resume digits.npz
    torchrun --nproc-per-node 2 -m loopnest train    two ranks share every batch
    """
    request = Request(ctx, **options)
    status = _on_this_rank(request, timeout) if on_ranks() else request.run(request.training())
    if status:
        raise SystemExit(status)


def _on_this_rank(request: Request, timeout: float) -> int:
    """Train with the other ranks. Rank 0 prints, and reads and writes the checkpoint."""
    from ..parallel import DataParallel

    with start(timeout=timeout) as ranks:
        training = request.training(DataParallel, ranks=ranks)
        first, each = ranks.rank == 0, training.config.batch / ranks.size
        if first and not request.as_json:
            click.echo(f"{ranks.size} ranks, threads of each: {ranks.threads}, examples: {each:g}")
        try:
            status = request.run(training, silent=not first)
        except RankLostError as error:
            raise RankLostError(f"{error}\n{request.kept}") from error
        if ranks.orphaned():
            click.echo(f"{ranks.places[ranks.rank]}: stopped, since the torchrun that started it has ended", err=True)
            status = status or 1
    return status


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
