"""A kernel that has been built, and the process that it runs in: probes go in, observations come out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.compiler import Build
from ..numerics import unit_roundoff
from ..operation import Operation
from ..verify import POISON, compare
from .form import CForm, Parameter, PythonForm, plan
from .probes import Arrays, Probe
from .session import SHOWN, ProcessLimits, Reply, Session

CANARY = 0xA5
MARGIN = 4096
"""Bytes next to a result that are looked at for writes, on the side where no guard page is."""

DEVICE_ALIGNMENT = 256
"""Bytes to a multiple of which the memory of a GPU is aligned."""


@dataclass(frozen=True, eq=False)
class Observation:
    """What came of a probe.

    results   copies, in the contract's order, taken after the process was stopped; none where all is right
    unwritten how many elements of results still hold the judge's NaN
    outside   where memory next to a result was written to
    problems  what is wrong, in words; nothing where all is right
    """

    probe: Probe
    reply: Reply
    results: Arrays = ()
    unwritten: int = 0
    outside: str = ""
    problems: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        return not self.problems and self.reply.problem is None

    @property
    def raised(self) -> bool:
        """Whether the call raised an exception, which may be an honest way to decline."""
        return self.reply.problem is not None and not self.reply.problem.get("returned")


class Host:
    """The process that kernels are loaded into. It is started when it is needed, and again after it has ended."""

    def __init__(self, file: Path, limits: ProcessLimits, deadline: float, threads: int = 1, who: str = "") -> None:
        self.file, self.limits, self.deadline, self.threads, self.who = file, limits, deadline, threads, who
        self.session: Session | None = None
        self.loaded: dict[str, Mapping[str, Any]] = {}
        self.output, self.printed = b"", 0
        self._requests: dict[str, dict[str, Any]] = {}
        self._tensors = False

    def live(self) -> Session:
        """The session, started where there is none."""
        if self.session is None or self.session.closed:
            self.restart()
        assert self.session is not None
        return self.session

    def restart(self) -> None:
        """End the process, and load the same kernels into a new one."""
        self.close()
        self.session = Session(self.file, self.limits, self.deadline, self.threads, self.who)
        for key in self._requests:
            self._load(key)
        self.arrive_as_tensors(self._tensors)

    def load(self, key: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Load a kernel, which calls name by this key; what the process says of it."""
        if key not in self._requests:
            started = self.session is not None and not self.session.closed
            self._requests[key] = {"do": "load", "key": key, **request}
            self.live()
            if started:
                self._load(key)
        return self.loaded[key]

    def _load(self, key: str) -> None:
        assert self.session is not None
        what = "when it was imported" if self._requests[key]["kind"] == "python" else "when it was loaded"
        self.loaded[key] = self.session.ask(self._requests[key], phase=what)

    def limit_calls(self, seconds: float) -> None:
        """Give each call this time."""
        self.limits = ProcessLimits(seconds, self.limits.memory)
        self.live().limits = self.limits

    def arrive_as_tensors(self, tensors: bool) -> None:
        """From now on, arrays come to it as torch's tensors, or as NumPy's arrays."""
        if tensors != self._tensors or tensors:
            self._tensors = tensors
            self.live().ask({"do": "arrive", "tensors": tensors})

    def close(self) -> None:
        """End the process, and keep what it has printed."""
        if self.session is not None:
            self.session.close()
            self.output = (self.output + self.session.output)[:SHOWN]
            self.printed += self.session.printed
            self.session = None


