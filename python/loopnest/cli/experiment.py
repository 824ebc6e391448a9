"""`loopnest experiment`: questions answered by experiment, in the terminal and as pictures."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .train import FILE, console, in_a_folder, need_matplotlib

if TYPE_CHECKING:
    from ..learn.experiments import Experiment


@click.command()
@click.argument("name", required=False)
@click.option("--svg", type=FILE, callback=in_a_folder, help="Write the picture to this file.")
@click.option("--html", type=FILE, callback=in_a_folder, help="Picture and text as one HTML file.")
@click.option("--json", "as_json", is_flag=True, help="Print the data as JSON.")
@click.option("--seed", type=click.IntRange(min=0), help="Of all that is random in it; its own.")
def experiment(name: str | None, svg: Path | None, html: Path | None, as_json: bool, seed: int | None) -> None:
    """Do one experiment, NAME, and show what came of it; or list them.

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
        near = difflib.get_close_matches(name, EXPERIMENTS, n=2)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise click.BadParameter(
            f"no experiment is called {name!r}{hint} Known: {', '.join(EXPERIMENTS)}.", param_hint="NAME"
        )
    chosen = EXPERIMENTS[name]
    missing = chosen.missing()
    if missing:
        raise click.ClickException(missing)
    need_matplotlib(svg, html)
    out, errors = console(), console(stderr=True)
    with errors.status(f"{name}: {chosen.question}", spinner="line"):
        try:
            data = chosen.run(**_options(chosen, seed))
        except ValueError as error:
            raise click.ClickException(str(error)) from None
    finding = chosen.finding(data)
    lines = chosen.text(data, max(40, min(out.width, 100)))
    if as_json:
        click.echo(json.dumps({"name": name, "question": chosen.question, "finding": finding, **to_json(data)}))
    else:
        out.print(f"[bold]{chosen.question}[/bold]\n")
        for line in lines:
            out.print(line, markup=False, soft_wrap=True)
        out.print(f"\n{finding}", markup=False)
    if svg or html:
        from ..output.pictures import page

        drawn = chosen.picture(data)
        if svg:
            svg.write_text(drawn, encoding="utf-8")
        if html:
            html.write_text(
                page(chosen.question, [drawn], paragraphs=[finding, *chosen.about.split("\n\n")]), encoding="utf-8"
            )
        for file in (svg, html):
            if file and not as_json:
                click.echo(f"written: {file}")


def _options(chosen: Experiment, seed: int | None) -> dict[str, Any]:
    import inspect

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
