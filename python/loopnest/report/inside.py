"""What the report has of the machine code of its rungs: pages beside it, and their hot loops in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bench.records import Record
from ..inspect import InspectError, View, inspect, provider_of
from ..inspect.html import write
from ..inspect.tables import told_of
from ..operation import UnknownImplementationError
from ..operations import OPERATIONS

Rung = tuple[str, str]
"""The names of an operation and of an implementation."""


@dataclass(frozen=True)
class Inside:
    """A rung as it was inspected.

    page  the file's path from the report's folder; view: what is on it
    """

    page: str
    view: View

    def to_json(self) -> dict[str, Any]:
        """What the report's page shows of it: each listing's title, what its loop adds up to, and the loop."""
        return {
            "page": self.page,
            "loops": [
                {
                    "title": listing.title,
                    "told": [*(told_of(listing.loop, listing.language) if listing.loop else ()), *listing.notes],
                    "code": "\n".join(line.text for line in listing.lines if line.hot),
                }
                for listing in self.view.listings
            ],
        }


def folder_beside(report: Path) -> Path:
    """Where the pages of a report lie: `report.html` has `report-inspect/`."""
    return report.with_name(f"{report.stem}-inspect")


def look_inside(
    records: Sequence[Record], report: Path, isa: str | None = None, on_event: Callable[[str, Any], None] | None = None
) -> tuple[Mapping[Rung, Inside], Mapping[Rung, str]]:
    """Inspect the rungs of these records, and write a page of each into the folder beside the report.

    isa       the level of C++'s machine code: that of the run; the one in force where it is None
    on_event  is called with "round" and (the rung, how many are done, how many there are)

    Returns what was found by rung, and for those of which there is nothing to show, why.
    """
    folder = folder_beside(report)
    dtypes: dict[Rung, str] = {}
    for record in records:
        dtypes.setdefault((record.operation, record.impl), record.dtype)
    wanted = {rung: dtype for rung, dtype in dtypes.items() if command_of(*rung)}
    found: dict[Rung, Inside] = {}
    missing: dict[Rung, str] = {}
    for done, (rung, dtype) in enumerate(wanted.items()):
        operation, impl = rung
        if on_event is not None:
            on_event("round", (" ".join(rung), done, len(wanted)))
        try:
            k = OPERATIONS[operation][impl]
            view = inspect(k, "hot", dtype=dtype, isa=isa if k.backend == "cpp" else None, measure=False)
        except InspectError as error:
            missing[rung] = str(error)
            continue
        folder.mkdir(exist_ok=True)
        file = folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', f'{operation}-{impl}')}.html"
        write([view], file)
        found[rung] = Inside(f"{folder.name}/{file.name}", view)
    return found, missing


def command_of(operation: str, impl: str) -> str:
    """The command that looks into a rung; "" where nothing can: it is not installed, or of a backend without machine
    code."""
    if operation not in OPERATIONS:
        return ""
    try:
        k = OPERATIONS[operation][impl]
    except UnknownImplementationError:
        return ""
    provider = provider_of(k.backend)
    shows = provider.SHOWS if provider is not None else ()
    return f"loopnest inspect {operation} {impl}" if "hot" in shows else ""
