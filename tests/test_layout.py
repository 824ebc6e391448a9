"""The pictures of how a rung walks its operands, and the sentence below a layout table."""

import dataclasses
import functools
import re
import xml.etree.ElementTree as ElementTree

import loopnest as ln
import made_up
import numpy as np
import pytest
from click.testing import CliRunner
from loopnest.bench import explain
from loopnest.bench.measure import Bench, Plan
from loopnest.bench.records import Record, Results
from loopnest.bench.tables import table
from loopnest.cli import main
from loopnest.layout import walk as layout
from loopnest.layout.traffic import CacheLevel, Replay, Stream, Traffic
from loopnest.layout.walk import SCALES, _draw, picture, picture_svg, walk
from loopnest.output.pictures import on_scale
from loopnest.verify.problem import Problem
from rich.console import Console

SVG = "{http://www.w3.org/2000/svg}"


def printed(*parts, width=80, color_system=None):
    console = Console(width=width, color_system=color_system, force_terminal=color_system is not None, record=True)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return captured.get()


# --- the steps


def test_ijk_reads_a_row_of_a_and_a_column_of_b_and_writes_c():
    n = 4
    steps = [(s.operand, *s.elements[0], s.write) for s in walk("matmul", "ijk", n=n).steps]
    expected = []
    for i in range(n):
        for j in range(n):
            for k in range(n):
                expected += [("a", i, k, False), ("b", k, j, False)]
            expected.append(("c", i, j, True))
    assert steps == expected


@pytest.mark.parametrize("order", layout.LOOP_ORDERS)
def test_each_loop_order_touches_in_its_own_order(order):
    n, walked = 3, walk("matmul", order, n=3)
    products = [
        (s.elements[0], t.elements[0])
        for s, t in zip(walked.steps, walked.steps[1:], strict=False)
        if (s.operand, t.operand) == ("a", "b")
    ]
    nested = [dict(zip(order, at, strict=True)) for at in np.ndindex(n, n, n)]
    assert products == [((x["i"], x["k"]), (x["k"], x["j"])) for x in nested]


@pytest.mark.parametrize("layout_letters", ["C", "F", "CF", "FC"])
@pytest.mark.parametrize("variant", ["naive", "blocked", "packed", "register_tiled"])
def test_every_element_of_every_operand_is_touched_whatever_the_layout(variant, layout_letters):
    walked = walk("matmul", variant, n=9, layout=layout_letters)
    for operand in walked.operands:
        grid = walked.grid(operand)
        assert (grid.touched > 0).all()
        assert sorted(grid.first.flat) == list(range(81))


def test_the_order_of_the_elements_is_the_loops_and_not_the_layouts():
    orders = {letters: walk("matmul", "kji", n=5, layout=letters) for letters in ("CC", "FF", "CF")}
    touched = {letters: [(s.operand, s.elements) for s in walked.steps] for letters, walked in orders.items()}
    assert touched["CC"] == touched["FF"] == touched["CF"]
    assert len({walked.misses() for walked in orders.values()}) > 1


@pytest.mark.parametrize("line", [16, 32])
@pytest.mark.parametrize(
    ("operation", "variant"),
    [
        ("matmul", "jki"),
        ("matmul", "packed"),
        ("transpose", "naive"),
        ("transpose", "blocked"),
        ("sum", "column_wise"),
        ("add", "simd"),
    ],
)
def test_hits_and_misses_are_the_simulators(operation, variant, line):
    """The picture's lines, put to the simulator one by one, give the counts of the rung's run."""
    cache = CacheLevel(size=16 * line, ways=2, line=line)
    walked = walk(operation, variant, n=10, cache=cache)
    inputs = [np.ones((10, 10), np.float32) for _ in walked.operands[1:]]
    if operation in ("sum", "add"):
        inputs = [np.ones((10, 20), np.float32)[:, :10] for _ in walked.operands[1:]]
    replay = Replay.of(ln.OPERATIONS[operation][f"cpp.{variant}"], inputs, (cache,), Stream(operation, variant))
    found = replay.run()
    assert walked.touches() == found.accesses
    assert walked.misses() == found.misses("L1")
    for operand in walked.operands:
        assert walked.misses(operand.name) == found.misses("L1", operand.name)


def test_a_column_walk_of_a_matrix_that_does_not_fit_misses_everywhere():
    cache = CacheLevel(size=64, ways=4, line=16)
    down, along = (walk("sum", variant, n=8, cache=cache) for variant in ("column_wise", "row_wise"))
    assert (down.grid(down.operands[0]).missed == 1).all()
    assert along.misses("a") == 8 * 8 // 4
    assert down.main_stride(down.operands[0])[0] == 16
    assert along.main_stride(along.operands[0])[0] == 1
    assert "100 % of its touches, mostly +16 elements" in down.sentence()