@dataclass
class Kernel:
    """A function that computes an operation, and how it is called.

    key         by which its host calls it
    symbol      the function's name in the file
    uses        libraries that it has imported
    names       of its arrays, by their number in the plan
    parameters  names of a C function's parameters
    simulated   for CUDA C++: what backends.simulate has built
    strassen    the size of blocks above which it says that it is Strassen's algorithm, or 0
    finite      whether it says that it is for finite numbers
    generation  of array objects: another number makes the process forget those that it has
    notes, declined  what a reader should know, and what it refuses with an error, as far as `build` has seen
    """

    operation: Operation
    file: Path
    language: str
    host: Host
    key: str
    form: CForm | PythonForm
    dtypes: tuple[np.dtype[Any], ...] = ()
    build: Build | None = None
    symbol: str = ""
    library: Path | None = None
    uses: tuple[str, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    simulated: Any = None
    strassen: int = 0
    finite: bool = False
    notes: tuple[str, ...] = ()
    declined: tuple[str, ...] = ()
    generation: int = 0
    calls: int = 0
    last_probe: Probe | None = None
    last_places: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.host.close()

    @property
    def base(self) -> int:
        """The address at which its library lies in the process; 0 where that is not known."""
        return int(self.host.loaded.get(self.key, {}).get("base", 0))

    def seen(self) -> Mapping[str, Any]:
        """What a Python file has replaced, which doors it knocked at while watched, and whether it uses loopnest."""
        if self.language != "python" or self.host.session is None or self.host.session.closed:
            return {"patched": [], "events": [], "loopnest": False}
        return self.host.session.ask({"do": "seen"})

    def name_of(self, number: int) -> str:
        """An array's name in the file."""
        return self.names.get(number) or plan(self.operation).parameters[number].name

    # calls

    def observe(self, probe: Probe, *, fill: str = "poison", phase: str = "") -> Observation:
        """Make one call and hold its results to the contract.

        fill  what results hold before the call: "poison" or "zero"
        """
        return self.judged(probe, self.call(probe, phase, fill), fill)

    def call(self, probe: Probe, phase: str = "", fill: str = "poison") -> Reply:
        """Make one call; what it left is in `results`, and still to be judged."""
        session = self.host.live()
        session.stop()
        message = self._place(probe, session, fill)
        self.calls += 1
        return session.call(message, phase or str(probe))

    def judged(self, probe: Probe, reply: Reply, fill: str = "poison") -> Observation:
        """Hold what the last call left to the contract."""
        results, unwritten, problems = self.results(probe), 0, []
        if reply.problem is not None:
            return Observation(probe, reply, tuple(r.copy() for r in results))
        for number, (result, exact, allowed) in enumerate(zip(results, probe.exact, self.bound(probe), strict=True)):
            if reply.one and number:
                break  # the result that `out` takes is the first in the contract's order
            name = f"result {number}" if len(results) > 1 else "the result"
            problems += compare(result, exact, allowed, probe.dtype, name)
            if fill == "poison" and not reply.one and not self.operation.contract.updates:
                unwritten += int(np.count_nonzero(bits(result) == POISON[probe.dtype]))
        outside = self._written_outside()
        if outside:
            problems.insert(0, outside)
        if unwritten and not problems:
            problems.append(f"{unwritten} elements of the result were never written")
        problems += self._changed_inputs(probe)
        kept = tuple(r.copy() for r in results) if problems else ()
        return Observation(probe, reply, kept, unwritten, outside, tuple(problems))

    def results(self, probe: Probe) -> list[np.ndarray[Any, Any]]:
        """The results of the last call as they lie in shared memory now, in the contract's order."""
        found: dict[int, np.ndarray[Any, Any]] = {}
        for p, memory, offset, nbytes in self._arrays("result", "updated"):
            if p.role == "result":
                flat = memory[offset : offset + nbytes].view(probe.dtype)
                found[p.number] = flat.reshape(probe.exact[p.number].shape)
            else:
                view = probe.views[p.number]
                start = offset - _offset_of_first(view.shape, view.strides)
                place = self.operation.contract.updates.index(p.number)
                found[place] = np.ndarray(view.shape, view.dtype, memory, start, view.strides)
        return [found[i] for i in sorted(found)]

    def bound(self, probe: Probe) -> Arrays:
        """How far results may be off: as the contract says, or as the file states of Strassen's algorithm."""
        if not self.strassen or min(probe.workload.shape.values()) <= self.strassen:
            return probe.bound
        a, b = probe.views
        with np.errstate(all="ignore"):
            size = float(np.abs(a).max(initial=0)) * float(np.abs(b).max(initial=0))
            allowed = strassen_bound(max(probe.workload.shape.values()), self.strassen)
        return (probe.bound[0] + allowed * unit_roundoff(probe.dtype) * size,)

    def _arrays(self, *roles: str) -> Iterator[tuple[Parameter, Any, int, int]]:
        """The arrays of the last call: the parameter, the slot's memory, the offset in it, and the bytes."""
        session = self.host.session
        assert session is not None
        for i, p in enumerate(plan(self.operation).parameters):
            if p.role in roles:
                slot, offset, nbytes = self.last_places[i]
                yield p, session.slots[slot].bytes, offset, nbytes

    def _written_outside(self) -> str:
        for p, memory, offset, nbytes in self._arrays("result"):
            name = self.name_of(plan(self.operation).parameters.index(p))
            before, after = memory[max(0, offset - MARGIN) : offset], memory[offset + nbytes : offset + nbytes + MARGIN]
            if (before != CANARY).any():
                distance = before.size - int(np.flatnonzero(before != CANARY)[0])
                return f"it wrote before the start of {name}, by up to {distance} bytes"
            if (after != CANARY).any():
                distance = int(np.flatnonzero(after != CANARY)[-1]) + 1
                return f"it wrote past the end of {name}, by up to {distance} bytes"
        return ""

    def _changed_inputs(self, probe: Probe) -> list[str]:
        """Inputs that were changed, where the system could not seal them."""
        if self.host.session is None or all(slot.sealed for slot in self.host.session.slots):
            return []
        return [
            f"it changed its input {p.name}"
            for p, memory, offset, nbytes in self._arrays("input")
            if (memory[offset : offset + nbytes] != probe.memory[p.number]).any()
        ]

    # the message of a call

    def _place(self, probe: Probe, session: Session, fill: str) -> bytes:
        """Put inputs and poison into shared memory; the message of the call."""
        known = plan(self.operation)
        nbytes = [
            probe.memory[p.number].size if p.role != "result" else probe.exact[p.number].size * probe.dtype.itemsize
            for p in known.arrays
        ]
        needed = [n + (MARGIN if p.role == "result" else 0) for n, p in zip(nbytes, known.arrays, strict=True)]
        have = [slot.size for slot in session.slots] or [0] * len(needed)
        if any(n > h for n, h in zip(needed, have, strict=True)) or not session.slots:
            sizes = [max(1 << 16, 1 << (n - 1).bit_length(), h) for n, h in zip(needed, have, strict=True)]
            session.share([(size, p.role == "input") for size, p in zip(sizes, known.arrays, strict=True)])
            session.stop()
        self.last_places, self.last_probe = {}, probe
        described: dict[int, tuple[int, int, Sequence[int], Sequence[int], str]] = {}
        for slot_number, (p, size) in enumerate(zip(known.arrays, nbytes, strict=True)):
            memory = session.slots[slot_number].bytes
            offset = memory.size - size if probe.at_end else 0
            if self.simulated is not None:
                offset -= offset % DEVICE_ALIGNMENT
            if p.role == "result":
                exact = probe.exact[p.number]
                like = np.empty(exact.shape, probe.dtype)
                bits(memory[offset : offset + size].view(probe.dtype))[...] = (
                    POISON[probe.dtype] if fill == "poison" else 0
                )
                memory[max(0, offset - MARGIN) : offset] = CANARY
                memory[offset + size : offset + size + MARGIN] = CANARY
            else:
                like = probe.views[p.number]
                memory[offset : offset + size] = probe.memory[p.number]
            number = known.parameters.index(p)
            described[number] = (slot_number, offset, like.shape, like.strides, str(like.dtype))
            self.last_places[number] = (slot_number, offset, size)
        request = {"do": "call", "function": self.key}
        request |= (
            self._c_call(probe, described) if isinstance(self.form, CForm) else self._python_call(probe, described)
        )
        return json.dumps(request).encode()

    def _python_call(self, probe: Probe, described: Mapping[int, Sequence[Any]]) -> dict[str, Any]:
        known, form = plan(self.operation), self.form
        assert isinstance(form, PythonForm)
        results = [described[i] for i, p in enumerate(known.parameters) if p.role == "result"]
        return {
            "form": "given" if form.given else "returned",
            "arguments": [
                ("scalar", probe.scalars[p.number])
                if p.role == "scalar"
                else ("array", described[known.parameters.index(p)])
                for p in form.taken
            ],
            "results": [] if form.given else results,
            "one": self.operation.contract.outs == 1 and len(results) > 1,
            "new": self.generation,
            "rows": self.language == "rung" and known.joined,
        }

    def _c_call(self, probe: Probe, described: Mapping[int, Sequence[Any]]) -> dict[str, Any]:
        form, sizes = self.form, probe.workload.shape
        assert isinstance(form, CForm)
        values: list[tuple[str, Any]] = []
        for kind, what, c_type in form.arguments:
            if kind == "array":
                slot, offset, shape, strides, _ = described[what]
                values.append(("pointer", (slot, offset - _offset_of_first(shape, strides))))
            elif kind == "size":
                values.append((c_type, math.prod(sizes.values()) if what == "*" else sizes[what]))
            elif kind == "stride":
                number, axis = what
                _, _, _, strides, dtype = described[number]
                values.append((c_type, strides[axis] // np.dtype(dtype).itemsize))
            else:
                value = probe.scalars[what]
                values.append((c_type, int(value) if isinstance(value, bool) else value))
        request: dict[str, Any] = {"form": "c", "arguments": values}
        if form.returned:
            (request["returned"],) = (described[i] for i in described if i not in self._passed())
        if self.simulated is not None:
            integers = {n: v for n, (kind, v) in zip(self.parameters, values, strict=True) if isinstance(v, int)}
            launch = self.simulated.kernel(self.symbol).launch
            grid, block, shared = launch.of({**self.simulated.constants, **integers})
            request |= {"form": "cuda", "kernel": self.symbol, "grid": grid, "block": block, "shared": shared}
        return request

    def _passed(self) -> set[int]:
        """The numbers of the arrays that the C function takes."""
        assert isinstance(self.form, CForm)
        return {what for kind, what, _ in self.form.arguments if kind == "array"}


def bits(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Floats as the unsigned integers that have the same bits."""
    return x.view(np.dtype(x.dtype.str.replace("f", "u")))


def _offset_of_first(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Where an array's first element lies, in bytes, after its lowest address; negative, as strides are."""
    return sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s < 0 and n)


def strassen_bound(n: int, cutoff: int) -> float:
    """f, of |c - exact| <= f · u · max|a| · max|b| for Strassen's algorithm that multiplies blocks of `cutoff` and less
    in the ordinary way: (n/n₀)^{log₂ 12} (n₀² + 5 n₀) - 5 n, Higham, Accuracy and Stability of Numerical Algorithms,
    (23.14).

    >>> round(strassen_bound(128, 64))   # one level
    52352
    """
    levels = max(0, math.ceil(math.log2(n / cutoff)))
    return float(12**levels * (cutoff**2 + 5 * cutoff) - 5 * n)
