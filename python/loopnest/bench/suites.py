"""Running the benchmark suites: pytest in a process of its own; every result arrives here as it is made.

>>> from loopnest.bench.suites import run_suites
>>> results = run_suites(["matmul"], quick=True)            # doctest: +SKIP
>>> max(results.records, key=lambda r: r.gflops).impl       # doctest: +SKIP
'numpy.matmul'
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..machine.records import MachineCard
from ..output.files import save_json
from . import journal
from .journal import Journal, Request
from .measure import QUICK
from .process import run_reporting
from .records import Results

NEEDED = {"pytest": "pytest", "pytest_benchmark": "pytest-benchmark", "threadpoolctl": "threadpoolctl"}


def suites_folder() -> Path:
    """The folder of the bench_*.py files: installed with the package, or in the source tree."""
    package = Path(__file__).parents[1]
    installed = package / "benchmarks"
    return installed if installed.exists() else package.parents[1] / "benchmarks"


def why_not_here() -> str | None:
    """Which packages a benchmark run lacks and how to get them, or None where it has all."""
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if not missing:
        return None
    are = "are" if len(missing) > 1 else "is"
    return f"{' and '.join(missing)} {are} not installed, and benchmarks need them: pip install 'loopnest[bench]'"


def run_suites(
    suites: Sequence[str],
    *,
    quick: bool = False,
    seconds: float | None = None,
    select: str | None = None,
    card: MachineCard | None = None,
    journal_file: Path | None = None,
    on_event: Callable[[str, Any], None] = lambda kind, content: None,
) -> Results:
    """Run these suites, and return what was measured until the end, or until Ctrl-C.

    quick         fewer and smaller workloads, in under a minute
    seconds       the whole run ends after about this time
    select        run only the benchmarks of matching names, as pytest's -k does
    card          the machine's, for the records' limits
    journal_file  gets every result as it is made; the caller removes it
    on_event      is called with ("start", the number of benchmarks), ("running", a name), and what becomes a record,
                  not_run or failure

    A benchmark that ends the process, by a crash or for lack of memory, is a failure, and the rest are run without it.

    Raises ValueError where journal_file exists: an unfinished run has left it, for `resume`.
    """
    if journal_file is not None and journal_file.exists():
        raise ValueError(f"journal_file is {journal_file}, which exists; continue that run with resume(), or remove it")
    with tempfile.TemporaryDirectory() as folder:
        path = journal_file or Path(folder, "run.jsonl")
        return _run_to_the_end(path, Request(tuple(suites), quick, seconds, select), card, on_event)


def resume(
    journal_file: Path,
    *,
    card: MachineCard | None = None,
    on_event: Callable[[str, Any], None] = lambda kind, content: None,
) -> Results:
    """Go on with a run that was cut off: what it had measured, and the rest of what it was asked for.

    journal_file  that run's; it gets what is measured now. The other arguments are as for `run_suites`

    Raises OSError where the journal cannot be read, and ValueError where it is none.
    """
    request = journal.read(journal_file).request
    if request is None:
        raise ValueError(f"{journal_file} does not say what was asked for")
    return _run_to_the_end(journal_file, request, card, on_event)


def _options(request: Request, elapsed: float) -> list[str]:
    """pytest's options, when this time has passed."""
    total = request.seconds or (QUICK.total if request.quick else math.inf)
    options = ["--quick"] if request.quick else []
    options += [f"--seconds={max(1.0, total - elapsed)}"] if total < math.inf else []
    return [*options, "-k", request.select] if request.select is not None else options


def _run_to_the_end(
    path: Path, request: Request, card: MachineCard | None, on_event: Callable[[str, Any], None]
) -> Results:
    """Run pytest, and again without the benchmark that ended it, until none is left."""
    started = time.perf_counter()
    run = Journal(path)
    if run.request is None:
        run.add("run", msgspec.to_builtins(request))

    def take(kind: str, content: Any) -> None:
        run.add(kind, content)
        on_event(kind, content)

    with tempfile.TemporaryDirectory() as folder, contextlib.closing(run):
        card_file = "none"
        if card is not None:
            card_file = str(Path(folder, "machine.json"))
            save_json(msgspec.to_builtins(card), Path(card_file))
        while True:
            options = [*_options(request, time.perf_counter() - started), f"--machine-card={card_file}"]
            options += [f"--resume={path}"] if run.finished else []
            failures = run.failures
            run.add("running", "")
            status, how_it_ended = run_reporting([*_pytest(request.suites), *options], _environment(), take)
            if status is None:
                return run.results(interrupted=True)
            nothing_left = status == NO_TESTS and bool(run.finished)
            if status in (0, 1) or nothing_left or (status > 1 and run.failures > failures):
                return run.results()
            died = run.running
            run.add("failure", {"name": died.partition("::")[2] or "pytest", "message": how_it_ended})
            if status > 0 or not died or died in run.finished:
                return run.results()
            run.add("finished", died)


NO_TESTS = 5
"""pytest's exit status where it has run none."""


def _pytest(suites: Sequence[str]) -> list[str]:
    folder = suites_folder()
    return [
        *("-m", "pytest", "-c", os.devnull, "--rootdir", str(folder), "-o", "python_files=bench_*.py"),
        *("-p", "pytest_benchmark.plugin", "--benchmark-quiet", "-p", "no:cacheprovider", "--assert=plain"),
        *(str(folder / f"bench_{suite}.py") for suite in suites),
    ]


def _environment() -> dict[str, str]:
    """Without the variables of a pytest session that we may be in."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**ours, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
