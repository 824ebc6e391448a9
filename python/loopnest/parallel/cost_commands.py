"""`python -m loopnest.parallel cost` and `measure`: what many ranks cost, and the figures that it is made of."""

from __future__ import annotations

import dataclasses
import functools
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..cli.options import need_matplotlib, output_file
from .cost import PROCESSORS, PUBLISHED, RANKS, Network, Processor, Work, workloads

MEASURED = "measured"
NETWORKS = (MEASURED, *PUBLISHED)


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Whole numbers from 1 up, with commas between."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isdecimal() and int(part) for part in parts):
            self.fail(f"{value!r} is not a list of whole numbers such as 1,2,8", param, ctx)
        return tuple(map(int, parts))


def _of_the_work(command: Any) -> Any:
    names = click.Choice(tuple(workloads()))
    workload = click.option(
        "--workload",
        type=names,
        metavar="NAME",
        default="gpt2-small-mlp-512",
        show_default=True,
        help="Shapes of an MLP: gpt2-small-mlp-1, -32, -128 or -512, mlp-4x16x64, mlp-16x64x256, mlp-64x256x1024.",
    )
    layers = click.option("--layers", type=click.IntRange(min=1), help="How many MLPs; GPT-2 small has 12.")
    return workload(layers(command))


@click.command("cost")
@click.option("--network", type=click.Choice(NETWORKS), help="What joins the ranks; where it is left out, all of them.")
@click.option("--rank", "processor", type=click.Choice(("core", *PROCESSORS)), help="What a rank computes with.")
@click.option("--measured", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The file of `measure`: its core, its network, and the model's check.")  # fmt: skip
@_of_the_work
@click.option("--ranks", type=Numbers(), default=",".join(map(str, RANKS)), show_default=True)
@click.option("--algorithm", type=click.Choice(("ring", "halving", "doubling")), help="Of the all-reduce.")
@click.option("--no-overlap", is_flag=True, help="Gradients are summed after the backward pass, and not beside it.")
@click.option("--json", "as_json", is_flag=True, help="Print all as JSON.")
@output_file("--svg", help="Draw efficiency against ranks into this file.")
def cost_command(
    network: str | None,
    processor: str | None,
    measured: Path | None,
    workload: str,
    layers: int | None,
    ranks: tuple[int, ...],
    algorithm: str | None,
    no_overlap: bool,
    as_json: bool,
    svg: Path | None,
) -> None:
    """What a step of training costs on many ranks: computing, wire, latency; and where that stops paying.

    \b
    python -m loopnest.parallel cost --network ethernet-100
    python -m loopnest.parallel cost --network nvlink-4 --rank h100-float32
    python -m loopnest.parallel cost --measured FILE       all networks, and the model's check
    """
    from . import measure
    from .cost import (
        data_parallel,
        efficiency_picture,
        network_table,
        stops_paying,
        table,
        tensor_parallel,
    )

    need_matplotlib(svg)
    try:
        found = measure.load(measured) if measured else None
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    work = workloads(layers or 12)[workload]
    core = functools.cache(measure.processor_of)
    pairs = [
        (_processor(processor, name, found, core), _network(name, found, algorithm)) for name in _names(network, found)
    ]
    overlap = not no_overlap
    if as_json:
        told = [
            {
                "processor": dataclasses.asdict(rank),
                "network": dataclasses.asdict(joined),
                "stops_paying": dataclasses.asdict(stops_paying(work, rank, joined)),
                "costs": [
                    dataclasses.asdict(cost)
                    for p in ranks
                    if not joined.most or p <= joined.most
                    for cost in (
                        tensor_parallel(work, p, rank, joined),
                        data_parallel(work, p, rank, joined, overlap=overlap),
                    )
                ],
            }
            for rank, joined in pairs
        ]
        click.echo(json.dumps({"work": dataclasses.asdict(work), "networks": told}))
    elif network:
        click.echo("\n".join(table(work, *pairs[0], ranks, overlap=overlap)))
    else:
        first = f"{work.name}, {'a layer' if work.layers == 1 else f'{work.layers} layers'}: tensor parallelism"
        click.echo("\n".join([first, "", *network_table(work, pairs)]))
        click.echo("\nOne network, by number of ranks: --network NAME. Where the figures are from:")
        for _, joined in pairs:
            click.echo(
                textwrap.fill(joined.source, 80, initial_indent=f"{joined.name:<16}", subsequent_indent=16 * " ")
            )
    if found and not as_json and not network:
        click.echo("\n".join(["", f"measured: {found.machine}", *measure.check_table(found)]))
    if svg:
        svg.write_text(efficiency_picture(work, pairs), encoding="utf-8")


def _names(network: str | None, found: Any) -> list[str]:
    if network == MEASURED and (found is None or found.network is None):
        raise click.UsageError(
            "there is no measured network: torchrun --nproc-per-node 2 -m loopnest.parallel measure --out FILE, and "
            "then --measured FILE"
        )
    return [network] if network else [*([MEASURED] if found and found.network else []), *PUBLISHED]


def _processor(name: str | None, network: str, found: Any, core: Callable[[], Processor]) -> Processor:
    """What was asked for; else a GPU where the network joins these, and a core of this machine where it does not."""
    if name is not None and name in PROCESSORS:
        return PROCESSORS[name]
    if name is None and network in ("nvlink-4", "infiniband-400"):
        return PROCESSORS["h100-float32"]
    if found is not None:
        measured: Processor = found.processor
        return measured
    return core()


def _network(name: str, found: Any, algorithm: str | None) -> Network:
    network = found.network if name == MEASURED else PUBLISHED[name]
    return dataclasses.replace(network, algorithm=algorithm) if algorithm else network


@click.command("measure")
@_of_the_work
@click.option("--seconds", type=click.FloatRange(min=0.01), default=1.0, show_default=True, help="Of each measurement.")
@output_file("--out", help="Write it to this file, to what it has of other ranks.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def measure_command(workload: str, layers: int | None, seconds: float, out: Path | None, as_json: bool) -> None:
    """Measure the network between the ranks, and steps of both splits beside what the model says of them.

    \b
    python -m loopnest.parallel measure --out FILE                         one rank
    torchrun --nproc-per-node 2 -m loopnest.parallel measure --out FILE    two, and what is between them
    python -m loopnest.parallel cost --measured FILE

    Each rank computes with one thread.
    """
    from . import measure
    from .ranks import start

    work = workloads(layers or 2)[workload]
    with start() as ranks:
        mine = measure.measure(ranks, work, seconds=seconds)
        rank = ranks.rank
    if rank:
        return
    found = mine
    if out is not None:
        try:
            found = measure.load(out).joined(mine) if out.exists() else mine
            out.write_text(json.dumps(found.to_json(), indent=1) + "\n", encoding="utf-8")
        except (ValueError, OSError) as error:
            raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(mine.to_json()))
        return
    for line in told(mine):
        click.echo(line)


def told(found: Any) -> list[str]:
    """What was measured, as lines of 80 columns."""
    from .cost import _rate, _time
    from .measure import check_table, network_lines

    core, network = found.processor, found.network
    lines = [f"machine    {found.machine}", f"a rank     {core.name}: {_rate(core.flops, 'FLOP/s')}"]
    if network:
        figures = f"{_time(network.latency)} a message, {_rate(network.bandwidth, 'B/s')}"
        lines += [f"network    {network.name}: {figures}, fitted to:", "", *network_lines(found)]
    if found.steps:
        work: Work = found.steps[0].work
        layers = "a layer" if work.layers == 1 else f"{work.layers} layers"
        lines += ["", f"steps of {layers} of {work.name}", *check_table(found)]
    return [*lines, *(f"note: {note}" for note in found.notes)]


COMMANDS = (cost_command, measure_command)
