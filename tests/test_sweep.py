"""The sweep: its points, what is found in their times, the tables and the page, and a run of three points."""

import collections
import dataclasses
import importlib
import importlib.util
import json
import statistics
import sys

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from loopnest.bench import peers, sweep, sweep_figures
from loopnest.bench.peers import OURS, Item
from loopnest.bench.records import Failure
from loopnest.bench.suites import suites_folder
from loopnest.bench.sweep import LAYOUTS, MOST_FLOPS, Point, SweepResults, all_points, n_sweep, operands, without_gaps
from loopnest.bench.sweep_figures import Measured, Summary, dips, measured, median_of_neighbours, summary
from loopnest.cli import main

# --- points


def test_points_are_reproducible_by_their_seed_and_no_two_are_equal():
    assert all_points(3) == all_points(3) != all_points(4)
    assert sorted(map(repr, all_points(3))) != sorted(map(repr, all_points(4)))
    assert len({point.name for point in all_points(3)}) == len(all_points(3))


def test_random_shapes_cover_layouts_dtypes_and_sizes():
    points = [point for point in all_points() if point.group == "random"]
    counts = collections.Counter((point.layout, point.dtype) for point in points)
    assert counts == {(layout, dtype): 50 for layout in LAYOUTS for dtype in ("float32", "float64")}
    assert all(point.flops <= MOST_FLOPS for point in points)
    assert statistics.median(point.flops for point in points) < MOST_FLOPS / 100
    sizes = {size for point in points for size in (point.m, point.k, point.n)}
    powers = {1 << power for power in range(5, 14)}
    assert {32, 256, 1024} <= sizes
    assert max(sizes) >= 4096
    for step in (-16, -1, 1, 16):
        assert {size + step for size in powers} & sizes
    assert any(size % 2 and not {size - 1, size + 1} & powers for size in sizes)


def test_the_order_is_shuffled_and_the_long_products_come_last():
    points = all_points()
    long = [point.flops > MOST_FLOPS for point in points]
    assert long == sorted(long)
    groups = [point.group for point in points[:40]]
    assert set(groups) == {"random", "n"}


def test_the_n_sweep_has_powers_of_two_their_neighbours_and_three_distances_of_rows():
    points = [point for point in n_sweep() if point.dtype == "float32"]
    assert {1024 - 16, 1023, 1024, 1025, 1024 + 16} <= {point.n for point in points}
    assert (min(point.n for point in points), max(point.n for point in points)) == (256, 4608)
    assert [point.a_stride for point in points if point.n == 1023] == [1023, 1024, 1039]
    assert [point.b_stride for point in points if point.n == 1024] == [1024, 1040]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_operands_have_the_shape_the_strides_and_the_layout(layout):
    point = Point(5, 6, 7, "float64", layout, 16, 20)
    a, b = operands(point)
    assert (a.shape, b.shape, a.dtype, b.dtype) == ((5, 6), (6, 7), np.float64, np.float64)
    assert a.strides == ((8, 128) if layout[0] == "T" else (128, 8))
    assert b.strides == ((8, 160) if layout[1] == "T" else (160, 8))
    assert np.abs(a).max() <= 0.5
    assert np.unique(a).size == a.size
    closer = sweep.other_strides(without_gaps(5, 6, 7, "float32", layout))
    rows = [operands(point)[0].base.strides[0] for point in closer]
    assert np.subtract(rows, rows[0]).tolist() == [0, 64, 4096]


def test_other_operations_have_a_thousand_to_sixteen_million_elements():
    points = sweep.sizes("add", seed=2)
    assert points == sweep.sizes("add", seed=2) != sweep.sizes("add", seed=3)
    assert {point.size for point in points if point.n % 2 == 0} == {1 << exponent for exponent in range(10, 25)}
    assert len({point.name for point in points}) == len(points) == 60


@pytest.fixture(scope="module")
def suite():
    """benchmarks/bench_sweep.py as a module."""
    sys.path.insert(0, str(suites_folder()))
    torch_threads = torch_is_here() and importlib.import_module("torch").get_num_threads()
    yield importlib.import_module("bench_sweep")
    sys.path.remove(str(suites_folder()))
    if torch_threads:
        importlib.import_module("torch").set_num_threads(torch_threads)


def torch_is_here():
    return importlib.util.find_spec("torch") is not None


