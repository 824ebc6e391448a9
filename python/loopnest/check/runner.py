"""The process in which a submission runs. It knows no reference, no expected result and no timer: see session.py.

It is a script that imports nothing of loopnest, so that nothing of loopnest lies in its memory. Started as

    python -P runner.py CONTROL          CONTROL: the number of a socket

it imports NumPy, waits for requests of the judge, and forks a child for each submission: so a child starts in a few
milliseconds, and with nothing in it of the child before. The child gets a socket of its own, over which come

    map    memory that it shares with the judge, each array's between pages that nobody may touch
    load   the submission: a Python file, a compiled library, or a rung of loopnest
    call   the arrays and numbers of one call. The answer is empty where the call returned, else says what went wrong

A message of a call that was made before is found by its bytes, so that nothing is decoded while the judge's clock runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import gc
import importlib
import importlib.util
import inspect
import json
import os
import pickle
import platform
import resource
import shutil
import signal
import socket
import statistics  # noqa: F401  (so that it is seen whether its functions are replaced)
import struct
import sys
import time
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

GUARD = 1 << 20
"""Bytes on each side of an array's memory that cannot be touched: also what is a row or two away is caught."""

M_PERTURB = -6
FREED, ALLOCATED = 0x01, 0xFE
"""What glibc fills memory with that is given back, and that is allocated (mallopt(3)), while results are looked at: so
that memory is known in which a submission has written nothing."""

PROT_NONE, PROT_READ, PROT_WRITE = 0, 1, 2
MAP_SHARED, MAP_PRIVATE, MAP_FIXED = 1, 2, 0x10
MAP_ANONYMOUS = 0x1000 if sys.platform == "darwin" else 0x20

RETURNED = b"r"
"""The answer to a call that was given arrays for its results, and returned something else."""

ONE = b"1"
"""The answer to a call that returned the last of its results alone, where that will do."""

DEAF = 97
"""The exit status of a child that cannot hear the judge any more."""

FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)

Request = dict[str, Any]


# --- the process that children are forked from


def serve(control: socket.socket) -> None:
    """Fork a child a request, and end it, and whatever it has started, when asked."""
    _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what a child leaves behind becomes ours, and ends with it
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
    """The exit status of a child that ends by itself within so many seconds, or is killed, with all that it started."""
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


