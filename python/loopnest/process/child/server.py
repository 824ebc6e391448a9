"""Forks a child for each submission, and ends it with everything that it has started."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import DEAF
from .answers import Child
from .system import children, fill_memory, prctl

Request = dict[str, Any]


def serve(control: socket.socket) -> None:
    """Fork a child a request, and end it, and whatever it has started, when asked."""
    prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what a child leaves behind becomes ours, and ends with it
    gc.freeze()
    child, folder = 0, ""
    while True:
        message, fds, _, _ = socket.recv_fds(control, 1 << 16, 8)
        if not message:
            break
        request = json.loads(message)
        if request["do"] == "start":
            folder = request["folder"]
            child = os.fork()
            if not child:
                control.close()
                _child(fds, request)
            for fd in fds:
                os.close(fd)
            control.send(json.dumps({"pid": child}).encode())
        else:
            control.send(json.dumps({"status": _ended(child, request.get("patience", 0.0))}).encode())
            child = 0
    if child:  # the judge is gone: nobody else will clear up
        _ended(child, 0.0)
        shutil.rmtree(folder, ignore_errors=True)


def _ended(child: int, patience: float) -> int:
    """The exit status of a child. It has `patience` seconds to end by itself; then it is killed with all it started."""
    end = time.monotonic() + patience
    status = _status(child)
    while status is None and time.monotonic() < end:
        time.sleep(0.002)
        status = _status(child)
    killed = [child] if status is None else []
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    for _ in range(1000):
        others = [pid for pid in children(os.getpid()) if pid != child or status is None]
        for pid in others:  # stopped first, so that none forks while the rest are killed
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            pid, raw = os.waitpid(-1, 0 if others else os.WNOHANG)
        except ChildProcessError:
            break
        if pid == child:
            status = raw
        elif not pid:
            break
    return status if status is not None else (signal.SIGKILL if killed else 0)


def _status(child: int) -> int | None:
    try:
        pid, raw = os.waitpid(child, os.WNOHANG)
    except ChildProcessError:
        return 0
    return raw if pid else None


def _child(fds: Sequence[int], request: Request) -> None:
    """Be the child, and never come back."""
    connection, output, crash = fds
    os.setsid()
    prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nobody outlives the process that it is forked from
    for number, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(number, target)
    os.closerange(3, min(fds))
    os.closerange(max(fds) + 1, 4096)
    os.close(output)
    for name, most in request["limits"].items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (value, value))
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    sys.argv = [request["file"]]
    fill_memory(True)
    np.seterr(all="ignore")  # NaN and infinity are asked for, and are no reason to print
    try:
        Child(socket.socket(fileno=connection), crash).answer()
    except OSError:  # its socket is gone
        os._exit(DEAF)
    finally:
        os._exit(0)


def main() -> None:
    """Serve the judge, over the socket whose number is the program's argument."""
    serve(socket.socket(fileno=int(sys.argv[1])))
