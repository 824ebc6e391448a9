"""The compiler's remarks on a rung's loops: which it vectorized, which not, and why.

The extension does not keep them. So the rung's header is compiled again, alone, by the compiler of this machine, with
the flags of the extension (flags.json, which CMake reads too).
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backends.compiler import Compiler, NoCompilerError, find
from ..backends.cpp import csrc
from .records import InspectError

TIME_LIMIT = 120
"""Seconds for the compiler: matmul's packed rungs take ten."""

MEANINGS = {
    "multiple nested loops": "it has loops in it; only innermost loops become vectors",
    "two or more consecutive inner loops": "it has loops in it; only innermost loops become vectors",
    "control flow in loop": "a loop or a branch in it",
    "relevant stmt not supported": "there is no vector form of this",
    "complicated access pattern": "its elements are neither adjacent nor a constant distance apart",
    "not suitable for": "its elements are apart; collecting them would cost more than vectors save",
    "versioned for vectorization because of possible aliasing": "if the arrays overlap, a scalar copy of it runs",
    "possible alias": "two of the arrays might overlap",
    "number of iterations cannot be computed": "its number of iterations is unknown when it begins",
    "could not determine number of loop iterations": "its number of iterations is unknown when it begins",
    "unsupported use in stmt": "a value goes from one iteration to the next: a sum in a fixed order",
    "unsafe dependent memory operations": "an iteration may need what another one writes",
    "vectorization is not": "the compiler estimates that vectors would be no faster",
    "cost model": "the compiler estimates that vectors would be no faster",
    "call instruction cannot be vectorized": "it calls a function",
    "statement clobbers memory": "it calls a function",
    "cannot prove it is safe to reorder floating-point operations": "IEEE 754 additions must not be regrouped",
}
"""The meaning of compilers' phrases; the first one that occurs counts."""

_NOISE = re.compile(
    r"no vectype for stmt|no grouped stores|basic block|bad data references|unsupported data-type"
    r"|more than one data ref|relevant stmt not supported: (?![A-Za-z]\w* \()"
)
"""GCC's remarks on further attempts, on code outside of loops, and on statements without a vector form (but calls)."""

_REMARK = re.compile(r"(?P<file>[^:\n]+):(?P<line>\d+):\d+: (?P<how>missed|optimized|remark|note): +(?P<text>.*)")


@dataclass(frozen=True)
class Remark:
    """One remark of the compiler.

    file        below csrc/
    vectorized  whether it reports that a loop became vectors
    text        the compiler's words
    """

    file: str
    line: int
    vectorized: bool
    text: str

    @property
    def explained(self) -> str:
        """The compiler's words, and their meaning where it is known."""
        text = re.sub(r"^(?:loop )?not vectorized: |^loop vectorized using |; allow reordering by .*", "", self.text)
        text = re.sub(r"^vectorized loop \((.*)\)$", r"\1", text).rstrip(".; ")
        meaning = next((words for phrase, words in MEANINGS.items() if phrase in self.text), "")
        return f"{text}: {meaning}" if meaning else text


def compiler() -> Compiler:
    """The C++ compiler of this machine. Raises InspectError if there is none."""
    try:
        return find("c++")
    except NoCompilerError as error:
        raise InspectError(f"the compiler's remarks need a C++ compiler: {error}") from None


@functools.cache
def flags() -> dict[str, Any]:
    """The flags of the kernels."""
    found: dict[str, Any] = json.loads((csrc() / "dispatch" / "flags.json").read_text(encoding="utf-8"))
    return found


def scalar_flags(kind: str) -> list[str]:
    """The flags of "GNU" or "Clang" that switch vectorization off."""
    return list(flags()["scalar"][kind])


def flags_of(level: str) -> list[str]:
    """The flags that the kernels of a level are compiled with."""
    return [*flags()["kernels"], *flags()["levels"][level]]


@functools.cache
def remarks_on(function: str, header: str, level: str) -> tuple[Remark, ...]:
    """The compiler's remarks on a function of a header, with the level's flags and with vectorization on.

    function  qualified, with its template arguments: `loopnest::v4::matmul::naive<float>`
    header    below csrc/

    Raises InspectError if there is no compiler, or if it fails.
    """
    here = compiler()
    report = (
        ["-fopt-info-vec-missed-internals", "-fopt-info-vec-optimized"]
        if here.kind == "GNU"
        else [f"-R{what}=(loop|slp)-vectorize" for what in ("pass", "pass-missed", "pass-analysis")]
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rung.cpp")
        file.write_text(f'#include "{header}"\nnamespace {{ [[gnu::used]] const auto kept = &{function}; }}\n')
        arguments = ["-std=gnu++20", f"-I{csrc()}", f"-DLOOPNEST_ISA={level}", "-fPIC", "-Wno-psabi"]
        try:
            ran = here([*arguments, *flags_of(level), *report, "-c", str(file), "-o", os.devnull], TIME_LIMIT)
        except subprocess.TimeoutExpired:
            raise InspectError(f"{here.command[0]} took more than {TIME_LIMIT} s for {header}") from None
    if ran.returncode:
        first = next((line for line in ran.stderr.splitlines() if "error" in line), ran.stderr.strip())
        raise InspectError(f"{here.command[0]} cannot compile {header} for {level}: {first}")
    return parsed(ran.stderr)


def parsed(text: str) -> tuple[Remark, ...]:
    """GCC's and Clang's remarks on files of csrc/, each once, by file and line.

    >>> parsed("csrc/matmul/naive.hpp:21:33: optimized: loop vectorized using 64 byte vectors")[0].vectorized
    True
    """
    found: dict[Remark, None] = {}
    for line in text.splitlines():
        match = _REMARK.match(line)
        if match is None or "csrc/" not in match["file"]:
            continue
        words = re.sub(r" \[-R[^\]]*\]$", "", match["text"]).strip()
        words = re.sub(r"\b[\w.]*_\d+ = ", "", words)  # GCC's names for the values of a line
        words = re.sub(r"\*?\b[a-zA-Z]*_\d+\b", "…", words)
        vectorized = words.startswith(("loop vectorized", "vectorized loop"))
        about_a_loop = words.startswith(("not vectorized", "loop not vectorized", "couldn't vectorize loop"))
        if (vectorized or about_a_loop) and not _NOISE.search(words):
            found[Remark(match["file"].rpartition("csrc/")[2], int(match["line"]), vectorized, words)] = None
    return tuple(sorted(found, key=lambda r: (r.file, r.line, not r.vectorized)))


def explained(remarks: Iterable[Remark], file: str, line: int) -> list[str]:
    """The remarks on a line; if its loop became vectors, without the attempts that failed before."""
    of_line = [remark for remark in remarks if (remark.file, remark.line) == (file, line)]
    vectorized = [remark.explained for remark in of_line if remark.vectorized]
    if vectorized:
        return [f"vectorized: {'; '.join(vectorized)}"]
    reasons = [remark for remark in of_line if remark.text not in ("couldn't vectorize loop", "loop not vectorized")]
    return [f"not vectorized: {remark.explained}" for remark in reasons] or ["not vectorized"]