def children(pid: int) -> list[int]:
    """The processes that this one has started, and those that it has inherited; empty where nobody tells."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    except OSError:
        pass
    return found


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        _libc().prctl(option, value, 0, 0, 0)


def _fill_memory(on: bool) -> None:
    with contextlib.suppress(AttributeError):  # another C library
        _libc().mallopt(M_PERTURB, FREED if on else 0)


@functools.cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


# --- a child


def _child(fds: Sequence[int], request: Request) -> None:
    """Be the child, and never come back."""
    connection, output, crash = fds
    os.setsid()
    _prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nobody outlives the process that it is forked from
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
    _fill_memory(True)
    np.seterr(all="ignore")  # NaN and infinity are asked for, and are no reason to print
    try:
        Child(socket.socket(fileno=connection), crash).answer()
    except OSError:  # its socket is gone
        os._exit(DEAF)
    finally:
        os._exit(0)


class Child:
    """Answers the judge's requests about one submission."""

    def __init__(self, connection: socket.socket, crash: int) -> None:
        self._connection = connection
        self._slots: list[int] = []
        self._arrays: dict[Any, Any] = {}
        self._known: dict[bytes, Callable[[], bytes]] = {}
        self._file = sys.argv[0]
        self._function: Callable[..., Any] | None = None
        self._rungs: dict[str, Callable[..., Any]] = {}
        self._tensors = False
        self._events: list[str] = []
        self._watching = False
        self._before = _snapshot()
        self._crash = CrashReport(crash)
        sys.addaudithook(self._on_audit)

    def answer(self) -> None:
        """Answer requests, and stand still after each call: so what the submission has left to do later stays undone
        until the judge has looked, who may not be awake yet."""
        receive, send, kill, stop = self._connection.recv, self._connection.send, os.kill, signal.SIGSTOP
        while True:
            message, fds, _, _ = socket.recv_fds(self._connection, 1 << 18, 16) if not self._slots else (b"", [], 0, 0)
            message = message or receive(1 << 18)
            while True:
                if not message:
                    return
                call = self._known.get(message)
                if call is None:
                    break
                send(call())
                kill(0, stop)  # with all processes of its group
                message = receive(1 << 18)
            answer, is_call = self._answered(message, fds)
            send(answer)
            if is_call:
                kill(0, stop)

    def _answered(self, message: bytes, fds: Sequence[int]) -> tuple[bytes, bool]:
        """The answer to a request, and whether that was a call."""
        request = json.loads(message)
        if request["do"] == "call":
            try:
                call = self._prepared(request)
            except BaseException as error:
                return self._told(error), True
            self._known[message] = call
            return call(), True
        answer: Any = getattr(self, f"_{request['do']}")(request, fds)
        return json.dumps(answer).encode(), False

    # memory

    def _map(self, request: Request, fds: Sequence[int]) -> Any:
        self._known.clear()
        self._arrays.clear()
        self._slots = [mapped(fd, size, writeable) for fd, (size, writeable) in zip(fds, request["slots"], strict=True)]
        for fd in fds:
            os.close(fd)
        return {"addresses": self._slots}

    def _unmap(self, request: Request, fds: Sequence[int]) -> Any:
        self._known.clear()
        self._arrays.clear()
        self._slots = []
        return {}

    def _array(self, place: Sequence[Any], new: int = 0) -> Any:
        """The array at this place: the same object at each call, unless a new one is asked for.

        NumPy takes it for writeable, inputs too: kernels compiled for arrays that are would not take others. What
        writes to an input is stopped by the page.
        """
        slot, offset, shape, strides, dtype = place
        key = (slot, offset, *shape, *strides, dtype, new)
        if key not in self._arrays:
            address = self._slots[slot] + offset
            memory: Any = (ctypes.c_char * max(1, self._span(shape, strides, dtype))).from_address(address)
            first = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s < 0 and n)
            if not self._span(shape, strides, dtype):
                made: Any = np.ndarray(shape, dtype, np.frombuffer(memory, np.uint8), 0)
            else:
                made = np.ndarray(shape, dtype, np.frombuffer(memory, np.uint8), -first, strides)
            if self._tensors:
                import torch

                made = torch.from_numpy(made)
            self._arrays[key] = made
        return self._arrays[key]

    @staticmethod
    def _span(shape: Sequence[int], strides: Sequence[int], dtype: str) -> int:
        if 0 in shape:
            return 0
        return sum((n - 1) * abs(s) for n, s in zip(shape, strides, strict=True)) + np.dtype(dtype).itemsize

    # what is judged

    def _load(self, request: Request, fds: Sequence[int]) -> Any:
        self._known.clear()
        self._file = request["file"]
        answer: dict[str, Any] = {}
        try:
            answer = getattr(self, f"_load_{request['kind']}")(request)
        except BaseException as error:
            return {"problem": self._described(error)}
        finally:
            self._crash.install(self._file)
        return answer

    def _load_python(self, request: Request) -> Any:
        sys.path.append(os.path.dirname(request["file"]))
        name = "submission"
        spec = importlib.util.spec_from_file_location(name, request["file"])
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        function = next(filter(callable, (getattr(module, name, None) for name in request["names"])), None)
        if function is None:
            return {"functions": functions}
        self._function = function
        return {"functions": functions, "found": True, "signature": self._signature(function), **self._uses()}

    def _uses(self) -> Request:
        names = ("numba", "torch", "triton", "jax", "loopnest", "scipy", "numexpr", "cupy")
        return {"modules": [name for name in names if name in sys.modules]}

    @staticmethod
    def _signature(function: Any) -> Any:
        """Its parameters: name, whether it has a default, and its kind. None where it does not tell."""
        function = getattr(function, "py_func", getattr(function, "fn", function))
        try:
            found = inspect.signature(function)
        except (ValueError, TypeError):
            return None
        return {
            "text": str(found),
            "parameters": [(p.name, p.default is not p.empty, p.kind.name.lower()) for p in found.parameters.values()],
        }

    def _load_library(self, request: Request) -> Any:
        library = ctypes.CDLL(request["file"])
        function = getattr(library, request["symbol"], None)
        if function is None:
            return {"functions": []}
        function.restype = getattr(ctypes, request["returns"]) if request.get("returns") else None
        self._function = function
        return {"functions": [request["name"]], "found": True, "base": _base_of(request["file"]), "modules": []}

    def _load_rung(self, request: Request) -> Any:
        import loopnest

        _fill_memory(False)
        loopnest.set_num_threads(request["threads"])
        self._rungs[request["rung"]] = loopnest.OPERATIONS[request["name"]][request["rung"]].kernel
        return {"functions": [request["name"]], "found": True, "modules": []}

    def _time(self, request: Request, fds: Sequence[int]) -> Any:
        """From now on it is timed: what it allocates costs what it costs elsewhere."""
        _fill_memory(False)
        return {}

    def _arrive(self, request: Request, fds: Sequence[int]) -> Any:
        """As tensors of torch's or as NumPy arrays."""
        self._tensors = request["tensors"]
        self._known.clear()
        self._arrays.clear()
        return {}

    def _run(self, request: Request, fds: Sequence[int]) -> Any:
        """Call a function of an importable module: it and its arguments are pickled in a file, and so is its result."""
        self._crash.install(self._file)
        try:
            with open(request["path"], "rb") as file:
                function, arguments = pickle.load(file)
            returned = pickle.dumps(function(*arguments))
        except BaseException as error:
            return {"problem": self._described(error)}
        with open(request["path"], "wb") as file:
            file.write(returned)
        return {}

    # calls

    def _prepared(self, request: Request) -> Callable[[], bytes]:
        function, form = self._rungs.get(request.get("rung", ""), self._function), request["form"]
        if form == "nothing":
            return lambda: b"-"
        assert function is not None
        if form == "c":
            return self._c_call(function, request)
        if form == "cuda":
            return self._cuda_launch(function, request)
        values = [
            self._array(value, request.get("new", 0)) if kind == "array" else value
            for kind, value in request["arguments"]
        ]
        if request.get("rows"):
            values = [v.reshape(1, -1) if isinstance(v, np.ndarray) and v.ndim else v for v in values]
        if form == "given":
            given = functools.partial(function, *values)

            def filling() -> bytes:
                try:
                    returned = given()
                except BaseException as error:
                    return self._told(error)
                return b"-" if returned is None or any(returned is value for value in values) else RETURNED

            return filling
        places = [self._array(place) for place in request["results"]]
        returning = functools.partial(function, *values)

        def taking() -> bytes:
            try:
                problem = self._taken(returning(), places, request.get("one", False))
            except BaseException as error:
                return self._told(error)
            return problem or b"-"

        return taking

    def _taken(self, returned: Any, places: Sequence[Any], one: bool) -> bytes:
        """Copy what was returned to where the judge looks for it, if it is what it should be: arrays that are there
        already, and no objects that would compute them when they are looked at.

        one  whether the last result alone will do; the answer is then ONE
        """
        values = returned if type(returned) is tuple else (returned,)
        if len(values) != len(places) and not (one and len(values) == 1):
            if len(values) == 1 and not isinstance(returned, np.ndarray | list | dict | set):
                return _problem("nothing", f"returned {type(returned).__name__}, expected {len(places)} arrays")
            return _problem("results", f"returned {len(values)} results, expected {len(places)}")
        for value, place in zip(values, places[-len(values) :], strict=True):
            if type(value) is np.ndarray or (
                (self._tensors or type(value).__module__ == "torch") and _is_tensor(value)
            ):
                kind = str(value.dtype).removeprefix("torch.")
                wanted = str(place.dtype).removeprefix("torch.")
                if kind != wanted:
                    return _problem("dtype", f"returned {kind}, expected {wanted}")
                if tuple(value.shape) != tuple(place.shape):
                    return _problem(
                        "shape", f"returned an array of shape {tuple(value.shape)}, expected {tuple(place.shape)}"
                    )
                if type(value) is not np.ndarray and value.device.type != "cpu":
                    return _problem("lazy", f"returned a tensor on {value.device}, expected one on the CPU")
                if type(value) is np.ndarray:
                    place[...] = value
                elif type(place) is np.ndarray:
                    place[...] = value.detach().numpy()
                else:
                    place.copy_(value)
            elif place.ndim == 0 and type(value) in (float, int, np.float32, np.float64):
                if isinstance(value, np.generic) and value.dtype != place.dtype:
                    return _problem("dtype", f"returned {value.dtype}, expected {place.dtype}")
                place[()] = value
            elif value is None:
                return _problem("nothing", "returned None")
            else:
                lazy = type(value) is not list and (
                    hasattr(value, "__array__") or isinstance(value, np.ndarray) or callable(value)
                )
                name = type(value).__name__
                return _problem(
                    "lazy" if lazy else "type", f"returned a {name}, expected a NumPy array ({place.dtype})"
                )
        return ONE if len(values) < len(places) else b""

    def _c_values(self, request: Request) -> list[Any]:
        values: list[Any] = []
        for kind, value in request["arguments"]:
            if kind == "pointer":
                slot, offset = value
                values.append(ctypes.c_void_p(self._slots[slot] + offset))
            else:
                values.append(getattr(ctypes, kind)(value))
        return values

    def _cuda_launch(self, launch: Any, request: Request) -> Callable[[], bytes]:
        """A kernel run by loopnest's simulator, which is linked with it: csrc/cuda/on_cpu.cpp."""
        values = self._c_values(request)
        addresses = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        sizes = (ctypes.c_uint * 6)(*request["grid"], *request["block"])
        why = ctypes.create_string_buffer(600)
        name, shared = request["kernel"].encode(), ctypes.c_size_t(request["shared"])
        launch.restype = ctypes.c_int

        def launching(kept: Sequence[Any] = values) -> bytes:  # `addresses` point into them
            if launch(name, sizes, shared, addresses, 0, why, ctypes.c_size_t(600)):
                return json.dumps({"problem": {"kind": "launch", "text": why.value.decode(errors="replace")}}).encode()
            return b"-"

        return launching

    def _c_call(self, function: Any, request: Request) -> Callable[[], bytes]:
        values = self._c_values(request)
        if request.get("returned"):
            place = self._array(request["returned"])

            def storing() -> bytes:
                place[()] = function(*values)
                return b"-"

            return storing
        call = functools.partial(function, *values)

        def calling() -> bytes:
            call()
            return b"-"

        return calling

    # what went wrong, and what else happened

    def _told(self, error: BaseException) -> bytes:
        return json.dumps({"problem": self._described(error)}).encode()

    def _described(self, error: BaseException) -> Request:
        """An exception: its kind, its message, and the last line of the submission that it passed."""
        lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self._file]
        told: Request = {"kind": type(error).__name__, "text": str(error)[:2000]}
        if isinstance(error, SyntaxError) and error.filename == self._file:
            told |= {"line": error.lineno, "code": (error.text or "").strip(), "text": error.msg}
        elif lines:
            told |= {"line": lines[-1].lineno, "code": lines[-1].line or ""}
        if isinstance(error, ImportError):
            told |= {"module": error.name or ""}
        if isinstance(error, SystemExit):
            told |= {"text": f"{error.code}"}
        return told

    def _on_audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._watching and event in WATCHED and len(self._events) < 500:
            told = event
            if event == "open":
                mode = arguments[2] if isinstance(arguments[2], int) else 0
                told = f"open {'w' if mode & (os.O_WRONLY | os.O_RDWR) else 'r'} {arguments[0]}"
            elif event == "sys._getframe" and arguments[0].f_code.co_filename != __file__:
                return  # a library that looks at who has called it; not one that looks out of the submission
            self._events.append(told)

    def _watch(self, request: Request, fds: Sequence[int]) -> Any:
        self._watching = True
        return {}

    def _seen(self, request: Request, fds: Sequence[int]) -> Any:
        """What of Python it patched, and which doors it knocked at."""
        self._watching = False
        return {"patched": _patched(self._before), "events": list(dict.fromkeys(self._events)), **self._uses()}


