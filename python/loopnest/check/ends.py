"""Says in words how a kernel's process ended: which array it left, on which side, and on which line."""

from __future__ import annotations

import signal

from ..backends.compiler import line_of
from ..process.child.system import GUARD
from ..process.session import Crash, EndedError
from .kernel import Kernel
from .records import Refusal

ENDS = {
    "timed-out": ("timed-out", "endless-loop"),
    "sleeps": ("timed-out", "sleeps"),
    "out-of-memory": ("out-of-memory", None),
    "output-flood": ("output-flood", "prints-a-flood"),
    "fork-bomb": ("crashed", "fork-bomb"),
    "exited": ("crashed", "leaves-the-process"),
    **dict.fromkeys(("killed", "talks-back", "killed-its-parent"), ("cheats", "gives-up-its-process")),
}
"""EndedError.why, and the outcome and the trick or fault for it."""

SIGNALS = {
    signal.SIGFPE: "an integer division by zero",
    signal.SIGILL: "an instruction that this processor does not have",
}


def explained_end(kernel: Kernel, error: EndedError) -> Refusal:
    """The refusal of a kernel whose process ended, or had to be ended."""
    if error.why in ENDS:
        outcome, trick = ENDS[error.why]
        return Refusal(outcome, error.text, trick)
    assert error.crash is not None
    crash, line = error.crash, error.crash.line
    if not line and kernel.library and kernel.base and crash.instruction:
        line = line_of(kernel.library, crash.instruction - kernel.base)
    crashed = f"it crashed{f' at line {line} of {kernel.file.name}' if line else ''}"
    during = f"in the call {error.text.rpartition(': ')[0]}"
    number = signal.Signals(crash.signal)
    if number in (signal.SIGSEGV, signal.SIGBUS):
        trick, reason = _reason(kernel, crash)
        return Refusal("wrong" if trick == "changes-input" else "crashed", f"{crashed}: {reason}", trick, during)
    if number in SIGNALS:
        return Refusal("crashed", f"{crashed}: {SIGNALS[number]}", None, during)
    printed = kernel.host.session.output if kernel.host.session else b""
    if b"bad_alloc" in printed:
        text = "it took more memory than the limit allows (std::bad_alloc)"
        return Refusal("out-of-memory", text, None, during)
    last = printed.decode("utf-8", "replace").strip().splitlines()[-1:] or [number.name]
    return Refusal("crashed", f"it was ended by {number.name}: {last[0]}", None, during)


def _reason(kernel: Kernel, crash: Crash) -> tuple[str | None, str]:
    """What a fault at an address means: arrays lie between pages that nobody may touch."""
    if crash.code == 128 and crash.address == 0:
        return (
            "assumes-alignment",
            "an address that is not aligned: arrays are aligned to their elements only",
        )
    found = _array_at(kernel, crash)
    if found:
        return found
    if abs(crash.address - crash.stack) < 1 << 20 and crash.stack:
        return "endless-recursion", "the stack is full, as after an endless recursion"
    if 0 <= crash.address < 1 << 16:
        return "null-pointer", "it followed a null pointer"
    return None, f"the address {crash.address:#x} is none of its own"


def _array_at(kernel: Kernel, crash: Crash) -> tuple[str, str] | None:
    """Which array's memory, or guard pages, the address lies in."""
    session = kernel.host.session
    for number, (parameter, slot, offset, nbytes, _) in (kernel.placed if session else {}).items():
        assert session is not None
        start, size = session.addresses[slot], session.slots[slot].size
        name, is_input = kernel.name_of(number), parameter.role == "input"
        if is_input and start <= crash.address < start + size:
            return "changes-input", f"it wrote to its input {name}, which is only to be read"
        if not start - GUARD <= crash.address < start + size + GUARD:
            continue
        writes = crash.write == 1 if crash.write >= 0 else not is_input
        trick, verb = ("writes-outside", "wrote to") if writes else ("reads-outside", "read from")
        past, before = crash.address - (start + offset + nbytes), start + offset - crash.address
        if past < 0:
            place = f"{before} bytes before its start"
        else:
            place = "the element after its last" if past < 4 else f"{past} bytes past its end"
        return trick, f"it {verb} {place}: the array {name} ({nbytes} bytes)"
    return None
