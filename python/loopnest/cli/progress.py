"""The terminal: one console, one progress bar."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console, RenderableType


def console(stderr: bool = False) -> Console:
    """The console of all commands: text is printed as it is, without guessed highlights."""
    from rich.console import Console

    unknown = os.environ.get("COLUMNS") == "0"  # as from `stty size` where there is no terminal
    return Console(highlight=False, stderr=stderr, width=80 if unknown else None)


def show(parts: Iterable[RenderableType]) -> None:
    """Print the parts of a report."""
    out = console()
    for part in parts:
        out.print(part)


def say(*lines: str) -> None:
    """Print lines as they are: no markup in brackets, and no breaks in paths."""
    for line in lines:
        console().print(line, markup=False, soft_wrap=True)


def busy(what: str) -> AbstractContextManager[Any]:
    """A sign of life on standard error, where that is a terminal."""
    return console(stderr=True).status(what, spinner="line") if redraws() else nullcontext()


def redraws() -> bool:
    """Whether standard error can redraw what it shows.

    A file does not, whatever FORCE_COLOR says. A notebook does not either: its `!command` only
    looks like a terminal.
    """
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and "JPY_PARENT_PID" not in os.environ


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Callable[[str, Any], None]]:
    """A bar on standard error while something runs; hidden where that does not redraw.

    It takes what the rooms below report: ("start", how many items), ("running", an item), ("at", a text), ("round",
    (text, done, most)), ("note", a line to keep).
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False)
    errors = console(stderr=True)
    with Progress(*columns, console=errors, transient=True, disable=quiet or not redraws()) as bar:
        task = bar.add_task("starting", total=None)

        def on_event(event: str, content: Any) -> None:
            if event == "start":
                bar.update(task, total=content)
            elif event == "running":
                bar.update(task, description=content.rpartition("::")[2], advance=1)
            elif event == "at":
                bar.update(task, description=content)
            elif event == "note":
                errors.print(content, markup=False, soft_wrap=True)
            elif event == "round":
                what, done, most = content
                bar.update(task, description=what, completed=done, total=most)

        yield on_event
