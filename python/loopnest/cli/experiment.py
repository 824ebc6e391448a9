"""`loopnest experiment`: questions answered by experiment, in the terminal and as pictures."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..output.text import unknown
from .options import JSON, need_matplotlib, output_file, write_pictures
from .progress import console

if TYPE_CHECKING:
    from ..learn.experiments import Experiment


@click.command("experiment")
@click.argument("name", required=False)
@output_file("--svg", help="Write the picture to this file.")
@output_file("--html", help="Write picture and text as one HTML file.")
@JSON
@click.option("--seed", type=click.IntRange(min=0), help="Of all that is random; each experiment has its own.")
def command(name: str | None, svg: Path | None, html: Path | None, as_json: bool, seed: int | None) -> None:
    """Do one experiment, NAME, and show its result; or list them.

    \b
    loopnest experiment                  the questions
    loopnest experiment depth            how gradients shrink and blow up
    loopnest experiment ravine --svg ravine.svg
    """
    from ..learn.experiments import EXPERIMENTS, to_json

    if name is None:
        _list(EXPERIMENTS)
        return
    if name not in EXPERIMENTS:
        raise click.BadParameter(unknown("experiment", name, EXPERIMENTS), param_hint="NAME")
    chosen = EXPERIMENTS[name]
    missing = chosen.missing()
    if missing:
        raise click.ClickException(missing)
    need_matplotlib(svg, html)
    out = console()
    with console(stderr=True).status(f"{name}: {chosen.question}", spinner="line"):
        try:
            data = chosen.run(**_options(chosen, seed))
        except ValueError as error:
            raise click.ClickException(str(error)) from None
    finding = chosen.finding(data)
    if as_json:
        click.echo(json.dumps({"name": name, "question": chosen.question, "finding": finding, **to_json(data)}))
    else:
        out.print(f"[bold]{chosen.question}[/bold]\n")
        for line in chosen.table(data):
            out.print(line, markup=False, soft_wrap=True)
        out.print(f"\n{finding}", markup=False)
    if svg or html:
        text = [finding, *chosen.about.split("\n\n")]
        write_pictures(chosen.question, chosen.picture(data), text, svg, html, quiet=as_json)


def _options(chosen: Experiment, seed: int | None) -> dict[str, Any]:
    if seed is None:
        return {}
    if "seed" not in inspect.signature(chosen.run).parameters:
        raise click.UsageError(f"--seed is not for {chosen.name}, in which nothing is random")
    return {"seed": seed}


def _list(experiments: dict[str, Experiment]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for chosen in experiments.values():
        missing = chosen.missing()
        question = Text(chosen.question)
        if missing:
            question.append(f"\nnot here: {missing}", style="yellow")
        table.add_row(Text(chosen.name), question)
    out = console()
    out.print(table)
    out.print("\nloopnest experiment depth --svg depth.svg  does one, and draws it")
