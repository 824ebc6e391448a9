"""`loopnest compare`: ratios, their intervals, what counts as a change, and exit codes."""

import dataclasses
import itertools
import json

import made_up
import numpy as np
import pytest
from click.testing import CliRunner
from loopnest.bench import compare as lab
from loopnest.bench.records import Results
from loopnest.cli import main


def results(**seconds):
    """A run of these NumPy matmuls on square-64; a number is the best time, with others up to 2 % longer."""
    ids = {"rows": "numpy.rows", "blas": "numpy.matmul", "naive": "numpy.naive"}
    records = tuple(made_up.record("matmul", ids[name], "square-64", s) for name, s in seconds.items())
    return Results(made_up.ENVIRONMENT, records)


def times(run, name, data):
    """The run with other times of this rung."""
    changed = [dataclasses.replace(r, stats=made_up.stats(*data)) if r.impl.endswith(name) else r for r in run.records]
    return dataclasses.replace(run, records=tuple(changed))


def verdicts(comparison):
    return {change.new.impl: change.verdict for change in comparison.changes}


def test_what_is_slower_and_faster_beyond_the_threshold_is_told_the_slowest_first():
    found = lab.compare(results(rows=1.0, blas=1.0, naive=1.0), results(rows=1.0, blas=0.5, naive=1.3))
    assert [change.new.impl for change in found.changes] == ["numpy.naive", "numpy.rows", "numpy.matmul"]
    assert verdicts(found) == {"numpy.naive": "slower", "numpy.rows": "unchanged", "numpy.matmul": "faster"}
    slower = found.slower[0]
    assert slower.ratio.estimate == pytest.approx(1.3, rel=0.02)
    assert 1.25 < slower.ratio.low <= slower.ratio.estimate <= slower.ratio.high < 1.35


def test_a_change_within_the_threshold_is_none():
    old, new = results(blas=1.0), results(blas=1.08)
    assert verdicts(lab.compare(old, new, threshold=0.05)) == {"numpy.matmul": "slower"}
    assert verdicts(lab.compare(old, new, threshold=0.10)) == {"numpy.matmul": "unchanged"}


def test_times_that_spread_too_widely_resolve_nothing():
    rng = np.random.default_rng(1)
    old = times(results(blas=1.0), "matmul", rng.uniform(1, 9, 30))
    new = times(results(blas=1.0), "matmul", rng.uniform(1.2, 10, 30))
    (change,) = lab.compare(old, new).changes
    assert change.ratio.low < 1.05
    assert change.verdict == "unchanged"


def test_a_neighbour_that_lifts_the_median_and_not_the_best_time_is_no_change():
    old = times(results(blas=1.0), "matmul", [1.0, *[1.01] * 30])
    new = times(results(blas=1.0), "matmul", [1.0, *[1.5] * 30])
    (change,) = lab.compare(old, new).changes
    assert change.ratio.low > 1.4
    assert change.best == 1
    assert change.verdict == "unchanged"


def test_few_times_give_an_interval_that_holds_all_of_their_ratios():
    old, new = (times(results(naive=1.0), "naive", data) for data in ([1.0, 1.1, 1.2], [2.0, 2.2]))
    found = lab.compare(old, new).changes[0].ratio
    assert (found.low, found.high) == (pytest.approx(2.0 / 1.2 / lab.SPREAD), pytest.approx(2.2 / 1.0 * lab.SPREAD))


def test_one_time_of_each_can_show_a_tenfold_change_and_no_small_one():
    for factor, verdict in ((10.0, "slower"), (1.1, "unchanged"), (0.1, "faster")):
        old, new = times(results(naive=1.0), "naive", [1.0]), times(results(naive=1.0), "naive", [factor])
        assert verdicts(lab.compare(old, new)) == {"numpy.naive": verdict}


def test_the_same_files_give_the_same_figures():
    old, new = results(rows=1.0, blas=1.0), results(rows=1.01, blas=1.2)
    assert lab.compare(old, new) == lab.compare(old, new)


def test_what_only_one_run_has_is_told():
    found = lab.compare(results(rows=1.0, blas=1.0), results(blas=1.0, naive=1.0))
    assert [r.impl for r in found.only_old] == ["numpy.rows"]
    assert [r.impl for r in found.only_new] == ["numpy.naive"]


def test_runs_with_nothing_in_common_are_refused():
    with pytest.raises(ValueError, match="no benchmark in common"):
        lab.compare(results(rows=1.0), results(blas=1.0))


