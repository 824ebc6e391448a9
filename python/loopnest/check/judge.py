"""The judge: build(file) → kernel, verify(kernel) → findings, race(kernel, ladder) → placing; then the verdict."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import FLOATS
from ..backends.compiler import FLAGS
from ..backends.user_file import language
from ..machine.records import MachineCard
from ..operation import Operation
from ..operations import OPERATIONS
from ..output.text import unknown
from ..timing.interval import Interval
from .build import NotBuilt, build
from .kernel import Kernel
from .race import NotRaced, ladder_of, race
from .records import Advice, Checked, Findings, Placing, Refusal, Verdict
from .verify import OnEvent, verify

SHOWN_LINES, SHOWN_COLUMNS = 8, 200
"""How much of a submission's output a verdict shows."""


def check(
    file: Path | str,
    operation: str | Operation,
    *,
    against: str | None = None,
    dtype: Any = None,
    flags: str = FLAGS,
    compiler: str | None = None,
    time_limit: float = 60.0,
    memory_limit: int = 2 << 30,
    seconds: float = 4.0,
    workload: str | None = None,
    threads: int = 1,
    card: MachineCard | None = None,
    on_event: OnEvent = lambda kind, content: None,
) -> Verdict:
    """Judge a kernel in a file: does it build, is it right, how fast is it, what to try next. It stops at the first no.

    file          Python with a function of the operation's name, C, C++ or CUDA C++: docs/check.md has the forms
    operation     its name, or the operation
    against       the id of a rung to compare it with, besides those that it lies between
    dtype         float32 or float64; both where it is None, as far as the file takes both
    flags         for the compiler
    compiler      its name or path; one that is here where it is None
    time_limit    seconds in all; a call, the import and the compiler may each take a third of it
    memory_limit  bytes that the submission may take
    seconds       of the timing; 0 for none
    workload      the name of the workload that it is timed on; those that fit the time where it is None
    threads       for libraries and rungs
    card          the machine's limits; the kept machine card where it is None
    on_event      is called with ("at", what is done now)

    Returns the Verdict. Raises ValueError for arguments that cannot be: a file that is not there, an operation or a
    rung that is unknown.
    """
    start, path = time.monotonic(), Path(file)
    if isinstance(operation, str) and operation not in OPERATIONS:
        raise ValueError(f"check: {unknown('operation', operation, OPERATIONS)}")
    checked = OPERATIONS[operation] if isinstance(operation, str) else operation
    for name, value in (("time_limit", time_limit), ("memory_limit", memory_limit)):
        if value <= 0:
            raise ValueError(f"check: {name} is {value}, expected more than 0")
    if seconds < 0:
        raise ValueError(f"check: seconds is {seconds}, expected 0 or more")
    dtypes = FLOATS if dtype is None else (np.dtype(dtype),)
    if not set(dtypes) <= set(FLOATS):
        raise ValueError(f"check: dtype is {dtypes[0]}, expected float32 or float64")
    if against is not None:
        checked[against]  # raises UnknownImplementationError, a LookupError
    workloads = {w.name: w for w in checked.contract.workloads}
    if workload is not None and workload not in workloads:
        raise ValueError(f"check: {unknown(f'workload of {checked.name}', workload, workloads)}")

    on_event("at", "importing" if language(path) == "python" else "building")
    limits: dict[str, Any] = {"time_limit": time_limit, "memory_limit": memory_limit, "threads": threads}
    try:
        kernel = build(path, checked, dtypes=dtypes, flags=flags, compiler=compiler, **limits)
    except NotBuilt as error:
        return _verdict(error.kernel, start, Findings(Checked(error.kernel.calls), refusal=error.refusal))
    placing, not_raced = None, ""
    with kernel:
        findings = verify(kernel, seconds=seconds, on_event=on_event)
        if not findings.refusal and seconds and not kernel.simulated:
            on_event("at", "timing")
            chosen = workloads[workload] if workload else None
            try:
                ladder = ladder_of(checked, threads)
                placing = race(kernel, ladder, seconds=seconds, against=against, workload=chosen, card=card)
            except Refusal as refusal:
                findings = dataclasses.replace(findings, refusal=refusal)
            except NotRaced as reason:
                not_raced = f"not timed: {reason}"
    return _verdict(kernel, start, findings, placing, not_raced)


