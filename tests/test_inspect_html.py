"""The page of a view: one file that asks for nothing, and in a browser lines light what belongs to them."""

import re
from html.parser import HTMLParser

import loopnest as ln
import pytest
from browser import CHROMIUM, Browser
from click.testing import CliRunner
from loopnest.cli import main
from loopnest.inspect import html
from loopnest.inspect.compare import Row
from loopnest.inspect.records import Bound, Instruction, Line, Listing, Loop, View
from loopnest.inspect.source import source_lines

SOURCE = "loopnest/operations/matmul/in_numba.py"
KERNEL = next(n for n, line in enumerate(source_lines(SOURCE), 1) if "c_ij += a[i, p] * b[p, j]" in line)


def line(text, kind, number=None, address=None, hot=False):
    return Line(text, kind, (SOURCE, number) if number else None, address, hot)


def view(impl="numba.naive", notes=()):
    """A made-up view of a rung: two instructions before the loop, four in it, and text that is no markup."""
    lines = (
        line("push rbx", "scalar", KERNEL - 2, 0x10),
        line("xor eax, eax <script>alert(1)</script>", "scalar", None, 0x11),
        line("vmovss xmm1, dword ptr [rax]", "load", KERNEL, 0x12, hot=True),
        line("vfmadd231ss xmm0, xmm1, dword ptr [rbx]", "fma", KERNEL, 0x16, hot=True),
        line("add rax, 4", "scalar", KERNEL - 1, 0x1B, hot=True),
        line("jne 0x12", "branch", KERNEL - 1, 0x1F, hot=True),
        *(line(f"nop {n}", "other", KERNEL + 1, 0x40 + n) for n in range(120)),
    )
    loop = Loop(
        instructions=tuple(Instruction(n, 1, part.text.split()[0], "", part.kind) for n, part in enumerate(lines[2:6])),
        counts={"fma": 1, "load": 1, "scalar": 1, "branch": 1, "loads": 2, "stores": 0, "spills": 0},
        flops=2,
        bytes=8,
        vector_bits=0,
        itemsize=4,
        accumulators=1,
        latency=4.0,
        bound=Bound("latency", 4.0, 0.02, "Bound by latency & nothing else.", {"latency": 4.0, "loads": 1.0}, "Zen 4"),
    )
    held = {"gpu": {"name": "H100"}, "blocks": 3, "by": {"warps": 8, "registers": 3}}
    listing = Listing("naive <float32>", "asm", lines, loop, ("A note.",), {"compiler": "made up", "occupancy": held})
    return View("matmul", impl, "float32", "v4", "The definition, compiled.", (listing,), notes=notes)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "view.html"
    html.write([view()], path)
    return path


