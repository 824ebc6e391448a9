"""The comparison with the peers: the bars, what is asked of each library, the tables, and whole runs."""

import dataclasses
import importlib.util
import json
import os

import loopnest as ln
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from loopnest.bench import peers
from loopnest.bench.peers import BARS, FMA, ONE_THREAD, OURS, PEERS, TITLES, Bar, Form, Item, PeerResults, Work, judge
from loopnest.bench.records import Failure
from loopnest.bench.suites import suites_folder
from loopnest.cli import main
from loopnest.cli.bench import SUITES
from loopnest.machine.limits import Piece
from loopnest.verify.problem import WrongResult
from rich.console import Console


@pytest.fixture(scope="module")
def suite():
    """benchmarks/bench_peers.py as a module; the threads of the libraries that it sets up are given back."""
    spec = importlib.util.spec_from_file_location("bench_peers", suites_folder() / "bench_peers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch = module.library("torch")
    before = ln.num_threads(), torch and torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(suites_folder())  # where the process that measures finds bench_sweep
        yield module
    ln.set_num_threads(before[0])
    if torch:
        torch.set_num_threads(before[1])


# --- bars


def item(part="matmul-odd", name="x", tags=(), unit="GFLOP/s", floors=None, **costs):
    costs = {{"ours": OURS}.get(who, who): cost for who, cost in costs.items()}
    return Item(part, name, unit, 6e9, tags, costs | (floors or {}))


def test_ratios_to_peers_and_limits():
    one = item(ours=0.5, NumPy=1.0, torch=0.75, one_thread=9.0, floors={FMA: 0.25})
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
    ("bar", "ratio", "lowest"),
    [
        (Bar("matmul-odd", ("a",), "torch", 0.6), 0.5, "bad"),
        (Bar("matmul-odd", ("b",), "torch", 1.0), 4.0, ""),
        (Bar("matmul-odd", ("a",), "JAX", 1.0), None, ""),
        (Bar("gelu", (), "torch", 1.0), None, ""),
    ],
)
def test_a_bar_is_decided_by_the_worst_item(bar, ratio, lowest):
    assert judge(bar, TWO) == (None if ratio is None else pytest.approx(ratio), lowest)


@pytest.mark.slow
def test_every_bar_is_for_something_that_is_measured(suite):
    """By the sizes of a quick run."""
    assert list(suite.PARTS) == list(TITLES)
    before, works = ln.isa(), []
    try:
        for works_of in suite.PARTS.values():
            works += works_of(True)
    except ln.UnavailableError as reason:
        pytest.skip(str(reason))
    finally:
        ln.set_isa(before)
    for bar in BARS:
        its_own = [work for work in works if work.item.part == bar.part and set(bar.tags) <= set(work.item.tags)]
        assert its_own, bar
        known = {"best peer", ONE_THREAD, *PEERS}
        assert bar.against in known or all(bar.against in work.limits for work in its_own), bar


# --- what is asked of the libraries


