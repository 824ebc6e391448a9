"""The compiler's remarks on a rung's loops: which it vectorized, which not, and why.

The extension does not keep them. So the rung's header is compiled again, alone, by the compiler of this machine, with
the flags of the extension (flags.json, which CMake reads too).
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

from ..backends.compiler import Compiler, NoCompilerError, find
from ..backends.cpp import csrc
from .records import InspectError, Line, Listing
from .source import source_lines

OFF = "this rung is compiled with vectorization off, to show what that costs"

MEANINGS = {
    "multiple nested loops|consecutive inner loops": "it has loops in it; only innermost loops become vectors",
    "control flow in loop": "a loop or a branch in it",
    "relevant stmt not supported": "there is no vector form of this",
    "complicated access pattern|not suitable for": "its elements are neither adjacent nor a constant distance apart",
    "possible alias": "arrays might overlap; if vectors are made, a scalar copy of the loop runs then",
    "number of iterations cannot|number of loop iterations": "its number of iterations is unknown when it begins",
    "unsupported use in stmt": "a value goes from one iteration to the next: a sum in a fixed order",
    "unsafe dependent memory operations": "an iteration may need what another one writes",
    "vectorization is not|cost model": "the compiler estimates that vectors would be no faster",
    "call instruction cannot|clobbers memory": "it calls a function",
    "reorder floating-point operations": "IEEE 754 additions must not be regrouped",
}
"""The meaning of compilers' phrases; the first one that occurs counts."""

_NOISE = re.compile(
    r"no vectype for stmt|no grouped stores|basic block|bad data references|unsupported data-type"
    r"|more than one data ref|relevant stmt not supported: (?![A-Za-z]\w* \()"
)
"""GCC's remarks on further attempts, on code outside of loops, and on statements without a vector form (but calls)."""

_REMARK = re.compile(r"(?P<file>[^:\n]+):(?P<line>\d+):\d+: (?P<how>missed|optimized|remark|note): +(?P<text>.*)")


class Remark(NamedTuple):
    """One remark: a file below csrc/, whether it reports that a loop became vectors, and the compiler's words."""

    file: str
    line: int
    vectorized: bool
    text: str

    @property
    def explained(self) -> str:
        """The compiler's words, and their meaning where it is known."""
        text = re.sub(r"^(?:loop )?not vectorized: |^loop vectorized using |; allow reordering by .*", "", self.text)
        text = re.sub(r"^vectorized loop \((.*)\)$", r"\1", text).rstrip(".; ")
        meaning = next((f": {words}" for phrases, words in MEANINGS.items() if re.search(phrases, self.text)), "")
        return text + meaning


def compiler() -> Compiler:
    """The C++ compiler of this machine. Raises InspectError if there is none."""
    try:
        return find("c++")
    except NoCompilerError as error:
        raise InspectError(f"the compiler's remarks need a C++ compiler: {error}") from None


@functools.cache
def flags() -> Any:
    """The flags of the kernels."""
    return json.loads((csrc() / "dispatch" / "flags.json").read_text(encoding="utf-8"))


def flags_of(level: str) -> list[str]:
    """The flags that the kernels of a level are compiled with."""
    of_v1 = flags()["v1"][compiler().kind] if level == "v1" else []
    return [*flags()["kernels"], *flags()["levels"][level], *of_v1]


def remarks_on(header: str, function: str, level: str, off: bool) -> list[Listing]:
    """The compiler's remarks on a function of a header below csrc/, under their lines, with vectorization on.

    function  qualified, with its template arguments: `loopnest::v4::matmul::naive<float>`
    off       whether the extension has it without vectorization
    """
    here, remarks = compiler(), remarks_from(header, function, level)
    notes = [f"By {here.version}, which compiled the header again with {' '.join(flags_of(level))}."]
    if off:
        notes.append(f"With vectorization on: {OFF} ({' '.join(flags()['scalar'][here.kind])}).")
    return [_listing(f"csrc/{header}: {function}", header, remarks, notes)]


def remarks_on_file(source: Path, language: str, flags: str, command: str | None) -> list[Listing]:
    """The compiler's remarks on a user's file of C or C++. Raises InspectError if it does not compile."""
    here, own = find(language, command), str(source.resolve())
    ran = _compiled(here, [*shlex.split(flags), own])
    if ran.returncode:
        raise InspectError(f"{source} does not compile")
    return [_listing(source.name, own, parsed(ran.stderr, own), [f"By {here.version}, with {flags}."])]


