"""The judge: build(file) → kernel, verify(kernel) → findings, race(kernel, ladder) → placing; then the verdict."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..arrays import FLOATS, REDUCED, dtype_called
from ..backends.compiler import FLAGS
from ..backends.threads import checked_count, processors
from ..backends.user_file import LANGUAGES, language
from ..machine.records import MachineCard
from ..operation import Operation
from ..operations import operation_of
from ..output.text import duration
from ..process.session import Session
from ..timing.interval import Interval, median_interval
from .build import CALL_SHARE, asks_for_threads, build
from .kernel import Kernel
from .race import NotRaced, ladder_of, race
from .records import Checked, Placing, Refusal, Verdict
from .verify import OnEvent, Verification

NOISE = 1.4
"""The ratio of a median's bounds from which on no place is named among rungs that lie between them."""

WILD = 4
"""The same for any place; and the ratio of the median to the fastest call."""

UNBUILT = ("does-not-build", "no-function", "wrong-signature")
"""Outcomes of files that have no machine code of a kernel to look at."""

SHOWN_LINES, SHOWN_COLUMNS = 8, 200
"""How much of a submission's output a verdict shows."""


def check(
    file: Path | str,
    operation: str | Operation,
    *,
    dtype: Any = None,
    flags: str = FLAGS,
    compiler: str | None = None,
    time_limit: float = 60.0,
    memory_limit: int = 2 << 30,
    seconds: float = 4.0,
    workload: str | None = None,
    threads: int | None = None,
    card: MachineCard | None = None,
    whole_ladder: bool = False,
    look: Callable[[Kernel], None] = lambda kernel: None,
    on_event: OnEvent = lambda kind, content: None,
) -> Verdict:
    """Judge a kernel in a file: does it build, is it right, how fast is it, what to try next. It stops at the first no.

    file          Python with a function of the operation's name, C, C++ or CUDA C++: docs/check.md has the forms
    operation     its name, or the operation
    dtype         float32 or float64; both where it is None, as far as the file takes both; or of the operation's
                  reduced precision, such as "bfloat16"
    flags         for the compiler
    compiler      its name or path; one that is here where it is None
    time_limit    seconds in all; a call, the import and the compiler may each take a third of it
    memory_limit  bytes that the submission may take
    seconds       of the timing; 0 for none
    workload      a name, or lengths such as "17x4096x33"; the largest that fits the time where it is None
    threads       for libraries and rungs; all of the machine's where it is None and the file asks for threads, else 1
    card          the machine's limits; the kept machine card where it is None
    whole_ladder  whether it is timed next to all rungs, and not only those that it lies between
    look          is called with the kernel that was built, before its process ends: inside.py reads its machine code
    on_event      is called with ("at", what is done now)

    Returns the Verdict. Raises ValueError for arguments that cannot be: a file that is not there, an unknown operation.
    """
    start, path = time.monotonic(), Path(file)
    op = operation_of(operation, "check")
    for name, value in (("time_limit", time_limit), ("memory_limit", memory_limit)):
        if value <= 0:
            raise ValueError(f"check: {name} is {value}, expected more than 0")
    if threads is not None:
        checked_count("check: threads", threads, str(threads))
    if seconds < 0:
        raise ValueError(f"check: seconds is {seconds}, expected 0 or more")
    dtypes = FLOATS if dtype is None else (dtype_called(dtype) if dtype in REDUCED else np.dtype(dtype),)
    wanted = (*map(str, FLOATS), *op.contract.reduced)
    if not {*map(str, dtypes)} <= {*wanted}:
        raise ValueError(f"check: dtype is {dtypes[0]}, expected {' or '.join(wanted)} for {op.name}")
    chosen = op.workload(workload) if workload else None

    on_event("at", "importing" if language(path) == "python" else "building")
    asked = threads is None and asks_for_threads(path)
    threads = threads or (processors() if asked else 1)
    host = Session(path, start + time_limit, call=time_limit * CALL_SHARE, memory=memory_limit, threads=threads)
    placing = None
    # The judge's products are small: on more threads they take no less time, and disturb what it times.
    with contextlib.closing(host), threadpool_limits(1, "blas"):
        kernel, refusal = build(path, op, host, dtypes=dtypes, flags=flags, compiler=compiler)
        if asked:
            kernel.notes += (f"it asks for threads: it and the rungs have {threads}; --threads says how many",)
        looked = Verification(kernel, seconds, on_event)
        refusal = refusal or looked.refusal(looked.hold)
        if not refusal and seconds and not kernel.simulated:
            on_event("at", "timing")
            try:
                ladder, ask = ladder_of(op, threads), looked.hold_at
                how: dict[str, Any] = {"workload": chosen, "card": card, "whole_ladder": whole_ladder}
                placing = race(kernel, ladder, seconds=seconds, ask=ask, **how)
            except Refusal as reason:
                refusal = reason
            except NotRaced as reason:
                kernel.notes += (f"not timed: {reason}",)
        refusal = refusal or looked.refusal(looked.make_up)
        checked = looked.checked()
        if kernel.build and not (refusal and refusal.outcome in UNBUILT):
            look(kernel)
    return _verdict(kernel, start, checked, refusal, placing)


