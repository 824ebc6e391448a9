"""`loopnest experiment`: questions answered by experiment, in the terminal and as pictures."""

import inspect
from pathlib import Path

import click

from ..output.text import unknown
from .options import JSON, SVG, failures, need, number, print_json, save_picture
from .progress import busy, columns, console, say


@click.command("experiment")
@click.argument("name", required=False)
@SVG
@JSON
@number("--seed", least=0, help="Of all that is random; each experiment has its own.")
def command(name: str | None, svg: Path | None, as_json: bool, seed: int | None) -> None:
    """Do one experiment, NAME, and show its result; or list them.

    \b
    loopnest experiment                  the questions
    loopnest experiment depth            how gradients shrink and blow up
    loopnest experiment ravine --svg ravine.svg
    """
    from ..learn.experiments import EXPERIMENTS

    out = console()
    if name is None:
        missing = {one: f"\nnot here: {one.missing()}" if one.missing() else "" for one in EXPERIMENTS.values()}
        out.print(columns(*((one.name, f"{one.question}{why}") for one, why in missing.items())))
        say("\nloopnest experiment depth --svg depth.svg  does one, and draws it")
        return
    if name not in EXPERIMENTS:
        raise click.BadParameter(unknown("experiment", name, EXPERIMENTS), param_hint="NAME")
    chosen = EXPERIMENTS[name]
    need(chosen.missing())
    options = {} if seed is None else {"seed": seed}
    if options and "seed" not in inspect.signature(chosen.run).parameters:
        raise click.UsageError(f"--seed is not for {name}, in which nothing is random")
    with failures(ValueError), busy(f"{name}: {chosen.question}"):
        data = chosen.run(**options)
    finding = chosen.finding(data)
    if as_json:
        print_json({"name": name, "question": chosen.question, "finding": finding, **vars(data)})
    else:
        out.print(f"[bold]{chosen.question}[/bold]\n")
        say(*chosen.table(data))
        out.print(f"\n{finding}", markup=False)
    if svg:
        save_picture(chosen.picture(data), svg, quiet=as_json)
