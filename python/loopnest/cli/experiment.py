"""`loopnest experiment`: questions answered by experiment, in the terminal and as pictures."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..output.tables import columns
from ..output.text import unknown
from .options import JSON, SVG, failures, need, print_json, save_picture
from .progress import busy, console, say


@click.command("experiment")
@click.argument("name", required=False)
@SVG
@JSON
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="As seed=1, layers=10; may be repeated.")
def command(name: str | None, svg: Path | None, as_json: bool, settings: tuple[str, ...]) -> None:
    """Do one experiment, NAME, and show its result; or list them.

    \b
    loopnest experiment                  the questions
    loopnest experiment depth            how gradients shrink and blow up
    loopnest experiment ravine --svg ravine.svg
    loopnest experiment depth --set layers=10 --set seed=1
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
    options = dict(_setting(chosen.run, text) for text in settings)
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


def _setting(function: Callable[..., Any], text: str) -> tuple[str, Any]:
    """An argument of the experiment's function, with the type of its default."""
    defaults = {p.name: p.default for p in inspect.signature(function).parameters.values()}
    name, _, value = text.partition("=")
    if name not in defaults:
        raise click.BadParameter(unknown("setting", name, defaults), param_hint="--set")
    try:
        return name, type(defaults[name])(value)
    except ValueError:
        kind = type(defaults[name]).__name__
        raise click.BadParameter(
            f"{name} is {value!r}, expected {kind}, as {name}={defaults[name]}", param_hint="--set"
        ) from None
