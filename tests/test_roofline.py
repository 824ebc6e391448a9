"""The roofline as SVG."""

import math
import re
import xml.etree.ElementTree as ET

import pytest
from loopnest.backends import BACKENDS
from loopnest.machine.roofline import roofline_svg
from loopnest.output.pictures import LIMIT, colour_of, marks
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


def names(points):
    """The texts of a picture with these points: each at its place."""
    root = ET.fromstring(roofline_svg(CARD, points))
    return {(text.text or "").strip(): text for text in root.iter(f"{SVG}text")}


def test_points_have_their_names_with_a_mark_or_without():
    for points in (POINTS, [(*point, "#000", marks(number)) for number, point in enumerate(POINTS)]):
        assert {"matmul cpp.packed <large>", "dot cpp.simd"} <= names(points).keys()


def test_of_points_at_one_place_two_have_names_which_do_not_cover_each_other():
    """One to the right, and one to the left."""
    crowd = [(f"rung {number}", 2e6, 8e6, 1e-3 * 1.001**number) for number in range(9)]
    texts = names(crowd)
    shown = [name for name in texts if name.startswith("rung")]
    assert shown == ["rung 0", "rung 1"]
    right, left = (texts[name] for name in shown)
    assert ("text-anchor: end" in right.get("style"), "text-anchor: end" in left.get("style")) == (False, True)


def test_the_picture_is_as_narrow_as_a_telephone_and_its_roofs_are_of_no_backends_colour():
    root = ET.fromstring(roofline_svg(CARD, POINTS))
    assert float(root.get("viewBox").split()[2]) <= 430  # points, which are 573 pixels at most
    assert LIMIT not in [colour_of(backend) for backend in BACKENDS]


def test_the_same_card_gives_the_same_svg_which_is_small_and_asks_for_nothing():
    svg = roofline_svg(CARD, POINTS)
    assert svg == roofline_svg(CARD, POINTS)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)
    assert len(svg) < 30_000
