"""This machine's card: measured once, and kept. The one way to ask what the machine reaches.

>>> from loopnest.machine.card import card
>>> here = card()                                   # doctest: +SKIP
>>> here.peak("float32", threads=1) / 1e9           # doctest: +SKIP
117.3
>>> here.bandwidth("L2", "read") / 1e9              # doctest: +SKIP
163.0

docs/machine.md explains each figure.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from .._core import isa_levels
from .._version import __version__
from ..backends.user_cache import cache_directory
from ..output.files import save_json
from ..timing.conditions import quota
from ..timing.environment import Environment, environment
from . import measure
from .records import MachineCard

OnEvent = Callable[[str, Any], None]


def card(refresh: bool = False, quick: bool = False, on_event: OnEvent = lambda kind, content: None) -> MachineCard:
    """This machine's card: the kept one, or one that is measured now, in some 15 seconds, and kept.

    refresh   measure in any case
    quick     where none is kept, return rough limits in place of measuring: a second, kept for this process
    on_event  is called with ("start", the number of measurements), ("running", a name), ("note", a sentence)

    A file that cannot be read as a card is measured anew.
    """
    file = card_file()
    if not refresh and file.exists():
        try:
            return as_it_is_now(msgspec.json.decode(file.read_bytes(), type=MachineCard))
        except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            on_event("note", f"{file} cannot be used ({error}): the machine is measured anew")
    if quick and not refresh:
        return as_it_is_now(measure.quick())
    measured = measure.measure(on_event=on_event)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_json(msgspec.to_builtins(measured), file)
    except OSError as error:
        on_event("note", f"the machine card could not be kept in {file} ({error}): the next call measures again")
    return as_it_is_now(measured)


def card_file() -> Path:
    """Where this machine's card is kept. The name has a hash of all that would make it another machine's."""
    here = environment()
    key = here.cpu, here.cores, here.system, isa_levels(), measure.caches(), __version__
    return cache_directory() / f"machine-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.json"


def as_it_is_now(measured: MachineCard) -> MachineCard:
    """The card with the thread pools and the warnings of this process."""
    here = environment()
    warnings = (*measured.disturbances, *here.warnings, *_crowding(here, quota()))
    return dataclasses.replace(measured, pools=here.pools, warnings=warnings)


def _crowding(here: Environment, allowed: float | None) -> Iterator[str]:
    """Threads that have no processor to themselves."""
    for pool in here.pools:
        if pool.threads > here.cores:
            yield (
                f"{pool.owner} has {pool.threads} threads for {here.cores} processors: "
                "they take turns, and wait for one another"
            )
    if allowed is not None and allowed < here.cores:
        yield (
            f"a quota lets this process use the time of {allowed:g} of its {here.cores} processors (cgroup cpu.max): "
            "work that uses all of them for longer than some milliseconds is halted"
        )
