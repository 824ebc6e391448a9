"""`loopnest watch`: a local page that judges, times and inspects a kernel whenever its file is saved."""

from __future__ import annotations

import contextlib
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..arrays import FLOAT_NAMES
from ..backends.compiler import temporary_folder
from ..backends.user_file import language
from .options import COMPILER, FLAGS, OPERATION, choice, number, real, usage_errors, workload
from .progress import progress, say

if TYPE_CHECKING:
    from ..check import Verdict


@click.command("watch")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@OPERATION
@choice("--dtype", FLOAT_NAMES, help="By default float32 for Python, and for C and C++ what the function takes.")
@FLAGS
@COMPILER
@workload("else the last save's, if it fits")
@number("--threads", help="Of libraries and rungs; by default all where FILE asks for threads, else 1.")
@real("--seconds", default=0.5, least=0, help="For timing; 0: none.")
@real("--time-limit", default=20.0, help="Seconds in all for one save; a call may take a third.")
@click.option("--open", "opened", is_flag=True, help="Open the page in the browser.")
def command(file: Path, operation: str | None, dtype: str | None, seconds: float, opened: bool, **options: Any) -> None:
    """Serve a local page that shows, whenever FILE is saved: is it right, how fast is it next to the ladder and the
    machine's limit, and its machine code next to its source. Ctrl-C ends it.

    The page is for this machine alone, at the address that is printed. It keeps earlier saves, and can be saved as one
    file. `loopnest check FILE --watch` does the same in the terminal, and looks at more.

    \b
    loopnest check mine.cpp --op matmul --new   a file to start from
    loopnest watch mine.cpp --op matmul --open
    """
    from ..check.inside import inspect_file
    from ..check.race import LEGIBLE, LONG
    from ..check.watch import on_each_save
    from ..report.watch import Page, save_of

    op, kind, kept = operation or "matmul", language(file), dict[str, str | None](workload=None)
    options |= {"dtype": dtype or ("float32" if kind == "python" else None), "seconds": seconds}
    options |= {"compilers": [options.pop("compiler")], "flags": [options["flags"]]}
    with usage_errors(ValueError), Page(file, op) as page, contextlib.suppress(KeyboardInterrupt):

        def judge() -> Verdict:
            source = file.read_text(encoding="utf-8", errors="replace")
            with progress() as on_event:

                def show(kind: str, content: Any) -> None:
                    on_event(kind, content)
                    page.say(str(content))

                how = options | {"workload": options["workload"] or kept["workload"]}
                (found,) = inspect_file(file, op, "asm", "source", on_event=show, **how)
            if timing := found.verdict.timing:  # a workload that fits stays, so that saves can be compared
                kept["workload"] = timing.own.workload if LEGIBLE <= timing.own.best <= LONG else None
            page.say("", save_of(source, found, page.saves))
            return found.verdict

        say(f"the page: {page.address}", "it is judged again whenever it is saved; Ctrl-C ends this")
        if opened:
            start = temporary_folder() / "watch.html"  # of this user alone, as a browser's command line is not
            start.write_text(f'<meta http-equiv="refresh" content="0; url={page.address}">')
            webbrowser.open(start.as_uri())
        for verdict in on_each_save(file, judge):
            say(f"{page.saves[-1].time}  {verdict.outcome}: {verdict.sentence}")
