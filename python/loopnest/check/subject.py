"""The submission as the judge calls it: trials, which are calls with known results, and what came of them."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.compiler import Library
from ..numerics import unit_roundoff
from ..operation import Arguments, Operation, Workload
from ..verify import LAYOUTS, POISON, UNWRITEABLE, Case, _leaves, _with_leaves, compare
from .form import CForm, PythonForm, c_values, plan, scalars
from .session import Answer, Limits, Session

Arrays = tuple[np.ndarray[Any, Any], ...]

CANARY = 0xA5
OF_A_DEVICE = 256
"""Bytes to a multiple of which the memory of a GPU is aligned."""

MARGIN = 4096
"""Bytes beside a result that are looked at for writes, on the side that no guard page is on."""


def fresh() -> np.random.Generator:
    """Numbers that nobody can foresee."""
    return np.random.default_rng(int.from_bytes(os.urandom(16), "little"))


@dataclass(frozen=True, eq=False)
class Trial:
    """One call: its inputs as they lie in memory, and what is right.

    views   the inputs' arrays, in their layouts; memory  for each the bytes from its first element to its last
    scalars the numbers that kernels get besides
    at_end  whether arrays end where memory ends, or begin where it begins
    """

    workload: Workload
    dtype: np.dtype[Any]
    arguments: Arguments
    views: Arrays
    memory: Arrays
    scalars: tuple[Any, ...]
    exact: Arrays
    bound: Arrays
    at_end: bool = True
    text: str = ""
    kind: str = "sizes"
    case: Case | None = None

    def __str__(self) -> str:
        return self.text or f"{self.dtype}, {' '.join(f'{a}={n}' for a, n in self.workload.shape.items())}"


def trial_of(
    operation: Operation,
    arguments: Arguments,
    workload: Workload,
    dtype: np.dtype[Any],
    *,
    layouts: Sequence[str] = ("in C order",),
    answer: tuple[Arrays, Arrays] | None = None,
    **facts: Any,
) -> Trial:
    """A trial of these values, laid out in memory so; the right results are computed where no `answer` is given."""
    contract = operation.contract
    leaves = _leaves(arguments.inputs)
    views, memory = [], []
    for i, x in enumerate(leaves):
        layout = layouts[i % len(layouts)]
        if layout == "in C order" or (i in contract.updates and layout in UNWRITEABLE):
            view = np.ascontiguousarray(x)
            view = view.reshape(x.shape)
            views.append(view)
            memory.append(view.reshape(-1).view(np.uint8) if view.size else np.empty(0, np.uint8))
            continue
        base, view = LAYOUTS[layout](x)
        views.append(view)
        memory.append(_span(base, view))
    values = _with_leaves(arguments.inputs, views)
    placed = Arguments(values, arguments.options)
    with np.errstate(all="ignore"):
        if answer is None:
            exact = tuple(np.asarray(x) for x in contract.reference(*values, **arguments.options))
            bound = tuple(np.asarray(x) for x in contract.bound(*values, **arguments.options))
        else:
            exact, bound = answer
    return Trial(
        workload, dtype, placed, tuple(views), tuple(memory), scalars(operation, placed), exact, bound, **facts
    )


def trial_of_case(operation: Operation, case: Case, at_end: bool, kind: str) -> Trial:
    """A case of verify.py with values that were never there before."""
    arguments = case.arguments(fresh())
    workload = Workload("case", dict(case.sizes))
    return trial_of(
        operation,
        arguments,
        workload,
        case.dtype,
        layouts=case.layouts,
        at_end=at_end,
        text=str(case),
        kind=kind,
        case=case,
    )


def _span(base: np.ndarray[Any, Any], view: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The bytes of memory between a view's first element and its last."""
    if not view.size:
        return np.empty(0, np.uint8)
    low, high = np.lib.array_utils.byte_bounds(view)
    start = base.__array_interface__["data"][0]
    return base.reshape(-1).view(np.uint8)[low - start : high - start]


@dataclass(frozen=True, eq=False)
class Run:
    """What came of a trial.

    results   copies, in the contract's order; as they were when the judge looked, after the process was stopped
    unwritten how many elements of results still hold the judge's NaN
    outside   where memory beside a result was written to
    problems  what is wrong, in words; nothing where all is right
    """

    trial: Trial
    answer: Answer
    results: Arrays = ()
    unwritten: int = 0
    outside: str = ""
    problems: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        return not self.problems and self.answer.problem is None


def names_of(operation: Operation) -> tuple[str, str]:
    """What the function may be called: as the operation, or `tanh_kernel` where C has a function of that name."""
    return operation.name, f"{operation.name}_kernel"


