"""What the cache simulator adds to the report, where it is."""

from __future__ import annotations

from typing import Any

from ..machine import MachineCard
from ..records import Record


def figures(card: MachineCard | None) -> list[str]:
    return []


def traffic(record: Record) -> Any:
    return None
