"""The page of `loopnest watch`: a local server, each save of a file, and what a browser makes of them."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner
from loopnest.check.inside import Inside, inspect_file
from loopnest.check.records import Verdict
from loopnest.check.watch import on_each_save
from loopnest.cli import main
from loopnest.inspect import elf
from loopnest.inspect.records import Line, Listing
from loopnest.report.watch import Page, save_of

HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"


def made(source, code=(), before=(), *, sentence="as said", details=()):
    """A save without a judge: lines of source and of machine code, each from line 1 of the source."""
    verdict = Verdict("matmul", "/mine.c", "wrong", False, "all-zeros", sentence, details)
    lines = tuple(Line(text, "add", ("/mine.c", 1), n, n == 0) for n, text in enumerate(code))
    inside = Inside(verdict, "gcc", "-O3", (Listing("matmul", "asm", lines),) if code else (), None, "not built")
    return save_of("\n".join(source), inside, before)


@pytest.fixture
def page():
    with Page(Path("mine.c"), "matmul") as page:
        yield page


def asked(address, **headers):
    """Status and text of the answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_only_this_host_and_the_whole_address_are_answered(page):
    start, token = page.address.rstrip("/").rsplit("/", 1)
    assert start.startswith("http://127.0.0.1:")
    assert len(token) >= 32
    assert page._server.server_address[0] == "127.0.0.1"
    status, text = asked(page.address)
    assert status == 200
    assert "mine.c as matmul" in text
    assert asked(page.address + "state")[0] == 200
    for address in (start, f"{start}/", f"{start}/state", f"{start}/{token[:-1]}/", f"{start}/{token}x/", f"{start}//"):
        assert asked(address)[0] == 404
    assert asked(page.address + "../etc/passwd")[0] == 404
    for host in ("evil.example", "127.0.0.1", "evil.example:80"):
        status, text = asked(page.address, Host=host)
        assert status == 403
        assert "matmul" not in text


def test_news_come_when_there_are_some_and_earlier_saves_once(page):
    page.say("", made(["one"]))
    known = json.loads(asked(page.address + "state")[1])
    assert [save["number"] for save in known["saves"]] == [1]
    news = []
    asking = threading.Thread(target=lambda: news.append(page.state(known["version"], after=1)))
    asking.start()
    page.say("timing")
    asking.join(20)
    assert (news[0]["busy"], news[0]["saves"]) == ("timing", [])
    page.say("", made(["two"], before=page.saves))
    assert [save["number"] for save in page.state(-1, after=1)["saves"]] == [2]


def test_lines_that_were_not_there_before_are_marked():
    first = made(["a", "b", "c"], ["mov eax, 1", "jne 0x1180"])
    assert not any(row.new for row in (*first.source, *first.code))
    broken = made(["a", "b", "c"], [], [first])
    code = ["mov eax, 1", "vaddps zmm0, zmm1, zmm2", "jne 0x11c0"]
    second = made(["a", "new", "b", "c"], code, [first, broken])
    assert second.number == 3
    assert [row.new for row in second.source] == [False, True, False, False]
    assert [row.new for row in second.code] == [False, True, False]  # the jump's target moved, and it is the same jump


def test_what_a_file_and_a_compiler_say_is_no_html_of_the_page(page):
    page.say("", made([HOSTILE], [HOSTILE], sentence=HOSTILE, details=(HOSTILE,)))
    assert HOSTILE not in page.html()
    assert "<img" not in page.html()


def test_the_page_opens_without_its_address_in_a_command_line(tmp_path, monkeypatch):
    file, opened = tmp_path / "mine.py", []
    file.write_text("def dot(x, y):\n    return x @ y\n")
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(Path(address.removeprefix("file://"))))
    monkeypatch.setattr("loopnest.check.watch.on_each_save", lambda file, judge: ())
    result = CliRunner().invoke(main, ["watch", str(file), "--op", "dot", "--open"])
    assert result.exit_code == 0
    assert result.output.split()[2] in opened[0].read_text()
    assert opened[0].parent.stat().st_mode & 0o077 == 0


