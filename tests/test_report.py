"""The report: its sentences and figures are the records', and in a browser it works."""

import dataclasses
import html
import json
import re
import statistics

import loopnest as ln
import made_up
import pytest
from click.testing import CliRunner
from loopnest import report
from loopnest.bench.records import Results, report_for
from loopnest.bench.tables import percent
from loopnest.cli import main
from loopnest.output.text import duration, three_digits, times
from loopnest.report.figures import Indexed, figures
from loopnest.report.findings import findings

pytest.importorskip("matplotlib", reason="reports need matplotlib: pip install 'loopnest[bench]'")

RUN = made_up.run()


@pytest.fixture(scope="module")
def page():
    return report.page(RUN)


@pytest.fixture(scope="module")
def drawn():
    return figures(Indexed(RUN.records), made_up.CARD)


@pytest.fixture(scope="module")
def file(page, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def embedded(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


# --- the sentences


def test_the_first_sentence_says_which_layout_is_slow_by_how_much_and_why():
    first = findings(RUN.records)[0]
    slow, fast = first.records
    assert (slow.impl.endswith("column_wise"), fast.impl.endswith("row_wise")) == (True, True)
    assert slow.workload == fast.workload
    factor = slow.best / fast.best
    assert factor == pytest.approx(7.3)
    assert first.claim == "Walking a row-major matrix by columns took 7.3× as long as by rows"
    assert "64 bytes for 4" in first.reason


def test_a_sentence_is_of_the_cache_line_that_the_machine_has():
    assert "128 bytes for 4" in findings(RUN.records, line=128)[0].reason


def test_every_ratio_in_a_sentence_is_that_of_its_records():
    compared = [finding for finding in findings(RUN.records) if "×" in finding.claim and len(finding.records) == 2]
    assert len(compared) >= 4
    for finding in compared:
        slow, fast = finding.records
        by_time, by_rate = slow.best / fast.best, (fast.flops / fast.best) / max(1, slow.flops / slow.best)
        ratio = re.search(r"([\d.,]+×)", finding.claim)[1]
        assert ratio in {times(by_time), times(by_rate)}, finding.claim


def test_loop_orders_are_explained_by_their_innermost_loop():
    (finding,) = [f for f in findings(RUN.records) if "six orders" in f.claim]
    slow, fast = finding.records
    assert slow.case[-1] == "i"
    assert fast.case[-1] == "j"
    assert f"{slow.case} took 20.0× as long as {fast.case}" in finding.claim
    assert "down a column of a and of c" in finding.reason


def test_a_sentence_has_the_simulators_bytes_and_does_not_blame_caches_that_move_no_more():
    first = findings(RUN.records)[0]
    assert first.reason.endswith("Simulated: 1.02 MB between L1 and L2 instead of 64.0 kB.")
    slow, fast = first.records
    same = [dataclasses.replace(slow, traffic=fast.traffic), fast]
    assert findings(same)[0].reason.endswith("the instructions differ.")
    unknown = [dataclasses.replace(slow, traffic=None), fast]
    assert "imulated" not in findings(unknown)[0].reason


def test_no_sentence_is_made_without_its_records():
    assert findings([r for r in RUN.records if r.suite == "calls"]) == []
    gelu = findings([r for r in RUN.records if r.suite == "gelu"])
    assert [finding.about for finding in gelu] == ["roofline"]


def test_no_sentence_claims_what_was_not_seen():
    """Both ways took the same time: then nothing is said about columns."""
    same = [r for r in RUN.records if r.study == "sum, along rows or down columns"]
    level = [dataclasses.replace(r, stats=made_up.stats(1.0)) for r in same]
    assert findings(level) == []


def test_what_beats_the_limit_is_said_to_be_wrong_and_is_no_best_result():
    wrong = made_up.at_percent("matmul", "numpy.matmul", "square-64", 150.0, ladder=True)
    right = made_up.at_percent("matmul", "cpp.packed", "square-64", 90.0, ladder=True)
    said = {finding.claim for finding in findings([wrong, right])}
    assert "its time beats the limit of" in report.page(dataclasses.replace(RUN, records=(wrong, right)))
    assert "The fastest matmul reached 90 % of the machine's limit" in said


# --- the page


def test_the_pages_numbers_are_the_files(page, tmp_path):
    RUN.save(tmp_path / "r.json")
    saved = json.loads((tmp_path / "r.json").read_text())["benchmarks"]
    data = embedded(page)
    assert len(data["rows"]) == len(saved)
    for row, benchmark in zip(data["rows"], saved, strict=True):
        shown, info, stats = dict(zip(data["columns"], row, strict=True)), benchmark["extra_info"], benchmark["stats"]
        names = ("operation", "impl", "workload", "case", "dtype", "flops", "bytes", "threads", "gflops", "percent")
        assert all(shown[name] == info[name] for name in names)
        assert (shown["best"], shown["median"]) == (stats["min"], stats["median"])
        assert shown["limit"] == info["limit"]["seconds"]


def test_the_title_says_what_was_measured_and_the_first_line_is_for_people(page):
    heading, about = (re.search(pattern, page)[1] for pattern in (r"<h1>(.*?)</h1>", r'<p class="about">(.*?)</p>'))
    assert re.fullmatch(r"How fast is each way of computing \w+, \w+, \w+ and \d+ more operations, and why\?", heading)
    assert re.fullmatch(r"\d+ results, measured on a processor, 4 cores, [\d-]+ [\d:]+ UTC", about)
    alone = dataclasses.replace(RUN, records=[r for r in RUN.records if r.operation == "gelu"])
    assert "<h1>How fast is each way of computing gelu, and why?</h1>" in report.page(alone)


def test_the_machines_state_is_at_the_end(page):
    state = html.escape(RUN.conditions.sentence()) if RUN.conditions else "loopnest 0.1.0, NumPy 2.4.6"
    assert page.count(state) == 1
    assert page.index(state) > page.index("</main>")


@pytest.mark.slow
def test_no_sentence_below_a_title_comes_twice(drawn):
    sentences = [sentence for figure in drawn for sentence in re.split(r"(?<=\.) ", figure.note) if sentence]
    assert sentences
    assert len(set(sentences)) == len(sentences)


def test_figures_have_a_mark_for_each_record_and_write_its_numbers(drawn):
    marked = {int(n) for figure in drawn for n in re.findall(r'data-record="(\d+)"', figure.svg)}
    ladders = {i for i, r in enumerate(RUN.records) if r.suite in ("gelu", "mlp", "matmul", "vectorization")}
    assert marked >= set(range(len(RUN.records))) - ladders
    ladder = next(figure for figure in drawn if figure.part == "ladders" and figure.operation == "matmul")
    shown = [int(n) for n in re.findall(r'data-record="(\d+)"', ladder.svg)]
    assert {RUN.records[n].impl for n in shown} == {r.impl for r in RUN.records if r.suite == "matmul"}
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", ladder.svg)
    for n in shown:
        assert f"{three_digits(RUN.records[n].gflops)} · {percent(RUN.records[n])} %" in texts


def test_each_part_has_its_figures(drawn):
    titles = [figure.title for figure in drawn]
    assert {figure.part for figure in drawn} == {"ladders", "layout", "vectorization", "sizes", "roofline"}
    operands = "matmul, operands row-major (N) or column-major (T)"
    assert [t for t in titles if t.startswith(operands)] == [f"{operands} · {w}" for w in ("square-512", "square-64")]
    assert {f.operation for f in drawn if f.part == "vectorization"} == {"add", "dot", "sum", "gelu"}


def test_bars_of_a_layout_are_times_relative_to_the_fastest_of_their_section(drawn):
    study = "matmul, operands row-major (N) or column-major (T)"
    figure = next(f for f in drawn if f.title == f"{study} · square-512")
    row = [r for r in RUN.records if r.study == study and r.workload == "square-512" and r.impl == "cpp.jik"]
    assert len(row) == 4
    for record in row:
        assert f'data-record="{RUN.records.index(record)}"' in figure.svg
        assert f"{times(record.best / min(r.best for r in row))} · {duration(record.best)}" in figure.svg


def test_the_page_is_one_small_file_that_asks_for_nothing(page):
    assert len(page.encode()) < 2_000_000
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#|data:)""", page.replace('xlink:href="#', ""))
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    data = re.compile(r'<script type="application/json" id="data">.*?</script>', re.DOTALL)
    assert "fetch(" not in data.sub("", page), "sources of rungs may have functions of that name"


def test_what_comes_from_records_is_escaped(page):
    assert "a warning with &lt;angles&gt; &amp; more" in page
    assert "WrongResult: &lt;off by one&gt;" in page
    evil = dataclasses.replace(RUN.records[0], case="</script><script>alert(1)</script>")
    text = report.page(dataclasses.replace(RUN, records=(evil,)))
    assert text.count("<script") == page.count("<script")
    assert embedded(text)["rows"][0][embedded(text)["columns"].index("case")] == evil.case


def test_ids_are_unique_and_what_is_referred_to_is_there(page):
    body = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    ids = re.findall(r'\bid="([^"]+)"', body)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', body)) <= set(ids)


def test_every_measured_rungs_lesson_and_source_are_there(page):
    rungs = embedded(page)["rungs"]
    assert rungs.keys() == {f"{r.operation} {r.impl}" for r in RUN.records}
    k = ln.matmul["cpp.packed"]
    command = "loopnest inspect matmul cpp.packed"
    assert rungs["matmul cpp.packed"] == {"lesson": k.lesson, "source": k.source(), "command": command}
    assert rungs["matmul python.naive"]["command"] == ""


def test_rungs_that_are_not_installed_do_no_harm():
    mine = dataclasses.replace(RUN.records[0], impl="mine.tiled")
    text = report.page(dataclasses.replace(RUN, records=(mine,), machine=None, environment=None))
    assert "mine.tiled" in text


def test_a_run_without_records_is_refused():
    with pytest.raises(ValueError, match="nothing to report"):
        report.page(Results(None, ()))


# --- the command


def loopnest_report(*args):
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, ["report", *map(str, args)], prog_name="loopnest")


def test_the_command_writes_next_to_the_results_and_says_where(tmp_path):
    small = dataclasses.replace(RUN, records=RUN.records[:3])
    small.save(tmp_path / "mine.json")
    result = loopnest_report(tmp_path / "mine.json")
    assert result.exit_code == 0, result.output
    assert f"the report is in {tmp_path / 'mine.html'}" in result.output
    assert loopnest_report(tmp_path / "mine.json").exit_code == 0  # a report may be made again
    assert loopnest_report(tmp_path / "mine.json", "-o", tmp_path / "x.html").exit_code == 0
    assert (tmp_path / "x.html").exists()


def test_a_file_that_is_no_report_is_not_overwritten(tmp_path):
    (tmp_path / "mine.html").write_text("my own page")
    with pytest.raises(ValueError, match="is no report of loopnest's; name another file with -o"):
        report_for(tmp_path / "mine.json")
    dataclasses.replace(RUN, records=RUN.records[:3]).save(tmp_path / "mine.json")
    assert loopnest_report(tmp_path / "mine.json").exit_code == 2
    assert (tmp_path / "mine.html").read_text() == "my own page"


def test_bad_input_is_named(tmp_path):
    assert loopnest_report().exit_code == 2
    result = loopnest_report(tmp_path / "missing.json")
    assert result.exit_code == 2
    assert "missing.json cannot be read: No such file or directory" in result.output


# --- in a browser


@pytest.fixture
def opened(browser, file):
    browser.prefer("light")
    browser.resize(1400)
    browser.open(file)
    yield browser
    assert browser.errors == []


def count(browser, selector):
    return browser.run(f"document.querySelectorAll({selector!r}).length")


def visible(browser, selector):
    return browser.run(f"[...document.querySelectorAll({selector!r})].filter(x => x.getClientRects().length).length")


def choose(browser, name, value):
    browser.run(
        f"{{ const s = document.getElementById('filter-{name}'); s.value = {value!r}; "
        f"s.dispatchEvent(new Event(s.tagName == 'SELECT' ? 'change' : 'input')); }}"
    )


def rows(browser, column):
    """The texts of a column of the table, by its heading."""
    return browser.run(
        "(() => { const names = [...document.querySelectorAll('#results th')].map(th => th.textContent); "
        f"const i = names.indexOf({column!r}); "
        "return [...document.querySelectorAll('#results tbody tr')].map(tr => tr.cells[i].textContent); })()"
    )


def test_it_opens_at_once_without_errors_or_requests(browser, file):
    browser.open(file)
    assert browser.busy() < 2  # seconds of its processor: the machine may have other things to do
    assert browser.errors == []
    assert browser.requests == [file.as_uri()]


def test_each_plot_is_there_and_has_a_size(opened, drawn):
    sizes = opened.run(
        "[...document.querySelectorAll('figure svg')].map(s => [s.getBBox().width > 100, s.getBBox().height > 30])"
    )
    assert len(sizes) == len(drawn)
    assert all(all(size) for size in sizes)
    for part in ("roofline", "layout", "ladders", "vectorization", "sizes"):
        assert visible(opened, f"#{part} figure") >= 1
        assert visible(opened, f"#{part} .mark") >= 3


def test_the_roofline_has_every_rung_that_does_arithmetic(opened):
    shown = opened.run("[...document.querySelectorAll('#roofline .mark')].map(m => Number(m.dataset.record))")
    rungs = {(RUN.records[n].operation, RUN.records[n].impl) for n in shown}
    plain = {(r.operation, r.impl) for r in RUN.records if r.flops and not r.case and not r.section}
    assert rungs == plain


def test_the_table_has_the_records_and_writes_numbers_as_the_terminal_does(opened):
    assert rows(opened, "time") == [duration(r.best) for r in RUN.records]
    assert rows(opened, "GFLOP/s") == [three_digits(r.gflops) for r in RUN.records]
    assert rows(opened, "% of limit") == [percent(r) for r in RUN.records]


def test_the_table_has_the_bytes_that_the_simulator_counted(opened):
    by_name = dict(zip(range(len(RUN.records)), rows(opened, "moved between caches"), strict=True))
    for number, r in enumerate(RUN.records):
        slow = r.impl.endswith("column_wise")
        assert by_name[number] == ("" if not r.traffic else f"L1–L2 {'1.02 MB' if slow else '64.0 kB'}, L2–memory 0 B")


def test_filters_leave_what_was_asked_for_in_table_and_figures(opened):
    choose(opened, "operation", "matmul")
    choose(opened, "backend", "cpp")
    wanted = [r for r in RUN.records if r.operation == "matmul" and r.impl.startswith("cpp.")]
    assert rows(opened, "implementation") == [r.impl for r in wanted]
    assert opened.run("document.getElementById('count').textContent") == (
        f"{len(wanted)} of {len(RUN.records)} results"
    )
    assert visible(opened, "#vectorization figure") == 0
    assert visible(opened, "#ladders figure") == 1
    lit = opened.run(
        "[...document.querySelectorAll('#ladders figure:not([hidden]) .mark:not(.out)')].map(m => m.dataset.record)"
    )
    assert {RUN.records[int(n)].impl for n in lit} == {r.impl for r in wanted if r.ladder}
    choose(opened, "text", "square-512 kji")
    assert set(rows(opened, "implementation")) == {"cpp.kji"}
    assert set(rows(opened, "workload")) == {"square-512"}
    choose(opened, "dtype", "float32")
    opened.run("document.getElementById('reset').click()")
    assert len(rows(opened, "time")) == len(RUN.records)
    assert visible(opened, "#vectorization figure") == 4


def test_a_click_on_a_heading_sorts_by_value_and_another_the_other_way(opened):
    click = "[...document.querySelectorAll('#results th')].find(th => th.textContent == 'time').firstChild.click()"
    opened.run(click)
    assert rows(opened, "time") == [duration(r.best) for r in sorted(RUN.records, key=lambda r: r.best)]
    opened.run(click)
    assert rows(opened, "time") == [duration(r.best) for r in sorted(RUN.records, key=lambda r: -r.best)]
    assert count(opened, "#results th[aria-sort=descending]") == 1


def test_the_pointer_over_a_mark_shows_its_figures(opened):
    number = int(opened.run("document.querySelector('#ladders .mark').dataset.record"))
    opened.run("document.querySelector('#ladders .mark').scrollIntoView({block: 'center', behavior: 'instant'})")
    box = opened.run(
        "(() => { const b = document.querySelector('#ladders .mark').getBoundingClientRect(); "
        "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )
    opened.hover(*box)
    record = RUN.records[number]
    tip = opened.run("document.getElementById('tip').innerText")
    assert record.impl in tip
    assert duration(record.best) in tip
    assert f"{three_digits(record.gflops)} GFLOP/s" in tip
    assert f"{percent(record)} % of the machine's limit" in tip
    opened.hover(3, 3)
    assert visible(opened, "#tip") == 0


def test_a_click_on_a_mark_or_a_row_shows_lesson_and_source(opened):
    number = next(n for n, r in enumerate(RUN.records) if (r.operation, r.impl) == ("matmul", "cpp.packed"))
    opened.run(f"document.querySelector('#results tr[data-record=\"{number}\"]').click()")
    k = ln.matmul["cpp.packed"]
    assert opened.run("document.querySelector('dialog .lesson').textContent") == k.lesson
    assert opened.run("document.querySelector('dialog .source code').textContent") == k.source()
    assert "loopnest inspect matmul cpp.packed" in opened.run("document.querySelector('dialog .inside').textContent")
    assert visible(opened, "dialog") == 1
    opened.run("document.querySelector('dialog form button').click()")
    assert visible(opened, "dialog") == 0
    opened.run("document.querySelector('#layout .mark').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    number = int(opened.run("document.querySelector('#layout .mark').dataset.record"))
    assert RUN.records[number].impl in opened.run("document.querySelector('dialog h2').textContent")


def luminance(browser, what):
    colour = browser.run(f"getComputedStyle({what}).backgroundColor")
    return statistics.mean(int(x) for x in re.findall(r"\d+", colour)[:3])


def test_it_is_dark_and_light_as_the_system_is_and_as_the_switch_says(opened):
    assert luminance(opened, "document.body") > 200
    ink = opened.run("getComputedStyle(document.querySelector('#ladders svg text')).fill")
    opened.prefer("dark")
    assert luminance(opened, "document.body") < 50
    assert opened.run("getComputedStyle(document.querySelector('#ladders svg text')).fill") != ink
    opened.run("document.getElementById('theme').click()")
    assert luminance(opened, "document.body") > 200
    opened.prefer("light")
    opened.run("document.getElementById('theme').click()")
    assert luminance(opened, "document.body") < 50


@pytest.mark.parametrize("width", [1400, 400])
def test_nothing_is_wider_than_the_window(opened, width):
    opened.resize(width)
    assert opened.run("document.documentElement.scrollWidth") <= width
    too_wide = opened.run(
        "[...document.querySelectorAll('main > *, figure, .card, li')].filter(x => x.getClientRects().length "
        "&& x.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert too_wide == 0
    scrolls = "document.querySelector('#results').parentElement.scrollWidth > innerWidth"
    assert width < 1400 or not opened.run(scrolls)


def test_the_sentences_come_first(opened):
    first = opened.run("document.querySelector('.findings li .claim').textContent")
    assert first == html.unescape(findings(RUN.records)[0].claim)
    assert opened.run("document.querySelector('.findings li').getBoundingClientRect().bottom") < 500
