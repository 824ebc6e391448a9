"""Exercises: every starter fails, every solution passes, and errors are found, named and drawn."""

import io
import json

import numpy as np
import pytest
from click.testing import CliRunner
from loopnest.cli import main
from loopnest.learn import EXERCISES, check_exercise, exercises, write_starter
from loopnest.learn.drawing import report
from rich.console import Console


def drawn(attempt, width=80):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    for part in report(attempt):
        console.print(part)
    return console.file.getvalue()


def file_with(tmp_path, text, number=1):
    file = tmp_path / EXERCISES[number].file
    file.write_text(text)
    return file


def skip_where_it_cannot_be_checked(number):
    reason = EXERCISES[number].why_not_here()
    if reason:
        pytest.skip(reason)


@pytest.mark.parametrize("number", EXERCISES)
@pytest.mark.slow
def test_a_starter_fails_and_what_is_wrong_is_drawn(number, tmp_path):
    skip_where_it_cannot_be_checked(number)
    attempt = check_exercise(number, write_starter(number, tmp_path), seconds=0)
    assert attempt.outcome == "wrong"
    assert attempt.exit_code == 1
    assert any(result.wrong is None or result.wrong.any() for result in attempt.failure.results)
    text = drawn(attempt)
    assert "wrong: " in text
    assert "expected" in text
    assert "This is the starter" in text
    assert f"loopnest exercise {number} --hint" in text


QUICK = (1, 2)
"""Exercises whose solutions are judged in every run of the tests; the others take longer."""


@pytest.mark.parametrize("number", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in EXERCISES])
def test_a_solution_passes(number):
    skip_where_it_cannot_be_checked(number)
    dtype = (
        "float64" if "numba" in EXERCISES[number].solution.read_text() else None
    )  # each is compiled for many seconds
    attempt = check_exercise(number, EXERCISES[number].solution, seconds=0, dtype=dtype)
    assert attempt.outcome == "right", drawn(attempt)
    assert attempt.passed == attempt.cases > 2
    assert attempt.exit_code == 0
    assert (attempt.verdict is not None) == bool(EXERCISES[number].operation)


DOT = "def dot(x, y):\n    return sum(a * b for a, b in zip(x, y))\n"


@pytest.mark.parametrize(
    ("text", "outcome", "said"),
    [
        (
            "def dot(x, y):\n    return x[0] * y[99]\n",
            "raised",
            "exercise_01.py, line 2: IndexError: index 99 is out of bounds",
        ),
        ("def product(x, y):\n    return 0\n", "missing", "has no function dot"),
        (
            "def dot(x, y)\n    return 0\n",
            "does-not-build",
            "line 1: SyntaxError: expected ':', in `def dot(x, y)`",
        ),
        ("import no_such_module\n", "does-not-build", "No module named 'no_such_module'"),
        ("def dot(x, y):\n    pass\n", "wrong", "dot returned nothing: is a return missing?"),
        ("def dot(x, y):\n    return [x[0], x[1], x[2]]\n", "wrong", "expected shape (), got (3,)"),
        ("def dot(x, y):\n    import os\n    os._exit(3)\n", "crashed", "the process died"),
        ("def dot(x, y):\n    return (i for i in x)\n", "raised", "returned a generator"),
        (DOT, "missing", "has no function cosine"),
        ("def dot(x, y):\n    print('debug', x)\n    return 31\n", "wrong", "expected 32, got 31"),
    ],
)
def test_an_error_is_named(text, outcome, said, tmp_path):
    attempt = check_exercise(1, file_with(tmp_path, text), seconds=0)
    assert attempt.outcome == outcome
    assert attempt.exit_code == 1
    assert said in drawn(attempt, width=200)


@pytest.mark.parametrize("whole", ["x @ y", "np.dot(x, y)", "x.dot(y)", "(x * y).sum()", "np.sum(x * y)"])
def test_exercise_1_is_written_with_a_loop(whole, tmp_path):
    file = tmp_path / "exercise_01.py"
    file.write_text(f"import numpy as np\ndef dot(x, y):\n    return {whole}\n")
    attempt = check_exercise(1, file, seconds=0)
    assert attempt.outcome == "raised"
    assert "write a loop over the elements x[i]" in attempt.failure.message


def test_a_loop_that_does_not_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(exercises, "PATIENCE", 1.0)
    attempt = check_exercise(1, file_with(tmp_path, "def dot(x, y):\n    while True:\n        pass\n"), seconds=0)
    assert attempt.outcome == "timed-out"
    assert "does a loop not end?" in drawn(attempt)


def test_cases_before_the_first_that_is_wrong_are_counted(tmp_path):
    attempt = check_exercise(
        1, file_with(tmp_path, "def dot(x, y):\n    return 32 if len(x) == 3 else -6\n"), seconds=0
    )
    assert (attempt.passed, attempt.failure.about) == (2, "five elements, with zeros")


