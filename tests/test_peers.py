"""The comparison with the peers: the rounds, the bars, what is asked of each library, and whole runs."""

import dataclasses
import importlib.util
import json
import math
import os

import loopnest as ln
import numpy as np
import pytest
from click.testing import CliRunner
from loopnest.bench.measure import WrongResult
from loopnest.bench.peers import contenders, memory, run
from loopnest.bench.peers.bars import BARS, EACH, FMA, MEAN, TITLES, Bar, judge, verdicts
from loopnest.bench.peers.child import measure
from loopnest.bench.peers.records import OURS, PEERS, Absent, Item, PeerResults
from loopnest.bench.peers.rounds import (
    NEARLY,
    Pace,
    Statement,
    fastest_form,
    settled,
    time_in_turn,
)
from loopnest.bench.peers.tables import figures, grids, markdown, report
from loopnest.bench.records import Failure
from loopnest.bench.suites import suites_folder
from loopnest.cli import main
from loopnest.cli.bench import SUITES
from loopnest.machine.limits import Piece
from loopnest.timing.turns import Turn
from rich.console import Console

ONCE = Pace(rounds=1)


@pytest.fixture(scope="module")
def suite():
    """benchmarks/bench_peers.py as a module."""
    spec = importlib.util.spec_from_file_location("bench_peers", suites_folder() / "bench_peers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=[OURS, *PEERS])
def contender(request):
    reason = contenders.why_not_here(request.param)
    if reason:
        pytest.skip(reason)
    usual = ln.num_threads()
    yield contenders.KNOWN[request.param]()
    ln.set_num_threads(usual)


# --- rounds


def test_a_turn_is_settled_when_its_fastest_sample_is_nearly_reached_again():
    seconds = iter([2.0, 1.0, 1.2, 0.99 * NEARLY])
    turn = Turn("x", sample=lambda calls: next(seconds))
    found = []
    for _ in range(4):
        turn.take()
        found.append(settled(turn))
    assert found == [False, False, False, True]


def test_what_a_statement_prepares_is_not_timed():
    log = []
    turn = Statement("log.append(1)", {"log": log}, list, prepare=lambda: log.append("prepare")).turn("x", "elapsed")
    turn.calls = 2
    turn.take()
    assert log == ["prepare", 1, 1, 1]


def test_a_library_is_compared_by_its_fastest_form():
    slow, fast = (Statement("sum(range(n))", {"n": n}, list) for n in (20_000, 2_000))
    assert fastest_form([slow, fast]) is fast


def test_a_limit_is_the_better_of_its_ways():
    pieces = [Piece(lambda n=n: sum(range(n)), amount=1000.0) for n in (20_000, 2_000)]
    _, both, _ = time_in_turn({}, {"limit": pieces}, ONCE)
    _, slow, _ = time_in_turn({}, {"limit": pieces[:1]}, ONCE)
    assert both["limit"] > 4 * slow["limit"]


# --- bars


def item(part="matmul-odd", name="x", tags=(), unit="GFLOP/s", floors=None, **costs):
    costs = {{"ours": OURS}.get(who, who): cost for who, cost in costs.items()}
    return Item(part, name, tags, unit, 6e9, costs, floors or {})


def test_ratios_to_peers_and_limits():
    one = item(ours=0.5, NumPy=1.0, torch=0.75, one_thread=9.0, floors={FMA: 0.25})
    assert one.best_peer() == 0.75
    assert one.ratio("best peer") == 1.5
    assert one.ratio("NumPy") == 2.0
    assert one.ratio(FMA) == 0.5
    assert one.ratio("JAX") is None
    assert item(ours=1.0).ratio("best peer") is None
    assert item(NumPy=1.0).ratio("NumPy") is None


TWO = [
    item(name="good", tags=("a", "b"), ours=1.0, torch=4.0),
    item(name="bad", tags=("a",), ours=2.0, torch=1.0),
    item(name="of another part", part="mlp", tags=("a",), ours=9.0, torch=1.0),
    item(name="without torch", tags=("a",), ours=9.0),
]


@pytest.mark.parametrize(
    ("bar", "figure", "where", "word"),
    [
        (Bar("matmul-odd", ("a",), "torch", 0.6), 0.5, "bad", "not met"),
        (Bar("matmul-odd", ("a",), "torch", 0.5), 0.5, "bad", "met"),
        (Bar("matmul-odd", ("a",), "torch", 1.5, MEAN), math.sqrt(2), "bad", "not met"),
        (Bar("matmul-odd", ("a",), "torch", 1.4, MEAN), math.sqrt(2), "bad", "met"),
        (Bar("matmul-odd", ("b",), "torch", 1.0), 4.0, "", "met"),
        (Bar("matmul-odd", ("b",), "torch", 0.25, cost=True), 0.25, "", "met"),
        (Bar("matmul-odd", ("b",), "torch", 0.2, cost=True), 0.25, "", "not met"),
        (Bar("matmul-odd", ("a",), "JAX", 1.0), None, "", "not measured"),
        (Bar("gelu", (), "torch", 1.0), None, "", "not measured"),
    ],
)
def test_verdicts(bar, figure, where, word):
    verdict = judge(bar, TWO)
    assert verdict.figure == (None if figure is None else pytest.approx(figure))
    assert (verdict.where, verdict.word) == (where, word)


def test_every_bar_is_about_something_that_is_measured(suite):
    """Of the sizes of a quick run; memory has no tags."""
    assert list(suite.PARTS) == list(TITLES) == list(run.PARTS)
    usual = ln.isa()
    works = []
    try:
        for part, works_of in suite.PARTS.items():
            if part != "memory":
                works += works_of(True)
    except suite.NotHere as reason:
        pytest.skip(str(reason))
    finally:
        ln.set_isa(usual)
    known = {"best peer", suite.ONE_THREAD, *PEERS}
    for bar in BARS:
        about = [work for work in works if work.part == bar.part and set(bar.tags) <= set(work.tags)]
        assert about or bar.part == "memory", bar
        assert bar.rule in (EACH, MEAN)
        assert bar.against in known or all(bar.against in work.limits for work in about), bar


# --- what is asked of the libraries


@pytest.mark.parametrize("layout", ["NN", "NT", "TN", "TT"])
@pytest.mark.parametrize("m", [1, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everybodys_product_is_right(suite, contender, layout, m, dtype):
    a, b = suite.operands(m, 7, 6, dtype)
    a = np.ascontiguousarray(a.T).T if layout[0] == "T" else a
    b = np.ascontiguousarray(b.T).T if layout[1] == "T" else b
    work = suite.product("any", "any", a, b)
    forms = [*contender.matmul(a, b), *contender.new_matmul(a, b)]
    assert forms
    for form in forms:
        assert not work.problems(form.results()), form.code


def test_a_wrong_product_is_found_in_the_first_and_the_last_row_and_column(suite):
    a, b = suite.operands(30, 20, 40)
    work = suite.product("any", "any", a, b)
    assert not work.problems([a @ b])
    for i, j in ((0, 17), (29, 17), (17, 0), (17, 39)):
        wrong = a @ b
        wrong[i, j] += 1e-3
        assert work.problems([wrong])


def test_everybodys_gelu_is_right_where_its_tail_is_not_judged(suite, contender):
    x = np.linspace(-2, 4, 1000, dtype=np.float32)
    for approximate in ("tanh", "none"):
        (exact,) = ln.gelu.contract.reference(x, approximate=approximate)
        for form in contender.gelu(x, approximate):
            np.testing.assert_allclose(*form.results(), exact, rtol=1e-4, atol=1e-6, err_msg=form.code)


def test_everybodys_mlp_and_gradients_are_right(suite, contender):
    workload = ln.mlp_forward.contract.workloads[1]
    for work in suite.mlp_passes(workload):
        for form in work.ask(contender):
            assert not work.problems(form.results()), form.code


def test_the_mlps_flops_are_those_of_its_products(suite):
    workload = next(w for w in ln.mlp_forward.contract.workloads if w.name == "mlp-4x16x64")
    forward, both = suite.mlp_passes(workload)
    assert (forward.amount, both.amount) == (2 * 2 * 4 * 16 * 64, 6 * 2 * 4 * 16 * 64)


class Fake:
    """A contender that gives what it is told to."""

    def __init__(self, name, result):
        self.name, self.result = name, result

    def matmul(self, a, b):
        return [Statement("result", {"result": self.result}, lambda result: [result])]


def test_a_wrong_result_of_ours_ends_it_and_of_a_peer_is_noted(suite):
    a, b = suite.operands(8, 8, 8)
    work = suite.product("matmul-odd", "8", a, b)
    right, wrong = Fake(OURS, a @ b), Fake("NumPy", a @ b + 1)
    measured = measure(work, [right, wrong], ONCE)
    assert measured.costs.keys() == {OURS, "NumPy"}
    assert "64 of 64 elements are wrong" in measured.notes["NumPy"]
    assert OURS not in measured.notes
    with pytest.raises(WrongResult, match="64 of 64"):
        measure(work, [Fake(OURS, a @ b + 1)], ONCE)


def test_an_item_says_what_was_timed_and_with_which_implementation(suite):
    a, b = suite.operands(8, 8, 8)
    limit = {FMA: (2 * 8**3, [Piece(lambda: None, 1000.0)])}
    measured = measure(suite.product("matmul-odd", "8", a, b, limits=limit), [contenders.Loopnest()], ONCE)
    assert measured.statements == {OURS: f"ln.matmul(a, b, out=c)  # {ln.matmul.fastest().id}"}
    assert measured.floors[FMA] > 0
    assert json.loads(json.dumps(dataclasses.asdict(measured)))["name"] == "8"


# --- memory


@pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="a sanitizer keeps freed memory, and a shadow of all")
@pytest.mark.skipif(memory.why_not_here() is not None, reason=str(memory.why_not_here()))
def test_a_backward_pass_takes_at_least_its_gradients_and_not_many_times_as_much():
    """The shapes are such that what libraries load beside it does not show."""
    t, d, h = 64, 512, 2048
    gradients = 4 * (t * d + 2 * d * h + h + d)
    assert gradients <= memory.growth(OURS, t, d, h) < 3 * gradients


# --- whole runs


TELLS = """
import json, os, sys
part, *options = sys.argv[1:]
with os.fdopen(int(options[options.index("--events") + 1]), "w") as stream:
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "LOOPNEST_NUM_THREADS"):
        stream.write(json.dumps(["absent", {"name": name, "reason": os.environ.get(name, "unset")}]) + "\\n")
    stream.write(json.dumps(["absent", {"name": "quick", "reason": str("--quick" in options)}]) + "\\n")
    stream.write(json.dumps(["at", "the end"]) + "\\n")
if part == "mlp":
    sys.exit("no more")
"""


@pytest.fixture
def telling_child(tmp_path, monkeypatch):
    (tmp_path / "bench_peers.py").write_text(TELLS)
    monkeypatch.setattr(run, "suites_folder", lambda: tmp_path)


def test_the_process_is_free_of_what_slows_numpy_and_has_the_threads_that_it_should(telling_child, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "262144")
    told = {absent.name: absent.reason for absent in run.run_peers(["gelu"], quick=True).absent}
    assert told == {
        "OPENBLAS_CORETYPE": "unset",
        "OPENBLAS_L2_SIZE": "unset",
        "OPENBLAS_NUM_THREADS": "1",
        "LOOPNEST_NUM_THREADS": "1",
        "quick": "True",
    }
    told = {absent.name: absent.reason for absent in run.run_peers(["threads"]).absent}
    assert (told["OPENBLAS_NUM_THREADS"], told["LOOPNEST_NUM_THREADS"], told["quick"]) == ("2", "2", "False")


def test_a_part_that_fails_is_told_and_the_next_one_runs(telling_child):
    events = []
    results = run.run_peers(["mlp", "gelu"], on_event=lambda event, content: events.append((event, content)))
    (failure,) = results.failures
    assert failure.name == "the end"
    assert failure.message == "the benchmark process ended with status 1\nno more"
    assert [content for event, content in events if event == "running"] == ["mlp", "gelu"]


def test_a_run_without_torch_and_jax_compares_with_numpy_and_says_why(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = sys.modules['jax'] = None")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    results = run.run_peers(["matmul-tiny"], quick=True)
    assert not results.failures
    assert results.absent == (
        Absent("torch", "torch is not installed: pip install 'loopnest[torch]'"),
        Absent("JAX", "JAX is not installed: pip install 'loopnest[peers]'"),
    )
    assert [item.name for item in results.items] == ["n = 4", "n = 16", "n = 64"]
    assert all(item.costs.keys() == {OURS, "NumPy", "np.dot"} for item in results.items)
    assert all(verdict.figure is not None for verdict in verdicts(results.items, ["matmul-tiny"]))
    numpy_pool = next(pool for pool in results.environment.pools if pool.owner == "NumPy")
    assert numpy_pool.threads == 1
    assert numpy_pool.kernel
    assert PeerResults.from_json(json.loads(json.dumps(results.to_json()))) == results


# --- tables and the command


RESULTS = PeerResults(
    None,
    (
        item(name="1 x 2", ours=0.5, NumPy=1.0, torch=0.75, floors={FMA: 0.25}),
        item(name="3 | 4", ours=1.0, NumPy=0.5),
        item("memory", "m", unit="MB", ours=25e6, torch=20e6),
    ),
    (Absent("JAX", "no JAX"),),
    quick=True,
)

TABLES = """
odd matmul, GFLOP/s
       loopnest  NumPy  torch  FMA loop  times peer  of FMA loop
────────────────────────────────────────────────────────────────
1 x 2      12.0   6.00   8.00      24.0       1.500        0.500
3 | 4      6.00   12.0                        0.500

extra memory of mlp_backward, MB
   loopnest  torch
──────────────────
m      25.0   20.0

The bars
work                          against    bar     figure           lowest at
───────────────────────────────────────────────────────────────────────────
odd matmul                    best peer  ≥ 1.00  0.500   not met  3 | 4
extra memory of mlp_backward  torch      ≤ 1.00  1.250   not met
not measured: JAX: no JAX
"""


def test_the_tables_to_the_letter():
    console = Console(width=100, force_terminal=False, color_system=None, highlight=False)
    with console.capture() as capture:
        for part in report(RESULTS):
            console.print(part)
    assert [line.rstrip() for line in capture.get().splitlines()] == TABLES.splitlines()


def test_markdown_has_the_same_tables_and_the_command():
    text = markdown(RESULTS, "loopnest bench peers --quick")
    assert "Made by `loopnest bench peers --quick`" in text
    assert "| 1 x 2 | 12.0 | 6.00 | 8.00 | 24.0 | 1.500 | 0.500 |" in text
    assert "| 3 \\| 4 |" in text
    assert "| odd matmul | best peer | ≥ 1.00 | 0.500 | not met | 3 \\| 4 |" in text
    assert "- not measured: JAX: no JAX" in text
    assert len(grids(RESULTS)) == 3


@pytest.mark.parametrize(
    ("unit", "cost", "text"), [("ns", 6.0, "1.00"), ("GB/s", 2.0, "3.00"), ("ns/element", 12.0, "2.00")]
)
def test_units(unit, cost, text):
    assert figures([item(unit=unit, ours=cost)]).rows == [["x", text]]


def bench(*args):
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, ["bench", *args], prog_name="loopnest")


@pytest.fixture
def ran(monkeypatch):
    """The calls of run_peers, which measures nothing."""
    calls = []

    def run_peers(parts, *, quick, on_event):
        calls.append((tuple(parts), quick))
        return RESULTS

    monkeypatch.setattr(run, "run_peers", run_peers)
    return calls


def test_bars_that_are_not_met_are_no_failure(ran, tmp_path):
    page, data = tmp_path / "tables.md", tmp_path / "peers.json"
    result = bench(
        "peers", "--quick", "--only", "memory", "--only", "gelu", "--markdown", str(page), "--json", str(data)
    )
    assert result.exit_code == 0, result.output
    assert ran == [(("gelu", "memory"), True)]
    assert "not met" in result.output
    assert "`loopnest bench peers --quick --only memory --only gelu`" in page.read_text(encoding="utf-8")
    assert PeerResults.from_json(json.loads(data.read_text(encoding="utf-8"))) == RESULTS


def test_peers_run_in_all_their_parts_by_their_name_alone(ran):
    assert bench("peers").exit_code == 0
    assert ran == [(run.PARTS, False)]
    assert "peers" not in SUITES  # which is what `loopnest bench` runs


def test_a_failed_part_ends_the_command_with_1(monkeypatch):
    failed = PeerResults(None, failures=(Failure("gelu", "off by 1"),))
    monkeypatch.setattr(run, "run_peers", lambda *args, **kwargs: failed)
    result = bench("peers")
    assert result.exit_code == 1
    assert "failed: gelu: off by 1" in result.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["peers", "--only", "gelus"], "no part is called 'gelus'. Known: matmul-square,"),
        (["peers", "matmul"], "peers runs by itself: loopnest bench peers"),
        (["matmul", "--only", "gelu"], "--only is for peers"),
        (["matmul", "--markdown", "x.md"], "--markdown is for peers"),
        (["peers", "--markdown", "nowhere/x.md"], "there is no folder"),
    ],
)
def test_what_cannot_be_asked(args, message):
    result = bench(*args)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
