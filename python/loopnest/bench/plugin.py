"""The plug-in for pytest-benchmark: `pytest benchmarks/` loads it, and so does `pytest -p loopnest.bench.plugin`.

It gives tests the fixture `measure` and the mark `ladder`. A record of each benchmark, with its workload, flops, bytes
and the machine's limit, goes into pytest-benchmark's JSON, which `loopnest report` and `loopnest compare` read:

    pytest benchmarks/bench_gelu.py --quick --benchmark-json=gelu.json

`loopnest bench` runs pytest with `--events`: each result then arrives there as it is made.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from ..arrays import REDUCED, dtype_called
from ..backends import BACKENDS
from ..backends.threads import num_threads, processors
from ..machine.card import card
from ..operations import OPERATIONS
from ..timing import fairness
from ..timing.conditions import Monitor
from ..timing.environment import environment
from .measure import FULL, QUICK, Bench
from .records import Failure, NotRun, Results
from .reporting import Collector

SESSION = pytest.StashKey["Session"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("loopnest")
    group.addoption("--dtype", default="float32", choices=("float32", *REDUCED), help="of ladders that take it")
    group.addoption("--quick", action="store_true", help="fewer and smaller workloads, in under a minute")
    group.addoption("--seconds", type=float, metavar="S", help="end the whole run after about S seconds")
    group.addoption("--workload", help="ladders run on this one alone: a name, or lengths such as 17x4096x33")
    group.addoption("--op", help="the operation of bench_curve.py")
    group.addoption("--no-limits", action="store_true", help="leave out the machine's limits")
    group.addoption("--events", type=int, metavar="FD", help="write a line of JSON for each event to this descriptor")


def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    several = hasattr(config, "workerinput") or getattr(option, "numprocesses", None) or getattr(option, "tx", None)
    if several and not (option.collectonly or option.benchmark_disable or option.benchmark_skip):
        raise pytest.UsageError(
            "pytest-xdist's workers (-n) would time benchmarks while the others run, and write no results: "
            "leave -n out, or add --benchmark-disable to run them untimed"
        )
    config.addinivalue_line(
        "markers", "ladder(*operations, also=()): run for each rung and workload of these operations"
    )
    config.addinivalue_line("markers", "full: left out of a quick run")
    if option.quick:
        option.markexpr = f"({option.markexpr}) and not full" if option.markexpr else "not full"
    config.stash[SESSION] = session = Session(config)
    config.pluginmanager.register(session, "loopnest-bench")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark, wanted = metafunc.definition.get_closest_marker("ladder"), metafunc.config.getoption("workload")
    if mark is None:
        return
    plan = metafunc.config.stash[SESSION].bench.plan
    params = [
        pytest.param(workload, rung, id=f"{operation.name}-{workload}-{rung.id}")
        for operation in map(OPERATIONS.__getitem__, mark.args)
        for workload in ([operation.workload(wanted)] if wanted else plan.climb(operation.contract))
        for rung in (*operation.ladder(metafunc.config.getoption("dtype")), *mark.kwargs.get("also", ()))
        if rung.operation is operation and not rung.study and metafunc.config.getoption("dtype") in rung.dtypes
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
        if how.get("ladder"):
            how["dtype"] = dtype_called(request.config.getoption("dtype"))
        result = session.bench.measure(benchmark, implementation, workload, suite=suite, **how)
        if result is not None:  # benchmarks are not disabled
            session.report("not_run" if isinstance(result, NotRun) else "records", result)
        if isinstance(result, NotRun):
            pytest.skip(result.reason)

    return measure_or_skip


class Session:
    """A pytest session: measures by a plan, and reports events as they happen."""

    def __init__(self, config: pytest.Config) -> None:
        plan = QUICK if config.getoption("quick") else FULL
        if config.getoption("seconds"):
            plan = dataclasses.replace(plan, total=config.getoption("seconds"))
        self.bench = Bench(plan)
        self.collected = Collector(Results(None, ()))
        self._config = config
        self._study = ""
        self._monitor: Monitor | None = None
        self._equal_terms = ExitStack()
        descriptor = config.getoption("events")
        self._events = os.fdopen(descriptor, "w", encoding="utf-8") if descriptor is not None else None

    def report(self, kind: str, content: Any) -> None:
        """Report an event; `content` may be a record. The kinds are

        start        the number of tests
        environment  versions and thread pools; conditions: the machine's state. The last of each counts
        machine      the machine card that the limits are from
        running      the test that begins
        records      its result; not_run, or failures: why it has none
        """
        content = msgspec.to_builtins(content)
        self.collected.add(kind, content)
        if self._events:
            try:
                self._events.write(json.dumps([kind, content]) + "\n")
                self._events.flush()
            except BrokenPipeError:  # the process that started this one is gone, and nobody waits for the rest
                os._exit(1)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        benchmarks = self._config._benchmarksession  # type: ignore[attr-defined]
        if session.config.option.collectonly or benchmarks.disabled or benchmarks.skip:
            return
        self.report("start", len(session.items))
        measuring = any(map(_measures, session.items))
        if measuring:
            self._begin_equal_terms(any("torch" in item.nodeid for item in session.items))
        self.report("environment", environment())
        if measuring:
            if not self._config.getoption("no_limits"):
                self.bench.card = card()
                self.report("machine", self.bench.card)
            self._monitor = Monitor()
            self.report("conditions", self._monitor.conditions())

    def _begin_equal_terms(self, with_torch: bool) -> None:
        """One thread budget and full precision until the session ends; the environment has what libraries report."""
        if with_torch and BACKENDS["torch"].why_unavailable() is None:
            import torch  # noqa: F401 (a library that is loaded later would not be bound)
        try:
            self._equal_terms.enter_context(fairness.equal_terms(min(num_threads(), processors())))
        except fairness.UnfairError as reason:
            raise pytest.UsageError(str(reason)) from None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A study's first test starts its share of the time that is left, by the tests that it has."""
        if self._study != _study(item):
            self._study, tests = _study(item), item.session.items
            to_come = [_study(test) for test in tests[tests.index(item) :]]
            self.bench.budget.start_study(share=to_come.count(self._study) / len(to_come))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.report("running", nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.report("failures", Failure(report.nodeid, crash.message if crash else str(report.longrepr)))

    pytest_collectreport = pytest_runtest_logreport

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # before pytest-benchmark, which writes its file in such a wrapper
    def pytest_sessionfinish(self) -> Generator[None, Any, Any]:
        if self._monitor:
            self.report("environment", environment())
            self.report("conditions", self._monitor.conditions())
        self._equal_terms.close()
        return (yield)

    @pytest.hookimpl(tryfirst=True)  # pytest-benchmark's own would be the first where this plug-in is loaded by -p
    def pytest_benchmark_generate_machine_info(self) -> dict[str, Any]:
        found = self.collected.results.environment
        return msgspec.to_builtins(found or environment())  # type: ignore[no-any-return]

    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Add what Results.load reads besides the benchmarks."""
        fields = msgspec.to_builtins(self.collected.results)
        output_json.update({name: fields[name] for name in ("machine", "conditions", "not_run", "failures")})


def _measures(item: pytest.Item) -> bool:
    return "measure" in getattr(item, "fixturenames", ())


def _study(item: pytest.Item) -> str:
    """The test function, and the first word of its parameters: with the mark `ladder`, the operation."""
    return item.nodeid.partition("-")[0]
