"""What a comparison with the peers gives, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ...output.files import save_json
from ...timing.environment import Environment
from ..records import Failure

OURS = "loopnest"
PEERS = ("NumPy", "torch", "JAX")


@dataclass(frozen=True)
class Item:
    """One piece of work, done by all contenders in the same rounds.

    part        what it belongs to: `matmul-square`
    name        what it is within its part: `float32, n = 512`
    tags        what bars choose it by
    amount      of the work in one call, in what `unit` counts: flops for "GFLOP/s", bytes for "GB/s", elements for
                "ns/element", calls (one) for "ns"; not used for "MB"
    costs       of each contender, less is better: seconds of its fastest call, or bytes where `unit` is "MB"
    floors      what the machine's limits would cost: seconds in which the same rounds' fastest multiply-adds, reading
                or copying do as many flops or bytes
    statements  the line of Python that each contender was timed with
    notes       by contender, what is to be known about its figure
    rounds      how often each had its turn
    """

    part: str
    name: str
    tags: tuple[str, ...]
    unit: str
    amount: float
    costs: Mapping[str, float]
    floors: Mapping[str, float] = field(default_factory=dict)
    statements: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    rounds: int = 1

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Item:
        return cls(**{**data, "tags": tuple(data["tags"])})

    def best_peer(self) -> float | None:
        """The cost of the cheapest peer; None where none was measured."""
        return min((self.costs[name] for name in PEERS if name in self.costs), default=None)

    def ratio(self, against: str) -> float | None:
        """How many times our cost goes into that of `against`: above 1, we are better. None where it has no cost.

        against  a contender, "best peer", or one of the machine's limits, where the ratio is our share of it
        """
        theirs = self.best_peer() if against == "best peer" else {**self.floors, **self.costs}.get(against)
        ours = self.costs.get(OURS)
        return None if theirs is None or ours is None else theirs / ours


@dataclass(frozen=True)
class Absent:
    """What could not be measured, a contender or a whole part, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class PeerResults:
    """A run."""

    environment: Environment | None
    items: tuple[Item, ...] = ()
    absent: tuple[Absent, ...] = ()
    failures: tuple[Failure, ...] = ()
    quick: bool = False
    interrupted: bool = False
    datetime: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def save(self, path: Path) -> None:
        save_json(self.to_json(), path)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PeerResults:
        environment = data["environment"]
        return cls(
            **{
                **data,
                "environment": msgspec.convert(environment, Environment) if environment else None,
                "items": tuple(map(Item.from_json, data["items"])),
                "absent": tuple(Absent(**absent) for absent in data["absent"]),
                "failures": tuple(Failure(**failure) for failure in data["failures"]),
            }
        )
