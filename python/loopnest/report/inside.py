"""The machine code of a report's rungs: a page of each in a folder next to the report, and their hot loops in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bench.records import Record
from ..inspect import InspectError, View, inspect, provider_of
from ..inspect.html import write
from ..inspect.tables import sums_of
from ..operation import UnknownImplementationError
from ..operations import OPERATIONS

Rung = tuple[str, str]
"""The names of an operation and of an implementation."""


@dataclass(frozen=True)
class Inside:
    """An inspected rung.

    page  the file's path from the report's folder; view: what it shows
    """

    page: str
    view: View

    def for_page(self) -> dict[str, Any]:
        """What the report itself shows: each listing's title, what its loop adds up to, and the loop."""
        return {
            "page": self.page,
            "loops": [
                {
                    "title": listing.title,
                    "summary": [*(sums_of(listing.loop, listing.language) if listing.loop else ()), *listing.notes],
                    "code": "\n".join(line.text for line in listing.lines if line.hot),
                }
                for listing in self.view.listings
            ],
        }


def look_inside(
    records: Sequence[Record], report: Path, isa: str | None = None, on_event: Callable[[str, Any], None] | None = None
) -> Mapping[Rung, Inside]:
    """Inspect the rungs of these records, and write a page of each: `report.html` has the folder `report-inspect/`.

    isa       the ISA level of C++'s machine code: the run's; None: the one in force
    on_event  is called with "round" and (the rung, the number done, the number of all)

    Rungs that cannot be inspected here are left out.
    """
    folder = report.with_name(f"{report.stem}-inspect")
    dtypes: dict[Rung, str] = {}
    for record in records:
        dtypes.setdefault((record.operation, record.impl), record.dtype)
    wanted = {rung: dtype for rung, dtype in dtypes.items() if command_of(*rung)}
    found: dict[Rung, Inside] = {}
    for done, (rung, dtype) in enumerate(wanted.items()):
        operation, impl = rung
        if on_event is not None:
            on_event("round", (" ".join(rung), done, len(wanted)))
        try:
            k = OPERATIONS[operation][impl]
            view = inspect(k, "hot", dtype=dtype, isa=isa if k.backend == "cpp" else None, measure=False)
        except InspectError:
            continue
        folder.mkdir(exist_ok=True)
        file = folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', f'{operation}-{impl}')}.html"
        write([view], file)
        found[rung] = Inside(f"{folder.name}/{file.name}", view)
    return found


def command_of(operation: str, impl: str) -> str:
    """The command that shows a rung's machine code; empty for a rung that is not installed or has none."""
    if operation not in OPERATIONS:
        return ""
    try:
        k = OPERATIONS[operation][impl]
    except UnknownImplementationError:
        return ""
    provider = provider_of(k.backend)
    return f"loopnest inspect {operation} {impl}" if provider is not None and "hot" in provider.SHOWS else ""
