"""Where a submission's process comes from, and the memory that it shares with the judge.

A zygote is a process that has imported NumPy and nothing of loopnest, and forks submissions' processes within
milliseconds.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import mmap
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PROGRAM = (
    f"import sys, numpy; sys.path.insert(0, {str(Path(__file__).parent)!r}); import child.server; del sys.path[0]; "
    "child.server.main()"
)
"""It imports the folder child/ as a package of its own: so nothing of loopnest is imported."""

THREADS = ("OPENBLAS", "OMP", "MKL", "NUMEXPR", "BLIS", "VECLIB_MAXIMUM", "NUMBA", "LOOPNEST")


class Slot:
    """Memory for one array, which the judge and a submission share.

    sealed  whether the submission can only read it
    """

    def __init__(self, nbytes: int, sealed: bool) -> None:
        page = mmap.PAGESIZE
        self.size = max(1, -(-nbytes // page)) * page
        self.sealed = False
        if hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("array", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        else:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - its descriptor outlives it
            self.fd = os.dup(file.fileno())
            file.close()
        os.ftruncate(self.fd, self.size)
        self._map = mmap.mmap(self.fd, self.size)
        self.bytes = np.frombuffer(self._map, np.uint8)
        if sealed and hasattr(fcntl, "F_ADD_SEALS"):
            with contextlib.suppress(OSError):
                fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, 0x10)  # F_SEAL_FUTURE_WRITE
                self.sealed = True

    def close(self) -> None:
        os.close(self.fd)


class Zygote:
    """The process from which submissions' processes are forked: child/server.py."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_"))},
            **{f"{name}_NUM_THREADS": str(threads) for name in THREADS},
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._socket = ours

    def ask(self, request: Mapping[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], list(fds))
            answer = self._socket.recv(1 << 16)
        except OSError:
            answer = b""
        if not answer:
            raise ConnectionError("the process that submissions are started by is gone")
        found: dict[str, Any] = json.loads(answer)
        return found

    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        self._socket.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_zygotes: dict[tuple[int, int, str], Zygote] = {}


def zygote(threads: int, who: str = "") -> Zygote:
    """The one of this process for this number of threads, and for one child at a time; started at the first call."""
    key = os.getpid(), threads, who
    if key not in _zygotes or not _zygotes[key].alive():
        _zygotes[key] = Zygote(threads)
    return _zygotes[key]


@atexit.register
def close_all() -> None:
    """End the processes that submissions were started by."""
    for (pid, _, _), started in list(_zygotes.items()):
        if pid == os.getpid():
            started.close()
    _zygotes.clear()
