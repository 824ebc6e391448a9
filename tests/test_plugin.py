"""The plug-in for pytest-benchmark: suites by hand, limits, and a small file."""

import itertools
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import loopnest as ln
import made_up
import msgspec
import pytest
from loopnest.bench import measure
from loopnest.bench.measure import Clock, cores_of
from loopnest.bench.records import Results, kept, new_folder
from loopnest.bench.tables import beyond, percent, report
from loopnest.machine.limits import limit_of
from loopnest.output.text import duration
from loopnest.timing.turns import Reading
from rich.console import Console

SUITE = """
import loopnest as ln
import pytest

RUNGS = ["numpy.rows", "numpy.matmul", "cpp.naive", "cpp.reordered"]

@pytest.mark.parametrize("impl", RUNGS)
def test_tiny(measure, impl):
    measure(ln.matmul[impl], ln.matmul.contract.workloads[0])
"""


CONFTEST = """
from pathlib import Path

import msgspec
from loopnest.bench import plugin
from loopnest.machine.records import MachineCard

plugin.card = lambda: msgspec.json.decode(Path(__file__).with_name("card.json").read_bytes(), type=MachineCard)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a suite and the made-up machine card."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "bench_tiny.py").write_text(SUITE)
    (tmp_path / "card.json").write_text(json.dumps(msgspec.to_builtins(made_up.CARD)))
    return tmp_path


def command(folder, *options):
    """pytest on the suite, as one would type it."""
    plain = ["-c", os.devnull, "--rootdir", str(folder), "-o", "python_files=bench_*.py", "-p", "no:cacheprovider"]
    plugin = ["-p", "pytest_benchmark.plugin", "-p", "loopnest.bench.plugin"]
    return [sys.executable, "-m", "pytest", str(folder / "bench_tiny.py"), *plain, *plugin, "--quick", *options]


def pytest_on(folder, *options, **environment):
    env = {**os.environ, "COLUMNS": "120", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment}
    return subprocess.run(
        command(folder, *options), env=env, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def impls(results):
    return [record.impl for record in results.records]


# --- by hand


@pytest.mark.slow
def test_a_suite_of_ones_own_gives_a_table_and_a_file_with_the_limits_and_what_they_are_made_from(folder):
    with (folder / "bench_tiny.py").open("a") as file:
        file.write("\ndef test_of_another(benchmark):\n    benchmark(sum, [1, 2])\n")
        file.write("    import os\n    os.environ['OPENBLAS_L2_SIZE'] = '1'\n")
    done = pytest_on(folder, "-k", "another or numpy", "--benchmark-json=a.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "benchmark 'matmul, square-16, float32': 2 tests" in done.stdout
    data = json.loads((folder / "a.json").read_text())
    assert data["machine"] == made_up.through_json(msgspec.to_builtins(made_up.CARD))
    *ours, another = data["benchmarks"]
    assert another["name"] == "test_of_another"
    for benchmark in ours:
        info, stats = benchmark["extra_info"], benchmark["stats"]
        assert info["workload"] == ln.matmul.contract.workloads[0].name
        assert info["percent"] == pytest.approx(100 * info["limit"]["seconds"] / stats["min"])
        assert info["gflops"] == pytest.approx(info["flops"] / stats["min"] / 1e9)
    results = Results.load(folder / "a.json")
    assert impls(results) == ["numpy.rows", "numpy.matmul"]
    assert results.machine == made_up.CARD
    assert results.environment.isa == ln.isa()
    assert results.conditions
    assert "OPENBLAS_L2_SIZE" in str(results.environment.warnings)  # it is the environment at the end
    once = pytest_on(folder, "-k", "another or numpy", "--benchmark-disable")
    assert "3 passed" in once.stdout, once.stdout + once.stderr
    assert "tests ---" not in once.stdout


@pytest.mark.slow
def test_workers_of_xdist_are_refused_unless_nothing_is_timed(folder):
    pytest.importorskip("xdist")
    refused = pytest_on(folder, "-p", "xdist.plugin", "-n", "2", "--benchmark-json=a.json")
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert "would time benchmarks while the others run" in refused.stderr
    assert "leave -n out" in refused.stderr
    for options in (("-n", "0"), ("-n", "2", "--benchmark-disable")):
        done = pytest_on(folder, "-k", "numpy", "-p", "xdist.plugin", *options)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_measuring_process_ends_when_nobody_listens(folder):
    """As it would after a kill -9 of the process that has started it."""
    receive, send = os.pipe()
    process = subprocess.Popen(
        command(folder, "--events", str(send)),
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        pass_fds=[send],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    os.close(send)
    os.close(receive)
    assert process.wait(timeout=60) == 1


def test_a_place_that_cannot_be_written_to_is_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loopnest-results").write_text("a file of this name")
    with pytest.raises(ValueError, match="use --json FILE"):
        new_folder()


# --- limits


def test_a_limit_is_the_slower_of_flops_and_bytes():
    flops = limit_of(made_up.CARD, 100e9, 1e3, "float32", 1.0)
    assert (flops.seconds, flops.by, flops.level) == (pytest.approx(1.0), "flops", "L1")
    memory = limit_of(made_up.CARD, 1e3, 22e9, "float32", 1.0)
    assert (memory.seconds, memory.by, memory.level) == (pytest.approx(1.0, rel=0.01), "bytes", "memory")
    assert memory.seconds < 1  # a cache may keep a part of what is read again


def test_a_limit_is_that_of_the_cores_that_were_busy():
    one, two = (limit_of(made_up.CARD, 128e9, 1e3, "float32", cores) for cores in (1.05, 1.4))
    assert (one.threads, two.threads) == (1, 2)
    assert two.seconds == pytest.approx(one.seconds / 2)
    assert limit_of(made_up.CARD, 1e9, 1e3, "float32", 64.0).threads == made_up.CARD.cores


def test_the_best_time_is_held_to_the_cores_of_its_own_round(monkeypatch):
    """Two threads that have two cores in one round of three, because another process runs."""
    clock, elapsed, busy = Clock(), [0, 2, 10, 11, 20, 22], [0, 2, 2, 4, 4, 6]
    made_up_time = SimpleNamespace(perf_counter=iter(elapsed).__next__, process_time=iter(busy).__next__)
    monkeypatch.setattr(measure, "time", made_up_time)
    for _ in elapsed:
        clock()
    assert cores_of(clock.readings) == (pytest.approx(1.2), 2.0)


def test_a_tick_of_the_systems_clock_may_be_longer_than_a_round():
    """Two threads on two cores; the system reports the second's time once in ten rounds."""
    assert cores_of([*[Reading(1, 1)] * 9, Reading(1, 11)])[0] == pytest.approx(2)


