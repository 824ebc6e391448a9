"""`loopnest inspect`: what became of a rung's source."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .. import OPERATIONS
from ..operation import UnknownImplementationError

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


@click.command("inspect")
@click.argument("operation")
@click.argument("impl")
@_aspects
@click.option("--isa", help="The ISA level of the machine code: v1, v3 or v4; the one in force where it is not given.")
@click.option("--dtype", type=click.Choice(("float32", "float64")), default="float32", show_default=True)
@click.option("--objdump", is_flag=True, help="Disassemble with objdump in place of capstone.")
@click.option("--cc", help="The compute capability of PTX and SASS, as in 9.0; the GPU's where it is not given.")
@click.option("--gpu", help="The GPU whose occupancy is told: A100, H100, 'RTX 4090', …; H100 where it is not given.")
@click.option("--workload", help="Whose call is looked at, of rungs that choose kernels by size; the largest.")
@click.option("--strided", is_flag=True, help="Of Numba, the form for arrays of any strides.")
@click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the view to this file, a page that needs no other file.",
)
@click.option("--plain", is_flag=True, help="No colours and no columns, for pipes.")
@click.option("--json", "as_json", is_flag=True, help="The records as JSON.")
def inspect_command(
    operation: str,
    impl: str,
    aspects: tuple[str, ...],
    isa: str | None,
    dtype: str,
    objdump: bool,
    cc: str | None,
    gpu: str | None,
    workload: str | None,
    strided: bool,
    html_file: Path | None,
    plain: bool,
    as_json: bool,
) -> None:
    """Look into one rung: OPERATION and IMPL, as in `loopnest inspect matmul cpp.packed`."""
    from rich.console import Console

    from ..lab.inspect import InspectError, inspect, tables

    if operation not in OPERATIONS:
        raise click.BadParameter(f"no operation is called {operation!r}. Known: {', '.join(OPERATIONS)}.")
    options: dict[str, Any] = {"disassembler": "objdump"} if objdump else {}
    options |= {"cc": cc, "gpu": gpu, "workload": workload, "strided": strided}
    try:
        view = inspect(OPERATIONS[operation][impl], *aspects, dtype=dtype, isa=isa, **options)
    except UnknownImplementationError as error:
        raise click.BadParameter(str(error), param_hint="IMPL") from None
    except InspectError as error:
        raise click.ClickException(str(error)) from None
    if html_file is not None:
        from ..lab.inspect.html import write

        write([view], html_file)
        click.echo(f"the page is in {html_file}")
        return
    if as_json:
        click.echo(json.dumps(view.to_json(), indent=1))
        return
    console = Console(highlight=False)
    if plain or not console.is_terminal:
        click.echo("\n".join(tables.plain(view)))
        return
    for part in tables.report(view, console.width):
        console.print(part)


__all__ = ["Path", "inspect_command"]