@dataclass
class Subject:
    """A submission: what it is, how it is called, and the process that it runs in now.

    new   the number of the generation of array objects: another one makes the runner forget those it has
    """

    operation: Operation
    file: Path
    language: str
    limits: Limits
    deadline: float
    threads: int = 1
    library: Library | None = None
    form: CForm | PythonForm | None = None
    stated: int = 0
    tensors: bool = False
    rung: str = ""
    session: Session | None = None
    uses: tuple[str, ...] = ()
    base: int = 0
    new: int = 0
    calls: int = 0
    started: int = 0
    last_places: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    output: tuple[bytes, int] = (b"", 0)
    symbol: str = ""
    simulated: Any = None
    parameter_names: tuple[str, ...] = ()
    last_trial: Trial | None = None
    names: Mapping[int, str] = field(default_factory=dict)

    # its process

    def start(self, load_limit: float | None = None) -> Mapping[str, Any]:
        """A new process with the submission in it; what the runner says of loading it."""
        self.close()
        self.started += 1
        who = f"ladder of {self.operation.name}" if self.rung else ""
        self.session = Session(self.file, self.limits, self.deadline, self.threads, who)
        request: dict[str, Any] = {"do": "load", "name": self.operation.name, "file": str(self.file.resolve())}
        if self.rung:
            request |= {"kind": "rung", "rung": self.rung, "threads": self.threads}
        elif self.library:
            returns = self.form.returned if isinstance(self.form, CForm) else ""
            symbol = "loopnest_launch" if self.simulated is not None else self.symbol or self.operation.name
            request |= {"kind": "library", "file": str(self.library.file), "returns": returns, "symbol": symbol}
        else:
            request |= {"kind": "python", "names": names_of(self.operation)}
        what = "when it was imported" if self.language == "python" else "when it was loaded"
        told = self.session.ask(request, phase=what, limit=load_limit)
        self.session.memory = self.session._resident() if not self.session.memory else self.session.memory
        self.uses = tuple(told.get("modules", ()))
        self.base = told.get("base", 0)
        if self.tensors:
            self.session.ask({"do": "arrive", "tensors": True})
        return told

    def close(self) -> None:
        if self.session is not None:
            self.session.close()
            printed = self.session.printed
            if printed:
                self.output = ((self.output[0] + self.session.output)[:2000], self.output[1] + printed)
            self.session = None

    def arrive_as_tensors(self) -> None:
        """From now on, arrays come to it as torch's tensors."""
        self.tensors = True
        assert self.session is not None
        self.session.ask({"do": "arrive", "tensors": True})

    def seen(self) -> Mapping[str, Any]:
        """What a Python submission has replaced, and which doors it knocked at while watched; nothing of others."""
        if self.language != "python" or self.session is None or self.session.closed:
            return {"patched": [], "events": []}
        return self.session.ask({"do": "seen"})

    # its calls

    def run(self, trial: Trial, *, fill: str = "poison", phase: str = "", limit: float | None = None) -> Run:
        """Make one call and hold its results to the contract."""
        if self.session is None or self.session.closed:
            self.start()
        session = self.session
        assert session is not None
        session.stop()
        message = self._place(trial, session, fill)
        self.calls += 1
        answer = session.call(message, phase or str(trial), limit)
        return self.judged(trial, answer, fill)

    def take(self, trial: Trial, phase: str) -> Answer:
        """Make one call; what it left is in `results`, and still to be judged."""
        session = self.session
        assert session is not None
        session.stop()
        message = self._place(trial, session, "poison")
        self.calls += 1
        return session.call(message, phase)

    def _place(self, trial: Trial, session: Session, fill: str) -> bytes:
        """Put inputs and poison into shared memory; the message for the runner."""
        known = plan(self.operation)
        arrays = [p for p in known.parameters if p.role != "scalar"]
        itemsize = trial.dtype.itemsize
        wanted = [
            trial.memory[p.number].size if p.role != "result" else trial.exact[p.number].size * itemsize for p in arrays
        ]
        margin = [MARGIN if p.role == "result" else 0 for p in arrays]
        have = [slot.size for slot in session.slots]
        if not have or any(w + x > h for w, x, h in zip(wanted, margin, have, strict=True)):
            sizes = [
                max(1 << 16, 1 << math.ceil(math.log2(max(1, w + x))), h)
                for w, x, h in zip(wanted, margin, have or [0] * len(wanted), strict=True)
            ]
            session.share([(size, p.role == "input") for size, p in zip(sizes, arrays, strict=True)])
            session.stop()
        places: dict[int, tuple[int, int]] = {}
        strides: dict[int, tuple[int, ...]] = {}
        descriptions: dict[int, list[Any]] = {}
        self.last_places, self.last_trial = {}, trial
        for slot_number, (p, nbytes) in enumerate(zip(arrays, wanted, strict=True)):
            number, slot = known.parameters.index(p), session.slots[slot_number]
            offset = slot.size - nbytes if trial.at_end else 0
            if self.simulated is not None:
                offset -= offset % OF_A_DEVICE
            if p.role == "result":
                shape: tuple[int, ...] = trial.exact[p.number].shape
                steps = _c_strides(shape, itemsize)
                dtype = trial.dtype
                self._fill(slot.bytes, offset, nbytes, dtype, fill)
            else:
                view = trial.views[p.number]
                shape, steps, dtype = view.shape, view.strides, view.dtype
                slot.bytes[offset : offset + nbytes] = trial.memory[p.number]
            first = sum((n - 1) * s for n, s in zip(shape, steps, strict=True) if s < 0 and n)
            places[number] = (slot_number, offset - first)
            strides[number] = tuple(s // dtype.itemsize for s in steps)
            descriptions[number] = [slot_number, offset, shape, steps, str(dtype)]
            self.last_places[number] = (slot_number, offset, nbytes)
        return self._message(trial, places, strides, descriptions)

    def _fill(self, memory: Any, offset: int, nbytes: int, dtype: np.dtype[Any], fill: str) -> None:
        if fill == "keep":
            return
        result = memory[offset : offset + nbytes].view(dtype.str.replace("f", "u"))
        result[...] = POISON[dtype] if fill == "poison" else 0
        memory[max(0, offset - MARGIN) : offset] = CANARY
        memory[offset + nbytes : offset + nbytes + MARGIN] = CANARY

    def _message(
        self,
        trial: Trial,
        places: Mapping[int, tuple[int, int]],
        strides: Mapping[int, Sequence[int]],
        descriptions: Mapping[int, Sequence[Any]],
    ) -> bytes:
        known, form = plan(self.operation), self.form
        request: dict[str, Any] = {"do": "call"}
        results = [i for i, p in enumerate(known.parameters) if p.role == "result"]
        if isinstance(form, CForm):
            request |= {"form": "c", "arguments": c_values(form, trial.workload, places, strides, trial.scalars)}
            if self.simulated is not None:
                request |= self._launch(request["arguments"])
            if form.returned:
                request["returned"] = descriptions[results[0]]
        else:
            taken = form.taken if form else known.parameters
            given = form.given if form else True
            request["form"] = "given" if given else "returned"
            request["arguments"] = [
                ("scalar", trial.scalars[p.number])
                if p.role == "scalar"
                else ("array", descriptions[known.parameters.index(p)])
                for p in taken
            ]
            request["results"] = [] if given else [descriptions[i] for i in results]
            if self.operation.contract.outs == 1 and len(results) > 1:
                request["one"] = True
            if self.new:
                request["new"] = self.new
            if self.rung:
                request |= {"rung": self.rung, "rows": known.joined}
        return json.dumps(request).encode()

    def _launch(self, arguments: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        """The sizes of a CUDA kernel's launch, by the comment above it."""
        values = zip(self.parameter_names, arguments, strict=True)
        integers = {name: value for name, (kind, value) in values if kind != "pointer" and isinstance(value, int)}
        kernel = self.simulated.kernel(self.symbol)
        grid, block, shared = kernel.launch.of({**self.simulated.constants, **integers})
        return {"form": "cuda", "kernel": self.symbol, "grid": grid, "block": block, "shared": shared}

    def judged(self, trial: Trial, answer: Answer, fill: str = "poison") -> Run:
        """Hold what the last call left to the contract."""
        session = self.session
        assert session is not None
        results, unwritten = self.results(trial), 0
        if answer.problem is not None:
            return Run(trial, answer, tuple(r.copy() for r in results))
        problems: list[str] = []
        several = len(results) > 1
        bound = self.bound(trial)
        for number, (result, exact, allowed) in enumerate(zip(results, trial.exact, bound, strict=True)):
            name = f"result {number}" if several else "the result"
            if answer.one and number:
                break  # the result that `out` takes is the first in the contract's order
            problems += compare(result, exact, allowed, trial.dtype, name)
            if fill == "poison" and not answer.one and not self.operation.contract.updates:
                bits = result.view(np.dtype(result.dtype.str.replace("f", "u")))
                unwritten += int(np.count_nonzero(bits == POISON[trial.dtype]))
        outside = self._outside(session)
        if outside:
            problems.insert(0, outside)
        if unwritten and not problems:
            problems.append(f"{unwritten} elements of the result were never written")
        problems += self._changed(trial, session)
        kept = tuple(r.copy() for r in results) if problems else ()
        return Run(trial, answer, kept, unwritten, outside, tuple(problems))

    def results(self, trial: Trial) -> list[np.ndarray[Any, Any]]:
        """The results as they lie in shared memory now, in the contract's order."""
        known, session = plan(self.operation), self.session
        assert session is not None
        found: dict[int, np.ndarray[Any, Any]] = {}
        for i, p in enumerate(known.parameters):
            if p.role not in ("result", "updated"):
                continue
            slot, offset, nbytes = self.last_places[i]
            memory = session.slots[slot].bytes
            if p.role == "result":
                flat = memory[offset : offset + nbytes].view(trial.dtype)
                found[p.number] = flat.reshape(trial.exact[p.number].shape)
            else:
                view = trial.views[p.number]
                first = sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True) if s < 0 and n)
                place = self.operation.contract.updates.index(p.number)
                found[place] = np.ndarray(view.shape, view.dtype, memory, offset - first, view.strides)
        return [found[i] for i in sorted(found)]

    def bound(self, trial: Trial) -> Arrays:
        """How far results may be off: as the contract says, or as the submission states of Strassen's algorithm."""
        if not self.stated or min(trial.workload.shape.values()) <= self.stated:
            return trial.bound
        a, b = trial.views
        with np.errstate(all="ignore"):
            size = float(np.abs(a).max(initial=0)) * float(np.abs(b).max(initial=0))
            allowed = strassen_bound(max(trial.workload.shape.values()), self.stated)
        return (trial.bound[0] + allowed * unit_roundoff(trial.dtype) * size,)

    def _outside(self, session: Session) -> str:
        known = plan(self.operation)
        for i, p in enumerate(known.parameters):
            if p.role != "result":
                continue
            slot, offset, nbytes = self.last_places[i]
            memory = session.slots[slot].bytes
            before, after = memory[max(0, offset - MARGIN) : offset], memory[offset + nbytes : offset + nbytes + MARGIN]
            name = self.name_of(i)
            if (before != CANARY).any():
                distance = before.size - int(np.flatnonzero(before != CANARY)[0])
                return f"it wrote before the start of {name}, by up to {distance} bytes"
            if (after != CANARY).any():
                distance = int(np.flatnonzero(after != CANARY)[-1]) + 1
                return f"it wrote past the end of {name}, by up to {distance} bytes"
        return ""

    def _changed(self, trial: Trial, session: Session) -> list[str]:
        """Inputs that were changed, where the system could not seal them."""
        found = []
        for i, p in enumerate(plan(self.operation).parameters):
            if p.role == "input":
                slot, offset, nbytes = self.last_places[i]
                memory = session.slots[slot]
                if not memory.sealed and (memory.bytes[offset : offset + nbytes] != trial.memory[p.number]).any():
                    found.append(f"it changed its input {p.name}")
        return found

    def name_of(self, number: int) -> str:
        """An array's name as the submission has it."""
        return self.names.get(number) or plan(self.operation).parameters[number].name

    def with_fresh_values(self, trial: Trial, **facts: Any) -> Trial:
        """The same call with other values."""
        if trial.case is not None:
            made = trial_of_case(self.operation, trial.case, trial.at_end, trial.kind)
        else:
            arguments = self.operation.contract.sample(trial.workload, trial.dtype, fresh())
            made = trial_of(
                self.operation, arguments, trial.workload, trial.dtype, at_end=trial.at_end, text=trial.text
            )
        return dataclasses.replace(made, **facts) if facts else made


