"""`loopnest inspect`: what the compiler made of a rung, and what limits it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..operation import Operation, UnavailableError
from .options import DTYPE, JSON, an_operation, output_file, rung
from .progress import console, show

ASPECTS = {
    "source": "The source, with what became of each line.",
    "asm": "The machine code of the function that the hot loop is in.",
    "hot": "The hot loop, counted, and its bound: the default.",
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
@click.argument("operation", callback=an_operation)
@click.argument("impl")
@_aspects
@click.option("--counters", is_flag=True, help="Cycles, instructions, cache misses of a call, where they are counted.")
@click.option("--accuracy", is_flag=True, help="The error over every float32, in ULP; of C++ elementwise functions.")
@click.option("--step", type=click.IntRange(1, 2**32), default=1, help="With --accuracy: only every STEP-th number.")
@click.option("--calls", type=click.IntRange(min=1), default=5, help="With --counters: calls that are counted.")
@click.option("--diff", "other", metavar="IMPL2", help="Its hot loop next to the one of a second rung, both counted.")
@click.option("--isa", help="The ISA level of the machine code: v1, v3 or v4; by default the active one.")
@DTYPE
@click.option("--cpu", help="The processor that the bound is for, as 'Zen 3' or 'Golden Cove'; by default this one.")
@click.option("--no-measure", is_flag=True, help="Do not run the rung: only read its code.")
@click.option("--objdump", is_flag=True, help="Disassemble with objdump in place of capstone.")
@click.option("--cc", help="The compute capability of PTX and SASS, as 9.0; by default the GPU's.")
@click.option("--gpu", help="The GPU whose occupancy is shown: A100, H100, 'RTX 4090', …; by default H100.")
@click.option("--workload", help="The workload of the call; by default the largest.")
@click.option("--strided", is_flag=True, help="Of Numba: the form for arrays of any strides.")
@output_file("--html", "html_file", help="Write the view to this file, a page that needs no other file.")
@click.option("--plain", is_flag=True, help="No colours and no columns, for pipes.")
@JSON
def command(
    operation: Operation,
    impl: str,
    aspects: tuple[str, ...],
    counters: bool,
    accuracy: bool,
    step: int,
    calls: int,
    other: str | None,
    html_file: Path | None,
    plain: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Look into one rung: what became of its source, OPERATION and IMPL as in `loopnest inspect matmul cpp.packed`.

    By default it shows what says most: of a compiled rung the hot loop, counted, with what bounds it and the share of
    the machine's limit that the rung reaches; docs/inspect.md says how to read it. Aspects can be combined.

    \b
    loopnest inspect matmul cpp.packed --isa v3 --dtype float64
    loopnest inspect matmul cpp.naive --remarks           what the compiler did not vectorize, and why
    loopnest inspect matmul cpp.reordered --diff cpp.packed
    loopnest inspect gelu cpp.simd --source --asm --html gelu.html
    loopnest inspect matmul cpp.packed --counters
    loopnest inspect gelu cpp.simd --accuracy
    """
    if counters:
        _counters(operation, impl, options["workload"], calls)
    elif accuracy:
        _accuracy(operation, impl, step, options["isa"])
    else:
        options["measure"] = not options.pop("no_measure")
        if options.pop("objdump"):
            options["disassembler"] = "objdump"
        _inspect(operation, impl, aspects, other, html_file, plain, as_json, options)


def _inspect(
    operation: Operation,
    impl: str,
    aspects: tuple[str, ...],
    other: str | None,
    html_file: Path | None,
    plain: bool,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    from ..inspect import InspectError, inspect, tables
    from ..inspect.compare import compare

    if other is not None and set(aspects) - {"hot"}:
        raise click.UsageError(f"--diff compares hot loops, and takes no --{min(set(aspects) - {'hot'})}")
    k = rung(operation, impl)
    try:
        with _busy(f"looking into {operation.name} {k.id}"):
            both = compare(k, rung(operation, other, "--diff"), **options) if other is not None else None
            views = [both.left, both.right] if both is not None else [inspect(k, *aspects, **options)]
        if html_file is not None:
            from ..inspect.html import write

            write(views, html_file, both.rows if both is not None else ())
    except InspectError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps((both or views[0]).to_json(), indent=1))
    elif html_file is not None:
        click.echo(f"the page is in {html_file}")
    elif plain or not console().is_terminal:
        click.echo("\n".join(tables.plain_of_two(both) if both is not None else tables.plain(views[0])))
    else:
        width = console().width
        show(tables.report_of_two(both, width) if both is not None else tables.report(views[0], width))


def _busy(what: str) -> contextlib.AbstractContextManager[Any]:
    """A sign of life on standard error, where that is a terminal: a compiler may take half a minute."""
    errors = console(stderr=True)
    return errors.status(what) if errors.is_terminal else contextlib.nullcontext()


def _counters(operation: Operation, impl: str, workload: str | None, calls: int) -> None:
    """What the processor counts while the rung runs; what it cannot count is named with the reason."""
    from ..layout.counters import count_implementation, report, usual_workload

    k = rung(operation, impl)
    try:
        name = workload or usual_workload(operation)
        counted = count_implementation(k, name, calls=calls)
    except (UnavailableError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{operation.name} {k.id} on {name}, a call's share of {calls}\n")
    for text in report(counted):
        click.echo(text)


def _accuracy(operation: Operation, impl: str, step: int, isa: str | None) -> None:
    """The largest error over every float32, in ULP.

    An ULP is the distance of float32's neighbours around the exact result: a correctly rounded result is off by at most
    0.5. A gradient's error is in ULP of the sum of the magnitudes of its terms.
    """
    from .._core import set_isa
    from ..verify import accuracy

    k = rung(operation, impl)
    if k.backend != "cpp":
        raise click.ClickException(f"--accuracy measures C++ rungs, and {k.id} is none; try cpp.simd")
    try:
        if isa is not None:
            set_isa(isa)
        # softmax is measured by the exponential that it is made of.
        functions = accuracy.functions(["exp" if operation.name == "softmax" else operation.name], k.variant)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    click.echo(accuracy.HEADER)
    for function in functions:
        click.echo(accuracy.line(accuracy.measure(function, step=step, variant=k.variant)))
