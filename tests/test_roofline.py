"""The roofline: what is drawn, as SVG and in characters."""

import math
import re
import xml.etree.ElementTree as ET

import pytest
from loopnest.machine.roofline import INK, Canvas, roofline, roofline_svg, roofline_text
from test_machine import CARD

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


def test_ceilings_are_what_a_part_of_the_machine_reaches():
    assert [(c.label, c.flops) for c in roofline(CARD).ceilings] == [("1 thread, v1 only", 100 * GB)]
    assert [(c.label, c.flops) for c in roofline(CARD, threads=1).ceilings] == [("v1 only", 25 * GB)]


def test_points_without_flops_have_no_place_and_all_others_are_within_the_picture():
    line = roofline(CARD, [*POINTS, ("slow", 1e3, 1e6, 1.0)])
    assert [point.label for point in line.points] == ["matmul cpp.packed <large>", "dot cpp.simd", "slow"]
    for point in line.points:
        assert line.intensities[0] < point.intensity < line.intensities[1]
        assert line.rates[0] < point.rate < line.rates[1]


def test_a_points_share_is_of_the_limit_of_its_work():
    """Of the peak where flops decide; dot's 8 MB come through L2, but for what the L1s hold."""
    packed, dot = roofline(CARD, POINTS).shares
    assert packed == pytest.approx(0.5)
    assert dot == pytest.approx((8e6 - 4 * (32 << 10)) / (440 * GB) / 1e-3)


def drawn(**how):
    return ET.fromstring(roofline_svg(CARD, POINTS, **how))


def places(group):
    """The corners of a group's path, or where its markers are used."""
    paths = group.findall(f".//{SVG}path[@clip-path]") or group.findall(f".//{SVG}g[@clip-path]/{SVG}use")
    found = []
    for path in paths:
        if path.tag.endswith("use"):
            found.append((float(path.get("x")), float(path.get("y"))))
        else:
            found += [(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path.get("d"))]
    return found


def test_the_svg_has_every_roof_and_point_at_its_place():
    """Lengths on logarithmic axes: from the ridge of L1 to that of memory, and from one point to the other."""
    svg, line = drawn(), roofline(CARD, POINTS)
    roofs = {group.get("data-roof"): places(group) for group in svg.iter(f"{SVG}g") if group.get("class") == "roof"}
    points = [places(group) for group in svg.iter(f"{SVG}g") if group.get("class") == "point"]
    assert set(roofs) == {"L1", "L2", "L3", "memory", "peak"}
    (x1, y1), (x2, y2) = roofs["L1"][1], roofs["memory"][1]
    assert y1 == pytest.approx(y2, abs=0.01)
    decade = (x2 - x1) / math.log10(line.roofs[-1].ridge / line.roofs[0].ridge)
    assert decade > 0
    ((first_x, first_y),), ((second_x, second_y),) = points
    assert first_x - second_x == pytest.approx(decade * math.log10(200 / 0.25), rel=1e-3)
    (left_x, left_y), (ridge_x, ridge_y), _ = roofs["memory"]
    up = (left_y - ridge_y) / ((ridge_x - left_x) / decade)  # a decade upwards, since the slope is 1
    assert second_y - first_y == pytest.approx(up * 2, rel=1e-3)  # 2 and 200 GFLOP/s
    assert first_y - y1 == pytest.approx(up * math.log10(2), rel=1e-3)  # 200 of 400


def test_each_point_says_what_it_is():
    titles = [group.findtext(f"{SVG}title") for group in drawn().iter(f"{SVG}g") if group.get("class") == "point"]
    assert titles[0] == "matmul cpp.packed <large>: 200 GFLOP/s at 200 flops a byte, 50% of its limit"
    assert titles[1].startswith("dot cpp.simd: 2.00 GFLOP/s at 0.250 flops a byte, ")


def test_the_svg_has_the_pages_colours_and_disturbs_nothing_else_on_it():
    svg = roofline_svg(CARD, POINTS)
    assert svg.startswith("<svg ")
    assert "currentColor" in svg
    assert INK not in svg
    assert "#000000" not in svg  # unseen on dark
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)
    for style in re.findall(r"<style[^>]*>(.*?)</style>", svg, re.DOTALL):
        assert all(rule.strip().startswith("svg.roofline ") for rule in re.findall(r"[^{}]+(?=\{)", style))
    assert 'width="' not in svg.partition(">")[0]  # it fits itself to the page
    assert len(svg) < 30_000


def test_the_same_card_gives_the_same_svg():
    assert roofline_svg(CARD, POINTS) == roofline_svg(CARD, POINTS)


def test_a_file_has_colours_of_its_own_for_dark_and_light():
    file = roofline_svg(CARD, standalone=True)
    assert file.startswith("<?xml")
    assert "prefers-color-scheme:dark" in file
    ET.fromstring(file)


# --- in characters


def test_dots_are_two_by_four_in_a_character():
    canvas = Canvas(2, 1)
    canvas.dot(0, 0)
    canvas.dot(1, 1)
    canvas.dot(-1, 0.5)  # outside
    assert canvas.rows() == ["\u2801\u2880"]
    canvas.line((0, 0), (0, 1))
    assert canvas.rows() == ["\u2847\u2880"]


def test_texts_are_written_over_dots_and_not_over_each_other():
    canvas = Canvas(8, 2)
    canvas.line((0, 0), (1, 0))
    assert canvas.write(0, 0, "ab")
    assert not canvas.write(0.1, 0, "cd")
    assert canvas.write(1, 1, "end")
    assert canvas.rows() == ["ab" + "\u2809" * 6, "     end"]


@pytest.mark.parametrize("width", [80, 140])
def test_the_picture_keeps_to_its_width_and_has_every_point_and_roof(width):
    text = roofline_text(CARD, POINTS, width=width, height=16)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "400 GFLOP/s: float32, 4 threads" in lines[0]
    assert all(any(level in line for line in lines[1:17]) for level in ("L1", "L2", "L3", "memory"))
    assert "flops a byte" in text
    assert "  a  matmul cpp.packed <large>" in text
    assert "50.0%" in text
    assert "transpose" not in text


def test_a_mark_stands_at_its_rate_and_intensity():
    text = roofline_text(CARD, [("", 1e6, 1e6, 1e-5)], width=108, height=40)  # 100 GFLOP/s at 1 flop a byte
    lines = text.splitlines()
    row = next(number for number, line in enumerate(lines[1:41]) if "a" in line[8:] and "memory" not in line)
    column = lines[1 + row].index("a", 8) - 8
    line = roofline(CARD, [("", 1e6, 1e6, 1e-5)])
    left, right = map(math.log, line.intensities)
    low, high = map(math.log, line.rates)
    assert column / 99 == pytest.approx(-left / (right - left), abs=0.01)
    assert 1 - row / 39 == pytest.approx((math.log(100 * GB) - low) / (high - low), abs=0.02)


def test_without_points_there_is_no_legend():
    assert "of its limit" not in roofline_text(CARD)
