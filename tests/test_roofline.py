"""The roofline: as data, as SVG and as a table."""

import math
import re
import xml.etree.ElementTree as ET

import pytest
from loopnest.machine.roofline import roofline, roofline_svg
from loopnest.machine.tables import rendered, roofline_sheet
from loopnest.output.pictures import LIMIT, marks
from made_up import CARD
from rich.console import Console

pytest.importorskip("matplotlib", reason="matplotlib draws the SVG")

GB = 1e9
POINTS = [
    ("matmul cpp.packed <large>", 2e9, 1e7, 0.01),  # 200 GFLOP/s at 200 flops a byte
    ("transpose", 0, 1e6, 1e-3),
    ("dot cpp.simd", 2e6, 8e6, 1e-3),  # 2 GFLOP/s at 0.25
]
SVG = "{http://www.w3.org/2000/svg}"


def test_there_is_a_roof_for_each_level_and_its_ridge_is_where_it_meets_the_peak():
    line = roofline(CARD)
    assert line.peak == 400 * GB  # of all 4 threads
    assert [roof.level for roof in line.roofs] == ["L1", "L2", "L3", "memory"]
    assert [roof.ridge for roof in line.roofs] == pytest.approx([400 / 880, 400 / 440, 400 / 220, 400 / 44])
    memory = line.roofs[-1]
    assert line.at(memory, 1.0) == pytest.approx(44 * GB)
    assert line.at(memory, 100.0) == 400 * GB
    one = roofline(CARD, dtype="float64", threads=1)
    assert one.peak == 50 * GB
    assert one.roofs[-1].bandwidth == pytest.approx(22 * GB)


def test_the_peak_of_one_thread_is_below_the_roof_of_several():
    assert roofline(CARD).one_thread == 100 * GB
    assert roofline(CARD, threads=1).one_thread is None


def test_points_without_flops_have_no_place_and_all_others_are_between_the_axes_ends():
    line = roofline(CARD, [*POINTS, ("slow", 1e3, 1e6, 1.0)])
    assert [point.label for point in line.points] == ["matmul cpp.packed <large>", "dot cpp.simd", "slow"]
    for point in line.points:
        assert line.intensities[0] < point.intensity < line.intensities[1]
        assert line.rates[0] < point.rate < line.rates[1]


def places(group):
    """The corners of a group's path, or where its markers are used."""
    found = []
    for path in group if isinstance(group, list) else group.iter(f"{SVG}path"):
        if path.get("clip-path"):
            found += [(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path.get("d"))]
    return found or [(float(use.get("x")), float(use.get("y"))) for use in group.iter(f"{SVG}use")]


def test_the_svg_has_every_roof_and_point_at_its_place():
    """Lengths on logarithmic axes: from the ridge of L1 to that of memory, and from one point to the other."""
    points = [(*point, "#000", marks(number)) for number, point in enumerate(POINTS)]
    svg, line = ET.fromstring(roofline_svg(CARD, points)), roofline(CARD, POINTS)
    drawn = {g.get("data-record"): places(g) for g in svg.iter(f"{SVG}g") if g.get("class") == "mark"}
    ((first_x, first_y),), ((second_x, second_y),) = drawn["0"], drawn["2"]
    roofs = [
        places([path]) for path in svg.iter(f"{SVG}path") if path.get("clip-path") and LIMIT in path.get("style", "")
    ]
    assert len(roofs) == 5  # the last one is flat
    (x1, y1), (x2, y2) = roofs[0][1], roofs[3][1]
    assert y1 == pytest.approx(y2, abs=0.01)
    decade = (x2 - x1) / math.log10(line.roofs[-1].ridge / line.roofs[0].ridge)
    assert decade > 0
    assert first_x - second_x == pytest.approx(decade * math.log10(200 / 0.25), rel=1e-3)
    (left_x, left_y), (ridge_x, ridge_y), _ = roofs[3]
    up = (left_y - ridge_y) / ((ridge_x - left_x) / decade)  # a decade upwards, since the slope is 1
    assert second_y - first_y == pytest.approx(up * 2, rel=1e-3)  # 2 and 200 GFLOP/s
    assert first_y - y1 == pytest.approx(up * math.log10(2), rel=1e-3)  # 200 of 400


def test_points_without_a_mark_have_their_label():
    texts = [text.text for text in ET.fromstring(roofline_svg(CARD, POINTS)).iter(f"{SVG}text")]
    assert {"matmul cpp.packed <large>", "dot cpp.simd"} <= {(text or "").strip() for text in texts}


def test_the_same_card_gives_the_same_svg_which_is_small_and_asks_for_nothing():
    svg = roofline_svg(CARD, POINTS)
    assert svg == roofline_svg(CARD, POINTS)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)
    assert len(svg) < 30_000


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_has_every_roof_in_the_terminals_width(width):
    console = Console(width=width, record=True)
    with console.capture() as captured:
        console.print(rendered(roofline_sheet(CARD)))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= width
    assert "Roofline: float32, 4 threads" in lines[0]
    text = " ".join(" ".join(lines).split())
    assert "peak 400" in text
    assert "1 thread 100" in text
    assert "from memory 44.0 × flops/byte up to 9.09" in text
