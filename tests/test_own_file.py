"""A kernel of the user's own, and shapes of the user's own, in every command that measures or looks inside."""

import json
import platform
import shutil
import sys

import loopnest as ln
import pytest
from click.testing import CliRunner
from loopnest.check.inside import inspect_file
from loopnest.cli import main
from loopnest.inspect import elf

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="C and C++ need a compiler")


def run(*args):
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, list(map(str, args)), prog_name="loopnest")


def text(result):
    """What was printed, as one line."""
    return " ".join(result.output.split())


# --- shapes


def test_lengths_of_the_axes_are_a_workload():
    found = ln.matmul.workload("17x4096x33")
    assert (found.name, found.shape) == ("17x4096x33", {"m": 17, "k": 4096, "n": 33})
    assert ln.matmul.workload("square-64") is next(w for w in ln.matmul.contract.workloads if w.name == "square-64")
    assert ln.mse.workload("007").name == "7"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("square-65", "did you mean square-64"),
        ("17x33", "expected lengths of 1 or more of m x k x n, such as 17x4096x33"),
        ("17x0x33", "workload is '17x0x33', expected lengths of 1 or more"),
        ("-1x2x3", "no workload is called '-1x2x3'"),
        ("100000x100000x100000", "has arrays of 223.5 GiB, expected at most 2 GiB"),
    ],
)
def test_what_is_no_workload_is_refused_with_what_is_expected(name, message):
    with pytest.raises(ValueError, match="matmul: ") as error:
        ln.matmul.workload(name)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "command",
    [
        ("check", "mine.py"),
        ("bench", "mine.py"),
        ("bench", "matmul"),
        ("duel", "matmul", "numpy", "cpp"),
        ("inspect", "matmul", "numba.naive"),
    ],
    ids=" ".join,
)
def test_each_command_reads_workloads_in_the_same_way(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def matmul(a, b):\n    return a @ b\n")
    result = run(*command, "--workload", "17x33")
    assert result.exit_code in (1, 2)
    assert "workload is '17x33', expected lengths of 1 or more of m x k x n" in text(result)


def test_a_duel_and_a_suite_run_on_lengths(tmp_path):
    duel = run("duel", "matmul", "numpy", "cpp.naive", "--workload", "5x6x7", "--seconds", "0.1", "--json")
    assert json.loads(duel.output[duel.output.index("{") :])["shape"] == {"m": 5, "k": 6, "n": 7}
    file = tmp_path / "results.json"
    suite = run("bench", "matmul", "--workload", "5x6x7", "-k", "numpy.matmul", "--no-limits", "--json", file)
    assert suite.exit_code == 0, suite.output
    assert {entry["extra_info"]["workload"] for entry in json.loads(file.read_text())["benchmarks"]} == {"5x6x7"}


def test_a_suite_without_one_ladder_takes_no_workload():
    assert "--workload is for one of matmul, gelu, mlp, or for FILE" in text(run("bench", "--workload", "5x6x7"))


# --- bench FILE


@pytest.mark.slow
def test_bench_puts_a_file_next_to_the_whole_ladder(tmp_path):
    file, record = tmp_path / "mine.py", tmp_path / "verdict.json"
    file.write_text("import numpy as np\ndef dot(x, y):\n    return np.dot(x, y)\n")
    result = run("bench", file, "--op", "dot", "--workload", "1000000", "--quick", "--json", record)
    assert result.exit_code in (0, 3), result.output  # 3: right as far as a busy machine had time to ask
    timing = json.loads(record.read_text())["timing"]
    raced = {entry["name"] for entry in timing["races"]}
    wanted = {k.id for k in ln.dot if k.backend in ("python", "numpy", "numba", "cpp", "torch")}
    wanted = {id for id in wanted if ln.dot[id].available() and not (ln.dot[id].study or ln.dot[id].slow_start)}
    assert raced | timing["predicted"].keys() == {"it", *wanted}
    assert not raced & timing["predicted"].keys()
    assert all(seconds > 0 for seconds in timing["predicted"].values())
    assert "numpy" in {name.partition(".")[0] for name in raced}
    assert all(f"{id} " in result.output for id in wanted)
    assert "this file" in result.output


def test_bench_times_no_file_that_is_wrong(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def dot(x, y):\n    return 0 * (x @ y)\n")
    result = run("bench", file, "--op", "dot")
    assert result.exit_code == 18
    assert "dot is wrong" in result.output
    assert "FILE goes alone" in text(run("bench", file, "matmul"))
    assert "FILE takes --quick, --workload" in text(run("bench", file, "--no-limits"))


# --- inspect FILE

reads_code = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64" or elf.why_not_here() is not None,
    reason="x86-64 Linux, with loopnest[inspect]",
)

VECTORS = "-O3 -mavx2 -fassociative-math -fno-signed-zeros -fno-trapping-math"
"""With -ffast-math, a library would turn subnormal numbers to zeros, which the judge refuses."""

DOT = """float part(const float* x, const float* y, long n) {
    float sum = 0;
    for (long i = 0; i < n; i++) sum += x[i] * y[i];  // here
    return sum;
}
float dot(const float* x, const float* y, long n) { return part(x, y, n); }
"""


@reads_code
@needs_compiler
@pytest.mark.slow
def test_inspect_puts_builds_of_a_file_side_by_side(tmp_path):
    file = tmp_path / "mine.c"
    file.write_text(DOT)
    scalar, vectors = inspect_file(file, "dot", "hot", "source", flags=("-O1", VECTORS), seconds=0)
    assert (scalar.verdict.outcome, vectors.verdict.outcome) == ("right", "right")
    assert scalar.loop.scalar
    assert vectors.loop.vector_bits in (128, 256)
    hot, source = vectors.listings
    assert any(line.source == (str(file), 3) for line in hot.lines)
    (line,) = (line for line in source.lines if "// here" in line.text)
    assert line.hot
    assert "add" in line.note
    result = run("inspect", file, "--op", "dot", "--flags", "-O1", "--flags", VECTORS, "--no-measure")
    assert result.exit_code == 0
    assert all(f"mine.c · gcc {flags} · float32" in result.output for flags in ("-O1", VECTORS))
    assert "mine.c:3" in result.output


@reads_code
@needs_compiler
@pytest.mark.slow
def test_remarks_on_a_file_name_its_lines_and_a_changed_file_is_read_again(tmp_path):
    file = tmp_path / "mine.c"
    for above in ("", "// above\n"):
        file.write_text(above + DOT)
        (one,) = inspect_file(file, "dot", "remarks", flags=("-O3",), seconds=0)
        texts = [line.text for line in one.listings[0].lines]
        assert "// here" in texts[0]
        assert "vectorized" in texts[1]


@reads_code
@pytest.mark.slow
def test_a_file_in_numba_is_inspected_and_timed(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from numba import njit\n@njit\ndef part(x, y):\n    s = x.dtype.type(0)\n    for i in range(x.size):\n"
        "        s += x[i] * y[i]\n    return s\ndef dot(x, y):\n    return part(x, y)\n"
    )
    (one,) = inspect_file(file, "dot", "hot", dtype="float32", workload="100000", seconds=0.2)
    assert one.verdict.accepted
    assert one.verdict.timing.own.workload == "100000"
    assert one.listings[0].title == "the hot loop of part"
    assert {line.source for line in one.listings[0].lines} >= {(str(file), 6)}


def test_what_has_no_machine_code_says_so(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def dot(x, y):\n    return x @ y\n")
    (one,) = inspect_file(file, "dot", seconds=0, dtype="float32")
    assert one.why_not == "mine.py is Python, which no compiler makes machine code of"
    assert "FILE goes without IMPL" in text(run("inspect", file, "cpp.naive"))
    assert "--isa is for rungs" in text(run("inspect", file, "--isa", "v3"))
    assert "expected IMPL after matmul" in text(run("inspect", "matmul"))
    assert "are for FILE" in text(run("inspect", "matmul", "cpp.naive", "--flags", "-O1"))
