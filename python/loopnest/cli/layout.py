"""`loopnest layout`: the order in which a rung touches its elements, and which of them a cache has."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from .options import SVG, failures, save_picture
from .progress import console, show


@click.command("layout")
@click.argument("operation")
@click.argument("variant", metavar="[ORDER|VARIANT]", required=False)
@click.option("--n", default=8, show_default=True, help="The matrices have n x n elements; at most 32.")
@click.option("--layout", default="C", show_default=True, help="C or F, of all inputs; or a letter for each, as CF.")
@click.option("--cache", "size", type=int, default=256, show_default=True, help="Bytes of the cache, of 4 ways.")
@SVG
def command(operation: str, variant: str | None, size: int, svg: Path | None, **options: Any) -> None:
    """Show in which order a C++ rung touches its elements, and which of them a cache has.

    The OPERATION is matmul, transpose, sum or add; for matmul the rung may be a loop order.

    \b
    loopnest layout matmul ijk               down the columns of b
    loopnest layout matmul ikj               along its rows
    loopnest layout matmul ijk --layout CF   down columns, now contiguous
    """
    from ..layout.walk import TOY, picture, picture_svg, walk

    with failures(ValueError):
        walked = walk(operation, variant, cache=replace(TOY, size=size), **options)
    show(picture(walked, console().width))
    if svg:
        save_picture(picture_svg(walked), svg)