@pytest.mark.parametrize("layout", ["NN", "NT", "TN", "TT"])
@pytest.mark.parametrize("m", [1, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.slow
def test_everybodys_product_is_right(suite, layout, m, dtype):
    a, b = suite.operands(m, 7, 6, dtype)
    a = np.ascontiguousarray(a.T).T if layout[0] == "T" else a
    b = np.ascontiguousarray(b.T).T if layout[1] == "T" else b
    for new in (False, True):
        work = suite.product("any", "any", a, b, new=new)
        assert {form.contender for form in work.forms} >= {OURS, "NumPy"}
        for form in work.forms:
            for _ in range(2):
                assert not work.problems(form.run()), form.code


def test_a_wrong_product_is_found_in_the_first_and_the_last_row_and_column(suite):
    a, b = suite.operands(30, 20, 40)
    work = suite.product("any", "any", a, b)
    assert not work.problems([a @ b])
    for i, j in ((0, 17), (29, 17), (17, 0), (17, 39)):
        wrong = a @ b
        wrong[i, j] += 1e-3
        assert work.problems([wrong])


def test_everybodys_gelu_is_right_where_its_tail_is_not_judged(suite):
    x = np.linspace(-2, 4, 1000, dtype=np.float32)
    for approximate in ("tanh", "none"):
        (exact,) = ln.gelu.contract.reference(x, approximate=approximate)
        for form in suite.gelu_work("any", x, approximate, "GB/s", 1).forms:
            np.testing.assert_allclose(*form.run(), exact, rtol=1e-4, atol=1e-6, err_msg=form.code)


def test_everybodys_mlp_and_gradients_are_right(suite):
    workload = ln.mlp_forward.contract.workloads[1]
    for work in suite.mlp_passes(workload):
        for form in work.forms:
            results = form.run()
            assert len(results) == (1 if work.item.name == "forward" else 6)
            assert not work.problems(results), form.code


def test_the_mlps_flops_are_those_of_its_products(suite):
    workload = next(w for w in ln.mlp_forward.contract.workloads if w.name == "mlp-4x16x64")
    assert [work.item.amount for work in suite.mlp_passes(workload)] == [2 * 2 * 4 * 16 * 64, 6 * 2 * 4 * 16 * 64]


# --- measuring


def test_a_wrong_result_of_ours_ends_it_and_of_a_peer_is_noted(suite):
    a, b = suite.operands(8, 8, 8)
    work = suite.product("matmul-odd", "8", a, b)
    right, wrong = (Form(who, "c", {"c": c}) for who, c in ((OURS, a @ b), ("NumPy", a @ b + 1)))
    measured = peers.measure(dataclasses.replace(work, forms=[right, wrong]), "elapsed", quick=True)
    assert measured.costs.keys() == {OURS, "NumPy"}
    assert "64 of 64 elements are wrong" in measured.notes["NumPy"]
    assert OURS not in measured.notes
    with pytest.raises(WrongResult, match="64 of 64"):
        peers.measure(dataclasses.replace(work, forms=[Form(OURS, "c", {"c": a @ b + 1})]), "elapsed", quick=True)


def test_the_fastest_form_of_a_contender_counts_and_the_fastest_loop_of_a_limit():
    forms = [Form(OURS, f"sum(range({n}))", {}) for n in (2_000, 40_000)] + [Form("torch", "sum(range(20_000))", {})]
    pieces = [Piece(lambda n=n: sum(range(n)), amount=1000.0) for n in (40_000, 2_000)]
    work = Work(Item("gelu", "x", "ns", 1), forms, lambda results: [], {"limit": (500.0, pieces)})
    found = peers.measure(work, "processor", quick=True)
    assert found.costs["torch"] > 4 * found.costs[OURS]
    assert found.costs["limit"] < found.costs[OURS]
    assert msgspec.convert(json.loads(msgspec.json.encode(found)), Item) == found


def test_what_a_form_prepares_is_not_timed():
    log = []
    turn = Form("x", "log.append(1)", {"log": log}, prepare=lambda: log.append("prepare")).turn("elapsed")
    turn.calls = 2
    turn.take()
    assert log == ["prepare", 1, 1, 1]


# --- whole runs


CHILD = """
import json, os, sys
part, *options = sys.argv[1:]
with os.fdopen(int(options[options.index("--events") + 1]), "w") as stream:
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "LOOPNEST_NUM_THREADS"):
        stream.write(json.dumps(["absent", {"name": name, "message": os.environ.get(name, "unset")}]) + "\\n")
    stream.write(json.dumps(["absent", {"name": "quick", "message": str("--quick" in options)}]) + "\\n")
    stream.write(json.dumps(["at", f"{part}: the end"]) + "\\n")
if part == "mlp":
    sys.exit("no more")
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    (tmp_path / "bench_peers.py").write_text(CHILD)
    monkeypatch.setattr(peers, "suites_folder", lambda: tmp_path)


def test_the_process_is_free_of_what_slows_numpy_and_has_the_threads_that_it_should(child, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "262144")
    found = {absent.name: absent.message for absent in peers.run_peers(["gelu"], quick=True).absent}
    assert found == {
        "OPENBLAS_CORETYPE": "unset",
        "OPENBLAS_L2_SIZE": "unset",
        "OPENBLAS_NUM_THREADS": "1",
        "LOOPNEST_NUM_THREADS": "1",
        "quick": "True",
    }
    found = {absent.name: absent.message for absent in peers.run_peers(["threads"]).absent}
    assert (found["OPENBLAS_NUM_THREADS"], found["LOOPNEST_NUM_THREADS"], found["quick"]) == ("2", "2", "False")


def test_a_part_that_fails_is_reported_and_the_next_one_runs(child):
    events = []
    results = peers.run_peers(["mlp", "gelu"], on_event=lambda event, content: events.append((event, content)))
    assert results.failures == (Failure("mlp: the end", "the benchmark process ended with status 1\nno more"),)
    assert [content for event, content in events if event == "running"] == ["mlp", "gelu"]


def test_a_run_without_torch_and_jax_compares_with_numpy_and_says_why(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = sys.modules['jax'] = None")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    results = peers.run_peers(["matmul-tiny"], quick=True)
    assert not results.failures
    assert results.absent == (
        Failure("torch", "torch is not installed: pip install 'loopnest[torch]'"),
        Failure("JAX", "JAX is not installed: pip install 'loopnest[peers]'"),
    )
    assert [item.name for item in results.items] == ["n = 4", "n = 16", "n = 64"]
    assert all(item.costs.keys() == {OURS, "NumPy", "np.dot"} for item in results.items)
    assert all(judge(bar, results.items)[0] for bar in BARS if bar.part == "matmul-tiny")
    numpy_pool = next(pool for pool in results.environment.pools if pool.owner == "NumPy")
    assert numpy_pool.threads == 1
    assert numpy_pool.kernel
    assert msgspec.convert(json.loads(msgspec.json.encode(results)), PeerResults) == results


# --- tables and the command


RESULTS = PeerResults(
    None,
    (
        item(name="1 x 2", ours=0.5, NumPy=1.0, torch=0.75, floors={FMA: 0.25}),
        item(name="3 | 4", ours=1.0, NumPy=0.5),
        item("torch-calls", "m", unit="ns", ours=12.0),
    ),
    (Failure("JAX", "no JAX"),),
)


def test_a_programmer_sees_what_each_operation_gains_over_numpy_and_torch_from_which_size_on():
    sizes = [
        item("operations", f"add, {n}", ("add", str(n)), "GB/s", ours=1.0, NumPy=numpy, torch=torch)
        for n, numpy, torch in ((256, 3.0, 9.0), (4096, 0.9, 4.0), (65_536, 1.2, 2.0), (1 << 20, 1.1, 1.0))
    ]
    alone = item("operations", "softmax, 256", ("softmax", "256"), "GB/s", ours=1.0, torch=5.0)
    (sheet,) = peers.sheets(PeerResults(None, (*sizes, alone)))
    assert list(sheet.rows) == [
        ["add", "65,536", "1.10 to 1.20", "no gain", ""],
        ["softmax", "not compared", "", "256", "5.00"],
    ]


TABLES = """\
### odd matmul, GFLOP/s

|  | loopnest | NumPy | torch | FMA loop | times peer | of FMA loop |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| 1 x 2 | 12.0 | 6.00 | 8.00 | 24.0 | 1.500 | 0.500 |
| 3 \\| 4 | 6.00 | 12.0 |  |  | 0.500 |  |

### calls of the MLP, 1 x 8 x 8, ns

|  | loopnest |
| --- | ---: |
| m | 2.00 |

### The bars

| work | against | bar | figure |  | lowest at |
| --- | --- | --- | --- | --- | --- |
| odd matmul | best peer | ≥ 0.97 | 0.500 | not met | 3 \\| 4 |

- not measured: JAX: no JAX
"""


def test_the_tables_to_the_letter():
    document = peers.markdown(RESULTS, "loopnest bench peers")
    marker = "<!-- loopnest bench peers --markdown: an unknown machine -->"
    assert document.startswith(f"{marker}\n\n## Tables: an unknown machine\n\nMade by `loopnest bench peers` at ")
    assert document.endswith(TABLES)
    console = Console(width=100, force_terminal=False, color_system=None, highlight=False)
    with console.capture() as capture:
        for part in peers.report(RESULTS, 100):
            console.print(part)
    assert "odd matmul best peer ≥ 0.97 0.500 not met 3 | 4" in " ".join(capture.get().split())


def bench(*args):
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, ["bench", *args], prog_name="loopnest")


@pytest.fixture
def ran(monkeypatch):
    """The calls of run_peers, which measures nothing."""
    calls = []

    def run_peers(parts, *, quick, on_event):
        calls.append((tuple(parts), quick))
        return RESULTS

    monkeypatch.setattr(peers, "run_peers", run_peers)
    return calls


def test_bars_that_are_not_met_are_no_failure(ran, tmp_path):
    page, data = tmp_path / "tables.md", tmp_path / "peers.json"
    result = bench("peers", "--quick", "--only", "mlp", "--only", "gelu", "--markdown", str(page), "--json", str(data))
    assert result.exit_code == 0, result.output
    assert ran == [(("gelu", "mlp"), True)]
    assert "not met" in result.output
    assert "`loopnest bench peers --quick --only mlp --only gelu`" in page.read_text(encoding="utf-8")
    assert msgspec.json.decode(data.read_text(encoding="utf-8"), type=PeerResults) == RESULTS


def test_the_tables_replace_the_older_ones_of_this_machine_and_nothing_else_of_a_page(ran, tmp_path):
    page = tmp_path / "page.md"
    assert bench("peers", "--markdown", str(page)).exit_code == 0
    ours = page.read_text(encoding="utf-8")
    marker = ours.partition("\n")[0]
    theirs = ours.replace(marker, "<!-- loopnest bench peers --markdown: another machine -->")
    for before in (f"# A page\n\n{theirs}", f"# A page\n\n{theirs}\n{marker}\n\n## Old\n"):
        page.write_text(before, encoding="utf-8")
        assert bench("peers", "--markdown", str(page)).exit_code == 0
        assert page.read_text(encoding="utf-8") == f"# A page\n\n{theirs}\n{ours}"
    page.write_text(f"# A page\n\n{marker}\n\n## Old\n\n{theirs}", encoding="utf-8")
    assert bench("peers", "--markdown", str(page)).exit_code == 0
    assert page.read_text(encoding="utf-8") == f"# A page\n\n{ours}\n{theirs}"


def test_peers_are_held_to_avx2_next_to_a_level_that_has_no_more():
    usual, held = (peers.child_environment(1, {"OPENBLAS_CORETYPE": "Zen"}, held) for held in ({}, peers.AVX2))
    assert "OPENBLAS_CORETYPE" not in usual
    assert held["OPENBLAS_CORETYPE"] == "Haswell"
    assert held["XLA_FLAGS"].split() == ["--xla_cpu_max_isa=AVX2", "--xla_cpu_multi_thread_eigen=false"]


def test_peers_run_in_all_their_parts_by_their_name_alone(ran):
    assert bench("peers").exit_code == 0
    assert ran == [(tuple(TITLES), False)]
    assert "peers" not in SUITES  # which is what `loopnest bench` runs


def test_a_failed_part_ends_the_command_with_1(monkeypatch):
    failed = PeerResults(None, failures=(Failure("gelu", "off by 1"),))
    monkeypatch.setattr(peers, "run_peers", lambda *args, **kwargs: failed)
    result = bench("peers")
    assert result.exit_code == 1
    assert "failed: gelu: off by 1" in result.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["peers", "--only", "gelus"], "no part is called 'gelus'; did you mean gelu? Known: matmul-square,"),
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
