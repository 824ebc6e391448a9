"""`loopnest machine`: what this machine reaches, measured."""

from pathlib import Path

import click

from .options import JSON, SVG, failures, need, print_json, save_picture
from .progress import progress, say, show


@click.command("machine")
@JSON
@click.option("--refresh", is_flag=True, help="Measure now, even if this machine was measured before.")
@click.option("--gpu", is_flag=True, help="Measure the GPU, in some seconds; its figures are not kept.")
@SVG
def command(as_json: bool, refresh: bool, gpu: bool, svg: Path | None) -> None:
    """Show what this machine reaches: peak, bandwidths, latencies; --svg draws its roofline.

    The first call measures, in some 15 seconds, and keeps the figures; `--refresh` measures again. Warnings name what
    distorts the figures, such as other processes or variables of the environment.
    """
    from ..backends.cuda_device import why_no_device
    from ..machine.card import card, card_file
    from ..machine.gpu import gpu_card
    from ..machine.roofline import roofline_svg
    from ..machine.tables import report

    if gpu:
        need(f"no GPU was found: {why}" if (why := why_no_device()) else None)
        with failures(RuntimeError):
            here = gpu_card()
    else:
        with progress() as on_event:
            here = card(refresh, on_event=on_event)
    if as_json:
        print_json(here)
    else:
        show(report(here))
        say(*([] if gpu else [f"\nkept in {card_file()}"]))
    if svg:
        save_picture(roofline_svg(here), svg, quiet=as_json)