@pytest.mark.parametrize(
    ("facts", "warning"),
    [
        ({"cpu": "another"}, "cpu was a processor, and is another"),
        ({"isa": "v1"}, "isa was v3, and is v1"),
        ({"versions": {"loopnest": "0.2", "NumPy": "3.0"}}, "NumPy was 2.4.6, and is 3.0"),
        ({"pools": ()}, "threads was NumPy 2 (OpenBLAS 0.3, kernel Haswell), and is"),
    ],
)
def test_other_machines_and_versions_are_warned_about(facts, warning):
    old, new = results(blas=1.0), results(blas=1.0)
    plain = lab.compare(old, new).warnings
    other = dataclasses.replace(new, environment=dataclasses.replace(new.environment, **facts))
    found = set(lab.compare(old, other).warnings) - set(plain)
    assert len(found) == 1
    assert warning in found.pop()


def test_a_shift_of_everything_is_told_to_be_the_machine():
    both = list(itertools.product(("square-64", "square-256"), ("numpy.naive", "numpy.rows", "numpy.matmul")))
    old, new = (
        Results(made_up.ENVIRONMENT, tuple(made_up.record("matmul", impl, w, s) for w, impl in both))
        for s in (1.0, 1.2)
    )
    assert any("more likely the machine" in warning for warning in lab.compare(old, new).warnings)
    assert not any("more likely the machine" in warning for warning in lab.compare(old, old).warnings)


# --- the command


def run(*args, width=100):
    return CliRunner(env={"COLUMNS": str(width)}).invoke(main, ["compare", *map(str, args)], prog_name="loopnest")


@pytest.fixture
def files(tmp_path):
    for name, seconds in (("old", 1.0), ("slower", 1.5), ("faster", 0.5)):
        results(rows=1.0, blas=seconds).save(tmp_path / f"{name}.json")
    return tmp_path


def test_the_exit_code_says_whether_something_is_slower(files):
    assert run(files / "old.json", files / "old.json").exit_code == 0
    assert run(files / "old.json", files / "faster.json").exit_code == 0
    slower = run(files / "old.json", files / "slower.json")
    assert slower.exit_code == 1
    assert "1 slower, 0 faster, 1 unchanged" in " ".join(slower.output.split())
    assert "1.50×" in slower.output
    assert "numpy.matmul" in slower.output
    assert "numpy.rows" not in slower.output
    assert run(files / "old.json", files / "slower.json", "--threshold", 60).exit_code == 0


def test_bad_input_is_told_and_ends_with_2(files, tmp_path):
    (tmp_path / "text.json").write_text("not JSON")
    (tmp_path / "other.json").write_text('{"benchmarks": [{"name": "x"}], "machine_info": {}, "datetime": ""}')
    (tmp_path / "list.json").write_text("[1, 2]")
    Results(None, ()).save(tmp_path / "empty.json")
    (tmp_path / "folder").mkdir()
    for name, message in (
        ("missing.json", "missing.json cannot be read: No such file or directory"),
        ("text.json", "text.json is no JSON file"),
        ("other.json", "is no file that `loopnest bench` wrote"),
        ("list.json", "is no file that `loopnest bench` wrote"),
        ("empty.json", "no benchmark in common"),
        ("folder", "results.json cannot be read"),
    ):
        result = run(files / "old.json", tmp_path / name)
        assert result.exit_code == 2, name
        assert message in " ".join(result.output.replace("│", " ").split()), result.output


@pytest.mark.parametrize("width", [80, 140])
def test_no_comparison_is_wider_than_the_terminal(files, width):
    result = run(files / "old.json", files / "slower.json", "--all", width=width)
    assert max(map(len, result.output.splitlines())) <= width


def test_a_run_folder_is_as_good_as_its_file(files):
    (files / "run").mkdir()
    (files / "old.json").rename(files / "run" / "results.json")
    assert run(files / "run", files / "run").exit_code == 0


def test_files_without_each_rounds_time_can_be_compared(files):
    """As pytest-benchmark saves them by itself: --benchmark-autosave."""
    data = json.loads((files / "old.json").read_text())
    for benchmark in data["benchmarks"]:
        del benchmark["stats"]["data"]
    (files / "saved.json").write_text(json.dumps(data))
    assert run(files / "saved.json", files / "slower.json").exit_code == 1
    assert run(files / "saved.json", files / "old.json").exit_code == 0