WATCHED = frozenset(
    (
        *("gc.get_objects", "gc.get_referrers", "gc.get_referents", "sys._getframe", "sys._current_frames", "open"),
        *("_thread.start_new_thread", "os.fork", "os.forkpty", "subprocess.Popen", "os.posix_spawn", "os.kill"),
        *("time.sleep", "socket.connect", "socket.__new__", "ctypes.dlopen", "ctypes.string_at", "os.listdir"),
    )
)


def _problem(kind: str, text: str) -> bytes:
    return json.dumps({"problem": {"kind": kind, "text": text, "returned": True}}).encode()


def _is_tensor(value: Any) -> bool:
    """A plain tensor of torch's whose memory is there: no subclass, no fake one, none on the device `meta`."""
    torch = sys.modules.get("torch")
    if torch is None or type(value) is not torch.Tensor:
        return False
    return value.device.type != "meta" and value.layout is torch.strided


PATCHABLE = ("time", "numpy", "numpy.linalg", "statistics", "math", "builtins", "gc", "ctypes")


def _snapshot() -> dict[str, dict[str, Any]]:
    return {name: dict(vars(sys.modules[name])) for name in PATCHABLE if name in sys.modules}


def _patched(before: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The functions of these modules that are others now than they were."""
    return [
        f"{module}.{name}"
        for module, names in before.items()
        for name, value in names.items()
        if not name.startswith("__")
        and (callable(value) or name == "pi")
        and not isinstance(value, types.ModuleType)
        and vars(sys.modules[module]).get(name) is not value
    ]


def _base_of(library: str) -> int:
    """Where a library lies in memory: 0 where nobody tells."""
    try:
        with open("/proc/self/maps", encoding="utf-8") as file:
            for line in file:
                if line.rstrip().endswith(library):
                    return int(line.partition("-")[0], 16)
    except OSError:
        pass
    return 0


# --- memory between guard pages


def mapped(fd: int, size: int, writeable: bool) -> int:
    """Map the judge's memory between two stretches of pages that nobody may touch; its address."""
    libc = _libc()
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
        *(ctypes.c_int, ctypes.c_int, ctypes.c_long),
    )
    whole = libc.mmap(None, GUARD + size + GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if whole in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    protection = PROT_READ | PROT_WRITE if writeable else PROT_READ
    found: int = libc.mmap(whole + GUARD, size, protection, MAP_SHARED | MAP_FIXED, fd, 0)
    if found != whole + GUARD:
        raise OSError(ctypes.get_errno() or errno.EFAULT, "mmap")
    return found


# --- crashes

CRASH = struct.Struct("=qqqqqqq")
"""What a crash leaves in the memory that it shares with the judge: signal, code, address, instruction, stack, line, and
1 for a write, 0 for a read, -1 where the processor does not tell."""

CRASH_SIZE = 4096
STACK_OF_HANDLER = 1 << 20
Handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class CrashReport:
    """Writes the address of a fault to shared memory before the process dies of it.

    The handler is Python code, run by ctypes on a stack of its own: it needs no compiler, and the frames above it tell
    the line of a Python submission. A fault within malloc, or of a thread while another holds the GIL, may not get
    through; the process then dies with less said, or is killed at its time limit.
    """

    def __init__(self, fd: int) -> None:
        import mmap

        self._page = mmap.mmap(fd, CRASH_SIZE)
        os.close(fd)
        self._handler = Handler(self._on_fault)
        self._file = ""
        self._stack: Any = None

    def install(self, file: str) -> None:
        """As the handler of the signals of faults."""
        self._file = file
        if sys.platform != "linux":
            return
        libc = _libc()
        if self._stack is None:
            self._stack = ctypes.create_string_buffer(STACK_OF_HANDLER)
            libc.sigaltstack(struct.pack("@PixxxxN", ctypes.addressof(self._stack), 0, STACK_OF_HANDLER), None)
        # struct sigaction: the handler, a mask of 128 bytes, flags, a pointer. SA_SIGINFO 4, SA_ONSTACK 0x08000000
        address = ctypes.cast(self._handler, ctypes.c_void_p).value
        action = struct.pack("@P128xixxxxP", address, 4 | 0x08000000, 0)
        for number in FAULTS:
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
        line = 0
        frame: Any = sys._getframe()
        for _ in range(200):
            if frame is None or line:
                break
            line = frame.f_lineno if frame.f_code.co_filename == self._file else 0
            frame = frame.f_back
        self._page[: CRASH.size] = CRASH.pack(number, code, address, pc, sp, line, write)
        _libc().signal(number, 0)  # back to the default: the instruction is tried again, and ends the process


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
