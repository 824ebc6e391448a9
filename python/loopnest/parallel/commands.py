"""The commands `mlp` and `train` of `python -m loopnest.parallel`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from ..cli.options import need_matplotlib, typed
from ..cli.train import config, examples, go, of_a_training, refuse_what_is_kept
from .ranks import TIMEOUT, RankLostError, Ranks, start

START = "torchrun --nproc-per-node 2 -m loopnest.parallel train"

_timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=TIMEOUT,
    show_default=True,
    help="Seconds in which all ranks must come to a collective.",
)
_backend = click.option(
    "--backend", type=click.Choice(("gloo", "nccl")), help="torch's; nccl where each rank has a GPU, else gloo."
)


@click.command()
@click.option("--tokens", type=click.IntRange(min=1), default=128, show_default=True, help="Rows of x.")
@click.option("--features", type=click.IntRange(min=1), default=768, show_default=True, help="Columns of x and of y.")
@click.option("--hidden", type=click.IntRange(min=1), default=3072, show_default=True, help="Units to be shared out.")
@click.option("--impl", help="A backend or a rung's id, as cpp or numpy.composed; the fastest.")
@click.option("--dtype", type=click.Choice(("float32", "float64")), default="float32", show_default=True)
@click.option(
    "--approximate", type=click.Choice(("tanh", "none")), default="tanh", show_default=True, help="GELU's form."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights and inputs.")
@click.option("--json", "as_json", is_flag=True, help="Print all as JSON.")
@_timeout
@_backend
def mlp(
    tokens: int, features: int, hidden: int, as_json: bool, timeout: float, backend: str | None, **options: Any
) -> None:
    """An MLP shared out among the ranks: by loopnest, by DTensor and by one process.

    Each rank has a part of the hidden units. The results are held to the contract, and the collectives counted.

    \b
    torchrun --nproc-per-node 2 -m loopnest.parallel mlp
    """
    from .compare import Size, compare, table

    with start(timeout=timeout, backend=backend) as ranks:
        found = compare(ranks, Size(tokens, features, hidden), **options)
        if ranks.rank == 0:
            click.echo(json.dumps(found.to_json()) if as_json else "\n".join(table(found)))
    if not found.agree:
        raise SystemExit(1)


@click.command()
@of_a_training
@click.option("--timeline", is_flag=True, help="Draw the last step: when gradients were made, and when summed.")
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
    """Train by all ranks, each with a part of every batch.

    The curve is that of `loopnest train` with the same options. DATA is digits, spirals or xor.

    \b
    torchrun --nproc-per-node 2 -m loopnest.parallel train digits
    torchrun --nproc-per-node 2 -m loopnest.parallel train digits --checkpoint digits.npz
    torchrun --nproc-per-node 2 -m loopnest.parallel train digits --resume digits.npz

    Rank 0 prints, and reads and writes the checkpoint. A rank that is killed or hangs ends the training.
    """
    from .data_parallel import DataParallel

    refuse_what_is_kept(ctx, resume)
    need_matplotlib(svg, html)
    try:
        held, chosen = examples(data), config(options)
    except (ValueError, RuntimeError) as error:
        raise click.ClickException(str(error)) from None
    with start(timeout=timeout, backend=backend) as ranks:
        if timeline and ranks.size == 1:
            raise click.UsageError(f"--timeline draws sums over ranks, and there is one: {START} --timeline")
        if resume is not None:
            given = {name: options[name] for name in ("epochs", "impl") if typed(ctx, name)}
            training = DataParallel.resume(resume, held, ranks=ranks, **given)
        else:
            training = DataParallel(held, chosen, ranks=ranks)
        training.timeline = timeline
        if ranks.rank == 0 and not as_json:
            for line in _heading(ranks, training.config.batch):
                click.echo(line)
        kept, command = checkpoint or resume, _command(ranks)
        try:
            ended = go(training, kept, as_json, svg, html, command=command, silent=ranks.rank > 0)
        except RankLostError as error:
            after = f"go on after the last checkpoint: {command} {data} --resume {kept}" if kept else "nothing was kept"
            raise RankLostError(f"{error}\n{after}", error.teller) from error
        if training.spans and ranks.rank == 0 and not as_json:
            from .timeline import drawn

            click.echo("\n" + "\n".join(drawn(training.spans)))
        orphaned = ranks.orphaned()
    if ended or orphaned:
        if orphaned:
            click.echo(f"{ranks.place}: stopped, since the torchrun that started it has ended", err=True)
        raise SystemExit(ended or 1)


def _heading(ranks: Ranks, batch: int) -> list[str]:
    each = f"{ranks.threads} thread{'s' * (ranks.threads > 1)} each"
    if ranks.size == 1:
        return [f"1 rank, {each}; more of them: {START}"]
    hosts = list(dict.fromkeys(place.host for place in ranks.places))
    where = "one machine" if len(hosts) == 1 else f"{len(hosts)} machines"
    least, more = divmod(batch, ranks.size)
    share = f"{least}" if not more else f"{least} or {least + 1}"
    said = "as LOOPNEST_NUM_THREADS says" if "LOOPNEST_NUM_THREADS" in os.environ else "its share of the processors"
    return [
        f"{ranks.size} ranks on {where}, joined by {ranks.backend}; {share} examples of a batch and {each}, {said}",
    ]


def _command(ranks: Ranks) -> str:
    """How this job was started, but for the options."""
    if ranks.size == 1:
        return f"{Path(sys.executable).name} -m loopnest.parallel train"
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = f" --nnodes {ranks.size // local}" if ranks.size > local else ""
    return f"torchrun{nodes} --nproc-per-node {local} -m loopnest.parallel train"