def _verdict(
    kernel: Kernel, start: float, findings: Findings, placing: Placing | None = None, not_raced: str = ""
) -> Verdict:
    """The verdict, made of what was found. The kernel's process has ended."""
    refusal, advice = findings.refusal, tuple[Advice, ...]()
    sentence = refusal.text if refusal else f"{kernel.operation.name} in {kernel.file.name} is right"
    if placing:
        loop = _hot_loop(kernel)
        placing = dataclasses.replace(placing, sentence=_sentence(placing, loop))
        sentence, advice = placing.sentence, _advice(kernel, placing, loop)
    notes = [*kernel.notes, *findings.notes, *(placing.notes if placing else ()), *([not_raced] if not_raced else [])]
    return Verdict(
        kernel.operation.name,
        str(kernel.file),
        refusal.outcome if refusal else "right",
        refusal is None,
        refusal.trick if refusal else None,
        sentence,
        refusal.details if refusal else (),
        kernel.build,
        dataclasses.replace(findings.checked, calls=kernel.calls),
        placing,
        advice,
        tuple(dict.fromkeys(notes)),
        _shown(kernel.host.output, kernel.host.printed),
        tuple(map(str, kernel.dtypes)),
        time.monotonic() - start,
    )


def _shown(output: bytes, printed: int) -> str:
    """What it printed: the first lines, and how much more there was."""
    text = re.sub(r"[^\n\t -~\u00a0-\uffff]", "?", output.decode("utf-8", "replace"))
    lines = text.splitlines()[:SHOWN_LINES]
    shown = "\n".join(line[:SHOWN_COLUMNS] for line in lines)
    more = printed - len(shown.encode())
    return f"{shown}\n… and {more:,} bytes more" if more > max(1, len(lines)) else shown


# --- how fast, and what next


def _sentence(placing: Placing, loop: tuple[str, str] | None) -> str:
    """`between cpp.blocked and cpp.packed: 61 ± 2 % of the limit, bound by loads`."""
    own = placing.own[-1]
    sentence = "right"
    if placing.same_as:
        sentence = f"as fast as {placing.same_as}"
    elif placing.below and placing.above:
        sentence = f"between {placing.below} and {placing.above}"
    elif placing.above:
        sentence = f"slower than {placing.above}, the slowest rung that it was compared with"
    elif placing.below:
        sentence = f"faster than {placing.below}, the fastest rung that it was compared with"
    if own.share is not None:
        sentence += f": {per_cent(own.share)} of the limit"
    if loop:
        sentence += f", bound by {loop[0]}"
    elif own.share is not None and own.share.estimate > 0.5:
        sentence += ", bound by " + ("arithmetic" if own.bound == "flops" else f"{own.bound}'s bandwidth")
    return sentence


def per_cent(share: Interval) -> str:
    """With as many digits as the interval leaves a meaning.

    >>> per_cent(Interval(0.612, 0.59, 0.63)), per_cent(Interval(0.00012, 0.00011, 0.00013))
    ('61 ± 2 %', '0.012 ± 0.001 %')
    """
    value, half = 100 * share.estimate, 100 * share.reach(share.estimate)
    digits = 0 if value >= 10 and half >= 0.5 else min(6, max(0, -math.floor(math.log10(max(half, 1e-9)))))
    return f"{value:.{digits}f} ± {half:.{digits}f} %"


def _hot_loop(kernel: Kernel) -> tuple[str, str] | None:
    """What bounds the compiled kernel's hot loop, and a sentence about it, where the machine code can be read."""
    if kernel.library is None:
        return None
    try:
        from ..inspect import diagnose

        loop = diagnose(kernel.library, kernel.symbol or kernel.operation.name)
    except Exception:  # no capstone, another format: the rest of the verdict stands without it
        return None
    return (loop.bound.name, loop.bound.sentence) if loop is not None and loop.bound is not None else None


def _advice(kernel: Kernel, placing: Placing, loop: tuple[str, str] | None) -> tuple[Advice, ...]:
    """What to try: the lesson of the next rung up, and what the hot loop waits for."""
    steps, name = [], kernel.operation.name
    if placing.above:
        rung = kernel.operation[placing.above]
        steps.append(Advice(f"{rung.id}: {rung.headline}", f"loopnest show {name} {rung.id}"))
    elif placing.below:
        steps.append(Advice("it is at the top of the ladder", f"loopnest duel {name} {placing.below} {kernel.file}"))
    if loop:
        steps.append(Advice(f"its hot loop: {loop[1]}"))
    return tuple(steps)
