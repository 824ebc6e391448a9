"""The plug-in for pytest-benchmark: `pytest benchmarks/` loads it, and so does `pytest -p loopnest.bench.plugin`.

It gives tests the fixture `measure` and the mark `ladder`. A record of each benchmark, with its workload, flops, bytes
and the machine's limit, goes into pytest-benchmark's JSON. As it is made, it also goes into a journal next to that
file, which survives whatever ends the run. At the end the records are printed as tables.

    pytest benchmarks/bench_matmul.py --quick
    pytest benchmarks/bench_gelu.py --benchmark-json=gelu.json       # gelu.json.journal while it runs
    pytest benchmarks/bench_gelu.py --benchmark-json=gelu.json --resume
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ..backends import BACKENDS
from ..backends.threads import num_threads, processors
from ..machine.card import card
from ..machine.records import MachineCard
from ..operations import OPERATIONS
from ..timing import fairness
from ..timing.conditions import Monitor
from ..timing.environment import environment
from . import journal
from .journal import Collected, Journal, Request
from .measure import FULL, QUICK, Bench
from .records import Failure, NotRun, Record

SESSION = pytest.StashKey["Session"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("loopnest")
    group.addoption("--quick", action="store_true", help="fewer and smaller workloads, in under a minute")
    group.addoption("--seconds", type=float, metavar="S", help="end the whole run after about S seconds")
    group.addoption("--journal", type=Path, metavar="FILE", help="write each result to FILE when it is there")
    group.addoption("--resume", action="store_true", help="go on with the run whose journal this is")
    group.addoption("--machine-card", metavar="FILE", help="take the machine's limits from FILE; 'none' for no limits")
    group.addoption("--events", type=int, metavar="FD", help="write a line of JSON for each event to this descriptor")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "ladder(*operations): run for each rung and workload of these operations")
    config.stash[SESSION] = session = Session(config)
    config.pluginmanager.register(session, "loopnest-bench")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("ladder")
    if mark is None:
        return
    plan = metafunc.config.stash[SESSION].bench.plan
    params = [
        pytest.param(workload, rung, id=f"{operation.name}-{workload}-{rung.id}")
        for operation in map(OPERATIONS.__getitem__, mark.args)
        for workload in plan.climb(operation.contract)
        for rung in operation
        if not rung.study
    ]
    metafunc.parametrize(("workload", "implementation"), params)


def pytest_itemcollected(item: pytest.Item) -> None:
    if _measures(item):
        item.add_marker(pytest.mark.benchmark(timer=item.config.stash[SESSION].bench.clock))


@pytest.fixture
def measure(benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Bench.measure for this test; a row that does not run is skipped, with the reason."""
    session: Session = request.config.stash[SESSION]

    @functools.wraps(session.bench.measure)
    def measure_or_skip(implementation: Any, workload: Any, **how: Any) -> None:
        suite = request.module.__name__.removeprefix("bench_")
        result = session.bench.measure(benchmark, implementation, workload, suite=suite, **how)
        if result is not None:  # benchmarks are not disabled
            session.report("not_run" if isinstance(result, NotRun) else "record", result)
        if isinstance(result, NotRun):
            pytest.skip(result.reason)

    return measure_or_skip


@pytest.hookimpl(tryfirst=True)  # pytest-benchmark's own would be the first where this plug-in is loaded by -p
def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    return msgspec.to_builtins(environment())  # type: ignore[no-any-return]


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Our records as our own files have them: fewer of the rounds' times, and the reasons of rows without a time."""
    results = config.stash[SESSION].collected.results()
    ours = {f"{record.suite}::{record.name}": record for record in results.records}
    seen = set()
    for benchmark in output_json["benchmarks"]:
        key = f"{benchmark['extra_info'].get('suite')}::{benchmark['name']}"
        if key in ours:
            seen.add(key)
            benchmark |= {"stats": dict(ours[key].stats), "extra_info": ours[key].extra_info()}
    before = [record.to_benchmark() for key, record in ours.items() if key not in seen]  # of the run that is continued
    output_json["benchmarks"][:0] = before
    whole = results.to_file()
    output_json.update({key: whole[key] for key in ("machine", "conditions", "not_run", "failures")})


