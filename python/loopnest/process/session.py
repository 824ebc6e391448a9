"""A submission's process, as the judge sees it: started, called, stopped, watched, ended.

The judge has the inputs' originals, the expected results and the clock; the process has the kernel. They share the
arrays' memory, and speak over a socket:

    the process is stopped; the judge writes new inputs, and NaN where results are to come
    the judge looks at its clock, lets the process go on, and says "call"
    the process calls the kernel, says "done", and stops itself; the judge looks at its clock
    the judge makes sure that the process stands still, and then looks at the results

So nothing can be computed before the clock runs, and what is computed after "done" is seen to be missing. Inputs are
sealed: no mapping of them that the process makes can be written to.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import pickle
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .child import DEAF, RETURNED
from .child.system import CRASH, CRASH_SIZE
from .family import CROWD, Family, Times, between, queued, send

PROGRAM = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import child.server; "
    "del sys.path[0]; child.server.main()"
)
"""It imports the folder child/ as a package of its own: so nothing of loopnest is imported."""

THREADS = ("OPENBLAS", "OMP", "MKL", "NUMEXPR", "BLIS", "VECLIB_MAXIMUM", "NUMBA", "LOOPNEST")

FLOOD = 1 << 20  # Bytes of output at which a submission is ended
SHOWN = 2000  # Bytes of output that are kept to be shown
BUSY = 6  # The factor by which a busy machine may stretch a limit of time, by the clock on the wall
POLL = 0.02  # Seconds between two looks at the memory and the children of a process that is at work
TALKS_BACK = "it answered for its runner, through the socket that it is judged through"
LATE = 0.05e-3  # Seconds of a processor after "done" from which on they count
AWAKE = 2e-3  # Seconds of a processor that a process may take in some ten calls while it is stopped
REST = 5e-3  # Seconds for a process to stop itself after a call; it is not stopped from here before that


class EndedError(Exception):
    """The submission's process ended, or had to be ended."""

    def __init__(self, why: str, text: str, crash: Crash | None = None) -> None:
        super().__init__(text)
        self.why, self.text, self.crash = why, text, crash


class FailedInChildError(RuntimeError):
    """A function that `Session.run` called raised an exception.

    kind  the exception's class, such as "ValueError"; line, code  of the file's line that it passed last, or None, ""
    """

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(problem["text"])
        self.kind, self.line, self.code = problem["kind"], problem.get("line"), problem.get("code", "")


@dataclass(frozen=True)
class Crash:
    """How a process ended: by which signal, at which address, and where it was.

    code   of the signal, as in sigaction(2); 128 for a fault for which the processor gives no address
    line   of the Python file
    write  1 for a write, 0 for a read, -1 where that is not known
    """

    signal: int
    code: int = 0
    address: int = 0
    instruction: int = 0
    stack: int = 0
    line: int = 0
    write: int = -1


@dataclass(frozen=True)
class Reply:
    """What came of one call.

    seconds    from "go" to "done" by the judge's clock, and what the process computed after "done"
    processor  seconds that the threads of all of its processes had a processor
    queued     seconds for which the process's main thread or the judge waited for a processor that another process had;
               0 where that may have been one of its own
    problem    what went wrong
    returned   whether it returned something else than the arrays that it was given for its results
    """

    seconds: float
    processor: float
    queued: float = 0.0
    problem: Mapping[str, Any] | None = None
    returned: bool = False

    @property
    def counted(self) -> float:
        """Seconds, less those that other processes took. With several threads at work all seconds count, since the main
        thread may be queued behind its own."""
        left = self.seconds - self.queued
        return left if left > 0 and self.processor <= 1.1 * left else self.seconds


