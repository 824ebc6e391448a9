"""The plug-in for pytest-benchmark: limits and columns, a small file, and runs that are cut off."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import loopnest as ln
import made_up
import msgspec
import pytest
from click.testing import CliRunner
from loopnest.bench import journal, measure
from loopnest.bench import suites as bench
from loopnest.bench.files import BadFileError, Files
from loopnest.bench.measure import QUICK, Bench, Clock, Plan
from loopnest.bench.records import NotRun, Record, Results, kept
from loopnest.bench.tables import bar, beyond, percent, report
from loopnest.cli import main
from loopnest.machine.plausible import limit_of
from loopnest.output.text import duration
from rich.console import Console

SUITE = """
import os
import time

import loopnest as ln
import pytest

RUNGS = ["numpy.rows", "numpy.matmul", "cpp.naive", "cpp.reordered"]

@pytest.mark.parametrize("impl", RUNGS)
def test_tiny(measure, impl):
    measure(ln.matmul[impl], ln.matmul.contract.workloads[0])
    hold = os.environ.get("HOLD")
    if hold == impl:
        open(os.path.join(os.environ["FOLDER"], "running"), "w").close()
        time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a suite, the suites' conftest.py and the made-up machine card."""
    shutil.copy(bench.suites_folder() / "conftest.py", tmp_path)
    (tmp_path / "bench_tiny.py").write_text(SUITE)
    (tmp_path / "card.json").write_text(json.dumps(msgspec.to_builtins(made_up.CARD)))
    return tmp_path


def command(folder, *options):
    """pytest on the suite, as one would type it."""
    plain = [
        "-p",
        "pytest_benchmark.plugin",
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
        "-o",
        "python_files=bench_*.py",
        "-p",
        "no:cacheprovider",
    ]
    card = f"--machine-card={folder / 'card.json'}"
    return [sys.executable, "-m", "pytest", str(folder / "bench_tiny.py"), *plain, "--quick", card, *options]


