"""A kernel that has been built, and the process that it runs in: probes go in, observations come out."""

from __future__ import annotations

import functools
import json
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..backends.compiler import Build
from ..numerics import is_float, strassen_bound, unit_roundoff
from ..operation import Operation
from ..process.session import Reply, Session
from ..verify import POISON, Case, bits, compare_all, count_unwritten, wrong_elements
from ..verify.c_signature import CForm
from ..verify.signature import Parameter, PythonForm, asked_variations, plan, records
from .probes import Arrays, Probe, probe_of

CANARY = 0xA5
MARGIN = 4096  # Bytes next to a result that are looked at for writes, on the side where no guard page is
FEW = 64  # Elements of a result up to which nothing is said of its error as a whole
ROUNDINGS = 8  # That its error as a whole may be, where a promise allows more to single elements
DEVICE_ALIGNMENT = 256  # The alignment of GPU memory, in bytes


def rms(x: np.ndarray[Any, Any]) -> float:
    """The root of the mean square."""
    if not x.size:
        return 0.0
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(np.square(np.asarray(x, np.float64)))))


def _errs_in_elements(result: np.ndarray[Any, Any], exact: np.ndarray[Any, Any], bound: np.ndarray[Any, Any]) -> bool:
    """Whether the error is within the bound and some roundings by root mean squares, or there are too few elements."""
    with np.errstate(all="ignore"):
        error, allowed = np.broadcast_arrays(np.asarray(result, exact.dtype) - exact, bound)
        known = np.isfinite(error) & np.isfinite(allowed)
        roundings = ROUNDINGS * unit_roundoff(result.dtype) * rms(exact[known])
        return int(np.count_nonzero(known)) < FEW or rms(error[known]) <= rms(allowed[known]) + roundings