class Session:
    """A pytest session: measures by a plan, and reports events as they happen."""

    def __init__(self, config: pytest.Config) -> None:
        plan = QUICK if config.getoption("quick") else FULL
        if config.getoption("seconds"):
            plan = dataclasses.replace(plan, total=config.getoption("seconds"))
        self.bench = Bench(plan)
        self.collected = Collected()
        self.resumed = False
        self._config = config
        self._suite: Path | None = None
        self._study: tuple[Any, ...] | None = None
        self._journal: Journal | None = None
        self._monitor: Monitor | None = None
        self._equal_terms = ExitStack()
        descriptor = config.getoption("events")
        self._events = os.fdopen(descriptor, "w", encoding="utf-8") if descriptor is not None else None

    def report(self, kind: str, content: Any) -> None:
        """Report an event; `content` may be a record. journal.py has the kinds."""
        content = msgspec.to_builtins(content)
        self.collected.add(kind, content)
        if self._journal:
            self._journal.write(kind, content)
        if self._events:
            try:
                self._events.write(journal.line(kind, content))
                self._events.flush()
            except BrokenPipeError:  # the process that started this one is gone, and nobody waits for the rest
                os._exit(1)

    # --- what is run

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what the run that this one continues has finished, and predict from what it measured."""
        path = self._journal_file()
        if path is None or not config.getoption("resume"):
            return
        if not path.exists():
            raise pytest.UsageError(f"--resume: there is no journal {path}")
        earlier = journal.read(path, self.collected.add)
        self.resumed = True
        results = earlier.results()
        for record in results.records:
            if record.operation in OPERATIONS:
                self.bench.remember(OPERATIONS[record.operation].contract, record)
        ladders = {record.study for record in results.records if record.ladder}
        for row in results.not_run:
            if row.study not in ladders:
                self.bench.remember_not_run(row)
        done = [item for item in items if short(item.nodeid) in earlier.finished]
        config.hook.pytest_deselected(items=done)
        items[:] = [item for item in items if short(item.nodeid) not in earlier.finished]

    def _journal_file(self) -> Path | None:
        """The file that was asked for, or the one next to pytest-benchmark's."""
        given: Path | None = self._config.getoption("journal")
        json_file = self._config.getoption("benchmark_json", None)
        return given if given or json_file is None else journal.next_to(Path(json_file))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        measured = [item for item in session.items if _measures(item)]
        if session.config.option.collectonly or self._disabled():
            return
        path = self._journal_file()
        if path is not None:
            if path.exists() and not self.resumed:
                raise pytest.UsageError(
                    f"{path} holds what an earlier run had measured: continue it with --resume, or remove it"
                )
            self._journal = Journal(path)
        if not self.resumed:
            self.report("run", self._request(measured))
        self.report("start", len(session.items))
        if measured:
            self._begin_equal_terms()
        self.report("environment", environment())
        self.bench.take_limits_from(self._card() if measured else None)
        if self.bench.card:
            self.report("machine", self.bench.card)
        if measured:
            self._monitor = Monitor()
            self._report_conditions()

    def _begin_equal_terms(self) -> None:
        """One thread budget and full precision until the session ends; the environment has what libraries report."""
        if fairness.why_not_here() is not None:
            return
        if BACKENDS["torch"].why_unavailable() is None:
            import torch  # noqa: F401 (a library that is loaded later would not be bound)
        try:
            self._equal_terms.enter_context(fairness.equal_terms(min(num_threads(), processors())))
        except fairness.UnfairError as reason:
            raise pytest.UsageError(str(reason)) from None

    def _report_conditions(self) -> None:
        if self._monitor:
            self.report("conditions", self._monitor.conditions())

    def _disabled(self) -> bool:
        session = getattr(self._config, "_benchmarksession", None)
        return session is None or session.disabled or session.skip

    def _request(self, items: Iterable[pytest.Item]) -> Request:
        option = self._config.option
        suites = tuple(dict.fromkeys(item.path.stem.removeprefix("bench_") for item in items))
        started = datetime.now(UTC).isoformat()
        return Request(suites, option.quick, option.seconds, option.keyword or None, started)

    def _card(self) -> MachineCard | None:
        file = self._config.getoption("machine_card")
        if file == "none":
            return None
        return card() if file is None else msgspec.json.decode(Path(file).read_bytes(), type=MachineCard)

    # --- how the time is shared

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A suite's first test starts the suite's share of the time, and a study's first test the study's share of
        that, which is larger the more tests it has."""
        tests, budget = item.session.items, self.bench.budget
        if self._suite != item.path:
            self._suite = item.path
            suites = list(dict.fromkeys(test.path for test in tests))
            budget.start_suite(share=1 / (len(suites) - suites.index(item.path)))
        if self._study != _study(item):
            self._study = _study(item)
            to_come = [_study(test) for test in tests[tests.index(item) :] if test.path == item.path]
            budget.start_study(share=to_come.count(_study(item)) / len(to_come))

    # --- what is reported

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.report("running", short(nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._report_failure(report)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.report("finished", short(nodeid))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._report_failure(report)

    def _report_failure(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.report("failure", Failure(report.nodeid, crash.message if crash else str(report.longrepr)))

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, exitstatus: int) -> Generator[None, None, None]:
        """pytest-benchmark writes its file here; a journal that was begun for it has then done its work."""
        if not self._disabled():
            self.report("environment", environment())
            self._report_conditions()
        self._equal_terms.close()
        yield
        if self._journal:
            self._journal.close()
            if self._config.getoption("journal") is None and exitstatus in (0, 1):
                self._journal.path.unlink()

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Our tables replace pytest-benchmark's, except for benchmarks of others, and where it compares."""
        session = getattr(self._config, "_benchmarksession", None)
        records = self.collected.results().records
        if session is None or not records or self._events or session.quiet:
            return
        _print(terminalreporter, self.collected, self.bench.plan == QUICK)
        if session.groups and not session.compare:
            session.groups, whole = list(_of_others(session.groups, records)), session.groups
            if not session.groups:  # pytest-benchmark looks for regressions where there are groups only
                session.groups, session.quiet = whole, True


