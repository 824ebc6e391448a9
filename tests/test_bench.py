"""The benchmarks' machinery: the time budget, the checks, the claims, the records and their tables."""

import dataclasses
import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import loopnest as ln
import made_up
import numpy as np
import pytest
from loopnest.backends.threads import processors
from loopnest.bench import measure
from loopnest.bench import suites as bench
from loopnest.bench.choices import claims, comparable, highest, in_short, one_size, surprises
from loopnest.bench.measure import FULL, QUICK, Bench, Budget, Plan
from loopnest.bench.records import Failure, NotRun, Record, Results
from loopnest.bench.reporting import Collector
from loopnest.bench.tables import report
from loopnest.cli.bench import CURVE, PEERS, SUITES
from loopnest.machine.limits import Limit
from loopnest.output.text import duration, three_digits, times
from loopnest.timing.budget import work_of
from loopnest.timing.environment import Environment, ThreadPool, environment
from loopnest.verify.problem import WrongResult
from noise import FakeClock
from rich.console import Console

WORKLOADS = {workload.name: workload for workload in ln.matmul.contract.workloads}


# --- the budget


def test_slow_rungs_stop_at_the_workload_that_their_time_allows():
    """Rungs of 1e6, 1e9 and 1e11 operations a second, and a second for two calls."""
    workloads = FULL.climb(ln.matmul.contract)
    reached = {}
    for rate in (1e6, 1e9, 1e11):
        budget = Budget(Plan(seconds=0.1, patience=1.0))
        for workload in workloads:
            work = work_of(ln.matmul.contract, workload)
            if budget.why_not(rate, work) is None:
                budget.note(rate, work, work / rate)
                reached[rate] = workload.name
    assert reached == {1e6: "square-16", 1e9: "square-512", 1e11: "square-2048"}


def test_the_first_workload_is_always_tried_and_the_best_rate_predicts_the_next():
    budget = Budget(Plan(seconds=0.1, patience=1.0))
    assert budget.why_not("rung", 10**9) is None
    budget.note("rung", 100, 1.0)
    budget.note("rung", 1000, 1.0)
    budget.note("rung", 200, 1.0)
    assert budget.why_not("rung", 400) is None
    assert budget.why_not("rung", 600) == measure.TOO_SLOW


def test_studies_share_the_time_and_hand_on_what_they_leave():
    clock = FakeClock()
    budget = Budget(Plan(seconds=0.1, patience=100.0, total=100.0), clock)
    budget.start_study(share=0.1)
    assert budget.patience() == pytest.approx(1.0)  # a tenth of 10 s
    clock.now = 10.0
    assert budget.why_not("rung", 1) is None  # whatever the time, each has its first workload
    budget.note("rung", 1, 1e-9)
    assert budget.why_not("rung", 1) == measure.TOO_LATE
    budget.start_study(share=0.5)
    assert budget.patience() == pytest.approx(4.5)
    clock.now = 100.0
    assert budget.why_not("another", 1) == measure.TOO_LATE  # the run is over


def test_without_a_total_time_only_the_patience_counts():
    budget = Budget(FULL)
    budget.start_study(share=0.5)
    assert budget.patience() == FULL.patience


def test_a_quick_ladder_takes_steps_and_a_full_one_every_workload():
    contract = ln.matmul.contract
    assert sorted(w.name for w in FULL.climb(contract)) == sorted(WORKLOADS)
    work = [work_of(contract, workload) for workload in QUICK.climb(contract)]
    assert all(after >= QUICK.step * before for before, after in itertools.pairwise(work))
    assert work[0] == min(
        w for w in map(functools.partial(work_of, contract), WORKLOADS.values()) if w >= QUICK.least_work
    )


# --- one measurement


@pytest.fixture
def mine():
    """Registers a matmul of one's own and takes it away again."""
    ids = []

    def register(kernel, **facts):
        ln.matmul.register("mine.rung")(kernel)
        ids.append("mine.rung")
        implementation = ln.matmul["mine.rung"]
        for name, value in facts.items():
            setattr(implementation, name, value)
        return implementation

    yield register
    for id in ids:
        ln.matmul.unregister(id)


TINY = Plan(seconds=1e-4, patience=0.05)


def run(lab, implementation, workload, **how):
    return lab.measure(made_up.Benchmark(lab.clock), implementation, WORKLOADS[workload], suite="matmul", **how)


