"""What the build makes of flags from outside and of unusual folders: configured only, nothing is compiled."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not (shutil.which("cmake") and shutil.which("ninja") and (SOURCES / "CMakeLists.txt").exists()),
    reason="needs cmake, ninja and the source tree",
)


def configured(folder, sources=SOURCES, **environment):
    """Configure the C++ part in a folder: how it ended, and the command of each file."""
    env = {name: value for name, value in os.environ.items() if name not in ("CXXFLAGS", "LDFLAGS")} | environment
    options = ["-G", "Ninja", "-DLOOPNEST_PYTHON=OFF", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    command = ["cmake", "-S", str(sources), "-B", str(folder), *options]
    run = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
    commands = folder / "compile_commands.json"
    found = json.loads(commands.read_text()) if commands.exists() else []
    return run.returncode, " ".join(run.stderr.split()), [unit["command"] for unit in found]


@pytest.mark.parametrize(
    ("variable", "flags", "flag"),
    [
        ("CXXFLAGS", "-O2 -ffast-math", "-ffast-math"),
        ("CXXFLAGS", "-Ofast", "-Ofast"),
        ("CXXFLAGS", "-fno-signed-zeros -g", "-fno-signed-zeros"),
        ("LDFLAGS", "-ffast-math", "-ffast-math"),
    ],
)
def test_flags_that_break_the_contract_are_refused(variable, flags, flag, tmp_path):
    status, said, _ = configured(tmp_path, **{variable: flags})
    assert status != 0
    assert f"CXXFLAGS or LDFLAGS has {flag}, with which results break" in said
    assert "build without it" in said


def test_kernels_are_compiled_without_optimization_at_link_time(tmp_path):
    status, said, commands = configured(tmp_path, CXXFLAGS="-O2 -g -flto=auto -fno-fast-math")
    assert status == 0, said
    assert commands
    assert all(command.rindex("-fno-lto") > command.index("-flto=auto") for command in commands)


def test_a_language_or_processor_from_outside_does_not_reach_the_kernels(tmp_path):
    """The last of several flags of a kind holds."""
    status, said, commands = configured(tmp_path, CXXFLAGS="-std=c++98 -march=native -O0")
    assert status == 0, said
    for command in commands:
        assert re.findall(r"-std=\S+", command)[-1] == "-std=gnu++20"
        if "rungs.cpp" in command and re.search("LOOPNEST_ISA=v[134]", command):
            level = {"1": "", "3": "-v3", "4": "-v4"}[re.search(r"LOOPNEST_ISA=v(\d)", command)[1]]
            assert re.findall(r"-march=\S+", command)[-1] == f"-march=x86-64{level}"
            assert re.findall(r" -O\S+", command)[-1] in ((" -O3",) if level else (" -O1", " -O2"))


def test_a_system_without_a_compiler_is_told_what_to_install(tmp_path):
    for tool in ("cmake", "ninja"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    status, said, _ = configured(tmp_path / "build", PATH=str(tmp_path), CXX="")
    assert status != 0
    assert "There is no C++ compiler, which loopnest's kernels need: install one (Debian: apt install g++" in said
    assert "CMAKE_CXX_COMPILER" not in said


def test_the_build_says_how_much_it_compiles_and_for_how_long(tmp_path):
    command = ["cmake", "-S", str(SOURCES), "-B", str(tmp_path), "-G", "Ninja", "-DLOOPNEST_PYTHON=OFF"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300).stdout
    (files, seconds) = re.search(r"loopnest: compiling (\d+) files for about (\d+) s, on \d+ processors", said).groups()
    assert int(files) > 10
    assert 30 <= int(seconds) <= 96


def test_wheels_are_made_for_every_python_that_is_supported():
    project = tomllib.loads((SOURCES / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["requires-python"] == ">=3.11"
    assert project["tool"]["cibuildwheel"]["build"] == [f"cp3{minor}-*" for minor in (11, 12, 13, 14)]


def test_sources_in_a_folder_with_brackets_and_spaces_are_found(tmp_path):
    sources = tmp_path / "hw [2]"
    shutil.copytree(SOURCES / "csrc", sources / "csrc")
    shutil.copy(SOURCES / "CMakeLists.txt", sources)
    status, said, commands = configured(sources / "build", sources)
    assert status == 0, said
    assert len(commands) == len(configured(tmp_path / "plain")[2])
