"""A user's file becomes functions: Python, C and C++ alike; and errors name the file and the line."""

import shutil

import numpy as np
import pytest
from loopnest.backends.compiler import BuildError, NoCompilerError, compile_library, find
from loopnest.backends.user_file import UserFileError, load

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="C and C++ need a compiler")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.py", "def twice(x, y, n):\n    y[:n] = 2 * x[:n]\n"),
        pytest.param(
            "mine.c",
            "void twice(const float* x, float* y, long n) { for (long i = 0; i < n; i++) y[i] = 2 * x[i]; }",
            marks=needs_compiler,
        ),
        pytest.param(
            "mine.cpp",
            'extern "C" void twice(const float* x, float* y, long n) { for (long i = 0; i < n; i++) y[i] = 2 * x[i]; }',
            marks=needs_compiler,
        ),
    ],
)
def test_a_files_functions_are_called_by_name(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    x, y = np.arange(5, dtype=np.float32), np.full(5, -1, np.float32)
    functions = load(file)
    functions("twice")(x, y, 4)
    np.testing.assert_array_equal(y, [0, 2, 4, 6, -1])
    assert functions("thrice") is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mine.py", "x = 1\ny = 1 / 0\n", "mine.py, line 2: ZeroDivisionError: division by zero, in `y = 1 / 0`"),
        ("mine.py", "x = (1,\n", "mine.py, line 1: SyntaxError: '(' was never closed, in `x = (1,`"),
        ("mine.txt", "", "ends in '.txt', expected one of .py, .c, .cpp"),
        ("mine.py", None, "there is no file"),
        pytest.param("mine.c", "void f() {\n    x = 1;\n}", "mine.c:2:5: error: ", marks=needs_compiler),
    ],
)
def test_an_error_names_the_file_and_the_line(tmp_path, name, text, message):
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserFileError) as error:
        load(file)
    assert message in str(error.value)


@needs_compiler
def test_the_compiler_is_the_one_that_is_named(tmp_path, monkeypatch):
    assert find("c++", "g++").kind in ("GNU", "Clang")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(NoCompilerError, match="no command no-such-compiler, which CXX names"):
        find("c++")
    file = tmp_path / "slow.c"
    file.write_text("int x;\n")
    with pytest.raises(BuildError, match="did not finish within"):
        compile_library(file, "c", limit=1e-4)
