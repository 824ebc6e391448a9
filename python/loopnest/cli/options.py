"""Arguments and options that several commands share, and their checks."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..operation import Implementation, Operation, UnknownImplementationError
from ..operations import OPERATIONS
from ..output.text import unknown


def an_operation(ctx: click.Context, param: click.Parameter, name: str | None) -> Operation | None:
    """The callback of an argument that names an operation."""
    if name is not None and name not in OPERATIONS:
        raise click.BadParameter(unknown("operation", name, OPERATIONS))
    return OPERATIONS[name] if name else None


POSITIVE = click.FloatRange(min=0, min_open=True)
DTYPE = click.option("--dtype", type=click.Choice(("float32", "float64")), default="float32", show_default=True)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")


def rung(operation: Operation, impl: str, hint: str = "IMPL") -> Implementation:
    """The implementation with this id; a wrong one is a usage error of the argument `hint`."""
    try:
        return operation[impl]
    except UnknownImplementationError as error:
        raise click.BadParameter(str(error), param_hint=hint) from None


def _in_a_folder(ctx: click.Context, param: click.Parameter, file: Path | None) -> Path | None:
    if file is not None and not file.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {file.absolute().parent}")
    return file


def output_file(*names: str, help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option that names a file to write; its folder must exist."""
    path = click.Path(dir_okay=False, writable=True, path_type=Path)
    return click.option(*names, type=path, callback=_in_a_folder, help=help)


def typed(ctx: click.Context, name: str) -> bool:
    """Whether the user gave this option, so that it is not its default."""
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def need_matplotlib(*files: Path | None) -> None:
    """Refuse to draw into these files where matplotlib is not installed."""
    if any(files) and importlib.util.find_spec("matplotlib") is None:
        raise click.ClickException("matplotlib, which draws, is not installed: pip install 'loopnest[bench]'")


def write_pictures(
    title: str, svg: str, text: list[str], svg_file: Path | None, html_file: Path | None, *, quiet: bool = False
) -> None:
    """Write a picture, and the same with its text as a page, and say where; to standard error if `quiet`."""
    from ..output.page import page_of_pictures

    if svg_file:
        svg_file.write_text(svg, encoding="utf-8")
    if html_file:
        html_file.write_text(page_of_pictures(title, [svg], text), encoding="utf-8")
    for file in (svg_file, html_file):
        if file:
            click.echo(f"written: {file}", err=quiet)
