"""`loopnest machine`: what this machine reaches, measured."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import click
import msgspec

from .options import JSON, output_file
from .progress import Progress, console


@click.command("machine")
@JSON
@click.option("--refresh", is_flag=True, help="Measure now, even if this machine was measured before.")
@output_file("--svg", "svg_file", help="Write the roofline to this file.")
def command(as_json: bool, refresh: bool, svg_file: Path | None) -> None:
    """Show what this machine reaches: peak, bandwidths, latencies, noise, and its roofline.

    The first call measures, in some 15 seconds, and keeps the figures; `--refresh` measures again. Warnings name what
    distorts the figures, such as other processes or variables of the environment.
    """
    needed = ["threadpoolctl", *(["matplotlib"] if svg_file else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        are = "are" if len(missing) > 1 else "is"
        raise click.ClickException(f"{' and '.join(missing)} {are} not installed: pip install 'loopnest[bench]'")
    from ..machine.card import card, card_file
    from ..machine.roofline import roofline_svg
    from ..machine.tables import report

    notes: list[str] = []
    with Progress() as progress:

        def on_event(event: str, content: Any) -> None:
            if event == "note":
                notes.append(content)
            progress.on_event(event, content)

        try:
            here = card(refresh, on_event=on_event)
        except KeyboardInterrupt:
            click.echo("interrupted: nothing was kept of this measurement", err=True)
            raise SystemExit(130) from None
    for note in notes:
        click.echo(note, err=True)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(here), indent=1))
    else:
        out = console()
        for part in report(here):
            out.print(part)
        out.print(f"\nkept in {card_file()}", markup=False, highlight=False, soft_wrap=True)
    if svg_file is not None:
        svg_file.write_text(roofline_svg(here), encoding="utf-8")
