"""The lessons: their code runs and prints what they show, their pictures are there, their answers are right, and the
commands and links in them exist."""

import contextlib
import io
import math
import os
import re
import shlex
from pathlib import Path
from urllib.parse import unquote, urlparse

import click
import numpy as np
import pytest
from click.testing import CliRunner
from loopnest.cli import main
from loopnest.layout.walk import picture_svg, walk
from loopnest.learn import EXERCISES, lesson, lessons
from loopnest.learn.lessons import DETAILS, PICTURE, terminal_text

ROOT = Path(__file__).parents[1]
PICTURES = lessons()[0].file.parent / "pictures"
LESSONS = {one.file.stem: one for one in lessons()}
PAGES = sorted(ROOT.glob("docs/**/*.md"))


FENCE = re.compile(r"^```python\n(.*?)^```$(?:\n\n```output\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
"""A block of code, and what it prints if the lesson shows that."""


def test_there_are_thirteen_and_each_has_an_exercise():
    assert [one.number for one in lessons()] == list(range(1, 14)) == list(EXERCISES)


@pytest.mark.parametrize("one", LESSONS.values(), ids=LESSONS)
def test_a_lesson_has_all_its_parts(one):
    headings = re.findall(r"^## (.*)$", one.text, re.MULTILINE)
    assert headings[-2:] == ["On paper", "Exercise"]
    assert "On your own machine" in headings
    assert any(heading.startswith("The formula") or heading == "The machine's limit" for heading in headings)
    assert PICTURE.search(one.text)
    assert any(printed for _, printed in FENCE.findall(one.text))
    assert len(DETAILS.findall(one.text)) >= 3
    assert f"loopnest exercise {one.number} --check" in one.text


@pytest.mark.parametrize("one", LESSONS.values(), ids=LESSONS)
@pytest.mark.slow
def test_a_lessons_code_runs_and_prints_what_is_shown(one):
    namespace = {}
    for block in FENCE.finditer(one.text):
        printed, lines_above = io.StringIO(), one.text.count("\n", 0, block.start(1))
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * lines_above + block[1], str(one.file), "exec"), namespace)
        if block[2] is not None:
            assert printed.getvalue() == block[2]


@pytest.mark.parametrize("order", ["ijk", "ikj"])
def test_the_picture_of_a_walk_has_the_words_of_the_command_layout(order):
    """Not all versions of matplotlib draw alike."""
    pytest.importorskip("matplotlib", reason="matplotlib draws them")
    kept = (PICTURES / f"04-walk-{order}.svg").read_text(encoding="utf-8")
    kept, drawn = (re.findall(r">([^<]+)<", svg) for svg in (kept, picture_svg(walk("matmul", order))))
    assert kept == drawn, f"loopnest layout matmul {order} --svg 04-walk-{order}.svg draws it anew"


def test_every_picture_is_shown_and_says_in_words_what_it_shows():
    shown = {Path(file).stem: words for one in lessons() for words, file in PICTURE.findall(one.text)}
    assert set(shown) == {file.stem for file in PICTURES.glob("*.svg")}
    assert all(len(words) > 40 for words in shown.values())


def _softmax(z):
    return np.exp(z) / np.exp(z).sum()