def test_a_record_says_what_was_measured():
    record = run(Bench(TINY), ln.matmul["numpy.matmul"], "square-16", ladder=True)
    assert (record.operation, record.impl, record.workload) == ("matmul", "numpy.matmul", "square-16")
    assert (record.shape, record.dtype) == ({"m": 16, "k": 16, "n": 16}, "float32")
    assert (record.flops, record.bytes) == (2 * 16**3, 4 * 3 * 16**2)
    assert record.faster_than == ln.matmul["numpy.matmul"].faster_than
    assert 0 < record.best <= record.median < 1
    assert record.gflops == pytest.approx(record.flops / record.best / 1e9)
    assert record.threads >= 1
    assert record.stats["iterations"] > 1  # a call takes a microsecond or so


def test_a_wrong_result_fails_before_it_is_timed(mine):
    def wrong(a, b, out):
        np.matmul(a, b, out=out)
        out[-1, -1] += 1e-2

    with pytest.raises(WrongResult, match=r"matmul mine\.rung: the result\[15, 15\] is"):
        run(Bench(TINY), mine(wrong), "square-16")


def test_results_are_checked_again_after_the_timing_in_the_arrays_that_were_timed(mine):
    calls = itertools.count()

    def remembers(a, b, out):  # right in the first call only
        if next(calls) == 0:
            np.matmul(a, b, out=out)

    with pytest.raises(WrongResult, match=r"matmul mine\.rung, after the timing: .*256 of 256 elements are wrong"):
        run(Bench(TINY), mine(remembers), "square-16")


def test_a_rung_that_writes_nothing_fails(mine):
    with pytest.raises(WrongResult, match="256 of 256 elements are wrong"):
        run(Bench(TINY), mine(lambda a, b, out: None), "square-16")


def test_a_slow_rung_is_not_run_on_what_would_take_it_too_long(mine):
    calls = []

    def slow(a, b, out):
        calls.append(len(a))
        time.sleep(1e-6 * len(a) ** 2)
        np.matmul(a, b, out=out)

    lab, implementation = Bench(dataclasses.replace(TINY, patience=0.5)), mine(slow)
    assert isinstance(run(lab, implementation, "square-16"), Record)
    assert isinstance(run(lab, implementation, "square-64"), Record)
    assert run(lab, implementation, "square-1024").reason == measure.TOO_SLOW
    assert max(calls) == 64


def test_a_call_that_takes_much_longer_than_predicted_is_not_made_again(mine):
    calls = []

    def suddenly_slow(a, b, out):
        calls.append(len(a))
        if len(a) > 16:
            time.sleep(0.1)
        np.matmul(a, b, out=out)

    lab, implementation = Bench(TINY), mine(suddenly_slow)
    assert isinstance(run(lab, implementation, "square-16"), Record)
    assert run(lab, implementation, "square-64").reason == measure.TOO_SLOW_AFTER_ALL
    assert calls.count(64) == 1


def test_a_slow_start_is_left_out_of_quick_runs_only(mine):
    implementation = mine(lambda a, b, out: np.matmul(a, b, out=out), slow_start=True)
    assert run(Bench(QUICK), implementation, "square-16").reason == measure.SLOW_START
    assert isinstance(run(Bench(TINY), implementation, "square-16"), Record)


def test_what_cannot_run_here_says_why(mine):
    implementation = mine(lambda a, b, out: None, why_unavailable=lambda: "no such device")
    assert run(Bench(TINY), implementation, "square-16").reason == "no such device"


def test_inputs_are_laid_out_as_asked_and_results_go_where_they_should(mine):
    seen = []

    def look(a, b, out):
        seen.append((a.strides, b.flags.f_contiguous, id(out)))
        np.matmul(a, b, out=out)

    run(Bench(TINY), mine(look), "square-16", case="NT", arrange=lambda a, b: (a, np.asfortranarray(b)))
    assert {strides for strides, _, _ in seen} == {(64, 4)}
    assert {fortran for _, fortran, _ in seen} == {True}
    assert len({out for _, _, out in seen}) <= 2  # the public call's view, and the timed calls' one array


@pytest.mark.parametrize("name", ["add", "dot", "sum", "transpose", "gelu", "gelu_backward", "mlp_forward"])
def test_every_operation_of_the_suites_can_be_measured(name):
    operation = ln.OPERATIONS[name]
    rung = operation["numpy"]
    lab = Bench(TINY)
    record = lab.measure(made_up.Benchmark(lab.clock), rung, operation.contract.workloads[0], suite="any")
    assert record.impl == rung.id