def test_a_file_that_an_editor_moves_away_meanwhile_is_waited_for(tmp_path):
    file, judged = tmp_path / "mine.py", []
    file.write_text("one")

    def judge():
        judged.append(file.exists())
        if len(judged) == 1:
            file.unlink()
            threading.Timer(0.3, lambda: file.write_text("two")).start()
            raise ValueError("there is no file")
        return Verdict("dot", str(file), "right", True, None, "right")

    assert next(on_each_save(file, judge)).accepted
    assert len(judged) == 2


@pytest.mark.slow
def test_a_file_that_hangs_is_ended_and_shown(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def dot(x, y):\n    while True:\n        pass\n")
    (inside,) = inspect_file(file, "dot", "asm", "source", seconds=0, time_limit=3)
    save = save_of(file.read_text(), inside, ())
    assert save.verdict == "timed-out (endless-loop)"
    assert not save.right


# --- in a browser


@pytest.mark.slow
def test_hostile_text_is_shown_as_text_and_keys_go_through_saves(page, browser):
    first = made(["first"])
    page.say("", first)
    page.say("", made([HOSTILE], [HOSTILE], [first], sentence=HOSTILE, details=(HOSTILE,)))
    for width in (1400, 500):
        browser.resize(width)
        browser.open(page.address)
        assert browser.run("document.title") == "mine.c as matmul"
        assert HOSTILE in browser.run("document.getElementById('source').textContent")
        assert HOSTILE in browser.run("document.getElementById('verdict').textContent")
        assert browser.run("document.images.length") == 0
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        assert browser.run("document.querySelectorAll('#source .new').length") == 1
    browser.run("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft', bubbles: true}))")
    assert browser.run("document.activeElement.getAttribute('aria-label')").startswith("save 1, ")
    assert "first" in browser.run("document.getElementById('source').textContent")
    assert browser.errors == []
    assert all(url.startswith((page.address, "data:")) for url in browser.requests)


RIGHT = """extern "C" void sum(const float* x, float* result, long m, long n) {
    double total = 0;
    for (long i = 0; i < m * n; i++) total += x[i];
    *result = (float)total;
}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None or sys.platform != "linux", reason="a C++ compiler, on Linux")
def test_each_save_comes_to_the_page_which_can_be_kept_as_one_file(browser, tmp_path):
    file = tmp_path / "mine.cpp"
    file.write_text(RIGHT)
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += f"from loopnest.cli import main; main(['watch', {str(file)!r}, '--op', 'sum', '--time-limit', '60'])"
    watching = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        browser.resize(1400)
        browser.open(watching.stdout.readline().split()[-1])
        browser.until("document.getElementById('verdict').textContent.startsWith('✓ right')")
        assert browser.run("[...document.querySelectorAll('#ladder .own td')].map(x => x.textContent)")[0] == "mine.cpp"
        if elf.why_not_here() is None:
            assert browser.run("document.querySelectorAll('#code .hot').length") > 0
            assert "here" not in browser.run("document.getElementById('source').textContent")
        file.write_text(RIGHT.replace("= (float)total", "= 2 * (float)total  /* here */"))
        browser.until("document.getElementById('verdict').textContent.startsWith('✗ wrong')")
        assert "/* here */" in browser.run("document.querySelector('#source .new').textContent")
        file.write_text(RIGHT.replace("total = 0", "totl = 0"))
        browser.until("document.getElementById('verdict').textContent.startsWith('✗ does-not-build')")
        assert "'total' was not declared" in browser.run("document.querySelector('#verdict pre').textContent")
        assert browser.run("document.querySelectorAll('#saves button').length") == 3
        kept = tmp_path / "kept.html"
        kept.write_text(browser.run("saved()"))
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 0
        browser.until("document.getElementById('live').textContent.startsWith('the watch has ended')")
        browser.errors.clear()  # of the server that is gone
        browser.open(kept)
        assert "does-not-build" in browser.run("document.getElementById('verdict').textContent")
        browser.run("document.querySelector('#saves button').click()")
        assert browser.run("document.getElementById('verdict').textContent").startswith("✓ right")
        assert browser.errors == []
        assert browser.requests == [kept.as_uri()]
    finally:
        watching.kill()
        watching.wait()
        watching.stdout.close()