def _of_others(groups: Sequence[Any], records: Iterable[Record]) -> Iterable[Any]:
    ours = {(record.suite, record.name) for record in records}
    for name, benchmarks in groups:
        rest = [b for b in benchmarks if (b["extra_info"].get("suite"), b["name"]) not in ours]
        if rest:
            yield name, rest


def _print(reporter: Any, collected: Collected, quick: bool) -> None:
    from rich.console import Console

    from .tables import report

    writer = reporter._tw
    console = Console(
        width=writer.fullwidth, highlight=False, force_terminal=writer.hasmarkup, no_color=not writer.hasmarkup
    )
    with console.capture() as capture:
        for part in report(collected.results(), quick, console.width):
            console.print(part)
    reporter.ensure_newline()
    reporter.section("loopnest", sep="-")
    reporter.write(capture.get())


def _measures(item: pytest.Item) -> bool:
    return "measure" in getattr(item, "fixturenames", ())


def short(nodeid: str) -> str:
    """A test's name in its file, wherever the file is.

    >>> short("benchmarks/bench_gelu.py::test_gelu[a/b]")
    'bench_gelu.py::test_gelu[a/b]'
    """
    file, _, test = nodeid.partition("::")
    return f"{file.rpartition('/')[2]}::{test}"


def _study(item: pytest.Item) -> tuple[Any, ...]:
    """The key of a comparison: the test function, and the operation where it measures several."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    implementation = params.get("implementation")
    return getattr(item, "function", None), implementation and implementation.operation.name