# --- claims, tables, files


def record(impl, workload, seconds, *, n=100, study="matmul", **facts):
    return Record(
        name=f"test[{workload}-{impl}]",
        suite="matmul",
        study=study,
        operation="matmul",
        impl=impl,
        workload=workload,
        shape={"n": n},
        dtype="float32",
        flops=2 * n**3,
        bytes=12 * n**2,
        threads=1,
        first_call=0.5,
        stats=made_up.stats(seconds, 2 * seconds, 3 * seconds),
        **facts,
    )


LIMIT = Limit(seconds=1e-2, by="flops", level="memory", threads=1)

LADDER = [
    record("python.naive", "square-100", 0.2, ladder=True),
    record("numpy.rows", "square-100", 1e-3, ladder=True, faster_than=("python.naive",)),
    record("cpp.packed", "square-100", 2e-5, ladder=True, faster_than=("numpy.rows", "numpy.blas")),
    record("numpy.rows", "square-1000", 0.05, n=1000, ladder=True, faster_than=("python.naive",), limit=LIMIT),
    record(
        "cpp.packed", "square-1000", 0.1, n=1000, ladder=True, faster_than=("numpy.rows", "numpy.blas"), limit=LIMIT
    ),
]


def test_claims_are_decided_on_the_largest_workload_that_both_ran():
    decided = {(claim.impl, claim.other): claim for claim in claims(LADDER)}
    assert decided.keys() == {("numpy.rows", "python.naive"), ("cpp.packed", "numpy.rows")}  # no times of numpy.blas
    holds = decided["numpy.rows", "python.naive"]
    assert (holds.workload, holds.ratio, holds.holds) == ("square-100", pytest.approx(200), True)
    fails = decided["cpp.packed", "numpy.rows"]
    assert (fails.workload, fails.ratio, fails.holds) == ("square-1000", 0.5, False)


def test_claims_of_one_study_are_not_decided_by_another():
    other = [dataclasses.replace(r, study="another") for r in LADDER[:1]]
    assert claims([*other, LADDER[1]]) == []


def test_a_ladder_shows_each_rung_on_the_largest_workload_that_it_ran():
    assert [(r.impl, r.workload) for r in highest(LADDER)] == [
        ("python.naive", "square-100"),
        ("numpy.rows", "square-1000"),
        ("cpp.packed", "square-1000"),
    ]


def test_a_comparison_shows_the_largest_workload_that_all_of_its_rows_ran():
    assert {r.workload for r in comparable(LADDER)} == {"square-100"}
    assert {r.workload for r in comparable(LADDER[1:])} == {"square-1000"}


def printed(results, quick=True, width=100):
    console = Console(width=width, force_terminal=False, color_system=None, highlight=False)
    with console.capture() as capture:
        for part in report(results, quick, width):
            console.print(part)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_ladder_table_to_the_letter():
    not_run = NotRun("matmul", "matmul", "matmul", "torch.eager", "square-100", "pip install 'loopnest[torch]'")
    too_slow = NotRun("matmul", "matmul", "matmul", "python.naive", "square-1000", measure.TOO_SLOW)
    failure = Failure("bench_matmul.py::test_matmul[x]", "WrongResult: off by one")
    results = Results(None, tuple(LADDER), (not_run, too_slow), (failure,))
    assert printed(results) == LADDER_TABLE.splitlines()


LADDER_TABLE = """
matmul · square-1000 · float32
                                                          faster   slower
                                                            than     than   % of
implementation  workload        time  GFLOP/s      GB/s  slowest  fastest  limit  cores
───────────────────────────────────────────────────────────────────────────────────────
python.naive    square-100    200 ms   0.0100  0.000600                               1
numpy.rows      square-1000  50.0 ms     40.0     0.240     2.0×     1.0×     20      1
cpp.packed      square-1000   100 ms     20.0     0.120     1.0×     2.0×     10      1
python.naive to cpp.packed on square-100: 10,000×, 4.0 orders of magnitude
the lessons' claims of being faster: 1 of 2 hold
  does not hold: cpp.packed is 0.500 times as fast as numpy.rows on square-1000

not run: matmul: torch.eager: pip install 'loopnest[torch]'
failed: bench_matmul.py::test_matmul[x]
WrongResult: off by one

"""


