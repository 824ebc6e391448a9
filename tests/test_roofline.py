"""The roofline as SVG."""

import math
import re
import xml.etree.ElementTree as ET

import pytest
from loopnest.machine.roofline import roofline_svg
from loopnest.output.pictures import LIMIT, marks
from made_up import CARD

pytest.importorskip("matplotlib", reason="matplotlib draws the SVG")

GB = 1e9
POINTS = [
    ("matmul cpp.packed <large>", 2e9, 1e7, 0.01),  # 200 GFLOP/s at 200 flops a byte
    ("transpose", 0, 1e6, 1e-3),
    ("dot cpp.simd", 2e6, 8e6, 1e-3),  # 2 GFLOP/s at 0.25
]
SVG = "{http://www.w3.org/2000/svg}"


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
    svg = ET.fromstring(roofline_svg(CARD, points))
    drawn = {g.get("data-record"): places(g) for g in svg.iter(f"{SVG}g") if g.get("class") == "mark"}
    ((first_x, first_y),), ((second_x, second_y),) = drawn["0"], drawn["2"]
    roofs = [
        places([path]) for path in svg.iter(f"{SVG}path") if path.get("clip-path") and LIMIT in path.get("style", "")
    ]
    assert len(roofs) == 4
    assert "1" not in drawn  # it does no flops
    (x1, y1), (x2, y2) = roofs[0][1], roofs[3][1]
    assert y1 == pytest.approx(y2, abs=0.01)
    decade = (x2 - x1) / math.log10(880 / 44)  # from the ridge of L1, by its GB/s, to that of memory
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
