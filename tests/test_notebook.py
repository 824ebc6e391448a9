"""Notebooks: operations, rungs, views, duels and verdicts as HTML; %%kernel; docs/notebook.ipynb, run."""

import html
import re
import sys
from pathlib import Path

import loopnest as ln
import pytest
from loopnest.check import Verdict
from loopnest.inspect.records import Instruction, Line, Listing, View
from loopnest.operation import Implementation
from loopnest.output.notebook import printed
from rich.text import Text

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the judge needs Linux")
HOSTILE = "<script>alert('a')</script>"


class Shell:
    """What IPython's shell does for an extension."""

    def __init__(self):
        self.magics = {}

    def register_magic_function(self, function, kind, name):
        self.magics[kind, name] = function


@pytest.fixture(scope="module")
def kernel():
    shell = Shell()
    ln.load_ipython_extension(shell)
    return shell.magics["cell", "kernel"]


def test_an_operation_shows_its_ladder_and_why_rungs_are_missing_once(monkeypatch):
    monkeypatch.setattr(Implementation, "why_unavailable", lambda k: HOSTILE if k.backend == "cuda" else None)
    shown = ln.matmul._repr_html_()
    assert all(f"<td>{k.id}</td><td>{html.escape(k.headline)}</td>" in shown for k in ln.matmul)
    assert shown.count(f": {html.escape(HOSTILE)}</p>") == 1
    assert "<script" not in shown


def test_a_rung_shows_its_lesson_and_its_source():
    shown = ln.matmul["cpp.blocked"]._repr_html_()
    text = re.sub(r"<[^>]*>", "", shown)
    assert "Cache blocking" in text
    assert "template &lt;class T&gt;" in text
    assert shown.count("<details>") == shown.count("</details>") == 1


def test_a_view_is_what_inspect_prints():
    fma = Instruction(0x40, 6, "vfmadd231ps", "zmm1, zmm2, zmm3", "fma", lanes=16, itemsize=4)
    lines = (Line(fma.text, fma.kind, address=fma.address, hot=True), Line("ret", "branch", address=0x46))
    view = View("matmul", "cpp.packed", "float32", "v4", "Packing.", (Listing(HOSTILE, "asm", lines),))
    shown = view._repr_html_()
    assert "vfmadd231ps zmm1, zmm2, zmm3" in shown
    assert "▌40" in shown
    assert HOSTILE not in shown


def test_a_verdict_is_escaped_and_in_the_palettes_colours_only():
    shown = Verdict("matmul", "mine.py", "wrong", False, "last-row", HOSTILE, output=HOSTILE)._repr_html_()
    assert "wrong (last-row)" in shown
    assert shown.count("&lt;script&gt;") == 2
    assert "<script" not in shown
    styles = re.findall(r'style="([^"]*)"', shown)
    assert styles
    assert all(re.fullmatch(r"(color:var\(--[a-z-]+\))?;?(font-weight:600)?", style) for style in styles)


def test_a_colour_without_a_name_in_the_palette_is_the_texts_own():
    assert printed(Text("a", style="#123456"), Text("b", style="dim")) == (
        '<pre>a\n<span style="color:var(--faint)">b</span></pre>'
    )


@needs_linux
def test_kernel_judges_the_cell_and_counts_lines_as_the_notebook_does(kernel):
    cell = "def matmul(a, b):\n    raise ValueError('no')\n"
    verdict = kernel("matmul --seconds 0", cell)
    assert verdict.outcome == "raised"
    assert "cell.py:3: " in verdict.sentence  # the line with %%kernel is the first
    assert kernel("matmul --lang c", "int matmul(").outcome == "does-not-build"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("matmull", "no operation is called 'matmull'; did you mean matmul?"),
        ("", "Missing argument 'OPERATION'"),
        ("matmul --lang rust", "'rust' is not one of"),
        ("matmul --watch", "No such option"),
        ("matmul 'a", "No closing quotation"),
    ],
)
def test_a_wrong_line_is_one_line_of_words(kernel, line, said, capsys):
    assert kernel(line, "") is None
    assert said in capsys.readouterr().err


def test_kernel_has_a_help(kernel, capsys):
    assert kernel("--help", "") is None
    assert "--memory-limit" in capsys.readouterr().out


@pytest.mark.slow
@needs_linux
def test_the_documents_notebook_runs():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for package in ("ipykernel", "capstone", "elftools"):
        pytest.importorskip(package)
    notebook = nbformat.read(Path(__file__).parents[1] / "docs" / "notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit it without results"
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = ["".join(str(out.get("data", {})) for out in cell.outputs) for cell in notebook.cells if "outputs" in cell]
    texts = (
        "array",
        "cpp.blocked",
        "lesson",
        "hot loop",
        "as fast as|unresolved",
        "",
        "cell.py as",
        "right",
        "off-by-one",
    )
    assert len(shown) == len(texts)
    for text, found in zip(texts, shown, strict=True):
        assert re.search(text, found), found
    assert sum("loopnest" in found and "text/html" in found for found in shown) == 6
