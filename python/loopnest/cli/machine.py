"""`loopnest machine`: what this machine reaches, measured."""

from __future__ import annotations

from pathlib import Path

import click

from .options import JSON, interruptible, need, need_matplotlib, output_file, print_json
from .progress import Progress, say, show


@click.command("machine")
@JSON
@click.option("--refresh", is_flag=True, help="Measure now, even if this machine was measured before.")
@output_file("--svg", "svg_file", help="Write the roofline to this file.")
def command(as_json: bool, refresh: bool, svg_file: Path | None) -> None:
    """Show what this machine reaches: peak, bandwidths, latencies, and its roofline.

    The first call measures, in some 15 seconds, and keeps the figures; `--refresh` measures again. Warnings name what
    distorts the figures, such as other processes or variables of the environment.
    """
    from ..machine.card import card, card_file
    from ..machine.roofline import roofline_svg
    from ..machine.tables import report
    from ..timing.fairness import why_not_here

    need(why_not_here())
    need_matplotlib(svg_file)
    with interruptible("nothing was kept of this measurement"), Progress() as progress:
        here = card(refresh, on_event=progress.on_event)
    if as_json:
        print_json(here)
    else:
        show(report(here))
        say(f"\nkept in {card_file()}")
    if svg_file is not None:
        svg_file.write_text(roofline_svg(here), encoding="utf-8")
