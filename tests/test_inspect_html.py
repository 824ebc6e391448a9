"""The page of a view: one file that asks for nothing, in the colours of the kinds of instructions."""

import re
from html.parser import HTMLParser

import pytest
from browser import CHROMIUM, Browser
from click.testing import CliRunner
from loopnest.cli import main
from loopnest.inspect import html
from loopnest.inspect.compare import Comparison
from loopnest.inspect.records import Bound, Instruction, Line, Listing, Loop, View
from loopnest.inspect.source import source_lines

SOURCE = "loopnest/operations/matmul/in_numba.py"
KERNEL = next(n for n, line in enumerate(source_lines(SOURCE), 1) if "c_ij += a[i, p] * b[p, j]" in line)


def line(text, kind, number=None, address=None, hot=False):
    return Line(text, kind, (SOURCE, number) if number else None, address, hot)


def view(impl="numba.naive"):
    """A made-up view of a rung: two instructions before the loop, three in it, and text that is no markup."""
    lines = (
        line("push rbx", "scalar", KERNEL - 2, 0x10),
        line("xor eax, eax <script>alert(1)</script>", "scalar", None, 0x11),
        line("vmovss xmm1, dword ptr [rax]", "load", KERNEL, 0x12, hot=True),
        line("vfmadd231ss xmm0, xmm1, dword ptr [rbx]", "fma", KERNEL, 0x16, hot=True),
        line("jne 0x12", "branch", KERNEL - 1, 0x1F, hot=True),
        *(line(f"nop {n}", "other", KERNEL + 1, 0x40 + n) for n in range(120)),
    )
    loop = Loop(
        instructions=tuple(Instruction(n, 1, part.text.split()[0], "", part.kind) for n, part in enumerate(lines[2:5])),
        counts={"fma": 1, "load": 1, "branch": 1, "loads": 2, "stores": 0, "spills": 0},
        flops=2,
        bytes=8,
        vector_bits=0,
        itemsize=4,
        accumulators=1,
        latency=4.0,
        bound=Bound("latency", 4.0, 0.02, "Bound by latency & nothing else.", {"latency": 4.0, "loads": 1.0}, "Zen 4"),
    )
    listing = Listing("naive <float32>", "asm", lines, loop, ("A note.",), {"compiler": "made up"})
    return View("matmul", impl, "float32", "v4", "The definition, compiled.", (listing,))


class Tags(HTMLParser):
    """Whether tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.open = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_one_file_whose_text_is_escaped_and_whose_tags_are_closed(tmp_path):
    html.write(view(), tmp_path / "view.html")
    text = (tmp_path / "view.html").read_text(encoding="utf-8")
    assert Tags(text).open == []
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "url(" not in text
    assert "@import" not in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "Bound by latency &amp; nothing else." in text
    assert "naive &lt;float32&gt;" in text
    assert len(text) < 100_000


def test_an_instruction_stands_next_to_its_source_line():
    rows = re.findall(r'<tr class="(hot )?k-fma">(.*?)</tr>', html.page(view()))
    assert [bool(hot) for hot, _ in rows] == [True]
    assert rows[0][1].startswith('<td class="n">16</td>')
    both = html.page(
        View("matmul", "numba.naive", "float32", "", "", (Listing("", "asm", (line("a", "fma", KERNEL),)),))
    )
    assert f"in_numba.py:{KERNEL}  c_ij += a[i, p] * b[p, j]</code>" in both


def test_two_views_stand_side_by_side_below_the_counts_of_their_loops():
    counts = {"flops": (2, 192), "bound by": ("latency", "FMA units")}
    text = html.page(Comparison(view(), view("cpp.packed"), counts))
    assert text.count('<section class="view">') == 2
    table = re.search(r'<div class="card compared">(.*?)</div>', text, re.DOTALL)[1]
    assert "<tr><td>flops</td><td>2</td><td>192</td></tr>" in table


def test_the_command_writes_the_page(tmp_path):
    file = tmp_path / "page.html"
    command = ["inspect", "matmul", "numpy.matmul", "--source", "--no-measure", "--html", str(file)]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.output == f"the page is in {file}\n"
    assert "matmul numpy.matmul" in file.read_text(encoding="utf-8")
    missing = CliRunner().invoke(main, [*command[:-1], str(tmp_path / "no" / "page.html")])
    assert missing.exit_code == 2
    assert f"there is no folder {tmp_path / 'no'}" in missing.output


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_in_a_browser_it_asks_for_nothing_fits_the_window_and_has_a_colour_for_each_kind(tmp_path):
    file = tmp_path / "two.html"
    html.write(Comparison(view(), view("cpp.packed"), {"flops": (2, 192)}), file)
    with Browser() as browser:
        for width in (360, 800, 1400):
            browser.resize(width, 800)
            browser.open(file)
            assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.errors == []
        assert set(browser.requests) == {file.absolute().as_uri()}
        colours = [
            browser.run(f"getComputedStyle(document.querySelector('.lines .k-{kind}')).color")
            for kind in ("fma", "load", "scalar")
        ]
        assert len(set(colours)) == 3