@pytest.mark.parametrize("op", sweep.OPERATIONS)
def test_everybody_does_the_same_work(suite, op):
    """Where torch's tails are not within our bound, its results are near ours all the same."""
    for point in sweep.sizes(op):
        if point.size < 1100:
            work = suite.other(point)
            assert {form.contender for form in work.forms} >= {OURS, *(["torch"] if torch_is_here() else [])}
            (ours,), *theirs = [[result.copy() for result in form.run()] for form in work.forms]
            assert not work.problems([ours])
            assert work.problems([ours + np.float32(1)])
            for (result,) in theirs:
                np.testing.assert_allclose(result, ours, rtol=1e-5, atol=1e-5)


# --- what is found in the times


def square(n, stride=None, dtype="float32"):
    return Point(n, n, n, dtype, "NN", stride or n, stride or n, "n")


def item(point, ours, path="", **peers):
    """With speeds in GFLOP/s."""
    costs = {name: point.flops / speed / 1e9 for name, speed in {OURS: ours, **peers}.items()}
    return Item("sweep", point.name, "GFLOP/s", point.flops, (), costs, notes={OURS: path} if path else {})


def test_a_point_is_compared_with_the_median_of_its_nine_nearest_neighbours():
    speeds = {square(n): float(n) for n in range(100, 2000, 100)}
    assert median_of_neighbours(square(1000), list(speeds), speeds.__getitem__) == 1200  # 700 … 1600 by the logarithm
    speeds |= {square(1000, 1024): 1.0, square(1000, dtype="float64"): 2.0}
    assert median_of_neighbours(square(1000), list(speeds), speeds.__getitem__) == 1100  # 1600 gives way
    few = list(speeds)[:9]
    assert median_of_neighbours(few[0], few, speeds.__getitem__) is None


def test_a_dip_below_the_neighbours_is_found_where_the_peers_dip_too():
    points = [square(n) for n in range(500, 620, 10)]
    items = [item(point, 50.0 if point.n == 550 else 100.0, NumPy=40.0) for point in points]
    found = measured(SweepResults(None, tuple(items), points=tuple(points)))
    assert {one.point.n: one.of_neighbours for one in found}[550] == pytest.approx(0.5)
    (dip,) = dips(found)
    assert (dip.point.n, dip.ratios) == (550, {"neighbours": pytest.approx(0.5)})


def one(of_peer, of_neighbours=None):
    return Measured(square(300), item(square(300), 1.0), of_peer, of_neighbours)


def test_dips_come_worst_first_by_either_ratio():
    found = [one(0.94), one(0.95, 0.92), one(0.96), one(1.2, 0.3), one(0.5, 0.9), one(1.0, 0.93), one(None)]
    assert [(dip.of_peer, dip.of_neighbours) for dip in dips(found)] == [
        (1.2, 0.3),
        (0.5, 0.9),
        (0.95, 0.92),
        (0.94, None),
    ]


def test_a_summary_is_mean_share_and_worst():
    assert summary([one(0.5, 0.9), one(2.0, 1.1), one(0.95), one(None)]) == Summary(
        4, pytest.approx(0.95 ** (1 / 3)), pytest.approx(2 / 3), 0.5, 0.9
    )
    assert summary([one(None)]) == Summary(1)


# --- tables and the page

POINTS = (without_gaps(2, 3, 40, "float32", "TN"), without_gaps(5, 6, 70, "float64", "NN"), square(300))
RESULTS = SweepResults(
    None,
    (
        item(POINTS[0], 50.0, "dots", NumPy=100.0, torch=25.0),
        item(POINTS[1], 80.0, "tiles", NumPy=40.0),
        *(
            item(point, speed, NumPy=50.0)
            for point, speed in zip(sweep.other_strides(POINTS[0]), (30.0, 90.0, 31.0), strict=True)
        ),
    ),
    points=POINTS,
    closer=tuple(sweep.other_strides(POINTS[0])),
    failures=(Failure("x", "crashed"),),
)


def test_the_tables_say_what_is_met_and_list_the_dips_with_their_path():
    _, bars, worst, closer = sweep_figures.sheets(RESULTS)
    verdicts = {(row[0], row[1]): row[4] for row in bars.rows}
    assert verdicts["random shapes: geometric mean", "float32"] == "not met"
    assert verdicts["random shapes: worst", "float64"] == "met"
    assert set(list(verdicts.values())[-2:]) == {"not measured"}
    assert [*worst.rows] == [["1", "float32", "TN", "2 x 3 x 40", "2, 40", "50.0", "100", "25.0", "0.500", ""]]
    assert [*worst.notes] == ["1: dots"]
    assert [*closer.rows] == [["float32 TN 2 x 3 x 40 2, 40", "30.0", "90.0", "31.0", "0.600", "1.800", "0.620"]]
    assert "failed: x: crashed" in sweep_figures.all_remarks(RESULTS)