def _c_strides(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    steps, step = [], itemsize
    for n in reversed(shape):
        steps.append(step)
        step *= max(1, n)
    return tuple(reversed(steps))


def strassen_bound(n: int, cutoff: int) -> float:
    """f, of |c - exact| <= f · u · max|a| · max|b| for Strassen's algorithm that multiplies blocks of `cutoff` and less
    as usual: (n/n₀)^{log₂ 12} (n₀² + 5 n₀) - 5 n, Higham, Accuracy and Stability of Numerical Algorithms, (23.14).

    >>> round(strassen_bound(128, 64))   # one level
    52352
    """
    levels = max(0, math.ceil(math.log2(n / cutoff)))
    return float(12**levels * (cutoff**2 + 5 * cutoff) - 5 * n)


STATED = re.compile(r"(?:#|//|\*)\s*loopnest:\s*strassen\s*\(\s*(\d+)\s*\)")


FINITE = re.compile(r"(?:#|//|\*)\s*loopnest:\s*finite\b")


def states_finite(source: str) -> bool:
    """Whether the submission says, by a comment `loopnest: finite`, that it is for finite numbers: a compensated sum,
    such as Kahan's, makes a NaN of an infinity."""
    return bool(FINITE.search(source))


def stated_cutoff(source: str) -> int:
    """The size up to which the submission says that it multiplies blocks as usual, and above by Strassen's algorithm:
    a comment `loopnest: strassen(64)`. 0 where it says nothing.

    >>> stated_cutoff("# loopnest: strassen(64)"), stated_cutoff("// Strassen")
    (64, 0)
    """
    found = STATED.search(source)
    return int(found[1]) if found else 0
