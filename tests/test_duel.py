"""Duels: the verdict on a ratio, equal terms, refusals, files of the user's, and real ones."""

import dataclasses
import html
import json
import math
import os
import shutil

import loopnest as ln
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from loopnest.bench import duel as lab
from loopnest.bench.duel import Duel, duel, report
from loopnest.bench.stage import rung_from_file
from loopnest.cli import main
from loopnest.timing import conditions, turns
from loopnest.timing.fairness import UnfairError
from loopnest.timing.interval import Interval
from loopnest.timing.turns import Outcome, Reading
from loopnest.verify.problem import WrongResult
from rich.console import Console

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="C and C++ need a compiler")
timed = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="a sanitized build is slow in its own way")


class Card:
    """A machine with this peak of flops a second, or one for which nothing is too fast."""

    def __init__(self, peak=math.inf):
        self._peak = peak

    def peak(self, dtype="float32", threads=1, isa=None):
        return self._peak

    def least_seconds(self, flops, bytes, dtype="float32", threads=1):
        return max(flops / self._peak, bytes / 1e30)


QUICK = {"workload": "square-64", "seconds": 0.1, "card": Card()}


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(conditions, "NOISE_ROUNDS", 10)
    monkeypatch.setattr(conditions, "NOISE_WINDOW", 1e-3)
    monkeypatch.setattr(lab, "WINDOW", 1e-3)


@pytest.fixture
def rung():
    """Registers kernels for matmul while a test runs; gives their ids."""
    ids = []

    def register(kernel):
        ids.append(f"test.{kernel.__name__}")
        ln.matmul.register(ids[-1])(kernel)
        return ids[-1]

    yield register
    for id in ids:
        ln.matmul.unregister(id)


# --- what is said


@pytest.fixture(scope="module")
def fought():
    """The short real one: two loops that are an order of magnitude apart."""
    return duel(ln.matmul, "cpp.packed", "cpp.naive", workload="square-128", seconds=0.3, card=Card(1e15))


@pytest.fixture
def made(fought):
    """Makes a duel with this interval and this noise floor."""

    def make(low, estimate, high, difference=0.0, certain=None, b="x.b"):
        ratio = Interval(estimate, low, high)
        outcome = Outcome(ratio, certain or dataclasses.replace(ratio, confidence=0.99), 40, "narrow")
        floor = dataclasses.replace(fought.conditions, floor=Interval(1.0, 1.0, 1.0 + difference))
        return dataclasses.replace(fought, a="x.a", b=b, outcome=outcome, conditions=floor)

    return make


def test_the_faster_one_is_named_with_the_interval(made):
    assert made(1.29, 1.31, 1.33).sentence() == "x.a is 1.31× (1.29–1.33) as fast as x.b"
    assert made(0.49, 0.50, 0.51).sentence() == "x.b is 2.00× (1.96–2.04) as fast as x.a"
    assert made(46.8, 47.1, 47.5).sentence() == "x.a is 47.1× (46.8–47.5) as fast as x.b"


def test_what_cannot_be_told_from_one_or_from_noise_is_unresolved(made):
    assert made(0.99, 1.01, 1.03).sentence() == "unresolved: x.a is 1.01× (0.99–1.03) as fast as x.b"
    within = made(1.005, 1.010, 1.015, difference=0.02, b="x.a")
    assert within.faster is None
    assert within.sentence().endswith("as fast as itself, within the noise floor of 2.0%")
    assert made(1.005, 1.010, 1.015, difference=0.009).faster == "a"
    assert made(0.95, 0.97, 0.99, difference=0.04).faster is None
    assert made(0.95, 0.97, 0.99, difference=0.02).faster == "b"
    unsure = made(1.005, 1.03, 1.05, certain=Interval(1.03, 0.995, 1.06, 0.99))
    assert unsure.faster is None
    assert unsure.sentence().endswith("as fast as x.b, and not yet 99% certain")
    assert "40 rounds are too few" in made(0.0, 1.5, math.inf).sentence()