def test_what_was_not_run_for_several_reasons_is_one_line_with_a_count():
    others = [
        NotRun("matmul", "matmul", "matmul", impl, "square-100", why)
        for impl, why in (("cuda.naive", "no GPU"), ("torch.eager", "no torch"), ("torch.compiled", "no torch"))
    ]
    (line,) = [line for line in printed(Results(None, tuple(LADDER), tuple(others))) if "not run" in line]
    assert line.startswith("not run: 3 rows, 2 of them: no torch; the report")


def test_ratios_are_within_the_workload_that_most_rungs_ran():
    name, rows = one_size(LADDER)
    assert name == "square-1000"
    assert [(r.impl, r.workload) for r in rows] == [
        ("python.naive", "square-100"),
        ("numpy.rows", "square-1000"),
        ("cpp.packed", "square-1000"),
    ]


BEATEN = [
    record("cpp.packed", "square-100", 1e-3, ladder=True),
    record("cpp.prefetched", "square-100", 2e-3, ladder=True),
    record("cpp.parallel", "square-100", 2.1e-3, ladder=True),
    record("cpp.own", "square-100", 1e-5, ladder=True, note="outside"),
]


def test_a_run_names_a_rung_that_is_slower_than_the_one_before_it_and_one_that_beats_the_default():
    slower, warning = surprises(BEATEN)
    assert (
        slower == "slower than the rung before it, on square-100: cpp.prefetched takes 2.00 times as long as cpp.packed"
    )
    assert warning == (
        "warning: cpp.packed beats cpp.parallel, which a call without `impl` takes: "
        "on square-100 it is 2.10 times as fast"
    )
    assert [*surprises([BEATEN[0]])] == [*surprises(BEATEN[1:])] == []
    assert "\n".join(printed(Results(None, tuple(BEATEN)), width=200)).count(warning) == 1


def test_a_run_ends_with_a_line_for_each_ladder():
    (line,) = in_short([*LADDER, record("cpp.x", "square-1000", 1e-9, ladder=True, note="outside")])
    assert (
        line == "matmul: numpy.rows 40.0 GFLOP/s on square-1000, 20 % of the limit; 10,000× python.naive on square-100"
    )


def test_a_rung_outside_of_the_contract_is_shown_with_its_note_and_compared_with_nothing():
    text = "\n".join(printed(Results(None, tuple(BEATEN)), width=200))
    assert "cpp.own: outside" in text
    assert "cpp.parallel to cpp.packed on square-100: 2.1×" in text


def test_a_full_report_has_a_table_for_each_workload_too():
    text = printed(Results(None, tuple(LADDER)), quick=False)
    assert "matmul · square-100 · float32" in text
    assert "matmul · square-1000 · float32" in text


def test_rows_are_compared_within_their_section():
    rows = [
        record("cpp.naive", "square-100", 2e-3, study="layouts", section="cpp.naive", case="NN"),
        record("cpp.naive", "square-100", 1e-3, study="layouts", section="cpp.naive", case="NT"),
        record("cpp.packed", "square-100", 1e-5, study="layouts", section="cpp.packed", case="NN"),
        record("cpp.packed", "square-100", 4e-5, study="layouts", section="cpp.packed", case="NT"),
    ]
    text = printed(Results(None, tuple(rows)))
    assert [line.split()[-3:] for line in text if "NN" in line or "NT" in line] == [
        ["1.0×", "2.0×", "1"],
        ["2.0×", "1.0×", "1"],
        ["4.0×", "1.0×", "1"],
        ["1.0×", "4.0×", "1"],
    ]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_table_is_wider_than_the_terminal_or_cut(width):
    long = [
        record("numba.register_tiled", "gpt2-small-mlp-512", 0.0123, n=1100, ladder=True, limit=LIMIT),
        record("python.naive", "square-16", 0.0345, n=50, ladder=True, limit=LIMIT),
    ]
    text = printed(Results(None, tuple(long)), width=width)
    assert max(map(len, text)) <= width
    assert not any("…" in line for line in text)
    assert any("% of" in line for line in text)


def test_memory_bound_studies_are_told_in_bytes_a_second():
    rows = [dataclasses.replace(record("numpy.add", "n", 1e-3), flops=1000, bytes=12_000_000)]
    text = "\n".join(printed(Results(None, tuple(rows))))
    assert "GB/s" in text
    assert "12.0" in text
    assert text.index("GB/s") < text.index("GFLOP/s")


