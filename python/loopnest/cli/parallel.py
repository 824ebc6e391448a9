"""`torchrun --nproc-per-node 2 -m loopnest parallel COMMAND`: operations on many ranks, which torchrun starts."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ..operation import UnavailableError
from ..parallel.ranks import TIMEOUT, RankLostError, Ranks, start
from .options import DTYPE, JSON, need_matplotlib, typed
from .train import config, examples, go, of_a_training, refuse_what_is_kept

if TYPE_CHECKING:
    pass

START = "torchrun --nproc-per-node 2 -m loopnest parallel train"

_timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=TIMEOUT,
    show_default=True,
    help="Seconds that a collective may wait for all ranks.",
)
_backend = click.option(
    "--backend", type=click.Choice(("gloo", "nccl")), help="torch's; nccl if each rank has a GPU, else gloo."
)


class Ranked(click.Group):
    """Commands of a rank: under torchrun an error is printed once, with its rank, and recorded for torchrun's table."""

    def invoke(self, ctx: click.Context) -> Any:
        if "RANK" not in os.environ:
            try:
                return super().invoke(ctx)
            except (RankLostError, ValueError, LookupError, UnavailableError, OSError) as error:
                raise click.ClickException(str(error)) from None
        try:
            return super().invoke(ctx)
        except click.Abort as error:  # Ctrl-C in a command that has nothing to finish
            _say("stopped")
            _end(error, 130)
        except click.ClickException as error:
            if _rank() == 0:  # all ranks have the same error
                error.show()
            else:
                time.sleep(3)  # or torchrun would end rank 0 before it has printed
            _end(error, error.exit_code)
        except (RankLostError, ValueError, LookupError, UnavailableError, OSError) as error:
            _say(f"{'' if isinstance(error, RankLostError) else 'Error: '}{error}")
            _end(error, 1)
        except Exception as error:
            _say(traceback.format_exc().rstrip())
            _end(error, 1, error.__traceback__)


def _rank() -> int:
    rank = os.environ.get("RANK", "0")
    return int(rank) if rank.isdecimal() else 0


def _say(text: str) -> None:
    """Write to standard error in one piece, so that the ranks' lines do not mix."""
    sys.stderr.write(f"rank {_rank()}: {text}\n")


