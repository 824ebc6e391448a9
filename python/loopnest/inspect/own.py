"""What a compiler made of a user's file: of a library in C or C++, or of the functions that Numba compiled.

Numba's code is made in the process that has imported the file: `numba_code` runs there, by Session.run.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .elf import assembly, hottest_in
from .families import family_called
from .in_numba import OURS, Called, assembled, compiled, hottest_first
from .records import InspectError, Listing
from .remarks import remarks_on_file
from .source import with_instructions

SHOWS = ("hot", "source", "asm", "remarks")


class Compiled(NamedTuple):
    """A library of C or C++, and how it was made."""

    library: Path
    symbol: str
    source: Path
    language: str
    flags: str
    compiler: str | None


def library_listings(made: Compiled, aspects: Sequence[str], cpu: str | None = None) -> list[Listing]:
    """The listings of these aspects of a compiled file. Raises InspectError for what cannot be shown.

    cpu  the processor family of the bound, such as "Zen 3"; this machine's by default
    """
    unknown = [aspect for aspect in aspects if aspect not in SHOWS]
    if unknown:
        raise InspectError(f"{made.source.name} has no {unknown[0]} to show, but {', '.join(SHOWS)}")
    listings: list[Listing] = []
    for aspect in aspects:
        if aspect == "remarks":
            listings += remarks_on_file(made.source, made.language, made.flags, made.compiler)
            continue
        file, root, function, loop = hottest_in(made.library, made.symbol, family_called(cpu) if cpu else None)
        scalar = "Scalar: the compiler made no vectors of it; --remarks has the reasons."
        notes = (scalar,) if loop and loop.scalar else ()
        facts = {"reached by": f"{root.name} → {function.name}"} if root != function else {}
        shown = assembly(file, function, loop, function.name, aspect, notes, facts)
        own = str(made.source.resolve())
        listings += with_instructions(own, "", shown.loop) if aspect == "source" else [shown]
    return listings


# --- Numba


def numba_code(module: str = "submission") -> list[tuple[str, str, bytes]]:
    """Name, symbol and machine code of each function that Numba has compiled in an imported module, compiled anew with
    source lines. This is called in the process that has imported it."""
    from numba.core.registry import CPUDispatcher

    found = []
    for name, function in vars(sys.modules[module]).items():
        if isinstance(function, CPUDispatcher) and function.py_func.__module__ == module:
            options: Mapping[str, Any] = {k: v for k, v in function.targetoptions.items() if k not in OURS}
            for signature in function.signatures[:1]:
                symbol, _, code = compiled(Called(function.py_func, signature, options))
                found.append((name, symbol, code))
    return found


def numba_listings(codes: Sequence[tuple[str, str, bytes]], file: Path, aspects: Sequence[str]) -> list[Listing]:
    """The listings of what `numba_code` gave, the hottest function alone."""
    unknown = [aspect for aspect in aspects if aspect not in ("hot", "asm", "source")]
    if unknown or not codes:
        why = f"no {unknown[0]} to show, but hot, source, asm" if unknown else "no function that Numba has compiled"
        raise InspectError(f"{file.name} has {why}")
    listings: list[Listing] = []
    for aspect in aspects:
        shown = hottest_first(assembled(symbol, code, name, aspect) for name, symbol, code in codes)[0]
        listings += with_instructions(str(file.resolve()), "", shown.loop) if aspect == "source" else [shown]
    return listings