def pytest_on(folder, *options, **environment):
    env = {**os.environ, "COLUMNS": "120", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment}
    return subprocess.run(
        command(folder, *options), env=env, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def impls(results):
    return [record.impl for record in results.records]


# --- by hand


def test_a_suite_of_ones_own_gives_a_file_with_the_limits_and_what_they_are_made_from(folder):
    (folder / "conftest.py").unlink()
    with (folder / "bench_tiny.py").open("a") as file:
        file.write("\ndef test_of_another(benchmark):\n    benchmark(sum, [1, 2])\n")
    done = pytest_on(folder, "-p", "loopnest.bench.plugin", "-k", "another or numpy", "--benchmark-json=a.json")
    assert done.returncode == 0, done.stdout + done.stderr
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
    assert results.environment.isa == ln.isa()
    assert results.conditions


def test_disabled_benchmarks_run_once_and_report_no_records(folder):
    done = pytest_on(folder, "--benchmark-disable", "--benchmark-json=a.json")
    assert "4 passed" in done.stdout, done.stdout + done.stderr
    assert not (folder / "a.json").exists() or not Results.load(folder / "a.json").records


# --- cut off


def hold(process, folder, place, seconds=60):
    """Wait until the suite's slow test runs, and its result has arrived."""
    end = time.monotonic() + seconds
    arrived = '"impl": "cpp.naive"'
    while not ((folder / "running").exists() and any(arrived in p.read_text() for p in place.rglob("*.journal"))):
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < end
        time.sleep(0.02)


BENCH = """
import sys
from pathlib import Path
from types import SimpleNamespace
import click
from loopnest import cli
from loopnest.bench import suites as bench
from loopnest.cli.bench import command
from loopnest.machine import card as machine
from loopnest.machine.records import MachineCard
import msgspec
folder = Path({folder!r})
bench.suites_folder = lambda: folder
machine.card = lambda **how: msgspec.json.decode((folder / "card.json").read_bytes(), type=MachineCard)
command.params[0].type = click.STRING
cli.main(["bench", *sys.argv[1:]])
"""


def loopnest_bench(folder, *args):
    return [sys.executable, "-c", BENCH.format(folder=str(folder)), *args]


@pytest.fixture
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("place")


def test_kill_9_of_loopnest_bench_loses_nothing_and_resume_goes_on(folder, place):
    env = {**os.environ, "HOLD": "cpp.naive", "FOLDER": str(folder)}
    with subprocess.Popen(loopnest_bench(folder, "tiny", "--quick"), env=env, cwd=place, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:  # fmt: skip
        hold(process, folder, place)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        measuring = [int(pid) for pid in children.read_text().split()] if children.exists() else []
        process.kill()
    for pid in measuring:  # it would end by itself with its next word, but this one sleeps
        os.kill(pid, signal.SIGKILL)
    (run,) = (place / "loopnest-results").iterdir()
    assert [path.name for path in run.iterdir()] == ["results.json.journal"]
    assert impls(journal.load(run / "results.json.journal")) == ["numpy.rows", "numpy.matmul", "cpp.naive"]

    done = subprocess.run(loopnest_bench(folder, "--resume"), cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"4 results: loopnest-results/{run.name}/results.json" in done.stdout
    assert f"report: loopnest-results/{run.name}/report.html" in done.stdout
    assert sorted(path.name for path in run.iterdir()) == ["report.html", "results.json"]
    results = Results.load(run / "results.json")
    assert sorted(impls(results)) == sorted(["numpy.rows", "numpy.matmul", "cpp.naive", "cpp.reordered"])
    assert all(record.limit for record in results.records)
    assert not results.interrupted

    again = subprocess.run(loopnest_bench(folder, "--resume"), cwd=place, capture_output=True, text=True, timeout=120)
    assert again.returncode == 1
    assert "no run in loopnest-results/ was cut off" in again.stderr


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


def test_two_runs_of_one_second_have_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda _: "2026-01-01_00-00-00")
    first, second = Files.of(None, None), Files.of(None, None)
    assert (first.json.parent.name, second.json.parent.name) == ("2026-01-01_00-00-00", "2026-01-01_00-00-00-2")
    assert second.report.parent.is_dir()


def test_a_journal_may_end_anywhere(tmp_path):
    """Every prefix of it is read, and holds the records whose lines are whole."""
    made = [made_up.record("matmul", impl, "square-64", 1e-3) for impl in ("numpy.rows", "numpy.matmul")]
    text = journal.line("run", {"suites": ["matmul"], "started": "2026-01-01T00:00:00+00:00"})
    ends = []
    for record in made:
        text += journal.line("record", dataclasses.asdict(record))
        ends.append(len(text))
    file = tmp_path / "j"
    for end in (ends[0] - 1, ends[0], ends[0] + 1, (ends[0] + ends[1]) // 2, ends[1] - 2, ends[1]):
        file.write_text(text[:end])
        whole = sum(end >= line_end - 1 for line_end in ends)  # the end of the line itself may be missing
        assert list(journal.load(file).records) == made[:whole]


def test_a_journal_goes_on_after_half_a_line(tmp_path):
    file = tmp_path / "j"
    file.write_text(journal.line("run", {"suites": ["gelu"]}) + '["record", {"na')
    more = journal.Journal(file)
    assert more.request.suites == ("gelu",)
    more.add("failure", {"name": "a", "message": "b"})
    more.close()
    assert [f.name for f in journal.load(file).failures] == ["a"]


# --- where files go


def test_files_that_are_named_are_the_only_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Files.of(Path("a.json"), None) == Files(Path("a.json.journal"), Path("a.json"), None)
    assert Files.of(None, Path("a.html")) == Files(Path("a.html.journal"), None, Path("a.html"))
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_writes_what_the_first_one_would_have_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "loopnest-results" / "2026-01-01_00-00-00"
    folder.mkdir(parents=True)
    header = journal.line("run", {"suites": ["gelu"]})
    for path in (folder / "results.json.journal", tmp_path / "a.json.journal", tmp_path / "b.html.journal"):
        path.write_text(header)
    last = Files.unfinished(Path())
    assert (last.json, last.report) == (
        Path("loopnest-results/2026-01-01_00-00-00/results.json"),
        Path("loopnest-results/2026-01-01_00-00-00/report.html"),
    )
    assert Files.unfinished(folder).json == folder / "results.json"
    json_alone, report_alone = (Files.unfinished(tmp_path / f"{name}.journal") for name in ("a.json", "b.html"))
    assert (json_alone.json, json_alone.report) == (tmp_path / "a.json", None)
    assert (report_alone.json, report_alone.report) == (None, tmp_path / "b.html")


def test_what_an_unfinished_run_has_left_is_not_written_over(tmp_path):
    (tmp_path / "a.json.journal").write_text(journal.line("run", {"suites": ["gelu"]}))
    with pytest.raises(BadFileError, match=r"Go on with it: loopnest bench --resume .*a\.json\.journal"):
        Files.of(tmp_path / "a.json", None)
    with pytest.raises(ValueError, match=r"journal_file is .* which exists"):
        bench.run_suites(["gelu"], journal_file=tmp_path / "a.json.journal")


def test_a_place_that_cannot_be_written_to_is_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loopnest-results").write_text("a file of this name")
    with pytest.raises(BadFileError, match="use --json FILE"):
        Files.of(None, None)


def test_resume_takes_no_suites_and_no_options():
    for more in (["matmul"], ["--quick"], ["--json", "a.json"]):
        result = CliRunner().invoke(main, ["bench", *more, "--resume"])
        assert result.exit_code == 2
        assert "--resume goes on with what that run was asked for" in " ".join(result.output.split())
    result = CliRunner().invoke(main, ["bench", "--resume", "no_such.journal"])
    assert result.exit_code == 1
    assert "no_such.journal cannot be read" in result.output


# --- what a resumed run knows


def test_a_resumed_run_predicts_from_what_was_measured_before():
    contract = ln.matmul.contract
    small, large = made_up.record("matmul", "python.naive", "square-64", 0.1), contract.workloads[-1]
    lab = Bench(Plan(seconds=0.1, patience=1.0))
    lab.remember(contract, small)
    row = lab.measure(
        None, ln.matmul["python.naive"], large, suite="matmul"
    )  # it is not called, or it would take hours
    assert isinstance(row, NotRun)


def test_a_resumed_quick_run_leaves_out_what_is_incomplete():
    lab = Bench(dataclasses.replace(QUICK, total=1e9))
    workload = next(w for w in ln.matmul.contract.workloads if w.name == "square-64")
    row = NotRun("layout", "s", "matmul", "cpp.naive", "square-64", "no time was left for it in this run", section="x")
    lab.remember_not_run(row)
    left_out = lab.measure(None, ln.matmul["numpy.matmul"], workload, suite="layout", study="s", section="x")
    assert left_out.reason == "another row of its table would take too long"


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
    assert (clock.cores(), clock.cores_at_best()) == (1.0, 1.0)
    for _ in elapsed:
        clock()
    assert (clock.cores(), clock.cores_at_best()) == (pytest.approx(1.2), 2.0)


def test_a_tick_of_the_systems_clock_may_be_longer_than_a_round(monkeypatch):
    """Two threads on two cores; the system reports the second's time once in ten rounds."""
    clock = Clock()
    busy = [x for n in range(10) for x in (n, n + 1)]
    busy[-1] += 10
    made_up_time = SimpleNamespace(perf_counter=iter([*range(20)]).__next__, process_time=iter(busy).__next__)
    monkeypatch.setattr(measure, "time", made_up_time)
    for _ in busy:
        clock()
    assert clock.cores() == pytest.approx(2)


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


def test_bars_are_as_long_as_the_per_cent_and_end_at_the_limit():
    assert [bar(x) for x in (0, 1, 50, 100, 130)] == ["", "▏", "█████", "██████████", "██████████"]


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


def test_a_record_comes_back_from_json_with_its_limit():
    record = made_up.at_percent("gelu", "cpp.simd", "n-65536", 40.0, faster_than=("cpp.scalar",))
    assert Record.from_benchmark(made_up.through_json(record.to_benchmark())) == record


def test_the_file_of_a_full_run_is_small(tmp_path):
    """Some 2,000 records in at most 5 MB, a line each."""
    results = made_up.run()
    results.save(tmp_path / "r.json")
    size = (tmp_path / "r.json").stat().st_size / len(results.records)
    assert size < 2500
    assert Results.load(tmp_path / "r.json") == results
