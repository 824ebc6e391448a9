"""README: its commands work in the order in which they stand, and its Python runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="needs the source tree")
TEXT = README.read_text(encoding="utf-8") if README.exists() else ""
COMMANDS = re.findall(r"^loopnest (.*?)  +# (.*)$", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


def test_readme_is_short_and_has_eight_commands():
    assert len(TEXT.splitlines()) <= 80
    assert len(COMMANDS) == 8


@pytest.mark.slow
@pytest.mark.parametrize(("command", "comment"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_the_commands_work_in_their_order_or_name_the_extra_that_they_lack(command, comment, folder):
    full = [sys.executable, "-m", "loopnest", *shlex.split(command)]
    done = subprocess.run(full, cwd=folder, capture_output=True, text=True, timeout=300)
    extra = re.match(r"\[(\w+)\]", comment)
    if done.returncode and extra:
        assert done.stderr.strip().endswith(f"pip install 'loopnest[{extra[1]}]'")
    elif command.startswith("check"):
        assert done.returncode in (0, 3), done.stdout  # 3 where a busy machine leaves no time for all cases
    else:
        assert done.returncode == 0, done.stderr
        assert done.stdout


@pytest.mark.slow
def test_the_python_runs(folder):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "matmul" in done.stdout or "cpp" in done.stdout
