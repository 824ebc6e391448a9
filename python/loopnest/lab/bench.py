"""Running the benchmark suites: pytest in a process of its own, of which every result arrives here as it is made.

>>> from loopnest.lab.bench import run_suites
>>> results = run_suites(["matmul"], quick=True)            # doctest: +SKIP
>>> max(results.records, key=lambda r: r.gflops).impl       # doctest: +SKIP
'numpy.matmul'
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from .process import how_it_ended, run_telling
from .records import Environment, Failure, NotRun, Record, Results

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
    on_event: Callable[[str, Any], None] = lambda kind, content: None,
) -> Results:
    """Run these suites, and return what was measured, be it all or what was done when Ctrl-C came.

    quick     fewer and smaller workloads, in under a minute
    seconds   after about which the whole run ends
    select    run the benchmarks of matching names only, as pytest's -k does
    on_event  is called with ("start", the number of benchmarks), ("running", a name), and what becomes a record,
              not_run or failure
    """
    options = ["--quick"] if quick else []
    options += [f"--seconds={seconds}"] if seconds is not None else []
    options += ["-k", select] if select is not None else []
    files = [str(suites_folder() / f"bench_{suite}.py") for suite in suites]
    collected = _Collected(on_event)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        status = _run(files, options, output, collected)
        if status is not None and (status < 0 or (status > 1 and not collected.failures)):
            collected.failures.append(Failure(collected.running or "pytest", how_it_ended(status, output)))
    return collected.results(interrupted=status is None)


class _Collected:
    """What has arrived so far."""

    def __init__(self, on_event: Callable[[str, Any], None]) -> None:
        self._on_event = on_event
        self.running = ""
        self.environment: Environment | None = None
        self.records: list[Record] = []
        self.not_run: list[NotRun] = []
        self.failures: list[Failure] = []

    def add(self, line: str) -> None:
        kind, content = json.loads(line)
        if kind == "running":
            self.running = content
        elif kind == "environment":
            self.environment = Environment.from_json(content)
        elif kind == "record":
            self.records.append(Record(**{**content, "faster_than": tuple(content["faster_than"])}))
        elif kind == "not_run":
            self.not_run.append(NotRun(**content))
        elif kind == "failure":
            self.failures.append(Failure(**content))
        self._on_event(kind, content)

    def results(self, interrupted: bool) -> Results:
        found = tuple(self.records), tuple(self.not_run), tuple(self.failures)
        return Results(self.environment, *found, interrupted=interrupted)


def _run(files: Iterable[str], options: Iterable[str], output: Any, collected: _Collected) -> int | None:
    """pytest's exit status, or None where Ctrl-C ended it."""
    ours = {name: value for name, value in os.environ.items() if name not in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")}
    return run_telling(
        lambda send: [
            *("-m", "pytest", "-c", os.devnull, "--rootdir", str(suites_folder()), "-o", "python_files=bench_*.py"),
            *("-p", "pytest_benchmark.plugin", "--benchmark-quiet", "-p", "no:cacheprovider", "--assert=plain"),
            *("--events", str(send), *options, *files),
        ],
        {**ours, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        output,
        collected.add,
    )