def test_column_major_operands_turn_the_walk():
    cache = CacheLevel(size=64, ways=4, line=16)
    misses = {letter: walk("sum", "column_wise", n=8, layout=letter, cache=cache).misses("a") for letter in "CF"}
    assert misses == {"C": 64, "F": 16}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"operation": "gelu"}, "operation: 'gelu' has no picture, expected one of matmul, transpose, sum, add"),
        ({"variant": "ikk"}, "variant: matmul has no 'ikk', expected one of naive"),
        ({"n": 0}, "n: 0, expected 1 to 32"),
        ({"n": 33}, "n: 33, expected 1 to 32"),
        ({"layout": "CFC"}, "layout: 'CFC', expected C or F, or 2 of these letters"),
        ({"layout": "X"}, "layout: 'X', expected C or F"),
        ({"cache": CacheLevel(100, 4, 16)}, "100 bytes, expected a multiple of ways x line = 64"),
        ({"cache": CacheLevel(64, 4, 2)}, "line: 2 bytes, expected at least one element's 4"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        walk(**{"operation": "matmul", **arguments})


# --- the pictures


def test_the_terminals_picture_has_the_order_and_the_misses_side_by_side_in_80_columns():
    text = printed(*picture(walk("matmul", "ijk")))
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"0  1  2  3  4  5  6  7 +0  8 16 24 32 40 48 56 +0  1  2  3  4  5  6  7", text)
    assert "b misses the most" in text


@functools.cache
def ikj(n):
    return walk("matmul", "ikj", n=n)


@pytest.mark.parametrize("n", [1, 2, 8, 11, 20])
@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("colours", [None, "truecolor"])
def test_pictures_of_any_size_keep_to_the_width(n, width, colours):
    walked = ikj(n)
    text = printed(*picture(walked, width), width=width, color_system=colours)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert max(map(len, plain.splitlines())) <= width
    assert plain.count("a (C)") == (2 if n < 20 or width >= 80 else 0)


def test_colours_separate_the_first_from_the_last_and_hits_from_misses():
    text = printed(*picture(walk("matmul", "ijk")), color_system="truecolor")
    for stops, _, _ in SCALES.values():
        for end in (0.0, 1.0):
            r, g, b = (int(on_scale(stops, end)[n : n + 2], 16) for n in (1, 3, 5))
            assert f"48;2;{r};{g};{b}m" in text


def test_the_svg_has_a_picture_for_each_operand_and_a_number_for_each_element():
    walked = walk("matmul", "jki", n=8)
    root = ElementTree.fromstring(picture_svg(walked))
    assert root.find(f"{SVG}title").text.startswith("matmul jki")
    assert len(list(root.iter(f"{SVG}image"))) == 2 * 3
    numbers = [text.text for text in root.iter(f"{SVG}text") if (text.text or "").isdigit()]
    grids = [walked.grid(operand) for operand in walked.operands]
    assert [int(n) for n in numbers] == [
        *(x for grid in grids for x in grid.first.flat),
        *(x for grid in grids for x in grid.missed.flat),
    ]


# --- the command


def run(*args):
    return CliRunner(env={"COLUMNS": "80"}).invoke(main, args, prog_name="loopnest")


def test_the_command_prints_the_picture_and_writes_the_file(tmp_path):
    file = tmp_path / "picture.svg"
    result = run("layout", "matmul", "kij", "--n", "6", "--layout", "CF", "--svg", str(file))
    assert result.exit_code == 0
    assert "matmul kij, 6 x 6, a:C b:F" in result.output
    assert file.read_text() == picture_svg(walk("matmul", "kij", n=6, layout="CF"))


def test_the_command_says_what_is_wrong():
    for arguments, message in ((("gelu",), "has no picture"), (("matmul", "xyz"), "expected one of")):
        result = run("layout", *arguments)
        assert result.exit_code == 1
        assert message in result.output
        assert "Traceback" not in result.output


# --- what the tables say


def record(case, seconds, found, written_back=(0, 0, 0), *, asked=None, section="", impl="cpp.naive"):
    """found: by operand, the lines found in L1, L2, L3 and memory."""
    moved = None
    if found is not None:
        asked = asked or {name: 4 * sum(counts) for name, counts in found.items()}
        moved = Traffic(64, ("L1", "L2", "L3"), found, asked, written_back)
    return Record(
        name=case, suite="layout", study="a study", operation="matmul", impl=impl, workload="square-64",
        shape={"m": 64}, dtype="float32", flops=10**9, bytes=12_345, threads=1, first_call=1.0,
        stats=made_up.stats(seconds), section=section, case=case, traffic=moved,
    )  # fmt: skip


FAST = record("along", 1e-3, {"a": [15_000, 1_000, 0, 0]})


def test_the_sentence_names_the_slow_row_and_what_crosses_where_they_differ_most():
    slow = record("down", 8e-3, {"a": [0, 1_000_000, 0, 0], "b": [900_000, 100_000, 0, 0]})
    assert explain.sentence([FAST, slow]) == (
        "down takes 8.0 times as long as along. Simulated: 70.4 MB between L1 and L2 instead of 64.0 kB."
    )
    slow = record("down", 8e-3, {"a": [500_000, 2_000, 0, 300_000]})
    assert "between L2 and L3 instead of 0 B" in explain.sentence([FAST, slow])