@timed
def test_a_real_duel_finds_the_rung_that_is_far_faster(fought):
    assert fought.faster == "a"
    assert fought.outcome.ratio.low > 3
    a, b = fought.timings
    assert len(a.seconds) == len(b.seconds) == 2 * fought.outcome.rounds >= 2 * turns.FEWEST_OF_TWO
    assert a.calls > b.calls  # a sample is as long, with more calls of the faster


def test_a_duel_survives_json(fought):
    data = json.loads(json.dumps(msgspec.to_builtins(fought)))
    assert msgspec.convert(data, Duel) == fought


def test_a_notebook_shows_what_is_printed(fought):
    assert html.escape(fought.sentence()) in fought._repr_html_()


def text_of(duel, width=80):
    console = Console(width=width, file=open(os.devnull, "w"), record=True)  # noqa: SIM115
    for part in report(duel):
        console.print(part)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 140])
def test_the_terms_and_the_conditions_are_printed_with_every_comparison(fought, width):
    text = text_of(fought, width)
    words = " ".join(text.split())
    assert fought.sentence() in words
    for word in ("threads 1 each, read back", "precision", "in C order", "not the first calls", "noise floor", "clock"):
        assert word in words
    assert max(map(len, text.splitlines())) <= width


def test_a_refused_duel_prints_no_figures(fought):
    text = text_of(dataclasses.replace(fought, outcome=None, timings=(), refused="because"))
    assert "refused: because" in text
    assert "best" not in text


# --- terms


def test_both_sides_work_on_the_same_arrays_which_the_duel_poisons_before_each_sample(rung):
    seen = []

    def looks_at_out(a, b, out):
        seen.append((a.ctypes.data, b.ctypes.data, out.ctypes.data, bool(np.isnan(out[-1, -1]))))
        np.matmul(a, b, out=out)

    fought = duel(ln.matmul, rung(looks_at_out), "numpy.matmul", **QUICK)
    assert not fought.refused
    assert len({places[:3] for places in seen}) == 2  # the call that is judged by itself has a result of its own
    assert sum(poisoned for *_, poisoned in seen) >= 2 * fought.outcome.rounds


def test_updates_in_place_begin_with_the_same_values_in_every_sample():
    fought = duel(ln.sgd, "numpy", "cpp", workload="n-1000", seconds=0.1, card=Card())
    assert not fought.refused


def test_operations_with_several_results_and_float64_have_duels(rung):
    for operation, workload in ((ln.mlp_backward, "mlp-4x16x64"), (ln.mlp_forward, "mlp-4x16x64"), (ln.dot, None)):
        fought = duel(operation, "numpy", "cpp", workload=workload, dtype="float64", seconds=0.1, card=Card())
        assert fought.refused == ""
        assert fought.dtype == "float64"


def test_one_that_keeps_more_processors_busy_than_the_budget_is_refused(monkeypatch):
    def two_processors(loop):
        return lambda calls: loop(calls) or Reading(1e-3 * calls, 2e-3 * calls, 0)

    monkeypatch.setattr(turns, "clocked", two_processors)
    with pytest.raises(UnfairError, match=r"numpy\.matmul kept 2\.0 processors busy with a budget of 1 thread"):
        duel(ln.matmul, "numpy.matmul", "cpp.packed", **QUICK)


def test_a_workload_is_chosen_in_which_the_slower_side_has_time_for_some_rounds():
    sides = [ln.matmul["cpp.packed"], ln.matmul["python.naive"]]
    first_calls = {}
    assert lab._largest(sides, np.dtype(np.float32), first_calls).name in ("square-16", "square-32", "square-64")
    assert first_calls.keys() == {"cpp.packed", "python.naive"}


# --- who is refused


def test_a_kernel_that_stops_computing_once_the_clock_runs_is_caught(rung):
    calls = []

    def lazy(a, b, out):
        calls.append(1)
        if len(calls) < 20:
            np.matmul(a, b, out=out)

    fought = duel(ln.matmul, rung(lazy), "numpy.matmul", **QUICK)
    assert "test.lazy breaks its contract while it was timed" in fought.refused
    assert fought.timings == ()