def rank(
    folder: Path | str,
    operation: str | Operation,
    *,
    on_verdict: Callable[[Path, Verdict], None] = lambda file, verdict: None,
    **options: Any,
) -> list[Verdict]:
    """Judge every Python, C, C++ and CUDA C++ file of a folder; `options` as of `check`.

    Each has a process of its own, so that one that crashes or hangs spoils no other's verdict. The right ones come
    first, by what part of the machine's limit they reach; then those that are right as far as they were asked; then the
    others by their outcome. With the option `workload` all are timed on the same one.

    Raises ValueError where there is no such folder, or no such file in it.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ValueError(f"rank: {path} is no folder")
    files = sorted(f for f in path.iterdir() if language(f) and f.is_file() and not f.name.startswith(("_", ".")))
    if not files:
        raise ValueError(f"rank: {path} has no submissions: expected names that end in one of {', '.join(LANGUAGES)}")
    verdicts, contents = [], {file: _content(file) for file in files}
    for file, content in contents.items():
        if content == _content(file):
            verdicts.append(check(file, operation, **options))
        else:
            what = "is not the same" if file.is_file() else "is not there"
            sentence = f"{file.name} {what} any more: did another file of the folder change it?"
            verdicts.append(
                Verdict(getattr(operation, "name", str(operation)), str(file), "not-judged", False, None, sentence)
            )
        on_verdict(file, verdicts[-1])

    def place(v: Verdict) -> tuple[Any, ...]:
        own = v.timing.own if v.timing else None
        speed = -own.limit / own.best if own else 0.0
        return not v.accepted, v.outcome != "right", own is None, speed, v.outcome, v.fault or "", v.file

    return sorted(verdicts, key=place)


def _content(file: Path) -> bytes | None:
    """What a file holds; None where it cannot be read."""
    with contextlib.suppress(OSError):
        return file.read_bytes()
    return None


def _verdict(
    kernel: Kernel, start: float, checked: Checked, refusal: Refusal | None, placing: Placing | None
) -> Verdict:
    """The verdict, made of what was found. The kernel's process has ended."""
    advice = tuple[str, ...]()
    sentence = refusal.text if refusal else f"{kernel.operation.name} in {kernel.file.name} is right"
    if placing and not refusal:
        sentence, advice = _how_fast(kernel, placing)
    outcome = refusal.outcome if refusal else "right-as-far-as-asked" if checked.left else "right"
    if outcome == "right-as-far-as-asked":
        sentence += f"; right as far as it was asked: {checked.left} calls were left out"
    notes = [*kernel.notes, *(placing.notes if placing else ())]
    return Verdict(
        kernel.operation.name,
        str(kernel.file),
        outcome,
        refusal is None,
        refusal.fault if refusal else None,
        sentence,
        refusal.details if refusal else (),
        kernel.build,
        dataclasses.replace(checked, calls=kernel.calls),
        placing,
        advice,
        tuple(dict.fromkeys(notes)),
        _shown(kernel.host.output, kernel.host.printed),
        tuple(map(str, kernel.dtypes)),
        time.monotonic() - start,
        kernel.promises,
    )