ANSWERS = {
    (1, 1): [f"**{np.dot([1, 2, 3], [4, -5, 6])}**"],
    (1, 2): [f"**{np.dot([3, 4], [4, 3]) / (5 * 5):g}**"],
    (2, 1): [f"= {v}" for v in (np.array([[1, 2], [3, 4]]) @ [[5, 6], [7, 8]]).ravel()],
    (2, 2): [f"= {v}" for v in (np.array([[5, 6], [7, 8]]) @ [[1, 2], [3, 4]]).ravel()],
    (2, 3): [f"{2 * 1024**3:,}", f"**{2 * 1024**3 / 100e9 * 1e3:.0f} ms**"],
    (3, 1): [
        "(**{}, {}**)".format(*np.empty((5, 7), np.int8).strides),
        "a[{}, {}]".format(*np.unravel_index(23, (5, 7))),
    ],
    (3, 2): [f"**{np.empty((2, 3, 4), np.int8).strides}**"],
    (3, 3): [f"**{np.broadcast_shapes((8, 1, 6), (7, 1))}**"],
    (4, 1): [f"**{32 * 1024 // 64}**", f"**{32 * 1024 // 4}**", "**90 × 90**"],
    (4, 2): ["**1024**", f"**1/{64 // 4}**"],
    (4, 3): [f"**{math.isqrt(48 * 1024 // 12)}**"],
    (5, 1): [f"**{4 * 2}**"],
    (5, 2): [f"**{2 * 16}**", f"factor of {int(32 / (1 / 4))}"],
    (5, 3): [f"**{1003 % 64}**"],
    (6, 1): [f"**{3 * 2 * 8 * 2} GFLOP/s**"],
    (6, 2): [f"**{(32 - 3) // 2} rows**"],
    (6, 3): [f"**{(2 + 14) / 28:.2f}**"],
    (7, 1): [f"**{1 / (0.1 + 0.9 / 4):.1f}**", f"**{1 / 0.1:.0f}**"],
    (7, 2): [", ".join(str(100 * t // 8) for t in range(9))],
    (8, 1): [f"**{math.ceil(1000 / 16) ** 2}**", f"**{math.ceil(1000 / 16) ** 2 * 256 - 1000**2:,}**"],
    (8, 2): [f"**{2 * 16 * 16 * 4}**"],
    (9, 1): [f"**{max(2 * 3 - 1 * 4 + 1, 0)}**"],
    (9, 2): ["**({:g}, {:g})**".format(*_softmax(np.array([0, math.log(3)])))],
    (9, 3): [f"**{-math.log(0.75):.4f}**"],
    (9, 4): [f"**{math.log(10):.3f}**"],
    (9, 5): [f"**{768 * 3072 + 3072:,}**", f"**{2 * 128 * 768 * 3072 / 1e6:.0f} million**"],
    (10, 1): ["**(1, −2)**"],
    (10, 2): ["**(−2/3, 1/3, 1/3)**"],
    (10, 3): [f"**−{2 * 3}**"],
    (11, 1): [f"**{2 * 0.8**2:g}**"],
    (11, 3): [f"**v = {1 / (1 - 0.9):.0f}**"],
    (11, 4): [f"**{2 * 4 * 124} MB**"],
    (11, 5): [f"**{7 * 4} bytes**", f"**{28 * 124e6 / 33e9:.2f} s**"],
    (12, 1): [f"**{768 * 3072 + 3072 + 3072 * 768 + 768:,}**"],
    (12, 3): [f"**{16 / (8 * 4)} flops a byte**"],
    (13, 1): [f"**{64 / 128 / 2}**", "**0.5**"],
    (13, 2): [f"**{(2**31 - 1) // 127**2:,}**"],
    (13, 3): [f"**{4 // 1} times**", f"**{4 // 2} times**"],
}
"""What must stand in the answer to a question, computed: by lesson and number of the question."""


@pytest.mark.parametrize(("number", "question"), ANSWERS)
def test_an_answer_has_the_numbers_that_come_out(number, question):
    _, answer = DETAILS.findall(lesson(number).text)[question - 1]
    for expected in ANSWERS[number, question]:
        assert expected in answer


def test_the_gradients_that_are_derived_on_paper_are_the_lab_s():
    import loopnest as ln

    np.testing.assert_allclose(ln.mse_backward(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]])), [[1, -2]])
    np.testing.assert_allclose(ln.cross_entropy_backward(np.zeros((1, 3)), np.array([0])), [[-2 / 3, 1 / 3, 1 / 3]])


def _commands():
    """Each line of the pages' shell blocks that calls loopnest, and each `loopnest …` of the lessons' text."""
    for page in PAGES:
        if page.parent.name != "lessons" and page.name != "first-ten-minutes.md":
            continue
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines()]
        inline = re.findall(
            r"(?<!`)`(loopnest [^`]*)`(?!`)", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        )
        for line in (*lines, *inline):
            words = shlex.split(line, comments=True)
            if words[:1] == ["loopnest"]:
                yield pytest.param(words[1:], id=f"{page.stem}: {' '.join(words)}")


