"""The command `loopnest`."""

import importlib.util
import json
import os
import re
import resource
import subprocess
import sys

import loopnest as ln
import pytest
from click.testing import CliRunner
from loopnest.backends import BACKENDS
from loopnest.bench import suites as bench
from loopnest.bench.records import Failure, Results
from loopnest.cli import COMMANDS, main
from rich.cells import cell_len

RUN = "from loopnest.cli import COMMANDS, main; main(prog_name='loopnest')"


def run(*args):
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, args, prog_name="loopnest")


def text(result):
    """What was printed, as one line: where it breaks depends on the terminal."""
    return " ".join(result.output.split())


def test_help_names_the_commands():
    result = run("--help")
    assert result.exit_code == 0
    assert len(COMMANDS) <= 15
    for command in COMMANDS:
        assert f"\n  {command} " in result.output
    assert run().output == result.output


LONGER = {"bench": 45, "check": 45, "inspect": 55, "train": 34, "watch": 32}
"""The lines of help of commands with more than ten options."""


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_a_screen_of_80_by_24(command):
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, [*filter(None, [command]), "--help"], prog_name="loopnest")
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < LONGER.get(command, 24)


def test_help_takes_less_than_0_3_seconds():
    """Of the processor, in a process of its own, the best of five; with a margin for slower machines."""

    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", RUN, "--help"], check=True, capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.45


def test_help_loads_nothing_heavy():
    program = f"import sys; sys.argv[1:] = ['--help']\ntry:\n  {RUN}\nexcept SystemExit: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "click" in loaded
    assert not loaded & {"numba", "torch", "rich", "matplotlib", "pytest", "llvmlite"}


def test_version():
    assert ln.__version__ in run("--version").output


def test_list_counts_the_rungs_of_every_operation():
    result = run("list")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    assert lines.keys() >= set(ln.OPERATIONS)
    rungs = [k.backend for k in ln.matmul]
    assert lines["matmul"].split()[-len(BACKENDS) :] == [str(rungs.count(backend) or "·") for backend in BACKENDS]
    assert "loopnest list matmul" in result.output


def test_list_of_an_operation_has_every_rung_with_its_lessons_first_line_and_why_it_cannot_run(monkeypatch):
    naive = ln.matmul["cpp.naive"]
    monkeypatch.setattr(naive, "why_unavailable", lambda: "it needs [brackets]: pip install 'loopnest[brackets]'")
    result = run("list", "matmul")
    assert result.exit_code == 0
    for k in ln.matmul:
        assert f"\n{k.id} " in result.output
        assert k.headline in text(result)
    assert "not here: it needs [brackets]: pip install 'loopnest[brackets]'" in text(result)


@pytest.mark.parametrize("name", list(ln.OPERATIONS))
@pytest.mark.parametrize("width", [80, 140])
def test_no_list_is_wider_than_the_terminal(name, width):
    result = CliRunner(env={"COLUMNS": str(width)}).invoke(main, ["list", name])
    assert max(map(cell_len, result.output.splitlines())) <= width


def test_an_unknown_operation_is_told_with_the_nearest():
    result = run("list", "matmull")
    assert result.exit_code == 2
    assert "no operation is called 'matmull'; did you mean matmul?" in text(result)
    assert "mine.c is a file; expected an operation before it" in text(run("duel", "mine.c", "numpy", "cpp"))
    assert run("show", "no_such_thing", "cpp.naive").exit_code == 2


def test_show_prints_the_source_with_its_lesson():
    k = ln.matmul["numpy.rows"]
    result = run("show", "matmul", "numpy.rows")
    assert result.exit_code == 0
    assert k.headline in result.output
    assert "for i in range(a.shape[0]):\n        np.matmul(a[i], b, out=c[i])" in result.output
    assert result.output.count(k.headline) == 1


@pytest.mark.parametrize("backend", ["python", "numpy", "numba", "cpp", "torch"])
def test_show_works_for_every_backend(backend):
    k = ln.matmul[backend]
    result = run("show", "matmul", k.id)
    assert result.exit_code == 0
    assert k.headline in result.output
    assert k.source().splitlines()[-1] in result.output.splitlines()