def test_numbers_have_three_digits():
    assert [three_digits(x) for x in (0.01524, 0.1, 1.239, 12.39, 123.9, 1239, 12390.0, 9.999, 999.9)] == [
        *("0.0152", "0.100", "1.24", "12.4", "124", "1,240", "12,400", "10.00", "1,000"),
    ]
    assert [times(x) for x in (1, 1.26, 9.96, 22300)] == ["1.0×", "1.3×", "10.0×", "22,300×"]
    assert [duration(x) for x in (2.5, 0.0123, 45.6e-6, 789e-9)] == ["2.50 s", "12.3 ms", "45.6 µs", "789 ns"]


ENVIRONMENT = Environment(
    cpu="a processor",
    cores=2,
    system="Linux",
    isa="v4",
    versions={"loopnest": "1"},
    pools=(ThreadPool("NumPy", 2, "OpenBLAS 0.3", "SkylakeX"), ThreadPool("loopnest", 1)),
    warnings=("beware",),
)


def test_the_header_names_threads_blas_kernel_and_warnings():
    text = printed(Results(ENVIRONMENT, ()), width=200)
    assert "threads: NumPy 2 (OpenBLAS 0.3, kernel SkylakeX), loopnest 1" in text
    assert "warning: beware" in text


def test_a_variable_that_slows_numpy_is_told_with_the_command_that_unsets_it(monkeypatch):
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert environment().warnings == ()
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    (warning,) = environment().warnings
    assert "OPENBLAS_CORETYPE=Haswell" in warning
    assert "env -u OPENBLAS_CORETYPE loopnest bench" in warning


def test_results_come_back_from_their_file(tmp_path):
    not_run = NotRun("matmul", "matmul", "matmul", "torch.eager", "square-100", "no torch")
    results = Results(ENVIRONMENT, tuple(LADDER), (not_run,), (Failure("a", "b"),), interrupted=True)
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_file_that_cannot_be_written_leaves_no_pieces(tmp_path):
    results = Results(None, (record("a.b", "w", 1.0, case=object()),))
    with pytest.raises(TypeError):
        results.save(tmp_path / "results.json")
    assert os.listdir(tmp_path) == []


# --- whole runs, in a process of their own

TINY_SUITE = """
import os
import signal
import time

import loopnest as ln
import numpy as np
import pytest

def test_right(measure):
    measure(ln.matmul["numpy.matmul"], ln.matmul.contract.workloads[0])
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """Makes a suite of test functions, and puts it into the place of the installed ones."""
    folder = tmp_path / "suites [2]"  # brackets are a test's name to pytest
    folder.mkdir()
    shutil.copy(bench.suites_folder() / "conftest.py", folder)
    monkeypatch.setattr(bench, "suites_folder", lambda: folder)

    def make(more=""):
        (folder / "bench_tiny.py").write_text(TINY_SUITE + more)
        return folder

    return make


@pytest.mark.parametrize(
    "line", ["5", "{", "[]", '["records"]', '["records", 5]', '["failures", {"name": 1}]', "[1, 2]"]
)
def test_a_line_that_is_no_event_ends_the_run_with_the_line(line):
    run = Collector(Results(None, ()))
    write = f"import os, sys; os.write(int(sys.argv[-1]), {line!r}.encode() + b'\\n')"
    status, how_it_ended = run.run(["-c", write], os.environ)
    assert status == 2
    assert how_it_ended == f"the benchmark process wrote what is no event: {line + chr(10)!r}"
    assert run.results.records == ()


def test_a_run_reports_each_record_and_pytest_benchmark_reads_its_file(suite, tmp_path):
    suite()
    kinds = []
    results = bench.run_suites(["tiny"], quick=True, on_event=lambda kind, content: kinds.append(kind))
    assert [r.impl for r in results.records] == ["numpy.matmul"]
    assert (results.failures, results.interrupted) == ((), False)
    assert results.environment.isa == ln.isa()
    assert kinds == [
        *("start", "environment", "conditions"),  # the noise floor comes before anything is timed
        *("running", "records", "environment", "conditions"),
    ]
    assert results.conditions.floor.estimate == pytest.approx(1, rel=0.5)
    assert any(line.startswith("noise floor: fixed work is") for line in printed(results))
    results.save(tmp_path / "a.json")
    assert Results.load(tmp_path / "a.json") == results
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "a.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "test_right" in done.stdout, done.stderr


def test_all_libraries_have_one_thread_budget(suite, monkeypatch):
    suite()
    threads = processors()
    monkeypatch.setenv("LOOPNEST_NUM_THREADS", str(threads))
    pools = bench.run_suites(["tiny"], quick=True).environment.pools
    assert {pool.threads for pool in pools} == {threads}, pools
    assert "NumPy" in {pool.owner for pool in pools}


def test_fewer_bits_than_float32_has_are_refused(suite, monkeypatch):
    suite()
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    results = bench.run_suites(["tiny"], quick=True)
    assert results.records == ()
    assert "NVIDIA_TF32_OVERRIDE" in results.failures[0].message


def test_wrong_results_errors_and_deaths_are_failures_and_the_next_suite_runs(suite):
    folder = suite("""