def _held_as_a_whole(
    probe: Probe, result: np.ndarray[Any, Any], exact: np.ndarray[Any, Any], bound: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """The bounds, made smaller if the root mean square of the errors is more than roundings add up to: the bound for
    one element of a long sum would let half precision pass. Integers are exact as it is."""
    if not is_float(result.dtype):
        return bound
    with np.errstate(all="ignore"):
        error = np.asarray(result, exact.dtype) - exact
        longest = math.sqrt(max(1, *probe.shape.values()))
        allowed = float(ROUNDINGS * longest * unit_roundoff(result.dtype) * rms(exact))
    fits = error.size < FEW or not np.isfinite(error).all() or rms(error) <= allowed
    return bound if fits else np.minimum(bound, allowed / 4)


def _largest(x: np.ndarray[Any, Any]) -> float:
    """The largest finite absolute value."""
    return float(np.max(np.abs(x), initial=0, where=np.isfinite(x)))


class WrongResult(NamedTuple):
    """A result that is not within its bound: which one, a mask of its wrong elements, itself, and what is exact."""

    number: int
    mask: np.ndarray[Any, Any]
    result: np.ndarray[Any, Any]
    exact: np.ndarray[Any, Any]

    @property
    def difference(self) -> np.ndarray[Any, Any]:
        return np.asarray(np.asarray(self.result, self.exact.dtype) - self.exact)

    @property
    def error(self) -> float:
        """By root mean squares, as a share of the result's size."""
        return rms(self.difference) / (rms(self.exact) or 1.0)


@dataclass(frozen=True, eq=False)
class Observation:
    """What came of a probe.

    results   copies, in the contract's order, taken after the process was stopped; none where all is right
    unwritten how many elements of results still hold the judge's NaN
    outside   where memory next to a result was written to
    problems  what is wrong, in words; nothing where all is right
    """

    kernel: Kernel
    probe: Probe
    reply: Reply
    results: Arrays = ()
    unwritten: int = 0
    outside: str = ""
    problems: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        return not self.problems and self.reply.problem is None

    @functools.cached_property
    def wrong(self) -> list[WrongResult]:
        if not self.results:
            return []
        exact = self.kernel.exact(self.probe, self.results)
        compared = zip(self.results, exact, self.kernel.bound(self.probe, self.results), strict=True)
        found = [WrongResult(i, wrong_elements(r, e, b), r, e) for i, (r, e, b) in enumerate(compared)]
        return [w for w in found if w.mask.any()]

    def near(self, result: Any, other: Any, number: int = 0) -> bool:
        """Whether a result is this other thing instead of what it should be, within some bounds."""
        if other.shape != result.shape:
            return False
        bound = self.kernel.bound(self.probe)[number]
        with np.errstate(all="ignore"):
            slack = 4 * np.max(np.where(np.isfinite(bound), bound, 0), initial=0.0)
            error = np.abs(np.asarray(result, other.dtype) - other)
            return bool(np.all((error <= slack) | (result == other) | (np.isnan(other) & np.isnan(result))))

    def all_near(self, results: Arrays, others: Any) -> bool:
        """The same of several results."""
        pairs = zip(results, others, strict=True)
        return all(self.near(r, np.asarray(other), i) for i, (r, other) in enumerate(pairs))

    def again(self, **facts: Any) -> Observation:
        """A call of the same kind with other values."""
        return self.kernel.observe(self.probe.renewed(**facts))


class Placed(NamedTuple):
    """An array in shared memory: the slot, the offset and the bytes there, and an array of the same kind."""

    parameter: Parameter
    slot: int
    offset: int
    nbytes: int
    like: np.ndarray[Any, Any]

    @property
    def first(self) -> int:
        """The offset of its first element, which is not the lowest where strides are negative."""
        steps = zip(self.like.shape, self.like.strides, strict=True)
        return self.offset - sum(int((n - 1) * step) for n, step in steps if step < 0 and n)

    @property
    def message(self) -> tuple[Any, ...]:
        return self.slot, self.offset, self.like.shape, self.like.strides, str(self.like.dtype)


@dataclass
class Kernel:
    """A function that computes an operation, and how it is called.

    key         by which its host calls it
    symbol      the function's name in the file
    flags       that it was compiled with
    uses        libraries that it has imported
    simulated   for CUDA C++: what backends.simulate has built
    strassen    the size of blocks above which it says that it is Strassen's algorithm, or 0
    first_alone whether it returns the first result alone: mlp_forward's y, and not what is kept for the gradient
    absolute    how far off elements may be by its own promise, which is weaker than the contract; 0 for none
    promises    what it says of itself by which it is held to less, such as "strassen(64)"
    tensors     whether it is called with torch's tensors, on the same memory
    generation  of array objects: another number makes the process forget those that it has
    placed      the arrays of the last call, by their number in the plan
    notes, declined  what a reader should know, and what it refuses with an error, as far as `build` has seen
    """

    operation: Operation
    file: Path
    language: str
    host: Session
    key: str
    form: CForm | PythonForm
    dtypes: tuple[np.dtype[Any], ...] = ()
    build: Build | None = None
    symbol: str = ""
    library: Path | None = None
    flags: str = ""
    uses: tuple[str, ...] = ()
    simulated: Any = None
    strassen: int = 0
    absolute: float = 0.0
    promises: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    declined: tuple[str, ...] = ()
    tensors: bool = False
    first_alone: bool = False
    generation: int = 0
    calls: int = 0
    last_probe: Probe | None = None
    placed: dict[int, Placed] = field(default_factory=dict)

    def seen(self) -> Mapping[str, Any]:
        """The functions that it has replaced, the events while it was watched, whether it has changed the modes of
        floating-point numbers, and whether it uses loopnest."""
        if self.host.closed:
            return {"patched": [], "events": [], "modes": False, "loopnest": False}
        return self.host.ask({"do": "seen"})

    def name_of(self, number: int) -> str:
        """An array's name in the file, by its number in the plan."""
        arguments = self.form.arguments if isinstance(self.form, CForm) else ()
        own = next((a.name for a in arguments if (a.kind, a.what) == ("array", number)), "")
        return own or plan(self.operation).parameters[number].name

    @property
    def variations(self) -> frozenset[str]:
        """The variations of the contract that it is judged in: those of options that it takes."""
        return asked_variations(self.operation, self.form.options(self.operation))

    # calls

    def observe(self, probe: Probe, *, fill: str = "poison", phase: str = "") -> Observation:
        """Make one call and hold its results to the contract.

        fill  what results hold before the call: "poison" or "zero"
        """
        return self.judged(probe, self.call(probe, phase, fill), fill)

    def try_sizes(self, dtype: np.dtype[Any], lengths: Sequence[int], *, phase: str = "") -> Observation:
        """A call whose axes have these lengths in turn."""
        return self.observe(probe_of(Case.of(self.operation, dtype, lengths)), phase=phase)

    def call(self, probe: Probe, phase: str = "", fill: str = "poison") -> Reply:
        """Make one call; what it left is in `results`, and still to be judged."""
        session = self.host.live()
        session.stop()
        message = self._place(probe, session, fill)
        self.calls += 1
        return session.call(message, phase or str(probe))

    def judged(self, probe: Probe, reply: Reply, fill: str = "poison") -> Observation:
        """Hold what the last call left to the contract."""
        results, unwritten = self.results(), 0
        if reply.problem is not None:
            return Observation(self, probe, reply, tuple(r.copy() for r in results))
        for result, exact in zip(results[1:], probe.exact[1:], strict=True) if self.first_alone else ():
            with np.errstate(all="ignore"):
                result[...] = exact  # which it was not asked for
        problems = compare_all(results, self.exact(probe, results), self.bound(probe, results), probe.of_results)
        if fill == "poison" and not self.operation.contract.updates:
            unwritten = sum(map(count_unwritten, results))
        outside = self._written_outside()
        if outside:
            problems.insert(0, outside)
        if unwritten and not problems:
            problems.append(f"{unwritten} elements of the result were never written")
        kept = tuple(r.copy() for r in results) if problems else ()
        return Observation(self, probe, reply, kept, unwritten, outside, tuple(problems))

    def results(self) -> list[np.ndarray[Any, Any]]:
        """The results of the last call as they lie in shared memory now, in the contract's order."""
        placed = [p for p in self.placed.values() if p.parameter.role != "input"]
        return [
            np.ndarray(p.like.shape, p.like.dtype, self.host.slots[p.slot].bytes, p.first, p.like.strides)
            for p in sorted(placed, key=lambda p: p.parameter.number)
        ]

    def bound(self, probe: Probe, results: Sequence[np.ndarray[Any, Any]] = ()) -> Arrays:
        """How far results may be off: as the contract says, or as the file promises.

        An absolute error is allowed to elements, and not to a result as a whole, whose error is that of some roundings:
        so it lets neither zeros pass nor fewer bits. It is not allowed to `results` that have more.
        """
        found = self._bound(probe)
        if results and not self.promises and probe.case.special is None and probe.kind != "layouts":
            found = tuple(map(functools.partial(_held_as_a_whole, probe), results, probe.exact, found))
        if not self.absolute:
            return found
        if not results:
            return tuple(bound + self.absolute for bound in found)
        return tuple(
            bound + self.absolute * _errs_in_elements(result, exact, bound)
            for result, exact, bound in zip(results, probe.exact, found, strict=True)
        )

    def _bound(self, probe: Probe) -> Arrays:
        """As the contract says, or as the file states of Strassen's algorithm.

        Its worst case lets zeros pass for a result. Rounding errors that are independent stay below the square root of
        the worst case's constant (Higham and Mary, SIAM J. Sci. Comput. 41, 2019); and no more than 1/32 of a usual
        element is allowed."""
        if not self._in_blocks(probe):
            return probe.bound
        a, b = probe.views
        with np.errstate(all="ignore"):
            size = _largest(a) * _largest(b)
            worst = strassen_bound(max(probe.shape.values()), self.strassen)
        likely = min(worst, 2 * math.sqrt(worst)) * unit_roundoff(probe.dtype) * size
        return (probe.bound[0] + min(likely, rms(a) * rms(b) * math.sqrt(a.shape[1]) / 32),)

    def exact(self, probe: Probe, results: Sequence[np.ndarray[Any, Any]]) -> Arrays:
        """The exact results. A NaN is as good where Strassen's sums carry one, or an infinity, from another element."""
        if not self._in_blocks(probe) or all(np.isfinite(x).all() for x in probe.views):
            return probe.exact
        return tuple(np.where(np.isnan(r), np.nan, e) for r, e in zip(results, probe.exact, strict=True))

    def _in_blocks(self, probe: Probe) -> bool:
        """Whether the file says that it computes this product by Strassen's algorithm."""
        return bool(self.strassen) and min(probe.shape.values()) > self.strassen

    def _written_outside(self) -> str:
        for p in (p for p in self.placed.values() if p.parameter.role == "result"):
            memory = self.host.slots[p.slot].bytes
            name, end = self.name_of(plan(self.operation).parameters.index(p.parameter)), p.offset + p.nbytes
            before = np.flatnonzero(memory[max(0, p.offset - MARGIN) : p.offset][::-1] != CANARY)
            after = np.flatnonzero(memory[end : end + MARGIN] != CANARY)
            for where, found in (("before the start", before), ("past the end", after)):
                if found.size:
                    return f"it wrote {where} of {name}, by up to {int(found[-1]) + 1} bytes"
        return ""

    # the message of a call

    def _place(self, probe: Probe, session: Session, fill: str) -> bytes:
        """Put inputs and poison into shared memory; the message of the call."""
        known, kind = plan(self.operation), probe.of_results
        nbytes = [
            probe.memory[p.number].size if p.role != "result" else probe.exact[p.number].size * kind.itemsize
            for p in known.arrays
        ]
        needed, have = [n + MARGIN for n in nbytes], [slot.size for slot in session.slots] or [0] * len(nbytes)
        if any(map(operator.gt, needed, have)):
            sizes = [max(1 << 16, 1 << (n - 1).bit_length(), h) for n, h in zip(needed, have, strict=True)]
            session.share([(size, p.role == "input") for size, p in zip(sizes, known.arrays, strict=True)])
            session.stop()
        self.placed, self.last_probe = {}, probe
        for slot, (p, size) in enumerate(zip(known.arrays, nbytes, strict=True)):
            memory = session.slots[slot].bytes
            offset = memory.size - size if probe.at_end else 0
            if self.simulated is not None:
                offset -= offset % DEVICE_ALIGNMENT
            if p.role == "result":
                like = np.empty(probe.exact[p.number].shape, kind)
                bits(memory[offset : offset + size].view(kind))[...] = POISON[kind.name] if fill == "poison" else 0
                memory[max(0, offset - MARGIN) : offset] = CANARY
                memory[offset + size : offset + size + MARGIN] = CANARY
            else:
                like = probe.views[p.number]
                memory[offset : offset + size] = probe.memory[p.number]
            self.placed[known.parameters.index(p)] = Placed(p, slot, offset, size, like)
        call = self._c_call(probe) if isinstance(self.form, CForm) else self._python_call(probe, self.form)
        asked = {"do": "call", "function": self.key, "threads": probe.kind == "threads"}
        return json.dumps({**asked, **call}).encode()

    def _python_call(self, probe: Probe, form: PythonForm) -> dict[str, Any]:
        known = plan(self.operation)
        results = [p for p in self.placed.values() if p.parameter.role == "result"]
        results = [p for p in results if not (self.first_alone and p.parameter.number)]

        def message(source: Parameter | str) -> tuple[str, Any]:
            if isinstance(source, str):
                record = records(self.operation).get(source)
                if record is None:
                    return "scalar", probe.options[source]
                return "record", {name: message(inner) for name, inner in record.items()}
            if source.role == "scalar":
                return "scalar", probe.scalars[source.number]
            return "array", self.placed[known.parameters.index(source)].message

        return {
            "form": "given" if form.given else "returned",
            "arguments": [message(source) for source in form.taken],
            "keywords": {name: message(source) for name, source in form.keywords.items()},
            "results": [] if form.given else [p.message for p in results],
            "names": [p.parameter.name for p in results],
            "new": self.generation,
            "tensors": self.tensors,
            "rows": self.language == "rung" and known.joined,
        }

    def _c_call(self, probe: Probe) -> dict[str, Any]:
        form, sizes, values = self.form, probe.shape, list[tuple[str, Any]]()
        assert isinstance(form, CForm)
        for kind, what, c_type, _ in form.arguments:
            value: Any
            if kind == "array":
                value = self.placed[what].slot, self.placed[what].first
            elif kind == "size":
                value = math.prod(sizes.values()) if what == "*" else sizes[what]
            elif kind == "stride":
                like = self.placed[what[0]].like
                value = like.strides[what[1]] // like.itemsize
            else:
                value = probe.scalars[what] if kind == "scalar" else probe.options[what]
            values.append((c_type, int(value) if isinstance(value, bool) else value))
        request: dict[str, Any] = {"form": "c", "arguments": values}
        if form.returned:
            passed = {a.what for a in form.arguments if a.kind == "array"}
            (request["returned"],) = (placed.message for i, placed in self.placed.items() if i not in passed)
        if self.simulated is not None:
            integers = {a.name: v for a, (_, v) in zip(form.arguments, values, strict=True) if isinstance(v, int)}
            launch = self.simulated.source.kernel(self.symbol).launch
            grid, block, shared = launch.of(integers)
            request |= {"form": "cuda", "kernel": self.symbol, "grid": grid, "block": block, "shared": shared}
        return request