def test_show_in_a_terminal_is_coloured():
    env = {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "COLUMNS": "60", "TERM": "xterm-256color"}
    result = CliRunner(env=env).invoke(main, ["show", "matmul", "numpy.rows"], color=True)
    assert result.exit_code == 0
    assert "\x1b[" in result.output


def test_an_unknown_rung_is_told_with_the_nearest():
    result = run("show", "matmul", "cpp.nave")
    assert result.exit_code == 2
    assert "did you mean cpp.naive" in text(result)


def test_bench_prints_a_table_and_writes_the_file(tmp_path):
    file = tmp_path / "results.json"
    result = run(
        "bench", "matmul", "--quick", "--seconds", "20", "-k", "square-64 and numpy", "--no-limits", "--json", str(file)
    )
    assert result.exit_code == 0, result.output
    assert "GFLOP/s" in result.output
    assert "numpy.matmul" in result.output
    assert "orders of magnitude" in result.output
    assert {r.impl for r in Results.load(file).records} == {k.id for k in ln.matmul if k.backend == "numpy"}
    assert str(file) in result.output.replace("\n", "")


@pytest.mark.slow
def test_bench_runs_from_anywhere_whatever_lies_there(tmp_path):
    (tmp_path / "numpy.py").write_text("raise RuntimeError('not this one')")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    env = {**os.environ, "PYTEST_ADDOPTS": "--no-such-option"}
    args = ["bench", "matmul", "--quick", "--seconds", "20", "-k", "square-64 and numpy.matmul", "--no-limits"]
    program = f"import sys; sys.path.remove(''); sys.argv[1:] = {args}\n{RUN}"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "numpy.matmul" in done.stdout


def test_a_failed_benchmark_is_told_and_ends_the_command_with_1(monkeypatch, tmp_path):
    failed = Results(None, (), failures=(Failure("x", "off by 1"),))
    monkeypatch.setattr(bench, "run_suites", lambda *args, **kwargs: failed)
    monkeypatch.chdir(tmp_path)
    result = run("bench", "matmul", "--no-limits")
    assert result.exit_code == 1
    assert "off by 1" in result.output


def test_bench_without_its_packages_says_how_to_get_them(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pytest_benchmark" else find(name))
    result = run("bench", "matmul", "--quick")
    assert result.exit_code == 1
    assert "pip install 'loopnest[bench]'" in text(result)


def test_bench_refuses_what_it_cannot_do_before_it_starts(tmp_path):
    assert run("bench", "no_such_suite").exit_code == 2
    result = run("bench", "matmul", "--json", str(tmp_path / "nowhere" / "results.json"))
    assert result.exit_code == 2
    assert "there is no folder" in text(result)


def test_accuracy_prints_a_line_for_each_form():
    result = run("inspect", "gelu", "cpp.simd", "--accuracy", "--step", "1000003", "--isa", ln.isa())
    assert result.exit_code == 0
    header, tanh_form, exact_form = result.output.splitlines()[-3:]
    assert header.split()[:4] == ["function", "isa", "largest", "error"]
    assert tanh_form.split()[:3] == ["gelu", "tanh", ln.isa()]
    assert exact_form.split()[:3] == ["gelu", "none", ln.isa()]
    assert 0.4 < float(exact_form.split()[3]) <= 2


def test_accuracy_forces_an_isa_level():
    usual, oldest = ln.isa(), ln.isa_levels()[0]
    try:
        result = run("inspect", "softmax", "cpp.simd", "--accuracy", "--step", "1000003", "--isa", oldest)
    finally:
        ln.set_isa(usual)
    assert f"exp {oldest}" in text(result)


def test_accuracy_refuses_what_it_cannot_measure():
    arguments = ("--accuracy", "--step", "1000003")
    refused = text(run("inspect", "dot", "cpp.simd", *arguments))
    assert "operation is 'dot', expected one of exp, sigmoid" in refused
    assert "isa is 'v9', expected one of" in text(run("inspect", "gelu", "cpp.simd", *arguments, "--isa", "v9"))
    assert "accuracy is measured of C++ rungs" in text(run("inspect", "gelu", "numpy", *arguments))


def test_an_unknown_command_is_reported_with_the_nearest():
    result = run("bensh")
    assert result.exit_code == 2
    assert "no command is called 'bensh'; did you mean bench?" in text(result)


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        (("layout", "matmul", "ijk"), ("--cache", "512"), "a cache of 32 lines of 4 elements"),
        (("lesson", "2"), ("--answers",), "not commutative"),
        (("train", "xor", "--epochs", "1", "--loss", "mse"), ("--init", "xavier"), "xavier, seed 0"),
    ],
)
def test_options_change_what_is_printed(arguments, options, expected):
    assert expected in text(run(*arguments, *options))
    assert expected not in text(run(*arguments))


