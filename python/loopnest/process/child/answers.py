"""Answers the judge's requests about one submission, over a socket:

    map    memory shared with the judge; each array lies between pages that nobody may touch
    load   a function: from a Python file, from a compiled library, or a rung of loopnest
    call   the arrays and numbers of one call; the answer says that it returned, or what went wrong
    run    a function of an importable module, for the learner's exercises

The bytes of a call's message are the key under which the prepared call is kept, so that nothing is decoded while the
judge's clock runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.machinery
import importlib.util
import inspect
import json
import linecache
import os
import pickle
import signal
import socket
import statistics  # noqa: F401  (so that it is seen whether its functions are replaced)
import sys
import threading
import traceback
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import RETURNED
from .system import CrashReport, base_of, fill_memory, mapped

Request = dict[str, Any]

Call = Callable[[], bytes]
"""A call with all of its arguments, which gives the answer."""


class Child:
    """Answers the judge's requests about one submission."""

    def __init__(self, connection: socket.socket, crash: int) -> None:
        self._connection = connection
        self._slots: list[int] = []
        self._arrays: dict[Any, Any] = {}
        self._known: dict[bytes, Call] = {}
        self._file = sys.argv[0]
        self._functions: dict[str, Callable[..., Any]] = {}
        self._events: dict[str, None] = {}
        self._watching = False
        self._before, self._modes = _functions(), _modes()
        self._crash = CrashReport(crash)
        np.seterr(all="ignore")  # NaN and infinity are asked for, and are no reason to print
        sys.addaudithook(self._on_audit)

    def answer(self) -> None:
        """Answer requests, and stand still after each call: so what the submission has left to do later stays undone
        until the judge has looked, who may not be awake yet."""
        receive, send, kill, stop = self._connection.recv, self._connection.send, os.kill, signal.SIGSTOP
        while True:
            fds: Sequence[int] = ()
            if self._slots:
                message = receive(1 << 18)
            else:
                message, fds, _, _ = socket.recv_fds(self._connection, 1 << 18, 16)
            if not message:
                return
            call = self._known.get(message)
            answer, is_call = (self._called(call), True) if call else self._answered(message, fds)
            send(answer)
            if is_call:
                kill(0, stop)  # with all processes of its group

    def _answered(self, message: bytes, fds: Sequence[int]) -> tuple[bytes, bool]:
        """The answer to a request, and whether that was a call."""
        request = json.loads(message)
        if request["do"] != "call":
            answer: Any = getattr(self, f"_{request['do']}")(request, fds)
            return json.dumps(answer or {}).encode(), False

        def first_call() -> bytes:
            self._known[message] = call = self._prepared(request)
            return call()

        return self._called(first_call), True

    def _called(self, call: Call) -> bytes:
        """The answer of a call, or what went wrong."""
        try:
            return call()
        except BaseException as error:
            return json.dumps({"problem": self._described(error)}).encode()

    # memory

    def _map(self, request: Request, fds: Sequence[int]) -> Any:
        self._known.clear()
        self._arrays.clear()
        self._slots = [mapped(fd, size, writeable) for fd, (size, writeable) in zip(fds, request["slots"], strict=True)]
        for fd in fds:
            os.close(fd)
        return {"addresses": self._slots}

    def _array(self, place: Sequence[Any], new: int = 0, tensor: bool = False) -> Any:
        """The array, or torch's tensor, at this place: the same object at each call, unless a new one is asked for.

        NumPy takes it for writeable, inputs too: kernels compiled for arrays that are would not take others. What
        writes to an input is stopped by the page.
        """
        slot, offset, shape, strides, dtype = place
        if dtype == "bfloat16":
            import ml_dtypes  # noqa: F401 - from here on NumPy knows the name
        key = (slot, offset, *shape, *strides, dtype, new, tensor)
        if key not in self._arrays:
            steps = [(n - 1) * step for n, step in zip(shape, strides, strict=True)]
            nbytes = 0 if 0 in shape else sum(map(abs, steps)) + np.dtype(dtype).itemsize
            memory: Any = (ctypes.c_char * max(1, nbytes)).from_address(self._slots[slot] + offset)
            first = -sum(step for step in steps if step < 0) if nbytes else 0
            made: Any = np.ndarray(shape, dtype, np.frombuffer(memory, np.uint8), first, strides if nbytes else None)
            self._arrays[key] = _as_tensor(made) if tensor else made
        return self._arrays[key]

    # what is judged

    def _load(self, request: Request, fds: Sequence[int]) -> Any:
        """Load a function, which calls then name by the request's `key`."""
        self._known.clear()
        self._file = request["file"]
        try:
            function, answer = getattr(self, f"_load_{request['kind']}")(request)
        except BaseException as error:
            return {"problem": self._described(error)}
        finally:
            self._crash.install(self._file)
        if function is not None:
            self._functions[request["key"]] = function
        modules = [name for name in ("numba", "torch", "triton", "jax") if name in sys.modules]
        return {"found": function is not None, "modules": modules, **answer}

    def _load_python(self, request: Request) -> Any:
        sys.path.append(os.path.dirname(request["file"]))
        with open(request["text"], "rb") as file:
            loader = _Loader(request["file"], file.read())
        spec: Any = importlib.util.spec_from_file_location("submission", request["file"], loader=loader)
        module = sys.modules["submission"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        function = next(filter(callable, (getattr(module, name, None) for name in request["names"])), None)
        parameters = None  # where they cannot be known
        with contextlib.suppress(ValueError, TypeError):
            plain: Any = getattr(function, "py_func", getattr(function, "fn", function))
            found = inspect.signature(plain).parameters.values()
            parameters = [(p.name, p.kind.name, p.default is not p.empty) for p in found]
        others = (getattr(m, "__file__", None) for name, m in sys.modules.items() if name != "submission")
        siblings = [file for file in others if file and file.startswith(os.path.dirname(request["file"]) + os.sep)]
        return function, {"functions": public, "parameters": parameters, "files": siblings}

    def _load_library(self, request: Request) -> Any:
        function = getattr(ctypes.CDLL(request["file"]), request["symbol"], None)
        if function is not None:
            function.restype = getattr(ctypes, request["returns"]) if request["returns"] else None
        return function, {"base": base_of(request["file"])}

    def _load_rung(self, request: Request) -> Any:
        operations, threads = map(importlib.import_module, ("loopnest.operations", "loopnest.backends.threads"))
        fill_memory(False)
        threads.set_num_threads(request["threads"])
        return operations.OPERATIONS[request["name"]][request["key"]].kernel, {}

    def _time(self, request: Request, fds: Sequence[int]) -> Any:
        """From now on it is timed: what it allocates costs what it costs elsewhere."""
        fill_memory(False)

    def _run(self, request: Request, fds: Sequence[int]) -> Any:
        """Call a function of an importable module; it, its arguments and its result are pickled in a file."""
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

    def _prepared(self, request: Request) -> Call:
        if request["form"] == "nothing":
            return lambda: b"-"
        prepare = self._c_call if request["form"] in ("c", "cuda") else self._python_call
        call = prepare(self._functions[request["function"]], request)
        return functools.partial(_in_a_thread, call) if request["threads"] else call

    def _python_call(self, function: Callable[..., Any], request: Request) -> Call:
        kinds = request["new"], request["tensors"]
        values = [self._argument(kind, value, *kinds) for kind, value in request["arguments"]]
        named = {name: self._argument(kind, value, *kinds) for name, (kind, value) in request["keywords"].items()}
        if request["rows"]:
            values = [v.reshape(1, -1) if isinstance(v, np.ndarray) and v.ndim else v for v in values]
        places = [self._array(place) for place in request["results"]]
        if named:
            function = functools.partial(function, **named)

        def given() -> bytes:
            returned = function(*values)
            passed = (*values, *named.values())
            return b"-" if returned is None or any(returned is value for value in passed) else RETURNED

        return given if request["form"] == "given" else lambda: self._store(function(*values), places, request["names"])

    def _argument(self, kind: str, value: Any, new: int, tensors: bool) -> Any:
        """An argument: an array, a number or a word, or several of these as attributes, as of mlp_backward's cache."""
        if kind == "record":
            found = {name: self._argument(k, inner, new, tensors) for name, (k, inner) in value.items()}
            return types.SimpleNamespace(**found)
        return self._array(value, new, tensors) if kind == "array" else value

    def _c_call(self, function: Any, request: Request) -> Call:
        """A compiled function; or a kernel that loopnest's simulator runs, which is linked with it."""
        values = [
            ctypes.c_void_p(self._slots[value[0]] + value[1]) if kind == "pointer" else getattr(ctypes, kind)(value)
            for kind, value in request["arguments"]
        ]
        if request["form"] == "c":
            place = self._array(request["returned"]) if "returned" in request else np.empty((), object)

            def call() -> bytes:
                place[()] = function(*values)
                return b"-"

            return call
        addresses = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        sizes = (ctypes.c_uint * 6)(*request["grid"], *request["block"])
        why, room = ctypes.create_string_buffer(600), ctypes.c_size_t(600)
        name, shared = request["kernel"].encode(), ctypes.c_size_t(request["shared"])
        function.restype = ctypes.c_int

        def launch(_kept: Sequence[Any] = values) -> bytes:  # `addresses` point into them
            if function(name, sizes, shared, addresses, 0, why, room):
                raise LaunchError(why.value.decode(errors="replace"))
            return b"-"

        return launch

    def _store(self, returned: Any, places: Sequence[Any], names: Sequence[str]) -> bytes:
        """Copy what was returned to where the judge looks for it; results may be attributes of a cache.

        Only arrays that are there already are copied, and no objects that would compute them when they are looked at.
        """
        values = returned if type(returned) is tuple else (returned,)
        if len(values) == 2 < len(places):
            kept = {name: getattr(values[1], name) for name in names if hasattr(values[1], name)}
            if len(kept) == len(names) - 1:
                values = tuple(kept.get(name, values[0]) for name in names)
        if len(values) != len(places):
            if len(values) == 1 and not isinstance(returned, np.ndarray | list | dict | set):
                raise ReturnError("nothing", f"returned {type(returned).__name__}, expected {len(places)} arrays")
            raise ReturnError("results", f"returned {len(values)} results, expected {len(places)}: {', '.join(names)}")
        for given, place in zip(values, places, strict=True):
            value = _waited_for(given, place) if _is_jax_array(given) else given
            if type(value) is np.ndarray or _is_tensor(value):
                self._store_array(value, place)
            elif place.ndim == 0 and type(value) in (float, int, np.float32, np.float64):
                if isinstance(value, np.generic) and value.dtype != place.dtype:
                    raise ReturnError("dtype", f"returned {value.dtype}, expected {place.dtype}")
                place[()] = value
            elif value is None:
                raise ReturnError("nothing", "returned None")
            else:
                own = any(base.__module__ == "submission" for base in type(value).__mro__) or callable(value)
                lazy = own and (hasattr(value, "__array__") or callable(value))  # a library's array accuses nobody
                text = f"returned a {type(value).__name__}, expected a NumPy array ({place.dtype})"
                raise ReturnError("lazy" if lazy else "type", text)
        return b"-"

    @staticmethod
    def _store_array(value: Any, place: np.ndarray[Any, Any]) -> None:
        """Copy an array or a tensor to an array."""
        kind, shape = str(value.dtype).removeprefix("torch."), tuple(value.shape)
        if kind != str(place.dtype):
            raise ReturnError("dtype", f"returned {kind}, expected {place.dtype}")
        if shape != place.shape:
            raise ReturnError("shape", f"returned an array of shape {shape}, expected {place.shape}")
        if type(value) is not np.ndarray and value.device.type != "cpu":
            raise ReturnError("type", f"returned a tensor on {value.device}, expected one on the CPU: .cpu()")
        if kind == "bfloat16" and type(value) is not np.ndarray:
            value, place = value.detach().view(sys.modules["torch"].int16), place.view(np.int16)
        place[...] = value if type(value) is np.ndarray else value.detach().numpy()

    # what went wrong, and what else happened

    def _described(self, error: BaseException) -> Request:
        """An exception: its kind, its message, and the last line of the submission that it passed."""
        if isinstance(error, ReturnError):
            return {"kind": error.kind, "text": error.text, "returned": True}
        lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self._file]
        described: Request = {"kind": type(error).__name__, "text": str(error)[:2000]}
        if isinstance(error, SyntaxError) and error.filename == self._file:
            described |= {"line": error.lineno, "code": (error.text or "").strip(), "text": error.msg}
        elif lines:
            described |= {"line": lines[-1].lineno, "code": lines[-1].line or ""}
        if isinstance(error, ImportError):
            described |= {"module": error.name or ""}
        return described

    def _on_audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        # A library may look at who has called it. Only a look out of the submission comes to a frame of this file.
        inside = event == "sys._getframe" and arguments[0].f_code.co_filename != __file__
        if self._watching and event in DOORS and not inside:
            self._events[event] = None

    def _watch(self, request: Request, fds: Sequence[int]) -> Any:
        self._watching = True

    def _seen(self, request: Request, fds: Sequence[int]) -> Any:
        """What of Python it patched, and which doors it knocked at."""
        self._watching = False
        now = _functions()
        patched = [name for name, function in self._before.items() if now.get(name) is not function]
        modes = _modes() != self._modes
        return {"patched": patched, "events": list(self._events), "modes": modes, "loopnest": "loopnest" in sys.modules}


