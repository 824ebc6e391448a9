"""Arguments and options that several commands share, and their checks."""

import functools
import importlib.util
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from ..arrays import FLOAT_NAMES, REDUCED
from ..backends.user_file import is_file
from ..operation import Implementation, Operation, UnknownImplementationError
from ..operations import OPERATIONS
from ..output.files import save_text
from ..output.text import unknown
from .progress import say

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def known_operation(name: str) -> Operation:
    """The operation of this name; a wrong one is a usage error."""
    if is_file(name):
        text = f"{name} is a file; expected an operation before it, such as matmul"
        raise click.BadParameter(text, param_hint="OPERATION")
    if name not in OPERATIONS:
        raise click.BadParameter(unknown("operation", name, OPERATIONS), param_hint="OPERATION")
    return OPERATIONS[name]


def an_operation(ctx: click.Context, param: click.Parameter, name: str | None) -> Operation | None:
    """The callback of an argument that names an operation."""
    return known_operation(name) if name is not None else None


def number(*names: str, default: int | None = None, least: int = 1, help: str, **how: Any) -> Decorator:
    """An option that takes an integer of `least` or more."""
    shown = default is not None
    how = {"type": click.IntRange(min=least), "metavar": "N", **how}
    return click.option(*names, default=default, show_default=shown, help=help, **how)


def real(name: str, *, default: float, least: float | None = None, help: str, **how: Any) -> Decorator:
    """An option that takes a number more than 0, or of `least` or more."""
    limits = POSITIVE if least is None else Finite(min=least)
    how = {"type": limits, "metavar": "X", **how}
    return click.option(name, default=default, show_default=True, help=help, **how)


def choice(
    name: str, values: Sequence[str], default: str | None = None, help: str | None = None, *, shown: bool = True
) -> Decorator:
    """An option that takes one of some names; the help lists them unless it has another text, and has the default."""
    listed = f"{', '.join(values[:-1])} or {values[-1]}."
    shown = shown and default is not None
    how: dict[str, Any] = {"type": click.Choice(values), "default": default, "show_default": shown}
    return click.option(name, help=help or listed, metavar=None if help else "NAME", **how)


def stacked(*options: Decorator) -> Decorator:
    """Several arguments and options as one decorator, in this order in the help."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


class Finite(click.FloatRange):
    """A finite number in a range: click's own range lets NaN and infinity pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


POSITIVE = Finite(min=0, min_open=True)
NEW_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)
DTYPE = choice("--dtype", FLOAT_NAMES, "float32")
REDUCED_TOO = choice("--dtype", (*FLOAT_NAMES, *REDUCED), "float32", shown=False)
OPERATION = click.option("--op", "operation", help="The operation, as in `loopnest list`.  [default: matmul]")
FLAGS = click.option("--flags", default="-O3 -march=native", show_default=True, help="For the compiler of C and C++.")
COMPILER = click.option("--compiler", help="Its name or path; by default CXX or CC of the environment, or g++ and gcc.")


def workload(default: str) -> Decorator:
    """The option that names a workload or gives its lengths; `default` says what is taken without it."""
    return click.option("--workload", help=f"A name, or lengths as 17x4096x33; {default}.")


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


def output_file(*names: str, help: str) -> Decorator:
    """An option that names a file to write; its folder must exist."""
    return click.option(*names, type=NEW_FILE, callback=_in_a_folder, help=help)


def _drawable(ctx: click.Context, param: click.Parameter, file: Path | None) -> Path | None:
    if file is not None and importlib.util.find_spec("matplotlib") is None:
        need("matplotlib, which draws, is not installed: pip install 'loopnest[bench]'")
    return _in_a_folder(ctx, param, file)


SVG = click.option("--svg", type=NEW_FILE, callback=_drawable, help="Write the picture to this file.")


def need(missing: str | None) -> None:
    """End the command with the reason why it cannot run here, if there is one."""
    if missing:
        raise click.ClickException(missing)


@contextmanager
def failures(*kinds: type[Exception], end: type[click.ClickException] = click.ClickException) -> Iterator[None]:
    """Errors of these kinds, whose messages are for the user, end the command with status 1."""
    try:
        yield
    except kinds as error:
        raise end(str(error)) from None


usage_errors = functools.partial(failures, end=click.UsageError)
"""The same with status 2: the user asked for something that does not exist or does not fit."""


def print_json(record: Any) -> None:
    """Print a record: arrays as lists, null for a number that is not finite."""
    data = msgspec.to_builtins(record, enc_hook=lambda x: x.tolist())
    try:
        text = msgspec.json.encode(data)
    except UnicodeEncodeError:  # names of files may hold any bytes
        plain = json.dumps(data, ensure_ascii=False).encode(errors="replace")
        text = msgspec.json.encode(json.loads(plain, parse_constant=lambda name: None))
    click.echo(msgspec.json.format(text, indent=1))


def save_picture(svg: str, file: Path, *, quiet: bool = False) -> None:
    """Write a picture, and say where; to standard error if `quiet`."""
    save_text(svg, file)
    click.echo(f"written: {file}", err=quiet)


def files_of_run(json_file: Path | None, report_file: Path | None) -> tuple[Path | None, Path | None]:
    """Where results and report go: into a new folder, unless one of the files is named."""
    from ..bench.records import REPORT, RESULTS, new_folder

    if json_file or report_file:
        return json_file, report_file
    folder = new_folder()
    return folder / RESULTS, folder / REPORT


def finish(results: Any, report_file: Path | None = None, write: Callable[[Any, Path], None] | None = None) -> None:
    """Write the report, and end with the exit status of a run."""
    from ..report import why_not_here

    if report_file and why_not_here():
        say(f"no report: {why_not_here()}")
    elif report_file and write:
        write(results, report_file)
        say(f"report: {report_file}")
    if results.interrupted or results.failures:
        raise SystemExit(130 if results.interrupted else 1)