def test_a_kernel_that_remembers_its_result_is_caught_by_other_values_in_the_same_arrays(rung):
    known = {}

    def remembers(a, b, out):
        key = a.ctypes.data, b.ctypes.data, a.shape
        if key not in known:
            known[key] = a @ b
        out[...] = known[key]

    fought = duel(ln.matmul, rung(remembers), "numpy.matmul", **QUICK)
    assert "test.remembers breaks its contract with other values" in fought.refused
    assert fought.timings == ()


@timed
def test_a_time_that_beats_the_peak_is_refused_and_not_shown(rung):
    known = {}

    def remembers(a, b, out):
        key = a.ctypes.data, b.ctypes.data, a.shape
        if key not in known:
            known[key] = a @ b
        out[...] = known[key]

    fought = duel(ln.matmul, rung(remembers), "numpy.matmul", **{**QUICK, "workload": "square-512", "card": Card(1e9)})
    assert "test.remembers would reach" in fought.refused
    assert "is not believed" in fought.refused
    assert fought.timings == ()


def test_a_wrong_kernel_is_not_timed_at_all(rung):
    calls = []

    def wrong(a, b, out):
        calls.append(1)
        out[...] = 0

    with pytest.raises(WrongResult, match=r"test\.wrong breaks its contract at its first call"):
        duel(ln.matmul, rung(wrong), "numpy.matmul", **QUICK)
    assert len(calls) == 1

    def raises(a, b, out):
        raise KeyError("tile")

    with pytest.raises(WrongResult, match=r"test\.raises raised KeyError at its first call: 'tile'"):
        duel(ln.matmul, rung(raises), "numpy.matmul", **QUICK)

    def changes_its_input(a, b, out):
        np.matmul(a, b, out=out)
        a[0, 0] = 7

    with pytest.raises(WrongResult, match="changed input 0"):
        duel(ln.matmul, rung(changes_its_input), "numpy.matmul", **QUICK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workload": "square-7"}, "no workload is called 'square-7'; did you mean"),
        ({"dtype": "int32"}, "dtype is int32, expected float32 or float64"),
        ({"threads": 10_000}, "threads is 10000, expected 1 to"),
        ({"seconds": 0}, "seconds is 0, expected more than 0"),
        ({"precision": -1}, "precision is -1, expected more than 0"),
    ],
)
def test_wrong_arguments_are_told(change, message):
    with pytest.raises(ValueError, match=message):
        duel(ln.matmul, "numpy.matmul", "cpp.packed", **{**QUICK, **change})


def test_what_cannot_run_here_is_told(monkeypatch):
    monkeypatch.setattr(ln.matmul["cpp.naive"], "why_unavailable", lambda: "it is out")
    with pytest.raises(ln.UnavailableError, match=r"cpp\.naive cannot run here: it is out"):
        duel(ln.matmul, "numpy.matmul", "cpp.naive", **QUICK)


# --- files


@pytest.mark.parametrize(
    "source",
    [
        "def matmul(a, b, out):\n    out[...] = a @ b\n",
        "import numpy\ndef matmul(a, b, out=None):\n    return numpy.matmul(a, b, out=out)\n",
    ],
)
def test_a_files_function_is_a_rung_for_as_long_as_it_is_needed(tmp_path, source):
    file = tmp_path / "my kernel-2.py"
    file.write_text(source)
    a, b = np.ones((3, 4)), np.ones((4, 5))
    with rung_from_file(ln.matmul, file) as k:
        assert k.id == "file.my_kernel_2"
        assert ln.matmul[k.id] is k
        np.testing.assert_array_equal(k(a, b), a @ b)
    with pytest.raises(ln.UnknownImplementationError):
        ln.matmul["file.my_kernel_2"]