def test_the_sentence_does_not_blame_the_caches_for_what_they_did_not_do():
    same = record("scalar", 8e-3, {"a": [15_000, 1_000, 0, 0]})
    assert explain.sentence([FAST, same]).endswith("the instructions differ.")
    nothing = [record(name, seconds, {"a": [16_000, 0, 0, 0]}) for name, seconds in (("along", 1e-3), ("down", 8e-3))]
    assert explain.sentence(nothing) == "down takes 8.0 times as long as along."
    assert explain.columns(nothing) == {}
    near = record("down", 1.1e-3, {"a": [0, 1_000_000, 0, 0]})
    assert explain.sentence([FAST, near]) == ""


def test_no_sentence_is_made_of_nothing():
    assert explain.sentence([record("x", 1.0, None), record("y", 2.0, None)]) == ""


def test_the_section_in_which_the_layout_matters_most_is_spoken_of():
    slow = record("down", 2e-3, {"a": [0, 1_000_000, 0, 0]})
    other = [
        dataclasses.replace(r, section="other", impl="cpp.blocked", stats=made_up.stats(s))
        for r, s in ((FAST, 1e-3), (slow, 9e-3))
    ]
    assert explain.sentence([FAST, slow, *other]).startswith("cpp.blocked down takes 9.0 times as long as cpp.blocked")


def test_the_table_has_the_bytes_by_level_and_compulsory_ones_where_nothing_was_replayed():
    slow = record("down", 8e-3, {"a": [0, 1_000_000, 0, 0]}, (500_000, 0, 0))
    text = printed(table("a study", [FAST, slow, record("numpy", 1e-3, None)], 80))
    assert max(map(len, text.splitlines())) <= 80
    for cell in ("96.0 MB", "64.0 kB", "≥12.3 kB", "down takes 8"):
        assert cell in text
    assert "L3" not in text.splitlines()[2]  # nothing crosses there


def test_a_table_without_replays_is_as_it_was():
    text = printed(table("a study", [record("x", 1.0, None)], 80))
    assert "≥" not in text
    assert "simulated" not in text


def test_a_measured_records_json_has_the_traffic(tmp_path):
    bench = Bench(Plan(seconds=1e-6, patience=1.0))
    workload = next(w for w in ln.transpose.contract.workloads if w.name == "square-64")
    benchmark = made_up.Benchmark(bench.clock)
    made = bench.measure(benchmark, ln.transpose["cpp.naive"], workload, suite="layout", replay=True)
    assert made.traffic.found["out"][1] > 0 or sum(made.traffic.found["out"]) == 64 * 64
    Results(None, (made,)).save(tmp_path / "r.json")
    assert Results.load(tmp_path / "r.json").records == (made,)
    assert benchmark.extra_info == made.extra_info()


def test_the_block_sizes_that_are_timed_are_those_that_are_replayed():
    bench = Bench(Plan(seconds=1e-6, patience=1.0))
    workload = next(w for w in ln.matmul.contract.workloads if w.name == "square-64")
    k = ln.matmul["cpp.blocked"]
    streams = [Stream("matmul", "blocked_with", (512, inner, 64)) for inner in (4, 1)]
    benchmark = made_up.Benchmark(bench.clock)
    made = [bench.measure(benchmark, k, workload, suite="layout", replay=stream) for stream in streams]
    # c is read and written once for four rows of b where a block has as many, and cleared once.
    four_rows, one_row = (sum(record.traffic.found["c"]) - 64**2 for record in made)
    assert (four_rows, one_row) == (2 * 64**3 // 4, 2 * 64**3)


def test_replaying_leaves_the_timed_result_alone():
    """A part that is replayed would leave a part of the product in it."""
    workload = next(w for w in ln.matmul.contract.workloads if w.name == "square-64")
    problem = Problem.sample(ln.matmul, workload, None, {})
    problem.check(ln.matmul["cpp.kij"])
    before = problem.out.copy()
    Replay.of(ln.matmul["cpp.kij"], problem.inputs).within(10**6)
    np.testing.assert_array_equal(problem.out, before)


def test_the_legend_reads_without_colours():
    text = printed(*picture(walk("matmul", "ijk")))
    assert "order of the first touch:  0: first  63: last" in text
    assert "misses:  0: none  as many as touches: every time" in text


def test_the_line_along_the_first_touches_crosses_no_number():
    """It is drawn as dashes, each in the middle between two neighbours' centres."""
    axes = pytest.importorskip("matplotlib.figure").Figure().subplots()
    _draw(axes, walk("matmul", "ijk").grid(walk("matmul", "ijk").operands[0]), "order of the first touch")
    (line,) = axes.lines
    ends = np.array(line.get_xydata())[np.isfinite(line.get_xydata()[:, 0])]
    assert len(ends) == 2 * 8 * 7  # 7 steps in each of 8 rows
    assert np.all(np.abs(ends - np.round(ends)).max(axis=1) >= 0.35)
