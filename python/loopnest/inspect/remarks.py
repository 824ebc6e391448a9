"""What the compiler says of a rung's loops: which it vectorized, which not, and why.

The remarks are not kept in the extension, so the rung's header is compiled once more, alone, with the flags that the
extension was built with (csrc/simd/flags.json), by the compiler of this machine.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..backends.cpp import csrc
from .records import InspectError

TIME_LIMIT = 120
"""Seconds for the compiler: matmul's packed rungs take ten."""

WORDS = {
    "multiple nested loops": "it has loops in it; only innermost loops become vectors",
    "two or more consecutive inner loops": "it has loops in it; only innermost loops become vectors",
    "control flow in loop": "a loop or a branch in it",
    "relevant stmt not supported": "there is no vector form of this",
    "complicated access pattern": "its elements lie neither side by side nor at one constant distance",
    "not suitable for strided load": "its elements lie apart, and to collect them would cost more than vectors save",
    "not suitable for gather": "its elements lie apart, and to collect them would cost more than vectors save",
    "versioned for vectorization because of possible aliasing": "where the arrays overlap, a scalar copy of it runs",
    "possible alias": "two of the arrays might overlap",
    "number of iterations cannot be computed": "how often it runs is not known when it begins",
    "could not determine number of loop iterations": "how often it runs is not known when it begins",
    "unsupported use in stmt": "a value goes from one iteration to the next: a sum in a fixed order",
    "unsafe dependent memory operations": "an iteration may need what another one writes",
    "vectorization is not profitable": "the compiler reckons that vectors would be no faster",
    "vectorization is not beneficial": "the compiler reckons that vectors would be no faster",
    "cost model": "the compiler reckons that vectors would be no faster",
    "call instruction cannot be vectorized": "it calls a function",
    "statement clobbers memory": "it calls a function",
    "cannot prove it is safe to reorder floating-point operations": "IEEE 754 additions do not regroup",
}
"""Compilers' phrases in other words; the first that fits is told."""

NOISE = re.compile(
    r"no vectype for stmt|no grouped stores|basic block|bad data references|unsupported data-type"
    r"|more than one data ref|relevant stmt not supported: (?![A-Za-z]\w* \()"
)
"""What GCC says of its further attempts and of code outside of loops; of what has no vector form, all but calls."""


@dataclass(frozen=True)
class Remark:
    """One saying of the compiler.

    file        below csrc/
    vectorized  whether it says that a loop became vectors
    text        the compiler's words
    """

    file: str
    line: int
    vectorized: bool
    text: str

    @property
    def meaning(self) -> str:
        """The same in other words; "" where none are known."""
        return next((words for phrase, words in WORDS.items() if phrase in self.text), "")

    @property
    def told(self) -> str:
        """The compiler's words, and what they mean."""
        text = re.sub(r"^(?:loop )?not vectorized: |^loop vectorized using |; allow reordering by .*", "", self.text)
        text = re.sub(r"^vectorized loop \((.*)\)$", r"\1", text).rstrip(".; ")
        return f"{text}: {self.meaning}" if self.meaning else text


@dataclass(frozen=True)
class Compiler:
    """The compiler of this machine: its command, "GNU" or "Clang", and what it says it is."""

    command: str
    kind: str
    version: str


@functools.cache
def compiler() -> Compiler:
    """$CXX, or else g++, clang++ or c++. Raises InspectError where there is none."""
    named = os.environ.get("CXX")
    for command in [named] if named else ["g++", "clang++", "c++"]:
        path = shutil.which(command)
        if path is None:
            continue
        told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        if told:
            return Compiler(path, "Clang" if "clang" in told else "GNU", told.splitlines()[0])
    asked = f"CXX is {named!r}, and no such command was found" if named else "no g++, clang++ or c++ was found"
    raise InspectError(f"the compiler's remarks need a C++ compiler: {asked}. On Debian: apt install g++")


@functools.cache
def flags() -> dict[str, object]:
    """csrc/simd/flags.json."""
    told: dict[str, object] = json.loads((csrc() / "simd" / "flags.json").read_text(encoding="utf-8"))
    return told


def flags_of(level: str, scalar: bool, kind: str) -> list[str]:
    """The flags that a kernel of this level is compiled with; scalar: with vectorization off."""
    told = flags()
    of_level, without = told["levels"], told["scalar"]
    assert isinstance(of_level, dict)
    assert isinstance(without, dict)
    kernels = told["kernels"]
    assert isinstance(kernels, list)
    return [*kernels, *of_level[level], *(without[kind] if scalar else ())]


@functools.cache
def remarks_on(function: str, header: str, level: str, scalar: bool = False) -> tuple[Remark, ...]:
    """What the compiler says of a function of a header, with the level's flags.

    function  qualified, with its template arguments: `loopnest::v4::matmul::naive<float>`
    header    below csrc/
    scalar    with vectorization off: then there is nothing to say

    Raises InspectError where there is no compiler, or where it fails.
    """
    here = compiler()
    namespace = f"{level}_scalar" if scalar else level
    text = (
        f'#include "kernels.hpp"\n#include "{header}"\nnamespace {{ [[gnu::used]] const auto kept = &{function}; }}\n'
    )
    say = (
        ["-fopt-info-vec-missed-internals", "-fopt-info-vec-optimized"]
        if here.kind == "GNU"
        else [f"-R{what}=(loop|slp)-vectorize" for what in ("pass", "pass-missed", "pass-analysis")]
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rung.cpp")
        file.write_text(text, encoding="utf-8")
        command = [here.command, "-std=gnu++20", f"-I{csrc()}", f"-DLOOPNEST_ISA={namespace}", "-fPIC", "-Wno-psabi"]
        command += [*flags_of(level, scalar, here.kind), *say, "-c", str(file), "-o", os.devnull]
        try:
            told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            raise InspectError(f"{here.command} took more than {TIME_LIMIT} s for {header}") from None
    if told.returncode:
        first = next((line for line in told.stderr.splitlines() if "error" in line), told.stderr.strip())
        raise InspectError(f"{here.command} cannot compile {header} for {level}: {first}")
    return parsed(told.stderr)


_REMARK = re.compile(r"(?P<file>[^:\n]+):(?P<line>\d+):\d+: (?P<how>missed|optimized|remark|note): +(?P<text>.*)")


def parsed(told: str) -> tuple[Remark, ...]:
    """GCC's and Clang's remarks on files of csrc/, each once, by file and line.

    >>> parsed("csrc/matmul/naive.hpp:21:33: optimized: loop vectorized using 64 byte vectors")[0].vectorized
    True
    """
    found: dict[Remark, None] = {}
    for line in told.splitlines():
        match = _REMARK.match(line)
        if match is None or "csrc/" not in match["file"]:
            continue
        text = re.sub(r" \[-R[^\]]*\]$", "", match["text"]).strip()
        text = re.sub(r"\b[\w.]*_\d+ = ", "", text)  # GCC's names for what a line computes
        text = re.sub(r"\*?\b[a-zA-Z]*_\d+\b", "…", text)
        vectorized = text.startswith(("loop vectorized", "vectorized loop"))
        said = vectorized or text.startswith(("not vectorized", "loop not vectorized", "couldn't vectorize loop"))
        if said and not NOISE.search(text):
            found[Remark(match["file"].rpartition("csrc/")[2], int(match["line"]), vectorized, text)] = None
    return tuple(sorted(found, key=lambda r: (r.file, r.line, not r.vectorized)))