def test_options_are_handed_to_functions_that_take_them(tmp_path):
    file = tmp_path / "mine.py"
    x = np.linspace(-3, 3, 50)
    form = "approximate='tanh' if tanh_form else 'none'"
    file.write_text(f"import loopnest\ndef gelu(x, out, tanh_form):\n    loopnest.gelu(x, {form}, out=out)\n")
    with rung_from_file(ln.gelu, file) as k:
        np.testing.assert_array_equal(k(x, approximate="none"), ln.gelu(x, approximate="none"))
    file.write_text(
        "import loopnest\ndef gelu(x, *, approximate='tanh', out):\n"
        "    loopnest.gelu(x, approximate=approximate, out=out)\n"
    )
    with rung_from_file(ln.gelu, file) as k:
        np.testing.assert_array_equal(k(x, approximate="none"), ln.gelu(x, approximate="none"))
    file.write_text("import loopnest\ndef gelu(x, out):\n    loopnest.gelu(x, out=out)\n")
    with rung_from_file(ln.gelu, file) as k:
        np.testing.assert_array_equal(k(x), ln.gelu(x))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n", r"has no function matmul; expected def matmul\(a, b, out\)"),
        (
            "def matmul(a, b):\n    return a @ b\n",
            r"returns its result; expected def matmul\(a, b, out\), which fills it",
        ),
        ("def matmul(a):\n    return a\n", r"takes \(a\), expected def matmul\(a, b, out\)"),
    ],
)
def test_a_file_without_a_function_that_fits_is_told_what_fits(tmp_path, source, message):
    file = tmp_path / "mine.py"
    file.write_text(source)
    with pytest.raises(ValueError, match=message), rung_from_file(ln.matmul, file):
        pass
    with pytest.raises(ValueError, match="there is no file"), rung_from_file(ln.matmul, tmp_path / "none.py"):
        pass


IN_C = {
    "matmul": """void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m; ++i)
        for (long j = 0; j < n; ++j) {
            c[i * n + j] = 0;
            for (long p = 0; p < k; ++p) c[i * n + j] += a[i * k + p] * b[p * n + j];
        }
}""",
    "dot": "float dot(const float* x, const float* y, long n) { float s = 0; while (n--) s += x[n] * y[n]; return s; }",
    "transpose": """void transpose(const float* x, long x_row_stride, long x_col_stride, float* y, long y_row_stride,
    long y_col_stride, long rows, long cols) {
    for (long i = 0; i < rows; ++i)
        for (long j = 0; j < cols; ++j) y[j * y_row_stride + i * y_col_stride] = x[i * x_row_stride + j * x_col_stride];
}""",
    "relu": "void relu(const float* x, float* y, long n) { for (long i = 0; i < n; ++i) y[i] = x[i] > 0 ? x[i] : 0; }",
}


@needs_compiler
@pytest.mark.parametrize(
    ("operation", "shape"), [("matmul", (3, 4)), ("dot", (6,)), ("transpose", (3, 4)), ("relu", (3, 4))]
)
def test_a_function_in_c_is_a_rung_with_its_sizes_strides_and_result(operation, shape, tmp_path):
    (tmp_path / "mine.c").write_text(IN_C[operation])
    x = np.arange(-5.0, -5 + np.prod(shape), dtype="f4").reshape(shape)
    args = (x, x.T.copy()) if operation == "matmul" else (x,) * (2 if operation == "dot" else 1)
    with rung_from_file(ln.OPERATIONS[operation], tmp_path / "mine.c") as k:
        np.testing.assert_array_equal(k(*args), ln.OPERATIONS[operation](*args))


@needs_compiler
def test_two_files_in_c_have_a_duel(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.c").write_text(IN_C["matmul"])
    fought = duel(ln.matmul, tmp_path / "one" / "mine.c", tmp_path / "two" / "mine.c", **QUICK)
    assert (fought.a, fought.b, fought.refused) == ("file.mine", "file.mine_2", "")


@needs_compiler
@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        (
            "mine.cpp",
            IN_C["matmul"],
            r"mine.cpp exports no function matmul; expected extern .C. void matmul\(const float",
        ),
        (
            "mine.c",
            IN_C["matmul"].replace("float", "double"),
            "takes float64, and the duel is in float32: choose it by",
        ),
        ("mine.c", "void matmul(float* a) {}", "mine.c: "),
        ("mine.c", "void matmul(", "mine.c"),
        ("mine.cu", "", "simulated on the CPU: .*`loopnest check .*mine.cu` judges it"),
    ],
)
def test_a_file_in_c_that_cannot_fight_says_why(tmp_path, name, source, message):
    (tmp_path / name).write_text(source)
    with pytest.raises(ValueError, match=message), rung_from_file(ln.matmul, tmp_path / name):
        pass