def test_bytes_are_held_by_the_cores_caches_together():
    assert limit_of(made_up.CARD, 1, 48 << 10, "float32", 1.0).level == "L2"
    assert limit_of(made_up.CARD, 1, 48 << 10, "float32", 2.0).level == "L1"
    assert limit_of(made_up.CARD, 1, 48 << 20, "float32", 2.0).level == "memory"


def test_a_time_that_beats_the_limit_is_refused_and_explained():
    good, noisy, wrong = (made_up.at_percent("matmul", "numpy.matmul", "square-64", p) for p in (99.0, 101.6, 130.0))
    assert [record.beyond_limit for record in (good, noisy, wrong)] == [False, False, True]
    assert [percent(record) for record in (good, noisy)] == ["99", "102"]
    assert "the limit or the count is wrong" in beyond(wrong)
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        for part in report(Results(None, (good, wrong)), True, 120):
            console.print(part)
    printed = " ".join(capture.get().split())
    assert duration(good.best) in printed
    assert duration(wrong.best) not in printed
    assert "refused: matmul numpy.matmul on square-64: its time beats the limit" in printed


def test_small_per_cents_are_not_shown_as_nothing():
    texts = [
        percent(made_up.at_percent("matmul", "numpy.matmul", "square-64", p)) for p in (0.001, 0.03, 0.3, 9.96, 55)
    ]
    assert texts == ["<0.01", "0.03", "0.3", "10", "55"]


# --- files


def test_few_of_many_times_are_kept_evenly():
    assert kept([3.0, 1.0, 2.0]) == [1.0, 2.0, 3.0]
    many = kept([x / 7 for x in range(1001)])
    assert len(many) == 50
    assert (many[0], many[-1]) == (0.0, pytest.approx(1000 / 7))
    gaps = [b - a for a, b in itertools.pairwise(many)]
    assert max(gaps) < 1.2 * min(gaps)


def test_the_file_of_a_full_run_is_small(tmp_path):
    """Some 2,000 records in at most 5 MB."""
    results = made_up.run()
    results.save(tmp_path / "r.json")
    size = (tmp_path / "r.json").stat().st_size / len(results.records)
    assert size < 2500
    assert Results.load(tmp_path / "r.json") == results
