"""What the child asks of the operating system: guard pages, filled memory, crash reports, lists of processes."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import os
import platform
import signal
import struct
import sys
from typing import Any

GUARD = 1 << 20  # Bytes on each side of an array's memory that cannot be touched: a row or two away is caught, too

M_PERTURB, MAP_FIXED = -6, 0x10
FREED, ALLOCATED = 0x01, 0xFE
"""What glibc fills memory with that is given back, and that is allocated (mallopt(3)), while results are looked at: so
that memory is known in which a submission has written nothing."""


@functools.cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Set an option of this process."""
    _libc().prctl(option, value, 0, 0, 0)


def fill_memory(on: bool) -> None:
    """Fill memory that is allocated or freed with a pattern, or leave it as it is."""
    with contextlib.suppress(AttributeError):  # another C library
        _libc().mallopt(M_PERTURB, FREED if on else 0)


def children(pid: int) -> list[int]:
    """The processes that this one has started, and those that it has inherited; none where it has gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    return found


def base_of(library: str) -> int:
    """Where a library lies in memory: 0 where that is unknown."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        return next((int(line.partition("-")[0], 16) for line in file if line.rstrip().endswith(library)), 0)


def mapped(fd: int, size: int, writeable: bool) -> int:
    """Map the judge's memory between two stretches of pages that nobody may touch; its address."""
    libc, number = _libc(), ctypes.c_int
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = ctypes.c_void_p, ctypes.c_size_t, number, number, number, ctypes.c_long
    whole = libc.mmap(None, GUARD + size + GUARD, 0, mmap.MAP_PRIVATE | mmap.MAP_ANON, -1, 0)
    if whole in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    protection = mmap.PROT_READ | mmap.PROT_WRITE if writeable else mmap.PROT_READ
    found: int = libc.mmap(whole + GUARD, size, protection, mmap.MAP_SHARED | MAP_FIXED, fd, 0)
    if found != whole + GUARD:
        raise OSError(ctypes.get_errno(), "mmap")
    return found


# --- crashes

CRASH = struct.Struct("=qqqqqqq")
"""What a crash leaves in the memory that it shares with the judge: signal, code, address, instruction, stack, line, and
1 for a write, 0 for a read, -1 where the processor does not say."""

CRASH_SIZE = 4096
STACK_OF_HANDLER = 1 << 20


class CrashReport:
    """Writes the address of a fault to shared memory before the process dies of it.

    The handler is Python code, run by ctypes on a stack of its own: it needs no compiler, and the frames above it have
    the line of a Python submission. A fault within malloc, or of a thread while another holds the GIL, may not get
    through: the process then dies with less said, or at its time limit.
    """

    def __init__(self, fd: int) -> None:
        self._page = mmap.mmap(fd, CRASH_SIZE)
        os.close(fd)
        self._handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(self._on_fault)
        self._stack = ctypes.create_string_buffer(STACK_OF_HANDLER)
        self._file = ""

    def install(self, file: str) -> None:
        """As the handler of the signals of faults."""
        self._file, libc = file, _libc()
        libc.sigaltstack(struct.pack("@PixxxxN", ctypes.addressof(self._stack), 0, STACK_OF_HANDLER), None)
        # struct sigaction: the handler, a mask of 128 bytes, flags, a pointer. SA_SIGINFO 4, SA_ONSTACK 0x08000000
        address = ctypes.cast(self._handler, ctypes.c_void_p).value
        action = struct.pack("@P128xixxxxP", address, 4 | 0x08000000, 0)
        for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL):
            libc.sigaction(int(number), action, None)

    def _on_fault(self, number: int, info: int, context: int) -> None:
        code = ctypes.c_int.from_address(info + 8).value
        address = ctypes.c_int64.from_address(info + 16).value
        # ucontext_t: on x86-64 the registers begin at 40, rsp is the 16th and rip the 17th; on aarch64 sp is at 432
        places = {"x86_64": (168, 160), "aarch64": (440, 432)}.get(platform.machine())
        pc, sp = (ctypes.c_int64.from_address(context + place).value for place in places) if places else (0, 0)
        write = -1
        if platform.machine() == "x86_64":  # the page fault's error code, the 20th register
            write = (ctypes.c_int64.from_address(context + 192).value >> 1) & 1
        frame: Any = sys._getframe()
        while frame is not None and frame.f_code.co_filename != self._file:
            frame = frame.f_back
        line = (frame.f_lineno or 0) if frame else 0
        self._page[: CRASH.size] = CRASH.pack(number, code, address, pc, sp, line, write)
        _libc().signal(number, 0)  # back to the default: the instruction is tried again, and ends the process