def test_wrong(measure):
    @ln.matmul.register("mine.wrong")
    def wrong(a, b, out): out[...] = 0
    measure(ln.matmul["mine.wrong"], ln.matmul.contract.workloads[0])

def test_error(measure):
    raise ValueError("what is this")

def test_death(measure):
    os.kill(os.getpid(), signal.SIGKILL)
""")
    (folder / "bench_next.py").write_text(TINY_SUITE.replace("numpy.matmul", "numpy.rows"))
    results = bench.run_suites(["tiny", "next"], quick=True)
    assert [r.impl for r in results.records] == ["numpy.matmul", "numpy.rows"]
    wrong, error, *death = results.failures
    assert "mine.wrong: the result" in wrong.message
    assert "what is this" in error.message
    assert len(death) == 1
    assert "SIGKILL" in death[0].message
    assert death[0].name == "test_death"


def test_a_suite_that_cannot_be_imported_is_a_failure(suite):
    suite("import a_module_that_is_not_there")
    (failure,) = bench.run_suites(["tiny"], quick=True).failures
    assert "a_module_that_is_not_there" in failure.message


def test_ctrl_c_keeps_what_was_measured(suite, tmp_path):
    folder = suite("""
def test_long(measure):
    open(os.path.join(os.path.dirname(__file__), "running"), "w").close()
    time.sleep(600)
""")
    program = f"""
import click
from pathlib import Path
from loopnest import cli
from loopnest.bench import suites as bench
from loopnest.cli.bench import CURVE, command
bench.suites_folder = lambda: Path({str(folder)!r})
command.params[0].type = click.STRING
cli.main(["bench", "tiny", "--quick", "--no-limits", "--json", {str(tmp_path / "kept.json")!r}])
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        limit = time.monotonic() + 60
        while not (folder / "running").exists() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "numpy.matmul" in output
    assert "interrupted" in output
    kept = Results.load(tmp_path / "kept.json")
    assert kept.interrupted
    assert [r.impl for r in kept.records] == ["numpy.matmul"]


def test_the_named_suites_are_the_files():
    assert {path.name for path in bench.suites_folder().glob("bench_*.py")} == {
        f"bench_{name}.py" for name in (*SUITES, CURVE, PEERS, "sweep", "gpu")
    }
    assert Path(bench.suites_folder(), "conftest.py").exists()


# --- the suites themselves


def collected(*options):
    """The ids of the benchmarks of the suites that these options select."""
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--collect-only", "-q", *options]
    done = subprocess.run(command, cwd=bench.suites_folder(), capture_output=True, text=True, timeout=120, check=True)
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.slow
def test_a_quick_run_compares_layouts_at_sizes_that_do_not_fit_into_l1():
    """256 x 256 floats are 256 KiB. Only some products are taken, so that there is time for the other layouts."""
    quick = collected("bench_layout.py", "--quick")
    assert not any("square-64" in name for name in quick)
    assert 100 < len(quick) < 250
    studies = {name.split("::")[1].partition("[")[0] for name in quick}
    assert studies >= {"test_loop_orders", "test_operands", "test_sum_by_rows_or_columns", "test_transpose"}


@pytest.mark.slow
def test_torchs_own_gelu_is_timed_next_to_the_rungs_and_marked_as_outside_of_the_contract():
    pytest.importorskip("torch")
    results = bench.run_suites(["gelu"], quick=True, select="F.gelu and tanh and n-4096")
    (own,) = results.records
    assert (own.impl, own.study) == ("torch.F.gelu", "gelu, tanh form")
    assert "outside of the contract below x = -2" in own.note
    assert "torch.composed" in [k.id for k in ln.gelu]
