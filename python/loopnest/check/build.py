"""Makes a shared library of a C or C++ file, and says in few lines why it cannot.

>>> language(Path("mine.cpp")), language(Path("mine.py"))
('c++', 'python')
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .records import Build

FLAGS = "-O3 -march=native"

LANGUAGES = {
    ".py": "python",
    ".c": "c",
    **dict.fromkeys((".cpp", ".cc", ".cxx", ".c++"), "c++"),
    ".cu": "cuda",
}

COMPILERS = {"c": ("gcc", "cc", "clang"), "c++": ("g++", "c++", "clang++")}

SHOWN = 3
"""Errors that are shown; the first causes most of the others."""


class BuildError(Exception):
    """It does not compile; `build` says how it was tried, and the compiler's words."""

    def __init__(self, build: Build, text: str) -> None:
        super().__init__(text)
        self.build, self.text = build, text


class NoCompilerError(Exception):
    """There is none here; the message says which were looked for."""


@dataclass(frozen=True)
class Library:
    """What was built."""

    file: Path
    build: Build


def language(file: Path) -> str | None:
    """By the file's suffix; None for another."""
    return LANGUAGES.get(file.suffix.lower())


def compile_library(file: Path, flags: str = FLAGS, compiler: str | None = None, limit: float = 60.0) -> Library:
    """Compile one file of C or C++ to a shared library, which is kept for the rest of the process.

    flags     as on a command line
    compiler  its name or path; CC or CXX of the environment, or the first of COMPILERS that is here, where it is None
    limit     seconds that it may take

    Raises BuildError where it does not compile, NoCompilerError where nothing can.
    """
    kind = language(file)
    assert kind in COMPILERS
    name = compiler or os.environ.get("CXX" if kind == "c++" else "CC") or ""
    found = [n for n in ([name] if name else COMPILERS[kind]) if shutil.which(shlex.split(n)[0])]
    if not found:
        looked = name or ", ".join(COMPILERS[kind])
        raise NoCompilerError(f"no compiler for {kind} was found ({looked}): install g++ or clang, or name one")
    text = file.read_bytes()
    command = [*shlex.split(found[0]), *shlex.split(flags), "-g1", "-shared", "-fPIC"]
    key = hashlib.sha256(repr((command, str(file.resolve()), text)).encode()).hexdigest()[:16]
    library = _folder() / f"{file.stem}-{key}.so"
    shown = shlex.join([*command, file.name])
    if library.exists():
        return Library(library, Build(kind, shown))
    start = time.perf_counter()
    try:
        made = subprocess.run(
            [*command, str(file.resolve()), "-o", str(library)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        text_ = f"the compiler did not come back within {limit:.3g} s"
        raise BuildError(Build(kind, shown, text_, limit), text_) from None
    seconds = time.perf_counter() - start
    messages = shortened(made.stderr, file)
    if made.returncode:
        raise BuildError(Build(kind, shown, messages, seconds), _first(messages))
    return Library(library, Build(kind, shown, messages, seconds))


@functools.cache
def _folder() -> Path:
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="loopnest-build-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def shortened(messages: str, file: Path) -> str:
    """The compiler's errors, or its warnings where there are none: each with its line of source, no notes, no stacks
    of includes and of templates.

    >>> print(shortened('''/tmp/x.c: In function 'f':
    ... /tmp/x.c:3:5: error: expected ';' before '}' token
    ...     3 | a = 1 }
    ...       |      ^
    ... /tmp/x.c:1:1: note: something else
    ... ''', Path("/tmp/x.c")))
    x.c:3:5: error: expected ';' before '}' token
        3 | a = 1 }
          |      ^
    """
    blocks: list[list[str]] = []
    for line in messages.splitlines():
        if re.match(r"\S.*?(\d+:\d+|ld|collect2|linker)\b.*?:? ?(fatal )?(error|warning|note|undefined)", line) or (
            "undefined reference" in line or "undefined symbol" in line
        ):
            blocks.append([line])
        elif blocks and re.match(r"\s*\d*\s*\|", line):
            blocks[-1].append(line)
        elif line.strip():
            blocks.append([f"note: {line}"])
    errors = [b for b in blocks if re.search(r"error|undefined", b[0]) and "note: " not in b[0][:6]]
    chosen = errors or [b for b in blocks if "warning" in b[0]]
    kept = ["\n".join(line.replace(str(file.resolve()), file.name) for line in block[:4]) for block in chosen[:SHOWN]]
    kept = [_narrowed(block.replace(str(file), file.name)) for block in kept]
    more = len(chosen) - SHOWN
    if more > 0:
        kept.append(f"… and {more} more")
    return "\n".join(kept)


def _narrowed(block: str, width: int = 68) -> str:
    """The same with long lines of source cut to what is around the caret, so that it still points at its place."""
    lines = block.splitlines()
    carets = [line.index("^") for line in lines if "^" in line and "|" in line]
    if not carets or max(map(len, lines[1:])) <= width:
        return block
    bar = next(line.index("|") for line in lines if "^" in line and "|" in line) + 2
    start = max(bar, carets[0] - (width - bar) // 2)

    def cut(line: str) -> str:
        return line if "|" not in line[:bar] else line[:bar] + line[start : start + width - bar]

    return "\n".join([lines[0], *map(cut, lines[1:])])


def _first(messages: str) -> str:
    return messages.partition("\n")[0]


def line_of(library: Path, offset: int) -> int:
    """The line of the source that an instruction came from; 0 where that is not known."""
    if not shutil.which("addr2line"):
        return 0
    command = ["addr2line", "-e", str(library), hex(offset)]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout
    except subprocess.TimeoutExpired:
        return 0
    found = re.search(r":(\d+)", told)
    return int(found[1]) if found else 0


def exported(library: Path) -> Sequence[str]:
    """The functions that a library exports, with the names that C++ gave them; empty where nm is missing."""
    if not shutil.which("nm"):
        return ()
    told = subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=False)
    rows = [line.split() for line in told.stdout.splitlines()]
    return [row[2] for row in rows if len(row) == 3 and row[1] in "TW"]