class Tags(HTMLParser):
    """Whether tags are closed, and which there are."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.ids = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_one_file_whose_text_is_escaped_and_whose_tags_are_closed(file):
    text = file.read_text(encoding="utf-8")
    tags = Tags(text)
    assert tags.open == []
    assert len(set(tags.ids)) == len(tags.ids)
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "url(" not in text
    assert "@import" not in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "Bound by latency &amp; nothing else." in text
    assert "naive &lt;float32&gt;" in text
    assert len(text) < 100_000


def test_each_line_has_the_number_of_its_source_line_and_the_source_has_it_too(file):
    text = file.read_text(encoding="utf-8")
    items = [attributes for tag, attributes in Tags(text).seen if tag == "li" and attributes.get("role") == "option"]
    of_fma = next(one["data-s"] for one in items if "k-fma" in one.get("class", ""))
    assert sum(one.get("data-s") == of_fma for one in items) == 3, "two instructions and their source line"
    source = re.search(rf'<span class="n">{KERNEL}</span><span class="made"[^>]*>(\d+)</span><code>(.*?)</code>', text)
    assert source[1] == "2"
    assert source[2].strip() == "c_ij += a[i, p] * b[p, j]"


def test_source_is_shown_without_the_indentation_that_all_of_it_has(tmp_path):
    (tmp_path / "deep.cu").write_text("        for (;;)\n            f();\n")
    deep = (Line("a", "load", (str(tmp_path / "deep.cu"), 2), 1),)
    text = html.page([View("matmul", "mine.deep", "float32", "", "", (Listing("", "sass", deep),))])
    assert re.findall(r'<span class="made"[^>]*>\d*</span><code>(.*?)</code>', text) == ["for (;;)", "    f();"]


def test_what_is_far_from_all_lines_of_source_is_left_out():
    far = (line("a", "load", 20, 1), line("b", "store", 200, 2))
    text = html.page([View("matmul", "numba.naive", "float32", "", "", (Listing("", "asm", far),))])
    shown = [int(n) for n in re.findall(r'<span class="n">(\d+)</span><span class="made"', text)]
    assert shown == [*range(17, 24), *range(197, 204)]
    assert text.count("⋯") == 1


def test_a_source_that_is_not_here_leaves_its_line_numbers():
    gone = (Line("a", "load", ("/nowhere/kernel.cu", 7), 1),)
    text = html.page([View("matmul", "mine.gone", "float32", "", "", (Listing("", "sass", gone),))])
    assert "the file is not on this machine" in text
    assert '<span class="n">7</span>' in text


def test_a_source_listing_has_no_second_source_beside_it():
    view = ln.matmul["cpp.naive"].inspect("source", measure=False)
    text = html.page([view])
    assert text.count('class="pane source"') == 0
    assert text.count('class="pane code"') == len(view.listings)


def test_two_views_stand_beside_each_other_below_what_their_loops_have():
    rows = (Row("flops", 2, 192), Row("bound by", "latency", "FMA units"), Row("cycles at least", 4.0, 4.0))
    text = html.page([view(), view("cpp.packed")], rows)
    assert text.count('<section class="view">') == 2
    table = re.search(r'<div class="card compared">(.*?)</div>', text, re.DOTALL)[1]
    assert "<tr><td>flops</td><td>2</td><td>192</td></tr>" in table
    assert "<tr><td>cycles at least</td><td>4</td><td>4</td></tr>" in table
    tags = Tags(text)
    assert len(set(tags.ids)) == len(tags.ids)
    assert "--diff cpp.packed" in text


def test_no_view_is_refused():
    with pytest.raises(ValueError, match="views is empty, expected at least one View"):
        html.page([])


def test_the_command_writes_the_page(tmp_path):
    file = tmp_path / "page.html"
    command = ["inspect", "matmul", "numpy.matmul", "--source", "--no-measure", "--html", str(file)]
    told = CliRunner().invoke(main, command, catch_exceptions=False)
    assert told.output == f"the page is in {file}\n"
    assert "matmul numpy.matmul" in file.read_text(encoding="utf-8")
    missing = CliRunner().invoke(main, [*command[:-1], str(tmp_path / "no" / "page.html")])
    assert missing.exit_code == 2
    assert f"there is no folder {tmp_path / 'no'}" in missing.output


# --- in a browser


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with Browser() as opened:
        yield opened


@pytest.fixture
def opened(browser, file):
    browser.resize(1400, 900)
    browser.open(file)
    return browser


def lit(browser):
    return browser.run("[...document.querySelectorAll('.lit code')].map(code => code.textContent.trim())")


FMA = "document.querySelector('.code .k-fma')"
PANE = "document.querySelector('.code .lines')"


def place_of(browser, script):
    browser.run(f"{script}.scrollIntoView({{block: 'center'}})")
    place = f"const r = {script}.getBoundingClientRect(); return [r.x + 150, r.y + r.height / 2];"
    return browser.run(f"(() => {{ {place} }})()")


@needs_browser
def test_it_opens_without_errors_or_requests(opened, file):
    assert opened.errors == []
    assert opened.requests == [file.absolute().as_uri()]


@needs_browser
def test_the_pointer_over_an_instruction_lights_its_source_line_and_the_other_way_round(opened):
    assert lit(opened) == []
    opened.hover(*place_of(opened, FMA))
    both = {"c_ij += a[i, p] * b[p, j]", "vmovss xmm1, dword ptr [rax]", "vfmadd231ss xmm0, xmm1, dword ptr [rbx]"}
    assert set(lit(opened)) == both
    for_p = f"[...document.querySelectorAll('.source li')].find(l => l.textContent.startsWith('{KERNEL - 1}'))"
    opened.hover(*place_of(opened, for_p))
    assert set(lit(opened)) == {"for p in range(k):", "add rax, 4", "jne 0x12"}
    opened.hover(5, 5)
    assert lit(opened) == []


@needs_browser
def test_a_click_holds_the_light_and_brings_the_other_side_into_view(opened):
    opened.run("document.querySelector('.code .lines').scrollTop = 5000")
    opened.run(f"[...document.querySelectorAll('.source li')].find(l => l.textContent.startsWith('{KERNEL}')).click()")
    opened.hover(5, 5)
    assert len(lit(opened)) == 3
    pane, line = (opened.run(f"(r => [r.top, r.bottom])({what}.getBoundingClientRect())") for what in (PANE, FMA))
    assert pane[0] <= line[0] < line[1] <= pane[1]
    opened.run("document.querySelector('h1').click()")
    assert lit(opened) == []


def press(browser, key):
    browser.run(
        "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', "
        f"{{key: '{key}', bubbles: true, cancelable: true}}))"
    )


@needs_browser
def test_the_keyboard_walks_the_lines_and_goes_over_to_what_is_lit(opened):
    opened.run("document.querySelector('.code .lines').focus()")
    press(opened, "Home")
    assert "push rbx" in lit(opened)
    for _ in range(3):
        press(opened, "ArrowDown")
    assert "vfmadd231ss xmm0, xmm1, dword ptr [rbx]" in lit(opened)
    described = "document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).textContent"
    assert "vfmadd231ss" in opened.run(described)
    press(opened, "Enter")
    assert opened.run("document.activeElement.closest('.source') !== null")
    assert "c_ij += a[i, p] * b[p, j]" in opened.run(described)
    press(opened, "Escape")
    assert lit(opened) == []


@needs_browser
def test_a_listing_begins_at_its_hot_loop(browser, tmp_path):
    far = (*(line(f"nop {n}", "other", None, n) for n in range(500)), line("hot", "fma", KERNEL, 999, hot=True))
    file = tmp_path / "far.html"
    html.write([View("matmul", "numba.naive", "float32", "", "", (Listing("", "asm", far),))], file)
    browser.open(file)
    pane = "document.querySelector('.code .lines')"
    assert browser.run(f"{pane}.scrollTop > 0 && {pane}.scrollTop + {pane}.clientHeight >= {pane}.scrollHeight - 20")


@needs_browser
def test_it_is_dark_and_light_as_the_system_is_and_as_the_switch_says(opened):
    colour = "getComputedStyle(document.body).backgroundColor"
    of_fma = f"getComputedStyle({FMA}).color"
    opened.prefer("light")
    light, light_fma = opened.run(colour), opened.run(of_fma)
    opened.prefer("dark")
    dark, dark_fma = opened.run(colour), opened.run(of_fma)
    assert light != dark
    assert light_fma != dark_fma
    opened.run("document.getElementById('theme').click()")
    assert (opened.run(colour), opened.run(of_fma)) == (light, light_fma)
    opened.prefer("light")


@needs_browser
@pytest.mark.parametrize("width", [360, 800, 1400])
def test_nothing_is_wider_than_the_window(browser, tmp_path, width):
    file = tmp_path / "two.html"
    html.write([view(notes=("A note of the view.",)), view("cpp.packed")], file, (Row("flops", 2, 192),))
    browser.resize(width, 800)
    browser.open(file)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("[...document.querySelectorAll('.lines')].every(pane => pane.clientHeight > 100)")


@needs_browser
def test_kinds_are_told_by_colour_and_in_the_legend(opened):
    colours = opened.run(
        "Object.fromEntries([...document.querySelectorAll('.legend span')]"
        ".map(s => [s.textContent, getComputedStyle(s).color]))"
    )
    assert list(colours) == ["FMA", "load", "scalar", "branch", "other"]
    assert len({colours["FMA"], colours["load"], colours["scalar"]}) == 3
    assert opened.run(f"getComputedStyle({FMA}).color") == colours["FMA"]
