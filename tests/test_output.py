"""Pictures and pages: one palette, marks that know their records, and pages that need nothing else."""

import re
from xml.etree import ElementTree

import pytest
from loopnest.output.page import fill, page
from loopnest.output.pictures import INK, LIGHT, SERIES, Picture, marks, themed

pytest.importorskip("matplotlib", reason="matplotlib draws the pictures")


def drawn(title="three bars and a line"):
    picture = Picture(4, 3, title=title)
    with picture as axes:
        for n, bar in enumerate(axes[0, 0].bar(range(3), [1, 2, 3], color=SERIES[:3])):
            bar.set_gid(marks(n))
        axes[0, 0].plot([0, 1], [1, 2], "o", color=INK, gid=marks(8, 9))
    return picture.svg


def test_the_palette_has_no_colour_twice():
    assert len(set(LIGHT.values())) == len(LIGHT)


def test_marks_know_their_records_and_a_line_has_one_for_each_marker():
    elements = ElementTree.fromstring(drawn()).iter()
    found = [(e.tag.rpartition("}")[2], e.get("data-record")) for e in elements if e.get("class") == "mark"]
    assert found == [("g", "0"), ("g", "1"), ("g", "2"), ("use", "8"), ("use", "9")]


def test_a_picture_is_the_same_every_time_and_shares_no_id_with_another():
    assert drawn() == drawn()
    here, there = (set(re.findall(r' id="([^"]+)"', drawn(title))) for title in ("a", "b"))
    assert here
    assert not here & there


def test_in_a_page_no_colour_of_the_palette_is_fixed():
    svg = themed(drawn())
    assert "var(--ink)" in svg
    assert not [colour for colour in LIGHT.values() if colour in svg]
    assert "<title>" not in svg


def test_texts_that_fill_a_page_are_not_searched_for_names(tmp_path):
    (tmp_path / "template").write_text("{{a}} and {{b}}")
    assert fill(tmp_path / "template", a="{{b}}", b="<b>") == "{{b}} and <b>"


def test_a_page_escapes_its_title_and_its_data():
    text = page("a < b", "<p>body</p>", data=["</script><script>alert(1)</script>"])
    assert "<title>a &lt; b</title>" in text
    assert "<p>body</p>" in text
    assert text.count("<script") == 2
