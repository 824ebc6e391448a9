"""`%%kernel matmul` in a notebook: `loopnest check` of the cell."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .check import command as check_command

if TYPE_CHECKING:
    from ..check import Verdict

NOT_HERE = ("file", "as_json", "watch", "new", "races", "operation", "lang")
"""The parameters of `loopnest check` that a cell lacks, or has in another form."""


def kernel(line: str, cell: str) -> Verdict | None:
    """%%kernel OPERATION [--lang cpp] [options of `loopnest check`]: judge the kernel that this cell holds.

    The cell is a whole file: it sees nothing of the notebook's other cells. Its value is the verdict, also as `_`.
    """
    from ..check import check
    from ..check.starters import SUFFIXES

    operation = click.Argument(["operation"])
    lang = click.Option(["--lang"], type=click.Choice(list(SUFFIXES)), default="python", show_default=True)
    shared = [parameter for parameter in check_command.params if parameter.name not in NOT_HERE]
    command = click.Command("%%kernel", params=[operation, lang, *shared], help=kernel.__doc__)
    try:
        options = command.make_context("%%kernel", shlex.split(line)).params
        suffix = SUFFIXES[options.pop("lang")]
        options["memory_limit"] = int(options["memory_limit"] * (1 << 20))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"cell{suffix}"
            file.write_text(f"\n{cell}", encoding="utf-8")  # its lines have the notebook's numbers: %%kernel is line 1
            return check(file, **options)
    except click.exceptions.Exit:  # after --help
        return None
    except (click.UsageError, ValueError) as error:
        click.echo(f"%%kernel: {error.format_message() if isinstance(error, click.UsageError) else error}", err=True)
        return None