# --- the command


def run(*args, card=Card(1e15)):  # noqa: B008
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab, "kept_card", lambda: card)
        return CliRunner(env={"COLUMNS": "100"}).invoke(main, ["duel", *args], prog_name="loopnest")


@timed
def test_the_command_prints_the_answer_and_the_terms(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def matmul(a, b, out):\n    for i in range(len(a)):\n        out[i] = a[i] @ b\n")
    result = run("matmul", "cpp.packed", str(file), "--workload", "square-128", "--seconds", "0.2")
    assert result.exit_code == 0, result.output
    assert "matmul, square-128, float32, 1 thread" in result.output
    assert "cpp.packed is " in result.output
    assert "as fast as file.mine" in result.output
    assert "fairness" in result.output


def test_the_command_prints_records_as_json():
    result = run("dot", "numpy", "cpp", "--workload", "n-4096", "--seconds", "0.1", "--json")
    assert result.exit_code == 0, result.output
    found = msgspec.convert(json.loads(result.output), Duel)
    assert (found.a, found.operation) == (ln.dot["numpy"].id, "dot")
    assert found.terms.pools


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["cpp.nave", "numpy"], 2, "did you mean cpp.naive"),
        (["numpy", "cpp", "--workload", "x"], 1, "Error: "),
        (["numpy", "no_such_file.py"], 1, "Error: "),
        (["numpy", "cpp", "--threads", "9999"], 1, "Error: "),
    ],
)
def test_the_command_reports_errors_without_a_traceback(args, code, message):
    result = run("matmul", *args)
    assert result.exit_code == code
    assert message in result.output


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8"])
def test_a_duel_in_reduced_precision(dtype):
    found = duel(ln.matmul, "cpp.upcast", "numpy", dtype=dtype, **QUICK)
    assert (found.a, found.b, found.dtype, found.refused) == ("cpp.upcast", "numpy.upcast", dtype, "")
    assert found.bytes == found.shape["m"] * 64 * (1 if dtype == "int8" else 2) * 3
    assert found.faster == "a"


def test_the_command_takes_a_dtype_and_says_what_does_not_fit_it():
    options = "--workload", "square-64", "--seconds", "0.1"
    result = run("matmul", "cpp", "numpy", "--dtype", "bfloat16", *options)
    assert result.exit_code == 0, result.output
    assert "matmul, square-64, bfloat16, 1 thread" in result.output
    for args, message in [
        (
            ("matmul", "cpp.blocked", "numpy", "--dtype", "int8"),
            "cpp.blocked does not take int8; known for it: python.",
        ),
        (("gelu", "cpp", "numpy", "--dtype", "int8"), "expected float32 or float64 for gelu"),
        (("matmul", "cpp", "cpp.amx_packed", "--dtype", "int8"), "cpp.amx_packed is simulated"),
    ]:
        if "amx" not in message or ln.matmul["cpp.amx_packed"].simulated():
            refused = run(*args, *options)
            assert refused.exit_code == 1
            assert message in " ".join(refused.output.split())


def test_the_command_ends_with_1_where_a_duel_is_refused(monkeypatch):
    monkeypatch.setattr(lab, "why_impossible", lambda who, *args: f"{who} would reach the moon")
    result = run("matmul", "cpp.packed", "cpp.naive", "--workload", "square-64", "--seconds", "0.1")
    assert result.exit_code == 1
    assert "refused: cpp.packed would reach the moon" in result.output
    assert "GFLOP/s" not in result.output
