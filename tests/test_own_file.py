"""A kernel of the user's own, and shapes of the user's own, in every command that measures or looks inside."""

import json
import shutil

import loopnest as ln
import pytest
from click.testing import CliRunner
from loopnest.cli import main

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
    result = run("bench", file, "--op", "dot", "--workload", "300000", "--quick", "--json", record)
    assert result.exit_code == 0, result.output
    timing = json.loads(record.read_text())["timing"]
    raced = {entry["name"] for entry in timing["races"]}
    wanted = {k.id for k in ln.dot if k.backend in ("python", "numpy", "numba", "cpp", "torch")}
    wanted = {id for id in wanted if ln.dot[id].available() and not (ln.dot[id].study or ln.dot[id].slow_start)}
    assert raced | timing["predicted"].keys() == {"it", *wanted}
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
