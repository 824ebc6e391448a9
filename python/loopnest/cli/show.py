"""`loopnest show`: one rung's lesson and source."""

from __future__ import annotations

import click

from ..backends import SIMULATED
from ..operation import Operation
from .options import an_operation, rung
from .progress import console


@click.command("show")
@click.argument("operation", callback=an_operation)
@click.argument("impl")
def command(operation: Operation, impl: str) -> None:
    """Show the lesson and the source of one rung: OPERATION and IMPL, as in `loopnest show matmul cpp.naive`."""
    from rich.syntax import Syntax
    from rich.text import Text

    k = rung(operation, impl)
    out = console()
    reason = k.why_unavailable()
    source = _without_lesson(k.source())
    notes = [f"not here: {reason}"] if reason else []
    notes += [SIMULATED] if k.simulated() else []
    if not out.is_terminal:
        click.echo("\n\n".join([f"{operation.name} {k.id}", *notes, k.lesson, source]))
        return
    out.print(Text(f"{operation.name} {k.id}\n", style="bold"))
    for note in notes:
        out.print(Text(f"{note}\n", style="yellow"))
    for paragraph in k.lesson.split("\n\n"):
        out.print(Text(_reflowed(paragraph) + "\n"))
    language = {"cpp": "cpp", "cuda_cpp": "cuda"}.get(k.backend, "python")
    out.print(Syntax(source, language, theme="ansi_dark", background_color="default", word_wrap=True))


def _reflowed(paragraph: str) -> str:
    """Prose on one line, for the terminal to break; formulas, tables and lists as they are."""
    lines = paragraph.splitlines()
    return paragraph if any(line.startswith((" ", "-")) for line in lines) else " ".join(lines)


def _without_lesson(source: str) -> str:
    """The source less the docstring or the opening comment, which is the lesson."""
    import ast

    lines = source.splitlines()
    if source.startswith("//"):
        while lines and lines[0].startswith("//"):
            del lines[0]
    else:
        function = ast.parse(source).body[0]
        if isinstance(function, ast.FunctionDef) and ast.get_docstring(function) is not None:
            docstring = function.body[0]
            del lines[docstring.lineno - 1 : docstring.end_lineno]
    return "\n".join(lines).strip("\n")
