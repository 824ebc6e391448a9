"""`python -m loopnest.parallel matmul`: a product of matrices in files, and files to try it with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .operands import Sampled
    from .out_of_core import OutOfCoreProduct

FILE = click.Path(dir_okay=False, path_type=Path)


class Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes with a unit, such as 1GiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from .memory import parse_size

        try:
            return value if isinstance(value, int) else parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _words(error: Exception) -> str:
    """What it says, without an error number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


class Interrupted(click.ClickException):
    exit_code = 130


@click.command("matmul")
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.argument("out", type=FILE)
@click.option("--limit", type=Size(), default="1GiB", show_default=True, help="What the process's memory stays below.")
@click.option(
    "--impl", help="A rung's id, as cpp.packed, that multiplies the blocks; the fastest where it is left out."
)
@click.option("--check", type=click.IntRange(min=0), default=16, show_default=True,
              help="Rows and columns whose elements are made again in a higher precision; 0 for none.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON, the timeline too.")
def matmul_command(a: Path, b: Path, out: Path, limit: int, impl: str | None, check: int, as_json: bool) -> None:
    """Multiply the matrices of the .npy files A and B, larger than memory, and write their product to OUT.

    \b
    python -m loopnest.parallel make-operands /tmp/big --m 32000 --k 16000 --n 24000
    python -m loopnest.parallel matmul /tmp/big/A.npy /tmp/big/B.npy /tmp/big/C.npy --limit 1GiB

    OUT is written under another name and gets its own when it is whole. Ends with status 1 where memory was not held
    below the limit, or a sampled element is wrong.
    """
    from .operands import check_product
    from .out_of_core import matmul_out_of_core

    try:
        with _Progress(as_json) as progress:
            made = matmul_out_of_core(a, b, out, memory_limit=limit, impl=impl, on_progress=progress)
        sampled = check_product(a, b, out, rows=check, columns=check) if check else None
    except (ValueError, TypeError, LookupError, RuntimeError, OSError) as error:
        raise click.ClickException(_words(error)) from None
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted: {out} is as it was before") from None
    if as_json:
        click.echo(json.dumps({**made.to_json(timeline=True), "check": _as_json(sampled)}))
    else:
        for line in told(made, sampled):
            click.echo(line)
    if not made.held or (sampled is not None and not sampled.right):
        raise SystemExit(1)


def _as_json(sampled: Sampled | None) -> Any:
    import dataclasses

    return None if sampled is None else {**dataclasses.asdict(sampled), "right": sampled.right}


def told(made: OutOfCoreProduct, sampled: Sampled | None) -> Iterator[str]:
    """The record in words, in 80 columns."""
    from .memory import size_text

    item = made.operands // max(made.m * made.k + made.k * made.n + made.m * made.n, 1)
    yield f"product    ({made.m:,} x {made.k:,}) · ({made.k:,} x {made.n:,}), {made.dtype}, by {made.impl}"
    sizes = (made.m * made.k, made.k * made.n, made.m * made.n)
    yield "files      " + ", ".join(f"{name} {size_text(item * s)}" for name, s in zip("abc", sizes, strict=True))
    yield f"blocks     {made.blocks}"
    held = "held" if made.held else "NOT HELD"
    yield f"memory     peak {size_text(made.peak)} of a limit of {size_text(made.memory_limit)}: {held}"
    yield f"           {size_text(made.baseline)} before, and {size_text(made.buffers)} of buffers"
    moved = made.bytes_read + made.bytes_written
    yield f"traffic    {size_text(made.bytes_read)} read, {size_text(made.bytes_written)} written"
    if made.bytes_bound:
        yield f"           {moved / made.bytes_bound:.2f} x the least of any order with these buffers, " + size_text(
            made.bytes_bound
        )
    if made.storage_read is not None:
        rest = ", the rest from the system's cache" if made.storage_read < made.bytes_read else ", in whole pages"
        yield f"           {size_text(made.storage_read)} came from storage{rest}"
    yield f"time       {made.seconds:.2f} s: {made.flops / 1e9:.3g} GFLOP/s"
    yield f"           multiplying {made.computing:.2f} s, reading {made.reading:.2f} s, writing {made.writing:.2f} s"
    moving = made.reading + made.writing
    if moving:
        yield f"           {made.overlap:.2f} s of reading and writing while multiplying; {made.waiting:.2f} s waited"
    if sampled is not None and sampled.elements:
        verdict = "right" if sampled.right else f"WRONG at {sampled.at}"
        worst = f"the worst error is {sampled.worst:.2g} of the bound"
        yield f"check      {sampled.elements:,} elements, {verdict}: {worst}"


@click.command("make-operands")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--m", type=click.IntRange(min=1), required=True, help="Rows of A.")
@click.option("--k", type=click.IntRange(min=1), required=True, help="Columns of A, and rows of B.")
@click.option("--n", type=click.IntRange(min=1), required=True, help="Columns of B.")
@click.option("--dtype", type=click.Choice(("float32", "float64")), default="float32", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def make_operands_command(folder: Path, m: int, k: int, n: int, dtype: str, seed: int) -> None:
    """Write random matrices to FOLDER/A.npy (m x k) and FOLDER/B.npy (k x n), for the command matmul."""
    from .memory import size_text
    from .operands import make_operands

    try:
        for path in make_operands(folder, m, k, n, dtype=dtype, seed=seed):
            click.echo(f"{path}  {size_text(path.stat().st_size)}")
    except (ValueError, OSError) as error:
        raise click.ClickException(_words(error)) from None


class _Progress:
    """A bar on standard error, and on a terminal alone."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

        errors = Console(stderr=True)
        columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=errors, transient=True, disable=quiet or not errors.is_terminal)
        self._task = self._bar.add_task("", total=1.0)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.stop()

    def __call__(self, done: float) -> None:
        self._bar.update(self._task, completed=done)


COMMANDS = (matmul_command, make_operands_command)
