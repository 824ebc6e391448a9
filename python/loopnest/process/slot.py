"""Memory that the judge and a submission's process share."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import tempfile

import numpy as np


class Slot:
    """Memory for one array, which the judge and a submission share.

    sealed  whether the submission can only read it
    """

    def __init__(self, nbytes: int, sealed: bool) -> None:
        self.size = max(1, -(-nbytes // mmap.PAGESIZE)) * mmap.PAGESIZE
        self.sealed = False
        if hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("array", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        else:
            with tempfile.TemporaryFile() as file:
                self.fd = os.dup(file.fileno())
        os.ftruncate(self.fd, self.size)
        self.bytes = np.frombuffer(mmap.mmap(self.fd, self.size), np.uint8)
        if sealed and hasattr(fcntl, "F_ADD_SEALS"):
            with contextlib.suppress(OSError):
                fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, 0x10)  # F_SEAL_FUTURE_WRITE
                self.sealed = True