def test_the_judge_finds_errors_that_small_cases_do_not(tmp_path):
    solution = EXERCISES[1].solution.read_text()
    spoilt = solution.replace("    total = ", "    if len(x) > 100:\n        return x.dtype.type(0)\n    total = ")
    assert spoilt != solution
    attempt = check_exercise(1, file_with(tmp_path, spoilt), seconds=0)
    assert attempt.outcome == "refused"
    assert attempt.exit_code == 1
    assert "the judge found an error" in drawn(attempt)


def test_a_right_product_in_another_order_is_wrong(tmp_path):
    solution = EXERCISES[2].solution.read_text()
    attempt = check_exercise(2, file_with(tmp_path, solution + "\n\njki = kji\n", 2), seconds=0)
    assert (attempt.outcome, attempt.failure.function) == ("wrong", "jki")
    assert [r.name[:16] for r in attempt.failure.results if r.wrong.any()] == ["order in which b"]
    assert "order in which b's elements are first touched" in drawn(attempt)


def test_wrong_elements_are_marked(tmp_path):
    solution = EXERCISES[3].solution.read_text()
    spoilt = solution + "\n\nright = transpose\n\n\ndef transpose(a, out):\n    right(a, out)\n    out[-1, 0] = 77\n"
    attempt = check_exercise(3, file_with(tmp_path, spoilt, 3), seconds=0)
    (result,) = attempt.failure.results
    np.testing.assert_array_equal(np.argwhere(result.wrong), [[2, 0]])
    text = drawn(attempt)
    assert text.count("77*") == 1
    assert "1 of 6 elements is wrong" in text


def test_of_a_large_result_the_first_wrong_element_is_named(tmp_path):
    spoilt = "def matmul(a, b, out):\n    out[...] = a @ b\n    out[63:, 60:] = 1e9\n"
    attempt = check_exercise(4, file_with(tmp_path, spoilt, 4), seconds=0)
    assert "c: 4 of 4096 elements are wrong" in drawn(attempt)
    assert "the first: [63, 60]" in drawn(attempt)


def test_without_a_compiler_there_is_a_reason(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    attempt = check_exercise(5, EXERCISES[5].solution)
    assert (attempt.outcome, attempt.exit_code) == ("not-here", 3)
    assert "no command no-such-compiler, which CXX names" in drawn(attempt, width=200)


def test_the_compilers_errors_are_shown(tmp_path):
    skip_where_it_cannot_be_checked(5)
    attempt = check_exercise(5, file_with(tmp_path, "void dot(int x) { return y; }\n", 5))
    assert attempt.outcome == "does-not-build"
    assert "exercise_05.cpp:1:" in drawn(attempt)


def test_the_command_writes_a_file_and_never_over_another(tmp_path):
    wrote = CliRunner().invoke(main, ["exercise", "1", str(tmp_path)])
    assert wrote.exit_code == 0
    assert (tmp_path / "exercise_01.py").read_text() == EXERCISES[1].starter.read_text()
    (tmp_path / "exercise_01.py").write_text("mine")
    again = CliRunner().invoke(main, ["exercise", "1", str(tmp_path)])
    assert again.exit_code == 2
    assert "exists and is left as it is" in " ".join(again.output.split())
    assert (tmp_path / "exercise_01.py").read_text() == "mine"


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=map(str, EXERCISES))
def test_hints_name_ideas_and_not_the_code(exercise):
    assert 2 <= len(exercise.hints) <= 3
    assert len(set(exercise.hints)) == len(exercise.hints)
    lines = {line.partition("#")[0].strip() for line in exercise.solution.read_text().splitlines()}
    statements = [line for line in lines if len(line) > 8]
    for hint in exercise.hints:
        assert 40 < len(hint) < 260
        assert not [line for line in statements if line in hint]


def test_each_call_gives_the_next_hint_and_the_last_one_again():
    said = [CliRunner().invoke(main, ["exercise", "3", "--hint"]).output for _ in range(4)]
    for text, n in zip(said, (1, 2, 3, 3), strict=True):
        assert f"hint {n} of 3: {EXERCISES[3].hints[n - 1]}" in " ".join(text.split())
        assert ("--solution" in text) == (n == 3)
    assert "hint 1 of 3" in CliRunner().invoke(main, ["exercise", "4", "--hint"]).output


def test_the_command_checks_prints_json_and_the_solution(tmp_path):
    file_with(tmp_path, DOT)
    checked = CliRunner().invoke(main, ["exercise", "1", str(tmp_path), "--check", "--json"])
    assert checked.exit_code == 1
    said = json.loads(checked.output)
    assert (said["outcome"], said["passed"], said["failure"]["function"]) == ("missing", 4, "cosine")
    solution = CliRunner().invoke(main, ["exercise", "1", "--solution"])
    assert solution.output == EXERCISES[1].solution.read_text()
    assert EXERCISES[12].task in " ".join(CliRunner().invoke(main, ["exercise"]).output.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["14"], "there is no exercise 14; expected a number from 1 to 13"),
        (["1", "--check"], "there is no file exercise_01.py; `loopnest exercise 1` writes it"),
        (["1", "no/such/folder"], "there is no folder no/such/folder"),
    ],
)
def test_wrong_arguments_are_refused(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["exercise", *arguments])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