def test_the_page_has_both_pictures_and_the_tables():
    pytest.importorskip("matplotlib")
    from loopnest.output.pictures import SERIES
    from loopnest.report.sweep import over_n, ratios, sweep_page

    items = (*RESULTS.items, item(POINTS[2], 90.0, NumPy=80.0))
    results = dataclasses.replace(RESULTS, items=items)
    found = measured(results)
    nn, tn = SERIES[LAYOUTS.index("NN")], SERIES[LAYOUTS.index("TN")]
    drawn = [ratios(found), ratios(found[1:])]
    assert [picture.count(tn) > ratios([]).count(tn) for picture in drawn] == [True, False]
    assert [picture.count(nn) > ratios([]).count(nn) for picture in drawn] == [True, True]
    assert over_n(found[2:]).count(SERIES[0]) > over_n([]).count(SERIES[0])
    page = sweep_page(results)
    assert page.count("<svg") == 2
    assert "2 x 3 x 40" in page


# --- runs


def bench(*args):
    return CliRunner(env={"COLUMNS": "120"}).invoke(main, ["bench", *args], prog_name="loopnest")


@pytest.mark.slow
def test_three_points_are_measured_and_the_dips_get_other_strides(tmp_path, monkeypatch):
    small = [without_gaps(40, 30, 50, "float32", "TN"), square(64, 80), without_gaps(16, 32, 64, "float64", "NT")]
    monkeypatch.setattr(sweep, "all_points", lambda seed: [*small, square(4096)])
    monkeypatch.setattr(sweep_figures, "worst_dips", lambda results: [results.points[1]])
    file, page = tmp_path / "sweep.json", tmp_path / "sweep.html"
    result = bench("sweep", "--count", "3", "--seed", "7", "--json", str(file), "--report", str(page))
    assert result.exit_code == 0, result.output
    saved = msgspec.convert(json.loads(file.read_text(encoding="utf-8")), SweepResults)
    assert (saved.points, saved.seed, saved.threads) == (tuple(small), 7, 1)
    assert [item.name for item in saved.items] == [point.name for point in (*small, *saved.closer)]
    assert all({OURS, "NumPy"} <= item.costs.keys() for item in saved.items)
    assert "random shapes: geometric mean" in result.output
    assert "<svg" in page.read_text(encoding="utf-8")


def test_another_operation_has_one_bar_and_no_strides(tmp_path):
    file, page = tmp_path / "sweep.json", tmp_path / "sweep.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "EXPONENTS", range(10, 11))
        result = bench("sweep", "--op", "add", "--count", "2", "--json", str(file), "--report", str(page))
    assert result.exit_code == 0, result.output
    assert "sizes: worst" in result.output
    assert "geometric mean" not in result.output
    saved = msgspec.convert(json.loads(file.read_text(encoding="utf-8")), SweepResults)
    assert (saved.op, saved.closer, len(saved.items)) == ("add", (), 2)
    assert page.read_text(encoding="utf-8").count("<svg") == 1


CHILD = """
import json, os, sys
points = json.load(open(sys.argv[1]))
with os.fdopen(int(sys.argv[-1]), "w") as stream:
    for point in points:
        name = f"random, {point['dtype']}, NN, {point['m']} x 2 x 2, strides 2, 2"
        stream.write(json.dumps(["at", f"sweep: {name}"]) + "\\n")
        stream.flush()
        if point["m"] == 2:
            sys.exit("no more")
        item = {"part": "sweep", "name": name, "unit": "GFLOP/s", "amount": 8}
        stream.write(json.dumps(["items", item]) + "\\n")
"""


def test_a_point_that_ends_the_process_is_a_failure_and_the_rest_are_measured(tmp_path, monkeypatch):
    (tmp_path / "bench_sweep.py").write_text(CHILD)
    monkeypatch.setattr(peers, "suites_folder", lambda: tmp_path)
    points = [without_gaps(m, 2, 2, "float32", "NN") for m in (1, 2, 3)]
    results = sweep.run_sweep(points)
    assert [item.name for item in results.items] == [points[0].name, points[2].name]
    (failure,) = results.failures
    assert failure == Failure(f"sweep: {points[1].name}", "the benchmark process ended with status 1\nno more")


def test_what_cannot_be_asked_and_its_help():
    result = bench("sweep", "--threads", "4096")
    assert result.exit_code == 2
    assert "this process may run on" in result.output
    assert "--seed" in bench("sweep", "--help").output
    assert "bench sweep " in bench("--help").output
