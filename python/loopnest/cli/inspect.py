"""`loopnest inspect`: what became of a rung's source."""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..operation import Implementation, UnknownImplementationError
from ..operations import OPERATIONS

ASPECTS = {
    "source": "The source, with what became of each line.",
    "asm": "The machine code of the function that the hot loop is in.",
    "hot": "The hot loop, counted, and its bound; what is shown where nothing else is asked.",
    "remarks": "What the compiler did not vectorize, and why, by source line.",
    "mca": "llvm-mca's view of the hot loop, where llvm-mca is installed.",
    "llvm": "Optimised LLVM IR.",
    "ptx": "PTX, NVIDIA's portable assembly.",
    "sass": "SASS, the machine code of a GPU.",
    "ttir": "Triton's IR.",
}


def _aspects(command: Callable[..., Any]) -> Callable[..., Any]:
    for aspect, text in reversed(ASPECTS.items()):
        command = click.option(f"--{aspect}", "aspects", flag_value=aspect, multiple=True, help=text)(command)
    return command


def _in_a_folder(ctx: click.Context, param: click.Parameter, file: Path | None) -> Path | None:
    """The file, whose folder exists."""
    if file is not None and not file.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {file.absolute().parent}")
    return file


@click.command("inspect")
@click.argument("operation")
@click.argument("impl")
@_aspects
@click.option("--diff", "other", metavar="IMPL2", help="Its hot loop beside that of a second rung, and both counted.")
@click.option("--isa", help="The ISA level of the machine code: v1, v3 or v4; the one in force where it is not given.")
@click.option("--dtype", type=click.Choice(("float32", "float64")), default="float32", show_default=True)
@click.option("--cpu", help="The processor whose bound is told, as in 'Zen 3' or 'Golden Cove'; this machine's.")
@click.option("--no-measure", is_flag=True, help="Do not run the rung: only read its code.")
@click.option("--objdump", is_flag=True, help="Disassemble with objdump in place of capstone.")
@click.option("--cc", help="The compute capability of PTX and SASS, as in 9.0; the GPU's where it is not given.")
@click.option("--gpu", help="The GPU whose occupancy is told: A100, H100, 'RTX 4090', …; H100 where it is not given.")
@click.option("--workload", help="Whose call is looked at, of rungs that choose kernels by size; the largest.")
@click.option("--strided", is_flag=True, help="Of Numba, the form for arrays of any strides.")
@click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_in_a_folder,
    help="Write the view to this file, a page that needs no other file.",
)
@click.option("--plain", is_flag=True, help="No colours and no columns, for pipes.")
@click.option("--json", "as_json", is_flag=True, help="The records as JSON.")
def inspect_command(
    operation: str,
    impl: str,
    aspects: tuple[str, ...],
    other: str | None,
    isa: str | None,
    dtype: str,
    cpu: str | None,
    no_measure: bool,
    objdump: bool,
    cc: str | None,
    gpu: str | None,
    workload: str | None,
    strided: bool,
    html_file: Path | None,
    plain: bool,
    as_json: bool,
) -> None:
    """Look into one rung: what became of its source, OPERATION and IMPL as in `loopnest inspect matmul cpp.packed`.

    Without an option it is what says most of the rung: of compiled ones the hot loop, counted, with what bounds it and
    how much of the machine's limit the rung reaches; docs/inspect.md says how to read it. Several may be given.

    \b
    loopnest inspect matmul cpp.packed --isa v3 --dtype float64
    loopnest inspect matmul cpp.naive --remarks           what the compiler did not vectorize, and why
    loopnest inspect matmul cpp.reordered --diff cpp.packed
    loopnest inspect gelu cpp.simd --source --asm --html gelu.html
    """
    from rich.console import Console

    from ..inspect import InspectError, inspect, tables
    from ..inspect.compare import compare

    if other is not None and set(aspects) - {"hot"}:
        raise click.UsageError(f"--diff compares hot loops, and takes no --{min(set(aspects) - {'hot'})}")
    k = _rung(operation, impl, "IMPL")
    options: dict[str, Any] = {"dtype": dtype, "isa": isa, "measure": not no_measure}
    options |= {"disassembler": "objdump"} if objdump else {}
    options |= {"cpu": cpu, "cc": cc, "gpu": gpu, "workload": workload, "strided": strided}
    try:
        with _busy(f"looking into {operation} {k.id}"):
            both = compare(k, _rung(operation, other, "--diff"), **options) if other is not None else None
            views = [both.left, both.right] if both is not None else [inspect(k, *aspects, **options)]
        if html_file is not None:
            from ..inspect.html import write

            write(views, html_file, both.rows if both is not None else ())
    except InspectError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps((both or views[0]).to_json(), indent=1))
        return
    if html_file is not None:
        click.echo(f"the page is in {html_file}")
        return
    console = Console(highlight=False)
    if plain or not console.is_terminal:
        click.echo("\n".join(tables.plain_of_two(both) if both is not None else tables.plain(views[0])))
        return
    for part in (
        tables.report_of_two(both, console.width) if both is not None else tables.report(views[0], console.width)
    ):
        console.print(part)


def _busy(what: str) -> contextlib.AbstractContextManager[Any]:
    """A sign of life on standard error, where that is a terminal: a compiler may take half a minute."""
    from rich.console import Console

    errors = Console(stderr=True)
    return errors.status(what) if errors.is_terminal else contextlib.nullcontext()


def _rung(operation: str, impl: str, parameter: str) -> Implementation:
    """The implementation that is meant."""
    if operation not in OPERATIONS:
        near = difflib.get_close_matches(operation, OPERATIONS, n=2)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        known = ", ".join(OPERATIONS)
        raise click.BadParameter(f"no operation is called {operation!r}{hint} Known: {known}.", param_hint="OPERATION")
    try:
        return OPERATIONS[operation][impl]
    except UnknownImplementationError as error:
        raise click.BadParameter(str(error), param_hint=parameter) from None