def _shown(output: bytes, printed: int) -> str:
    """What it printed: the first lines, and how much more there was."""
    text = re.sub(r"[^\n\t -~\u00a0-\uffff]", "?", output.decode("utf-8", "replace"))
    lines = text.splitlines()[:SHOWN_LINES]
    shown = "\n".join(line[:SHOWN_COLUMNS] for line in lines)
    more = printed - len(shown.encode())
    return f"{shown}\n… and {more:,} bytes more" if more > max(1, len(lines)) else shown


# --- how fast, and what next


def _how_fast(kernel: Kernel, placing: Placing) -> tuple[str, tuple[str, ...]]:
    """`between cpp.blocked and cpp.packed: 61 ± 2 % of the limit, bound by loads`; and what to try next."""
    own, below, above, sentence, advice = placing.own, placing.below, placing.above, "right", list[str]()
    low, high = _span(own.seconds)
    among = any(low <= statistics.median(r.seconds) <= high for r in placing.races[1:])
    wild = max(high / low, statistics.median(own.seconds) / own.best) > WILD
    if wild or (among and high > NOISE * low):
        times = f"its median lies between {duration(low)} and {duration(high)}"
        return f"the machine is too busy now to place it: {times}", ()
    if placing.same_as:
        sentence = f"as fast as {placing.same_as}"
    elif below and above:
        sentence = f"between {below} and {above}"
    elif below or above:
        than, extreme = ("slower", "slowest") if above else ("faster", "fastest")
        sentence = f"{than} than {above or below}, the {extreme} rung that it was compared with"
    if own.share is not None:
        sentence += f": {per_cent(own.share)} of the limit"
    if above:
        rung = kernel.operation[above]
        advice.append(f"{rung.id}: {rung.headline}\nloopnest show {kernel.operation.name} {rung.id}")
    loop = None
    if kernel.library is not None:
        with contextlib.suppress(Exception):  # no capstone, another format: the rest of the verdict stands without it
            from ..inspect import diagnose

            loop = diagnose(kernel.library, kernel.symbol or kernel.operation.name)
    if loop and loop.bound:
        sentence += f", bound by {loop.bound.name}"
        advice.append(f"its hot loop: {loop.bound.sentence}")
    elif own.share is not None and own.share.estimate > 0.5:
        sentence += ", bound by " + ("arithmetic" if own.bound == "flops" else f"{own.bound}'s bandwidth")
    return sentence, tuple(advice)


def _span(seconds: Sequence[float]) -> tuple[float, float]:
    """The interval of the median; of few calls the fastest and the slowest."""
    found = median_interval(seconds)
    return (found.low, found.high) if found.bounded else (min(seconds), max(seconds))


def per_cent(share: Interval) -> str:
    """With as many digits as the interval leaves a meaning.

    >>> per_cent(Interval(0.612, 0.59, 0.63)), per_cent(Interval(0.00012, 0.00011, 0.00013))
    ('61 ± 2 %', '0.012 ± 0.001 %')
    """
    value, half = 100 * share.estimate, 100 * share.reach(share.estimate)
    digits = 0 if value >= 10 and half >= 0.5 else min(6, max(0, -math.floor(math.log10(max(half, 1e-9)))))
    return f"{value:.{digits}f} ± {half:.{digits}f} %"