def _end(error: Exception, code: int, lines: TracebackType | None = None) -> None:
    """End this process at once: an ordinary end would wait for the other ranks, which may never come.

    lines  the traceback for torchrun's table; None if the message says what to do
    """
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        errors = importlib.import_module("torch.distributed.elastic.multiprocessing.errors")
        try:
            raise error.with_traceback(lines) from None
        except Exception:
            errors.get_error_handler().record_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@click.group("parallel", cls=Ranked, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Operations on many ranks, which torchrun starts.

    \b
    torchrun --nproc-per-node 2 -m loopnest parallel train digits   two ranks train together
    torchrun --nproc-per-node 2 -m loopnest parallel mlp            two ranks share an MLP's hidden units
    loopnest parallel cost                                          what a step costs on 1 to 1,024 ranks
    """


@command.command()
@click.option("--tokens", type=click.IntRange(min=1), default=128, show_default=True, help="Rows of x.")
@click.option("--features", type=click.IntRange(min=1), default=768, show_default=True, help="Columns of x and of y.")
@click.option("--hidden", type=click.IntRange(min=1), default=3072, show_default=True, help="Units of all ranks.")
@click.option("--impl", help="A backend or a rung's id, such as cpp or numpy.composed; default: the fastest.")
@DTYPE
@click.option(
    "--approximate", type=click.Choice(("tanh", "none")), default="tanh", show_default=True, help="GELU's form."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights and inputs.")
@JSON
@_timeout
@_backend
def mlp(
    tokens: int, features: int, hidden: int, as_json: bool, timeout: float, backend: str | None, **options: Any
) -> None:
    """Compare an MLP on all ranks, by loopnest and by torch's DTensor, with one process.

    Each rank has a part of the hidden units. The results must be within the contract; the collectives are counted.
    """
    from ..parallel.compare import compare, table

    with start(timeout=timeout, backend=backend) as ranks:
        found = compare(ranks, tokens, features, hidden, **options)
        if ranks.rank == 0:
            record = {**msgspec.to_builtins(found), "agree": found.agree}
            click.echo(json.dumps(record) if as_json else "\n".join(table(found)))
    if not found.agree:
        raise SystemExit(1)


@command.command()
@of_a_training
@click.option("--timeline", is_flag=True, help="Show when the last step made gradients, and when it summed them.")
@_timeout
@_backend
@click.pass_context
def train(
    ctx: click.Context,
    /,
    data: str,
    checkpoint: Path | None,
    resume: Path | None,
    as_json: bool,
    svg: Path | None,
    html: Path | None,
    timeline: bool,
    timeout: float,
    backend: str | None,
    **options: Any,
) -> None:
    """Train on DATA by all ranks, each with a part of every batch.

    The curve is the same as with `loopnest train` and the same options. DATA is digits, spirals or xor.

    \b
    torchrun --nproc-per-node 2 -m loopnest parallel train digits --checkpoint digits.npz
    torchrun --nproc-per-node 2 -m loopnest parallel train digits --resume digits.npz

    Rank 0 prints, and reads and writes the checkpoint. A rank that is killed or hangs ends the training.
    """
    from ..parallel.data_parallel import DataParallel
    from ..parallel.timeline import drawn

    refuse_what_is_kept(ctx, resume)
    need_matplotlib(svg, html)
    try:
        dataset, chosen = examples(data), config(options)
    except (ValueError, RuntimeError) as error:
        raise click.ClickException(str(error)) from None
    with start(timeout=timeout, backend=backend) as ranks:
        if timeline and ranks.size == 1:
            raise click.UsageError(f"--timeline needs two ranks or more: {START} --timeline")
        if resume is not None:
            given = {name: options[name] for name in ("epochs", "impl") if typed(ctx, name)}
            training = DataParallel.resume(resume, dataset, ranks=ranks, **given)
        else:
            training = DataParallel(dataset, chosen, ranks=ranks)
        training.timeline = timeline
        loud = ranks.rank == 0 and not as_json
        if loud:
            click.echo(_heading(ranks, training.config.batch))
        file, started = checkpoint or resume, _started(ranks)
        try:
            status = go(training, file, as_json, svg, html, command=started, silent=ranks.rank > 0)
        except RankLostError as error:
            way_on = (
                f"go on after the last checkpoint: {started} {data} --resume {file}" if file else "nothing was kept"
            )
            raise RankLostError(f"{error}\n{way_on}") from error
        if training.spans and loud:
            click.echo("\n" + "\n".join(drawn(training.spans)))
        if ranks.orphaned():
            click.echo(f"{ranks.place}: stopped, since the torchrun that started it has ended", err=True)
            status = status or 1
    if status:
        raise SystemExit(status)


def _heading(ranks: Ranks, batch: int) -> str:
    each = f"{ranks.threads} thread{'s' * (ranks.threads > 1)} each"
    if ranks.size == 1:
        return f"1 rank, {each}; for more: {START}"
    hosts = len({place.host for place in ranks.places})
    where = "one machine" if hosts == 1 else f"{hosts} machines"
    return f"{ranks.size} ranks on {where}, by {ranks.backend}; {batch / ranks.size:g} examples of a batch and {each}"


def _started(ranks: Ranks) -> str:
    """The command that started this job, without its options."""
    if ranks.size == 1:
        return f"{Path(sys.executable).name} -m loopnest parallel train"
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = f" --nnodes {ranks.size // local}" if ranks.size > local else ""
    return f"torchrun{nodes} --nproc-per-node {local} -m loopnest parallel train"


@command.command()
@click.option("--workload", default="gpt2-small-mlp-512", show_default=True, help="A workload of mlp_forward.")
@click.option("--layers", type=click.IntRange(min=1), default=12, show_default=True, help="MLPs in the stack.")
@click.option("--network", help="loopback, ethernet-10, ethernet-100, infiniband-400 or nvlink-4; default: all.")
@click.option("--processor", default="core", show_default=True, help="core, h100-float32 or h100-bfloat16.")
def cost(workload: str, layers: int, network: str | None, processor: str) -> None:
    """Print what a training step costs on 1 to 1,024 ranks, by a model: computing, bytes on the wire, latency."""
    from ..parallel import cost as model

    for option, name, known in (("network", network, model.NETWORKS), ("processor", processor, model.PROCESSORS)):
        if name is not None and name not in known:
            raise click.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint=f"--{option}")
    try:
        work = model.workload(workload, layers)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--workload") from None
    networks = [model.NETWORKS[network]] if network else list(model.NETWORKS.values())
    click.echo("\n".join(model.table(work, model.PROCESSORS[processor], networks)))
