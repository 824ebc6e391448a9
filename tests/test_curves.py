"""Rates over sizes: where the caches are full, what the terminal shows, and what the page does."""

import dataclasses

import loopnest as ln
import made_up
import pytest
from click.testing import CliRunner
from loopnest.bench.curves import filled, report, size_of
from loopnest.bench.records import Record, Results
from loopnest.cli import main
from loopnest.report.figures import Indexed, figures
from rich.console import Console

SIZES = (16, 64, 256, 1024)


def record(impl, n, gflops):
    return Record(
        name=f"{impl}-{n}",
        suite="curve",
        study="matmul over its size",
        operation="matmul",
        impl=impl,
        workload=f"{n}x{n}x{n}",
        shape={"m": n, "k": n, "n": n},
        dtype="float32",
        flops=2 * n**3,
        bytes=12 * n**2,
        threads=1,
        first_call=0.5,
        stats=made_up.stats(2 * n**3 / gflops / 1e9),
    )


CURVES = [record("numpy.matmul", n, n) for n in SIZES] + [record("cpp.naive", n, 2.0) for n in SIZES[:3]]
RESULTS = Results(made_up.ENVIRONMENT, tuple(CURVES), machine=made_up.CARD)


def printed(results, width=100):
    console = Console(width=width, force_terminal=False, color_system=None, highlight=False)
    with console.capture() as capture:
        for part in report(results, width):
            console.print(part)
    return capture.get().splitlines()


def test_a_cache_is_marked_where_operands_and_result_fill_it():
    """12 n² bytes are 32 KiB at n = 52.3 and 1 MiB at 295.6; 32 MiB lie beyond the sizes."""
    assert filled(CURVES, made_up.CARD) == pytest.approx({"L1": 52.26, "L2": 295.6}, rel=1e-3)
    assert filled(CURVES, None) == {}


def test_a_size_is_n_of_squares_elements_of_an_operand_or_flops():
    assert size_of(CURVES[0]) == (16, "n")
    assert size_of(dataclasses.replace(CURVES[0], shape={"m": 4, "n": 8})) == (32, "elements")
    assert size_of(dataclasses.replace(CURVES[0], shape={"t": 4, "d": 8, "h": 32, "e": 8})) == (8192, "flops of a call")


def test_the_terminal_has_each_rate_the_cache_that_holds_all_and_a_chart():
    lines = printed(RESULTS)
    assert "matmul over its size, GFLOP/s by n" in lines
    (row,) = [line for line in lines if "numpy.matmul" in line]
    assert row.split() == ["a", "numpy.matmul", "16.0", "64.0", "256", "1,020"]
    (row,) = [line for line in lines if "cpp.naive" in line]
    assert row.split() == ["b", "cpp.naive", "2.00", "2.00", "2.00"]
    (row,) = [line for line in lines if "fits into" in line]
    assert row.split() == ["fits", "into", "L1", "L2", "L2", "L3"]
    chart = [line[9:] for line in lines[-17:]]
    places = [chart[down].index("a") for down in (0, 3, 7, 10)]
    assert places == sorted(places, reverse=True), "a rises from left to right"
    assert "b" in chart[15]
    assert chart[16].split() == ["L1", "L2"]
    assert all(line[chart[16].index("L1")] in "┊ab" for line in chart[:16])


@pytest.mark.parametrize("width", [60, 80, 140])
def test_no_line_is_wider_than_the_terminal(width):
    many = [record("cpp.register_tiled", n, 100.0) for n in range(16, 400, 16)]
    assert max(map(len, printed(Results(None, tuple(many), machine=made_up.CARD), width))) <= width


def test_the_page_draws_rates_and_times_over_n_with_the_caches():
    pytest.importorskip("matplotlib")
    rates, seconds = [f for f in figures(Indexed(CURVES), made_up.CARD) if f.part == "sizes"]
    assert (rates.title, seconds.title) == ("matmul over its size", "matmul over its size, time")
    for picture in (rates.svg, seconds.svg):
        assert ">L1<" in picture
        assert ">L2<" in picture
        assert ">n<" in picture
        assert ">numpy.matmul<" in picture
    assert ">time of a call<" in seconds.svg


def bench(*args):
    return CliRunner(env={"COLUMNS": "120"}).invoke(main, ["bench", *args], prog_name="loopnest")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["curve", "gelu"], "curve runs by itself"),
        (["gelu", "--op", "gelu"], "--op is for FILE, and for curve"),
        (["curve", "--op", "gleu"], "did you mean gelu?"),
    ],
)
def test_curve_is_about_one_operation(args, said):
    result = bench(*args)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


@pytest.mark.slow
def test_a_curve_of_another_operation_is_measured(tmp_path):
    file, page = tmp_path / "c.json", tmp_path / "c.html"
    args = ["--quick", "--no-limits", "-k", "python or numpy", "--json", str(file), "--report", str(page)]
    result = bench("curve", "--op", "dot", *args)
    assert result.exit_code == 0, result.output
    measured = Results.load(file).records
    assert {r.impl for r in measured} <= {k.id for k in ln.dot}
    assert len({size_of(r)[0] for r in measured}) >= 3
    assert "dot over its size, GB/s by elements" in result.output
    assert "dot over its size, time" in page.read_text(encoding="utf-8")
