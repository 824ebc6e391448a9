"""The rooms of the package: imports go down only, and none goes in a circle."""

import ast
from pathlib import Path

import loopnest
import pytest
from importlinter.cli import lint_imports

PACKAGE = Path(loopnest.__file__).parent
INSTALLED_BESIDES = ("benchmarks", "lessons")
"""Folders with files of users' kind, which an installation puts into the package."""
CONTRACTS = Path(__file__).parents[1] / ".importlinter"


def test_imports_go_down_and_in_no_circle(capsys):
    status = lint_imports(str(CONTRACTS), no_cache=True, no_logo=True)
    assert status == 0, capsys.readouterr().out


MODULES = [
    file for file in sorted(PACKAGE.rglob("*.py")) if file.relative_to(PACKAGE).parts[0] not in INSTALLED_BESIDES
]


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_module_imports_the_root_package(file):
    """The root package is a facade and imports nearly everything. Its extension `_core` is no part of it."""
    place = file.relative_to(PACKAGE)
    depth = len(place.parts)  # of dots in a relative import of the root
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name == "loopnest"}
        elif isinstance(node, ast.ImportFrom) and not node.module and node.level == depth:
            rooms = {path.stem for path in PACKAGE.iterdir()} | {"_core"}
            found |= {alias.name for alias in node.names} - rooms
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "loopnest":
            found.add("loopnest")
    assert not found