def _listing(title: str, header: str, remarks: Iterable[Remark], notes: Sequence[str]) -> Listing:
    """The lines of a file that have remarks, with these below them."""
    # Of other headers only what keeps a loop of this one scalar, such as a call of the C library's exp.
    places = {(r.file != header, r.file, r.line) for r in remarks if r.file == header or "not supported" in r.text}
    lines = []
    for elsewhere, file, number in sorted(places):
        lines.append(Line(source_lines(file)[number - 1], source=(file, number), note=file if elsewhere else ""))
        lines += [Line(f"// {words}", "comment", (file, number)) for words in explained(remarks, file, number)]
    nothing = Line("nothing: there is no loop that it could vectorize, or all is written with vectors")
    return Listing(f"the compiler's remarks on {title}", "cpp", tuple(lines) or (nothing,), notes=tuple(notes))


@functools.cache
def remarks_from(header: str, function: str, level: str) -> list[Remark]:
    """Compile a function of a header for a level. Raises InspectError if that fails."""
    here = compiler()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rung.cpp")
        file.write_text(f'#include "{header}"\nnamespace {{ [[gnu::used]] const auto kept = &{function}; }}\n')
        arguments = ["-std=gnu++20", f"-I{csrc()}", f"-DLOOPNEST_ISA={level}", "-fPIC", "-Wno-psabi"]
        ran = _compiled(here, [*arguments, *flags_of(level), str(file)])
    if ran.returncode:
        first = next((line for line in ran.stderr.splitlines() if "error" in line), ran.stderr.strip())
        raise InspectError(f"{here.command[0]} cannot compile {header} for {level}: {first}")
    return parsed(ran.stderr)


def _compiled(here: Compiler, arguments: Sequence[str]) -> CompletedProcess[str]:
    """A compilation that writes remarks, and keeps nothing."""
    report = (
        ["-fopt-info-vec-missed-internals", "-fopt-info-vec-optimized"]
        if here.kind == "GNU"
        else [f"-R{what}=(loop|slp)-vectorize" for what in ("pass", "pass-missed", "pass-analysis")]
    )
    return here([*report, *arguments, "-c", "-o", os.devnull])


def parsed(text: str, folder: str = "csrc/") -> list[Remark]:
    """GCC's and Clang's remarks on files of csrc/, each once, by file and line.

    folder  another one, whose files have their whole names then

    >>> parsed("csrc/matmul/naive.hpp:21:33: optimized: loop vectorized using 64 byte vectors")[0].vectorized
    True
    """
    found: set[Remark] = set()
    for line in text.splitlines():
        match = _REMARK.match(line)
        if match is None or folder not in match["file"]:
            continue
        words = re.sub(r" \[-R[^\]]*\]$", "", match["text"]).strip()
        words = re.sub(r"\b[\w.]*_\d+ = ", "", words)  # GCC's names for the values of a line
        words = re.sub(r"\*?\b[a-zA-Z]*_\d+\b", "…", words)
        vectorized = words.startswith(("loop vectorized", "vectorized loop"))
        about_a_loop = words.startswith(("not vectorized", "loop not vectorized", "couldn't vectorize loop"))
        if (vectorized or about_a_loop) and not _NOISE.search(words):
            name = match["file"].rpartition("csrc/")[2] if folder == "csrc/" else match["file"]
            found.add(Remark(name, int(match["line"]), vectorized, words))
    return sorted(found, key=lambda r: (r.file, r.line, not r.vectorized, r.text))


def explained(remarks: Iterable[Remark], file: str, line: int) -> list[str]:
    """The remarks on a line; if its loop became vectors, without the attempts that failed before."""
    of_line = [remark for remark in remarks if (remark.file, remark.line) == (file, line)]
    if vectorized := [remark.explained for remark in of_line if remark.vectorized]:
        return [f"vectorized: {'; '.join(vectorized)}"]
    reasons = [remark for remark in of_line if remark.text not in ("couldn't vectorize loop", "loop not vectorized")]
    return [f"not vectorized: {remark.explained}" for remark in reasons] or ["not vectorized"]
