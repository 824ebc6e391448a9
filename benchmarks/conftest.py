"""pytest for the benchmark suites: `pytest benchmarks/`, and what `loopnest bench` runs.

A suite's test says what to measure and calls the fixture `measure`; whether it fits the time, that the result is right,
and how often it is called is decided in loopnest/lab/measure.py. A test with the mark `ladder` runs once for each rung
and each workload of the operations that it names, all rungs on one workload before the next.
"""

import dataclasses
import functools
import json
import os

import loopnest as ln
import pytest
from loopnest.lab.environment import environment
from loopnest.lab.measure import FULL, QUICK, Bench
from loopnest.lab.records import NotRun


def pytest_addoption(parser):
    group = parser.getgroup("loopnest")
    group.addoption("--quick", action="store_true", help="fewer and smaller workloads, in under a minute")
    group.addoption("--seconds", type=float, metavar="S", help="end the whole run after about S seconds")
    group.addoption("--events", type=int, metavar="FD", help="write a line of JSON for each event to this descriptor")


def pytest_configure(config):
    config.addinivalue_line("markers", "ladder(*operations): run for each rung and workload of these operations")
    plan = QUICK if config.getoption("quick") else FULL
    if config.getoption("seconds"):
        plan = dataclasses.replace(plan, total=config.getoption("seconds"))
    config.stash[BENCH] = Bench(plan)
    if config.getoption("events") is not None:
        config.pluginmanager.register(Events(config.getoption("events")), "loopnest-events")


BENCH = pytest.StashKey[Bench]()


def pytest_generate_tests(metafunc):
    mark = metafunc.definition.get_closest_marker("ladder")
    if mark is None:
        return
    plan = metafunc.config.stash[BENCH].plan
    params = [
        pytest.param(workload, rung, id=f"{operation.name}-{workload}-{rung.id}")
        for operation in map(ln.OPERATIONS.__getitem__, mark.args)
        for workload in plan.climb(operation.contract)
        for rung in operation
        if not rung.study
    ]
    metafunc.parametrize(("workload", "implementation"), params)


def pytest_itemcollected(item):
    item.add_marker(pytest.mark.benchmark(timer=item.config.stash[BENCH].clock))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """A suite's first test starts the suite's share of the time, and a study's first test the study's share of that,
    which is larger the more tests it has."""
    stash, tests = item.config.stash, item.session.items
    budget = stash[BENCH].budget
    if stash.get(SUITE, None) != item.path:
        stash[SUITE] = item.path
        suites = list(dict.fromkeys(test.path for test in tests))
        budget.start_suite(share=1 / (len(suites) - suites.index(item.path)))
    if stash.get(STUDY, None) != _study(item):
        stash[STUDY] = _study(item)
        to_come = [_study(test) for test in tests[tests.index(item) :] if test.path == item.path]
        budget.start_study(share=to_come.count(_study(item)) / len(to_come))


def _study(item):
    """What is compared: the test function, and the operation where it measures several."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    implementation = params.get("implementation")
    return item.function, implementation and implementation.operation.name


SUITE = pytest.StashKey[os.PathLike]()
STUDY = pytest.StashKey[tuple]()


@pytest.fixture
def measure(benchmark, request):
    """Bench.measure for this test; what does not run is skipped, with the reason."""
    bench = request.config.stash[BENCH]
    events = request.config.pluginmanager.get_plugin("loopnest-events")

    @functools.wraps(bench.measure)
    def measure_or_skip(implementation, workload, **how):
        suite = request.module.__name__.removeprefix("bench_")
        result = bench.measure(benchmark, implementation, workload, suite=suite, **how)
        if events and result:
            events.tell(result)
        if isinstance(result, NotRun):
            pytest.skip(result.reason)

    return measure_or_skip


def pytest_benchmark_generate_machine_info(config):
    return dataclasses.asdict(environment())


class Events:
    """Tells the process that started this one what happens, as it happens: a run that is cut off loses nothing."""

    def __init__(self, descriptor):
        self._stream = os.fdopen(descriptor, "w", encoding="utf-8")

    def tell(self, event):
        self._write("not_run" if isinstance(event, NotRun) else "record", dataclasses.asdict(event))

    def pytest_collection_finish(self, session):
        self._write("start", len(session.items))
        self._write("environment", dataclasses.asdict(environment()))

    def pytest_runtest_logstart(self, nodeid):
        self._write("running", nodeid.partition("::")[2])

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self._fail(report)

    def pytest_collectreport(self, report):
        if report.failed:
            self._fail(report)

    def pytest_sessionfinish(self):
        self._write("environment", dataclasses.asdict(environment()))

    def _fail(self, report):
        crash = getattr(report.longrepr, "reprcrash", None)
        self._write("failure", {"name": report.nodeid, "message": crash.message if crash else str(report.longrepr)})

    def _write(self, event, content):
        self._stream.write(json.dumps([event, content]) + "\n")
        self._stream.flush()
