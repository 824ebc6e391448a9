"""Forks the child of a Session, and ends it with everything that it has started."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import sys
import time
from typing import Any

from . import DEAF
from .system import children, fill_memory, prctl


def main() -> None:
    """Start the child that the program's argument describes, and end it when the judge says so, or has gone."""
    request = json.loads(sys.argv[1])
    control = socket.socket(fileno=request["control"])
    prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what a child leaves behind becomes ours, and ends with it
    child = os.fork()
    if not child:
        _be_the_child(control, request)
    for fd in (request["connection"], request["crash"]):
        os.close(fd)
    patience = control.recv(32)
    status = _ended(child, float(patience or 0))
    if patience:
        control.send(str(status).encode())
    else:
        shutil.rmtree(request["folder"], ignore_errors=True)


def _ended(child: int, patience: float) -> int:
    """The exit status of a child. It has `patience` seconds to end by itself; then it is killed with all it started."""
    end = time.monotonic() + patience
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.002)
    status = ended[1]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # when all are gone
        while True:
            others = children(os.getpid())
            for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: none forks while the rest are killed
                for other in others:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(other, number)
            pid, raw = os.waitpid(-1, 0)
            status = raw if pid == child else status
    return status


def _be_the_child(control: socket.socket, request: dict[str, Any]) -> None:
    """Answer the judge's requests, and never come back."""
    try:
        os.setsid()
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: the child does not outlive the process that forked it
        from .answers import Child  # imports NumPy, before any request's time runs

        control.send(str(os.getpid()).encode())
        control.close()
        for name, most in request["limits"].items():
            number = getattr(resource, name)
            hard = resource.getrlimit(number)[1]
            resource.setrlimit(number, (most, most) if hard == resource.RLIM_INFINITY else (min(most, hard),) * 2)
        os.chdir(request["folder"])
        sys.argv = [request["file"]]
        fill_memory(True)
        connection = socket.socket(fileno=os.dup(request["connection"]))
        os.close(request["connection"])
        Child(connection, request["crash"]).answer()
    except OSError:  # its socket is gone
        os._exit(DEAF)
    finally:
        os._exit(0)