class Slot:
    """Memory for one array, which the judge and a submission share.

    sealed  whether the submission can only read it, even where it asks for more (since Linux 5.1)
    """

    def __init__(self, nbytes: int, sealed: bool = False) -> None:
        self.sealed = sealed
        self.size = max(1, -(-nbytes // mmap.PAGESIZE)) * mmap.PAGESIZE
        self.fd = os.memfd_create("array", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, self.size)
        self.bytes = np.frombuffer(mmap.mmap(self.fd, self.size), np.uint8)
        if sealed:
            with contextlib.suppress(OSError):
                fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, 0x10)  # F_SEAL_FUTURE_WRITE


class Session:
    """The process of a submission. It starts when it is needed, and again after it has ended, with the same functions.

    It is the child of a supervisor, child/server.py, which ends whatever the submission leaves behind.

    deadline         by time.monotonic, of the whole check
    call, memory     what the submission may take: seconds of one call, bytes of memory

    Seconds for which the judge or the submission waits for a processor that another process has do not count, up to
    BUSY times the limit.

    output, printed  the first bytes that it has printed, and how many it has printed
    loaded           what the process says of each function
    """

    def __init__(
        self, file: Path, deadline: float, *, call: float = 20.0, memory: int = 2 << 30, threads: int = 1
    ) -> None:
        self.file, self.deadline, self.threads = file, deadline, threads
        self.call_limit, self.memory_limit = call, memory
        self.running, self.closed = False, True
        self._started, self._waits_of_others = time.monotonic(), -queued("thread-self")
        self.output, self.printed = b"", 0
        self.slots: list[Slot] = []
        self.addresses: list[int] = []
        self.loaded: dict[str, Mapping[str, Any]] = {}
        self._requests: dict[str, dict[str, Any]] = {}
        self._supervisor: subprocess.Popen[bytes] | None = None

    def live(self) -> Session:
        """Itself, started where it is not running."""
        if self.closed:
            self.restart()
        return self

    def restart(self) -> None:
        """End the process, and load the same functions into a new one."""
        self.close()
        self._start()
        for key in self._requests:
            self._load(key)

    def load(self, key: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Load a function, which calls name by this key; what the process says of it."""
        if key not in self._requests:
            self.live()
            self._requests[key] = {"do": "load", "key": key, **request}
            self._load(key)
        return self.loaded[key]

    def _load(self, key: str) -> None:
        what = "when it was imported" if self._requests[key]["kind"] == "python" else "when it was loaded"
        self.loaded[key] = self.ask(self._requests[key], phase=what)

    def _start(self) -> None:
        if sys.platform != "linux":
            raise EndedError("not-linux", "a submission is watched through /proc and sealed memory: this needs Linux")
        self.folder = Path(tempfile.mkdtemp(prefix="loopnest-check-"))
        self._socket, connection = _socket_pair()
        self._control, control = _socket_pair()
        self._control.settimeout(30)
        self._output, output = os.pipe()
        os.set_blocking(self._output, False)
        self._crash = Slot(CRASH_SIZE)
        fds = {"connection": connection.fileno(), "control": control.fileno(), "crash": self._crash.fd}
        limited = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": 1 << 28, "RLIMIT_DATA": self.memory_limit + (1 << 30)}
        homes = ("HOME", "TMPDIR", "TMP", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_"))},
            **{f"{name}_NUM_THREADS": str(self.threads) for name in THREADS},
            **dict.fromkeys(homes, str(self.folder)),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        request = {"file": str(self.file), "folder": str(self.folder), "limits": limited, **fds}
        self._supervisor = subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, json.dumps(request)],
            pass_fds=[*fds.values()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        for end in (connection, control):
            end.close()
        os.close(output)
        self.pid = int(self._control.recv(32))
        self.running, self.closed = True, False
        self.family = Family(self._supervisor.pid, self.pid)
        self._at_rest: Times = {}
        self._awake = 0.0
        self._socket.setblocking(False)
        self._resident_before = self.family.resident()
        self._flood = self.printed + FLOOD

    def left(self) -> float:
        """Seconds until the deadline."""
        waited = self._waits_of_others + queued("thread-self") + (0.0 if self.closed else queued(self.pid))
        latest = self._started + BUSY * (self.deadline - self._started)
        return min(self.deadline + max(0.0, waited), latest) - time.monotonic()

    # requests

    def ask(
        self, request: Mapping[str, Any], fds: Sequence[int] = (), phase: str = "", limit: float | None = None
    ) -> dict[str, Any]:
        """A request that is no call; the process runs for it, and on."""
        self._refuse_awake(phase or request["do"])
        self.go_on()
        self._send(json.dumps(request).encode(), fds, phase)
        answer, _ = self._wait(phase or request["do"], limit or self.call_limit)
        try:
            return dict(json.loads(answer))
        except (ValueError, TypeError):
            raise self._ended_for("talks-back", f"{phase or request['do']}: {TALKS_BACK}") from None

    def run(self, function: Callable[..., Any], *arguments: Any, limit: float | None = None) -> Any:
        """Call a module-level function in the process, with arguments that can be pickled; what it returns.

        limit  seconds that it may take; the limit of a call where it is None

        The answer is unpickled: this is for a learner's own file, and never for a verdict. Raises FailedInChildError
        for an exception of the function, EndedError where the process ended or had to be ended.
        """
        path = self.folder / "call.pickle"
        path.write_bytes(pickle.dumps((function, arguments)))
        answer = self.ask({"do": "run", "path": str(path)}, phase=function.__name__, limit=limit)
        if "problem" in answer:
            raise FailedInChildError(answer["problem"])
        return pickle.loads(path.read_bytes())

    def share(self, sizes: Sequence[tuple[int, bool]]) -> None:
        """Make new memory for arrays: for each its bytes, and whether it is only to be read."""
        for slot in self.slots:
            os.close(slot.fd)
        self.ask({"do": "map", "slots": []})  # so that it is ready to receive descriptors
        self.slots = [Slot(nbytes, sealed) for nbytes, sealed in sizes]
        request = {"do": "map", "slots": [[slot.size, not slot.sealed] for slot in self.slots]}
        self.addresses = self.ask(request, [slot.fd for slot in self.slots])["addresses"]

    def call(self, message: bytes, phase: str) -> Reply:
        """One call, timed. The process is stopped before and after it."""
        self.stop()
        self._refuse_awake(phase)
        family, before = self.family, self._at_rest
        reaped, queued = family.reaped(), family.queued()
        start = time.perf_counter()
        self.go_on()
        self._send(message, (), phase)
        answer, end = self._wait(phase, self.call_limit)
        done = family.times()
        queued = family.queued() - queued
        self._come_to_rest(REST)
        self.stop()
        busy, late = between(before, self._at_rest), between(done, self._at_rest)
        end += late if late > LATE else 0.0
        if family.reaped() != reaped:
            queued = 0.0
        with contextlib.suppress(BlockingIOError):
            if self._socket.recv(1 << 18):
                raise self._ended_for("talks-back", f"{phase}: {TALKS_BACK}")
        problem = None
        if answer not in (b"-", RETURNED):
            try:
                found = json.loads(answer)["problem"]
                problem = {**found, "kind": str(found["kind"]), "text": str(found["text"])}
            except (ValueError, KeyError, TypeError):
                raise EndedError("talks-back", f"{phase}: {TALKS_BACK}") from None
        return Reply(end - start, busy, max(0.0, queued), problem, answer == RETURNED)

    def _send(self, message: bytes, fds: Sequence[int], phase: str) -> None:
        try:
            if fds:
                socket.send_fds(self._socket, [message], list(fds))
            else:
                self._socket.send(message)
        except OSError:
            raise self._how_it_ended(phase) from None

    def _wait(self, phase: str, limit: float) -> tuple[bytes, float]:
        """The answer, and when it came."""
        looked = start = time.perf_counter()
        waits = self.family.queued()
        end = start + min(limit, self.left())
        while True:
            ready, _, _ = select.select([self._socket.fileno(), self._output], [], [], POLL)
            now = time.perf_counter()
            if self._output in ready:
                self._drain()
            if self._socket.fileno() in ready:
                with contextlib.suppress(OSError):
                    if answer := self._socket.recv(1 << 18):
                        return answer, now
                raise self._how_it_ended(phase)
            if now - looked > POLL:
                looked = now
                self._watch(phase)
            if now > end:  # unless it had to wait for a processor
                end = start + min(limit + self.family.queued() - waits, BUSY * limit, now - start + self.left())
                if now > end:
                    raise self._late(phase, min(limit, now - start))

    def _drain(self) -> None:
        """Take what it has printed. Raises EndedError where that is too much."""
        with contextlib.suppress(BlockingIOError):
            while got := os.read(self._output, 1 << 16):
                self.printed += len(got)
                self.output = (self.output + got)[:SHOWN]
                if self.printed > self._flood and not self.closed:
                    raise self._ended_for("output-flood", f"it printed {self.printed / 1e6:,.1f} MB and was stopped")

    def _watch(self, phase: str) -> None:
        if self.family.state() == "T":  # it stopped itself only after it was last sent on
            send(-self.pid, signal.SIGCONT)
        took = self.family.resident() - self._resident_before
        if took > self.memory_limit:
            mib, most = took / (1 << 20), self.memory_limit / (1 << 20)
            text = f"{phase}: it took {mib:,.0f} MiB, and the limit is {most:,.0f} MiB"
            raise self._ended_for("out-of-memory", text)
        crowd = len(self.family.members())
        if crowd > CROWD:
            raise self._ended_for("fork-bomb", f"{phase}: it started {crowd} processes and was stopped")

    def priority(self) -> int:
        """The process's nice value."""
        return os.getpriority(os.PRIO_PROCESS, self.pid)

    def round_trip(self) -> float:
        """Seconds of a call that does nothing."""
        return self.call(b'{"do": "call", "form": "nothing"}', "a call that does nothing").counted

    def _late(self, phase: str, limit: float) -> EndedError:
        before = self.family.times()
        time.sleep(0.02)
        busy = between(before, self.family.times())
        why, state = "timed-out", "it is computing"
        if busy < 0.002 and self.family.state() != "R":  # R: it may be waiting for a processor alone
            why, state = "sleeps", "it waits for something, and computes nothing"
        return self._ended_for(why, f"{phase}: no answer within {limit:.3g} s; {state}")

    # the process

    def stop(self) -> None:
        """Stop it, and all that come from it, and wait until it stands still."""
        if not self.running:
            return
        end = time.perf_counter() + 0.1
        self.family.stop()
        self.running = False
        self._come_to_rest(0.5)
        self._at_rest = self.family.stopped_times()
        while between(self._at_rest, now := self.family.stopped_times()) and time.perf_counter() < end:
            self._at_rest = now  # a thread is coming to rest still

    def _come_to_rest(self, seconds: float) -> None:
        """Wait until the process stands still, or has ended; at most for this time."""
        end = time.perf_counter() + seconds
        while self.family.state() not in "TtZX" and time.perf_counter() < end:
            time.sleep(20e-6)

    def go_on(self) -> None:
        """Let it run on, with all that were stopped with it."""
        if not self.running:
            self.family.go_on()
            self.running = True

    def _refuse_awake(self, phase: str) -> None:
        """Raises EndedError where it has run since it was stopped: a signal of its own has sent it on."""
        if self.running:
            return
        self._awake = 0.9 * self._awake + between(self._at_rest, self.family.stopped_times())
        if self._awake > AWAKE:
            text = f"{phase}: it ran for {1e3 * self._awake:.3g} ms of a processor while it was stopped"
            raise self._ended_for("awake", text)

    # the end

    def _ended_for(self, why: str, text: str) -> EndedError:
        self.end()
        return EndedError(why, text)

    def _how_it_ended(self, phase: str) -> EndedError:
        status = self.end(patience=0.5)
        if status is None:
            return EndedError("killed-its-parent", f"{phase}: it ended the process that it was started by")
        code = os.waitstatus_to_exitcode(status)
        if code in (DEAF, -signal.SIGKILL):
            return EndedError("killed", f"{phase}: it closed the socket that it is judged through, or was killed")
        if code >= 0:
            return EndedError("exited", f"{phase}: it ended its process with status {code}")
        number = -code
        fields = CRASH.unpack(self._crash.bytes[: CRASH.size].tobytes())
        crash = Crash(*fields) if fields[0] == number else Crash(number)
        return EndedError("crashed", f"{phase}: {signal.strsignal(number)}", crash)

    def end(self, patience: float = 0.0) -> int | None:
        """End it and all that it started; its exit status, as of os.wait, or None where its supervisor is gone."""
        if self.closed or self._supervisor is None:
            return 0
        self.closed = True
        self._waits_of_others += queued(self.pid)
        try:
            self._control.send(str(patience).encode())
            status: int | None = int(self._control.recv(32))
        except (OSError, ValueError):
            status = None
            send(-self.pid, signal.SIGKILL)
        self._supervisor.kill()
        self._supervisor.wait()
        self._drain()
        self._socket.close()
        self._control.close()
        return status

    __enter__ = live

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and give back what it was lent."""
        self.end()
        if self._supervisor is not None:
            self._supervisor = None
            os.close(self._output)
            for slot in (*self.slots, self._crash):
                os.close(slot.fd)
            self.slots = []
            shutil.rmtree(self.folder, ignore_errors=True)


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return ours, theirs
