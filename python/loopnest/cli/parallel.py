"""`torchrun --nproc-per-node 2 -m loopnest parallel COMMAND`: operations on many ranks, which torchrun starts."""

import os
import sys
import time
import traceback
from typing import Any

import click

from ..operation import UnavailableError
from ..parallel import cost as model
from ..parallel.ranks import TIMEOUT, RankLostError, start
from .options import choice, failures, number, real, usage_errors
from .train import Request, of_a_training

EXPECTED = (RankLostError, ValueError, LookupError, UnavailableError, OSError)
"""Errors whose messages say what to do."""


class Ranked(click.Group):
    """Commands of a rank. Under torchrun an error is printed once, with its rank, and the process ends at once: an
    ordinary end would wait for the other ranks, which may never come."""

    def invoke(self, ctx: click.Context) -> Any:
        if "RANK" not in os.environ:
            with failures(*EXPECTED):
                return super().invoke(ctx)
        rank, code, text = os.environ["RANK"], 1, ""
        try:
            return super().invoke(ctx)
        except click.exceptions.Exit:  # after --help
            raise
        except KeyboardInterrupt:  # in a command that has nothing to finish
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


@click.group("parallel", cls=Ranked, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Operations on many ranks, which torchrun starts.

    \b
    torchrun --nproc-per-node 2 -m loopnest parallel train digits   two ranks train together
    loopnest parallel cost                                          what a step costs on 1 to 1,024 ranks
    """


@command.command()
@of_a_training
@real("--timeout", default=TIMEOUT, help="Seconds that a collective may wait for all ranks.")
@click.pass_context
def train(ctx: click.Context, /, data: str, timeout: float, **options: Any) -> None:
    """Train on DATA by all ranks, each with a part of every batch.

    The curve is the same as with `loopnest train` and the same options. DATA is digits, spirals or xor.

    \b
    torchrun --nproc-per-node 2 -m loopnest parallel train digits --checkpoint digits.npz
    torchrun --nproc-per-node 2 -m loopnest parallel train digits --resume digits.npz

    Rank 0 prints, and reads and writes the checkpoint. A rank that is killed or hangs ends the training.
    """
    from ..parallel.data_parallel import DataParallel

    request = Request(ctx, data=data, **options)
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
    if status:
        raise SystemExit(status)


@command.command()
@click.option("--workload", default="gpt2-small-mlp-512", show_default=True, help="A workload of mlp_forward.")
@number("--layers", default=12, help="MLPs in the stack.")
@choice("--network", tuple(model.NETWORKS), help="By default all.")
@choice("--processor", tuple(model.PROCESSORS), "core")
def cost(workload: str, layers: int, network: str | None, processor: str) -> None:
    """Print what a training step costs on many ranks.

    By a model of computing, bytes on the wire and latency, for 1 to 1,024 ranks.
    """
    with usage_errors(ValueError):
        work = model.workload(workload, layers)
    networks = [model.NETWORKS[network]] if network else list(model.NETWORKS.values())
    click.echo("\n".join(model.table(work, model.PROCESSORS[processor], networks)))