DOORS = (
    *("gc.get_objects", "gc.get_referrers", "gc.get_referents"),
    *("sys._getframe", "sys._current_frames", "ctypes.string_at"),
)
"""Events of Python's, by which a submission looks for objects that are not its own."""


class _Loader(importlib.machinery.SourceFileLoader):
    """Imports the text that the judge has read, whatever the file has become since."""

    def __init__(self, path: str, content: bytes) -> None:
        super().__init__("submission", path)
        self._content = content
        with contextlib.suppress(SyntaxError, UnicodeDecodeError):  # which the import raises
            lines = importlib.util.decode_source(content).splitlines(keepends=True)
            linecache.cache[path] = len(content), None, lines, path  # for tracebacks; None: it is not looked for again

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self._content, self.path)


class ReturnError(Exception):
    """What a function returned cannot be its result; the kind of reason: nothing, results, dtype, shape, lazy, type."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text


class LaunchError(Exception):
    """A simulated CUDA kernel did not come to its end."""


def _as_tensor(array: np.ndarray[Any, Any]) -> Any:
    """A tensor on the same memory. torch does not know NumPy's bfloat16, and gets the bits."""
    torch = sys.modules["torch"]
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _is_tensor(value: Any) -> bool:
    """A plain tensor of torch's whose memory is there: no subclass, no fake one, none on the device `meta`."""
    torch: Any = sys.modules.get("torch")
    plain = torch is not None and type(value) is torch.Tensor
    return plain and value.device.type != "meta" and value.layout is torch.strided


