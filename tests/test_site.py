"""The site builds without a warning, and its pages load nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for needed in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(needed, reason="the site needs `pip install 'loopnest[docs]'`")
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", ROOT / "docs", built / "html"]
    done = subprocess.run([*command, "-d", built / "doctrees"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return built / "html"


def test_every_page_of_docs_is_in_it(site):
    pages = {p.relative_to(ROOT / "docs").with_suffix(".html") for p in (ROOT / "docs").glob("**/*.md")}
    assert len(pages) > 20
    assert [page for page in pages if not (site / page).exists()] == []


def test_its_pages_load_nothing_from_elsewhere(site):
    for page in site.glob("**/*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe)[^>]*src="https?://[^"]*"', text), page.name
        assert not re.findall(r'<link[^>]*rel="(?:stylesheet|preload)[^>]*href="https?://[^"]*"', text), page.name


def test_its_links_and_pictures_lead_to_files_that_are_there(site):
    for page in site.glob("**/*.html"):
        targets = re.findall(r'(?:href|src)="(?!https?:|#|data:|mailto:)([^"#?]+)', page.read_text(encoding="utf-8"))
        assert [t for t in targets if not (page.parent / t).exists()] == [], page.name


def test_links_between_pages_are_links_and_pages_have_no_red_boxes(site):
    """A page whose name a folder has, too, is a page; a highlighter's unknown character is plain text."""
    for page in site.glob("**/*.html"):
        assert not re.findall(r'<span class="xref myst">[^/]*\.md', page.read_text(encoding="utf-8")), page.name
    assert 'href="training.html"' in (site / "parallel.html").read_text(encoding="utf-8")
    assert ".highlight .err { border: 0;" in (site / "_static" / "site.css").read_text(encoding="utf-8")


def test_the_front_page_has_the_four_groups_the_picture_and_the_install_line(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>(\w+)<", text) == ["Learn", "Measure", "Use", "Build"]
    assert "ladder.svg" in text
    assert "loopnest bench matmul --quick" in re.sub("<[^>]*>", "", text)


def test_answers_are_hidden_until_they_are_asked_for(site):
    text = (site / "lessons" / "02-matrix-product.html").read_text(encoding="utf-8")
    assert text.count("<details>") == 4
    assert "<details open" not in text