# --- the progress bar

A_RUN = """
import time
from loopnest.cli.progress import busy, progress
with busy("a"), progress() as on_event:
    on_event("start", 30)
    for number in range(30):
        on_event("running", f"item {number}")
        time.sleep(0.01)
"""


@pytest.mark.parametrize(
    ("terminal", "variables", "drawn"),
    [
        (False, {"FORCE_COLOR": "1"}, False),  # a file
        (True, {"JPY_PARENT_PID": "1"}, False),  # `!loopnest bench` in a notebook
        (True, {}, True),
    ],
)
def test_progress_is_drawn_only_where_it_can_be_drawn_again(terminal, variables, drawn):
    ours, theirs = os.openpty() if terminal else os.pipe()
    own = {name: value for name, value in os.environ.items() if name not in ("JPY_PARENT_PID", "FORCE_COLOR")}
    subprocess.run([sys.executable, "-c", A_RUN], stderr=theirs, env={**own, "TERM": "xterm", **variables}, check=True)
    os.write(theirs, b".")
    assert (len(os.read(ours, 4096)) > 100) == drawn
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("option", ["--memory-limit", "--time-limit", "--seconds"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_number_that_is_none_is_refused(option, value):
    run = CliRunner().invoke(main, ["check", "mine.py", option, value])
    assert run.exit_code == 2
    assert f"Invalid value for '{option}': {value} is" in run.output


@pytest.mark.parametrize("option", ["--flags", "--compiler"])
def test_a_quote_that_is_not_closed_names_its_option(option, tmp_path):
    (tmp_path / "mine.c").write_text("void matmul(const float* a, const float* b, float* c, long m, long n, long k) {}")
    run = CliRunner().invoke(main, ["check", str(tmp_path / "mine.c"), option, '"'])
    assert run.exit_code == 2
    assert f"{option.replace('--c', 'the c').strip('-')} is '\"', expected words" in run.output


@pytest.mark.slow
def test_a_file_whose_name_is_no_text_has_a_verdict_in_json(tmp_path):
    file = os.path.join(os.fsencode(tmp_path), b"\xff.py")
    with open(file, "w") as text:
        text.write("def matmul(a, b, c):\n    c[...] = a @ b\n")
    run = CliRunner().invoke(main, ["check", os.fsdecode(file), "--op", "matmul", "--seconds", "0", "--json"])
    assert json.loads(run.stdout)["outcome"] == "right", run.output


@pytest.mark.parametrize(
    "variable",
    ["LOOPNEST_NUM_THREADS=abc", "LOOPNEST_NUM_THREADS=-1", "LOOPNEST_ISA=v9", "LOOPNEST_CACHES=x"],
)
def test_nonsense_in_the_environment_is_one_line_and_exit_code_2(variable):
    name, _, value = variable.partition("=")
    command, environment = [sys.executable, "-m", "loopnest", "list", "matmul"], os.environ | {name: value}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 2
    assert re.fullmatch(rf"Error: .*{name}.*'{value}', expected [^\n]+\n", run.stderr)
    program = [sys.executable, "-c", "import loopnest"]  # where it is an exception
    assert "Traceback" in subprocess.run(program, env=environment, capture_output=True, text=True).stderr


@pytest.mark.parametrize("threads", ["99999999999", "0", "-1", "1.5"])
def test_a_number_of_threads_that_cannot_be_is_refused_with_what_can(tmp_path, threads):
    (tmp_path / "mine.py").write_text("def matmul(a, b):\n    return a @ b\n")
    result = run("check", str(tmp_path / "mine.py"), "--op", "matmul", "--threads", threads)
    assert result.exit_code == 2
    assert threads in result.output
    assert re.search("expected a whole number from 1 to|x>=1|not a valid integer", " ".join(result.output.split()))