def _is_jax_array(value: Any) -> bool:
    """An array of JAX's, which may be computed still. A program that is being traced has no values to wait for."""
    jax: Any = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)


def _waited_for(value: Any, place: np.ndarray[Any, Any]) -> Any:
    """An array of JAX's as NumPy's, once it is computed; the clock runs."""
    if place.dtype == np.float64 and not sys.modules["jax"].config.jax_enable_x64:
        raise TypeError("JAX computes in float32: jax.config.update('jax_enable_x64', True)")  # it declines float64
    return np.asarray(value)


def _in_a_thread(call: Call) -> bytes:
    """The same call, in a thread of its own."""
    answers: list[bytes | BaseException] = []

    def run() -> None:
        try:
            answers.append(call())
        except BaseException as error:
            answers.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(answers[0], BaseException):
        raise answers[0]
    return answers[0]


def _modes() -> bytes:
    """A fingerprint of the processor's modes: of rounding, and of subnormal numbers, which may count as zero, as
    operands or as results."""
    x, y = np.array([[1, -1, 1e-40, 1e-30], [1e-8, -1e-8, 1, 1e-10]], np.float32)
    return bytes((x + y).tobytes() + (x * y).tobytes())


PATCHABLE = ("time", "numpy", "numpy.linalg", "statistics", "math", "builtins", "gc", "ctypes")


def _functions() -> dict[str, Any]:
    """The functions of these modules, and pi."""
    found = {f"{m}.{name}": x for m in PATCHABLE if m in sys.modules for name, x in vars(sys.modules[m]).items()}
    return {name: x for name, x in found.items() if (callable(x) and ".__" not in name) or name.endswith(".pi")}