@pytest.mark.parametrize("words", list(_commands()))
def test_a_command_of_the_pages_is_there_and_takes_these_arguments(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("exercise_08.cu", "mine.py"):
        Path(file).touch()
    command = main.get_command(click.Context(main), words[0])
    assert command is not None
    with command.make_context(words[0], words[1:]) as context:  # parses, and runs nothing
        assert isinstance(context, click.Context)


def _anchors(page):
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_pages_and_headings_that_are_there(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"(?<!`)\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(file), target


def test_a_terminal_gets_pictures_in_words_and_hidden_answers():
    text = terminal_text(lesson(1))
    assert "Three pairs of arrows" in text
    assert "loopnest lesson 1 --open" in text
    assert "**12**" not in text
    assert "<details>" not in text
    assert "loopnest lesson 5" in text  # where the page has a link
    assert "**12**" in terminal_text(lesson(1), answers=True)


def test_the_command_lists_and_shows_lessons():
    listed = CliRunner().invoke(main, ["lesson"])
    assert listed.exit_code == 0
    assert all(one.title.split(",")[0] in listed.output for one in lessons())
    shown = CliRunner().invoke(main, ["lesson", "3"])
    assert "Layout, strides and broadcasting" in shown.output
    wrong = CliRunner().invoke(main, ["lesson", "14"])
    assert wrong.exit_code == 2
    assert "there is no lesson 14; expected a number from 1 to 13" in " ".join(wrong.output.split())


@pytest.mark.parametrize("one", LESSONS.values(), ids=LESSONS)
def test_code_in_the_terminal_is_never_folded(one, monkeypatch):
    for name, value in (("COLUMNS", "60"), ("FORCE_COLOR", "1"), ("TERM", "xterm-256color")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(click, "echo_via_pager", lambda text: click.echo(text, color=True))
    text = CliRunner().invoke(main, ["lesson", str(one.number)], color=True).output
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert text.count("\x1b[") > 20
    code = "".join(re.findall(r"(?ms)^```\w+\n(.*?)^```$", terminal_text(one)))
    assert {f" {line.rstrip()}" for line in code.splitlines() if line} <= set(lines)
    assert all(line == line.rstrip() for line in lines)
    assert sum(len(line) > 60 for line in lines) <= sum(len(line) >= 60 for line in code.splitlines())


def test_pictures_are_opened_as_one_page(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    said = CliRunner().invoke(main, ["lesson", "4", "--open"])
    assert "no browser opened it" in said.stderr
    (page,) = (Path(unquote(urlparse(address).path)).read_text(encoding="utf-8") for address in opened)
    assert page.count("<svg") == page.count("<figcaption>") == 2
    assert "the order ikj: every matrix" in page.lower()


def progress_shown():
    listed = CliRunner().invoke(main, ["lesson"]).output
    return dict(re.findall(r"(?m)^ *(\d+)  (read|solved)  ", listed)), listed


def test_lessons_that_were_read_and_exercises_that_were_right_are_shown(tmp_path):
    assert progress_shown()[0] == {}
    CliRunner().invoke(main, ["lesson", "3"])
    for number in (2, 10):
        (tmp_path / EXERCISES[number].file).write_text(EXERCISES[number].solution.read_text())
        assert CliRunner().invoke(main, ["exercise", str(number), str(tmp_path), "--check"]).exit_code == 0
    states, listed = progress_shown()
    assert states == {"2": "solved", "3": "read", "10": "solved"}
    assert f"2 of {len(EXERCISES)} exercises solved" in listed
    assert "loopnest lesson 1 " in listed


@pytest.mark.parametrize("damage", ["unwritable", "damaged", "no home"])
def test_progress_that_cannot_be_kept_stops_nobody_and_then_all_hints_are_printed(tmp_path, monkeypatch, damage):
    place = tmp_path / "data" / "loopnest" / "progress.json"
    if damage == "unwritable":
        (tmp_path / "data").write_text("a file where the folder would be")
    elif damage == "damaged":
        place.mkdir(parents=True)
    else:
        monkeypatch.delenv("XDG_DATA_HOME")
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert CliRunner().invoke(main, ["lesson", "3"]).exit_code == 0
    hints = CliRunner().invoke(main, ["exercise", "3", "--hint"])
    assert hints.exit_code == 0
    assert all(f"hint {n} of 3" in hints.output for n in (1, 2, 3))
    assert progress_shown()[0] == {}


def test_a_damaged_record_counts_as_a_beginning(tmp_path):
    place = tmp_path / "data" / "loopnest" / "progress.json"
    place.parent.mkdir(parents=True)
    for text in ("", "[]", '{"read": [-1]}', '{"hints": {"x": 1}}', "\x00"):
        place.write_text(text)
        assert progress_shown()[0] == {}
    CliRunner().invoke(main, ["lesson", "3"])
    assert progress_shown()[0] == {"3": "read"}


def test_what_the_first_ten_minutes_have_one_write_is_right():
    text = (ROOT / "docs" / "first-ten-minutes.md").read_text(encoding="utf-8")
    kernels = [
        code for code in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if "def matmul" in code
    ]
    assert len(kernels) == 2
    a, b = np.random.default_rng(0).random((7, 5)), np.random.default_rng(1).random((5, 9))
    for code in kernels:
        namespace = {}
        exec(code, namespace)
        out = np.full((7, 9), np.nan)
        namespace["matmul"](a, b, out)
        np.testing.assert_allclose(out, a @ b)
