"""Operations, and the ladder of rungs of each.

An `Operation` is what is computed; an `Implementation` is one way of computing it, one rung of the operation's
ladder. A call goes these steps:

    ln.matmul(a, b, impl="cpp.blocked")
      Operation.__call__         asks the fastest rung's fast path (csrc/bindings/fast_path.cpp), which may decline
      Operation._choose          the named rung, or the fastest that runs here
      Implementation.__call__    asks its own fast path
      CONTRACT.run               checks the arguments, allocates the result (operations/matmul/contract.py)
      the kernel                 csrc/rungs.def names it: csrc/matmul/blocked.hpp

An operation lives in one folder. Next to its contract.py lie the files in_python.py, in_numpy.py, …, one a backend.
Each ends in RUNGS, which lists its rungs by operation in reading order, from slow to fast. The rungs in C++ are listed
in csrc/rungs.def; an in_cpp.py holds only what they claim.
"""

from __future__ import annotations

import html
import importlib.util
import inspect
import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from . import _core
from ._version import __version__
from .arrays import FLOAT_NAMES, dtype_called, name_of_dtype, plain_dtype_of
from .backends import BACKENDS, cpp_rungs, fastest_first
from .backends.prepacked import Prepacked
from .backends.rung import Backend, decline, docstring
from .backends.rung import Implementation as Implementation
from .backends.rung import Kernel as Kernel
from .backends.rung import UnavailableError as UnavailableError
from .output.text import duration, unknown

MOST_BYTES = 1 << 31
"""Of the arrays of a workload that a user makes up, in float64: exact results take several times as much."""

CHOICE = 192
"""The length of each axis of the calls that decide which rung computes in reduced precision: below a millisecond."""


class UnknownImplementationError(LookupError):
    """No implementation of the operation has this id; the message lists those that do."""


@dataclass(frozen=True)
class Workload:
    """A named set of shapes, such as `square-1024` or `gpt2-small-mlp-128`."""

    name: str
    shape: Mapping[str, int]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Arguments:
    """What one call takes: the inputs in order, and the options by name."""

    inputs: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FastPath:
    """The calls that C++ rungs take without Python's checks (csrc/bindings/fast_path.cpp).

    shapes  "product"      two matrices of any strides, (m, k) and (k, n), give a third, (m, n)
            "elementwise"  arrays of one shape in C order give another, and kernels get each as one row
            "rows"         the same, but kernels get matrices whose rows are the last axis
            "total"        arrays of one shape in C order give a number, and kernels get each as one row
            "dot"          two vectors of any strides give a number
            "transpose"    a matrix of any strides, (m, n), gives another, (n, m)
    option  whether kernels take a form after the arrays, as GELU's do: the tanh form, or the exact form for
            approximate="none"
    """

    shapes: Literal["product", "elementwise", "rows", "total", "dot", "transpose"]
    option: bool = False


@dataclass(frozen=True)
class Contract:
    """What every implementation of one operation is held to.

    run        checks arguments, allocates results and calls `kernel`; its docstring, with the sentences that are true
               of every operation and the example's imports put before its example, is the operation's.
    sample     (workload, dtype, rng) -> Arguments: random inputs of the workload's shapes.
    reference  (*inputs, **options) -> arrays of a higher precision than the inputs': the exact result, as near as
               is needed to judge.
    bound      (*inputs, **options) -> for each result, the largest allowed |result - exact|, elementwise.
    flops      (**shape) -> floating-point operations of one call.
    traffic    (itemsize, **shape) -> compulsory bytes: every input read once, every result written once.
    workloads  from the smallest to the largest.
    results    (returned value) -> the arrays in it that reference and bound describe, in their order.
    outs       how many of the results `out` takes; all where it is None.
    updates    indices of inputs that a call modifies in place; they are then its results: reference and bound take
               their old values and describe their new ones.
    variations by name, further arguments to judge a rung with, each made of a sample's: GELU's other form, for example.
    fast_path  the calls that C++ rungs take without `run`; None where there are none.
    reduced    the dtypes of reduced precision that it takes too, from arrays.REDUCED
    reduced_variations  variations for these alone
    result_dtype  (dtype, **options) -> the results' dtype for inputs of this one
    why        (*inputs) -> how the fastest rung computes a call with these inputs, and why so, as a sentence
    """

    run: Callable[..., Any]
    sample: Callable[..., Arguments]
    reference: Callable[..., tuple[Any, ...]]
    bound: Callable[..., tuple[Any, ...]]
    flops: Callable[..., int]
    traffic: Callable[..., int]
    workloads: tuple[Workload, ...]
    results: Callable[[Any], tuple[Any, ...]] = lambda returned: (
        returned if isinstance(returned, tuple) else (returned,)
    )
    outs: int | None = None
    updates: tuple[int, ...] = ()
    variations: Mapping[str, Callable[[Arguments], Arguments]] = field(default_factory=dict)
    fast_path: FastPath | None = None
    why: Callable[..., str] | None = None
    reduced: tuple[str, ...] = ()
    reduced_variations: Mapping[str, Callable[[Arguments], Arguments]] = field(default_factory=dict)
    result_dtype: Callable[..., np.dtype[Any]] = lambda dtype, **options: dtype

    def variations_of(self, dtype: Any) -> Mapping[str, Callable[[Arguments], Arguments]]:
        """The variations that a rung is judged in with inputs of this dtype."""
        return {**self.variations, **(self.reduced_variations if name_of_dtype(dtype) in self.reduced else {})}


def normal(*arrays: str) -> Callable[..., Arguments]:
    """A contract's `sample`: standard normal arrays. A string names the axes of each, as in normal("mk", "kn")."""

    def sample(workload: Workload, dtype: Any, rng: np.random.Generator) -> Arguments:
        shapes = [[workload.shape[axis] for axis in axes] for axes in arrays]
        return Arguments(tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes))

    return sample


_ARRAYS = """\
Arrays are float32 or float64, all of one dtype, with any strides: NumPy arrays, JAX arrays, or torch tensors on the
CPU. Results are of the same kind and dtype. Subclasses that give functions another meaning are refused: masked arrays,
np.matrix, arrays with units, quantized tensors.

Error bounds hold in the processor's default modes, and where no sum on the way is beyond the dtype's largest number,
whatever the order of its terms. Beyond it a result may also be infinite or NaN (docs/accuracy.md).

"""
_OUT = "out    memory for the result: of its shape, in C order, apart from all inputs; new memory where it is None\n"
_IMPL = """\
impl   the id of an implementation, such as "cpp.naive"; the fastest that runs here where it is None

Raises ValueError or TypeError for an argument that does not fit, and names it; UnavailableError for an `impl` that
cannot run here, UnknownImplementationError for one that does not exist.
"""


def _times_from(kept: str, rungs: Sequence[Implementation]) -> dict[Implementation, float]:
    """Seconds by rung, of a text such as "cpp.upcast=0.000341 cpp.dot_pairs=0.000172"; empty where it is damaged."""
    try:
        pairs = (item.split("=") for item in kept.split())
        return {next(k for k in rungs if k.id == id): float(seconds) for id, seconds in pairs}
    except (ValueError, StopIteration, RuntimeError):
        return {}


def _place(kernel: Kernel) -> tuple[Any, ...]:
    """Where a function is written: its module and its name, or the line of one without a name."""
    function = getattr(kernel, "py_func", kernel)
    name = getattr(function, "__qualname__", None)
    if name is None:
        return (id(kernel),)
    code = getattr(function, "__code__", None) if "<lambda>" in name else None
    return function.__module__, name, code and (code.co_filename, code.co_firstlineno)


class Operation:
    """What is computed: callable, with a ladder of implementations.

    >>> import numpy as np, loopnest as ln
    >>> a, b = np.ones((2, 3)), np.ones((3, 4))
    >>> float(ln.matmul(a, b, impl="numpy.matmul")[0, 0])
    3.0
    """

    def __init__(self, name: str, folder: str, contract: Contract) -> None:
        """`folder` is the package that holds the in_*.py files; related operations share one."""
        self.name = name
        self.contract = contract
        self.__module__ = folder
        self._built_in: dict[str, dict[str, Implementation]] = {}  # by backend and id
        self._registered: dict[str, Implementation] = {}
        self._timed: dict[tuple[Any, ...], dict[Implementation, float]] = {}
        self._default: Implementation | None = None  # the rung of calls without `impl`, once it is known
        self._fast: Callable[[tuple[Any, ...], dict[str, Any]], Any] = decline  # its fast path
        self.__name__ = name
        parameters = list(inspect.signature(contract.run).parameters.values())[1:]  # all but the kernel
        text, _, example = docstring(contract.run).partition("\n>>> ")
        out = _OUT if "out" in inspect.signature(contract.run).parameters else ""
        self.__doc__ = f"{text}\n{_ARRAYS}{out}{_IMPL}\n>>> import numpy as np, loopnest as ln\n>>> {example}"
        impl = inspect.Parameter("impl", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="str | None")
        self.__signature__ = inspect.Signature([*parameters, impl])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fast = self._fast  # declines calls with `impl`, as it declines all that are not ordinary
        result = fast(args, kwargs)
        return self._choose(*args, **kwargs) if result is NotImplemented else result

    def _choose(self, *args: Any, impl: str | None = None, **kwargs: Any) -> Any:
        dtype = plain_dtype_of(args[0]) if self.contract.reduced and args else ""
        if impl is None:
            impl = next((x.rung for x in (*args, *kwargs.values()) if self._is_packed(x)), None)
        if dtype in self.contract.reduced:
            return self.rung(impl, dtype)(*args, **kwargs)
        if impl is not None:
            return self[impl](*args, **kwargs)
        if self._default is None:
            self._default = self.fastest()
            self._fast = self._default.fast
            return self(*args, **kwargs)
        return self._default.checked(*args, **kwargs)  # its fast path has declined

    def _is_packed(self, x: Any) -> bool:
        """Whether it is a matrix that was packed for a rung of this operation."""
        return isinstance(x, Prepacked) and x.operation == self.name

    def check_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise TypeError for a call with too many, too few or unknown arguments."""
        try:
            self.__signature__.bind(*args, **kwargs)
        except TypeError as error:
            parameters = self.__signature__.parameters.values()
            extra = args[sum(p.kind is not p.KEYWORD_ONLY for p in parameters) :]
            rung = next((arg for arg in extra if isinstance(arg, str) and arg.partition(".")[0] in BACKENDS), None)
            said = f"an implementation goes by name, as in impl={rung!r}" if rung else f"{error}"
            shown = self.__signature__.replace(parameters=[p.replace(annotation=p.empty) for p in parameters])
            raise TypeError(f"{self.name}: {said}; call it as {self.name}{shown}") from None

    def __reduce__(self) -> str:
        """Copies, and what is sent to another process, are the operation of this name in its module."""
        return self.name

    def __getitem__(self, id: str) -> Implementation:
        """The implementation with this id; a backend's name alone is its fastest that runs here."""
        if not isinstance(id, str):
            raise TypeError(f"{self.name}: impl is {id!r}, expected an id such as 'cpp.naive' or a backend's name")
        backend = id.partition(".")[0]
        if id in self._registered:
            return self._registered[id]
        rungs = self._rungs(backend)
        if id in rungs:
            return rungs[id]
        if id == backend and rungs:
            climbing = [k for k in rungs.values() if not k.study and FLOAT_NAMES[0] in k.dtypes]
            return self._fastest(backend) or climbing[-1]
        all_of_them = f"`loopnest list {self.name}` shows all"
        raise UnknownImplementationError(
            f"{self.name}: {unknown('implementation', id, [k.id for k in self.rungs()], instead=all_of_them)}"
        )

    def rung(self, id: str | None, dtype: str) -> Implementation:
        """For inputs of this dtype: the implementation with this id, the fastest of a backend, or of all for None."""
        if id is None:
            return self.fastest(dtype)
        return (self._fastest(id, dtype) if id in BACKENDS else None) or self[id]

    def check_dtype(self, k: Implementation, args: tuple[Any, ...]) -> None:
        """Raises TypeError where a rung does not take the first input's dtype, and another does."""
        dtype = plain_dtype_of(args[0]) if args else ""
        if dtype not in k.dtypes and dtype in (*FLOAT_NAMES, *self.contract.reduced):
            others = ", ".join(other.id for other in self.ladder(dtype))
            raise TypeError(
                f"{self.name}: the first input has dtype {dtype}, expected {' or '.join(k.dtypes)} for {k.id}; for "
                f"{dtype} leave impl out, or take one of {others}"
            )

    def __iter__(self) -> Iterator[Implementation]:
        return iter(self.ladder())

    def _repr_html_(self) -> str:
        """In a notebook: the ladder."""
        from .output.notebook import block
        from .output.page import table

        missing: dict[str, list[str]] = {}
        for k in self:
            if reason := k.why_unavailable():
                missing.setdefault(reason, []).append(k.id)
        not_here = (f"<p>not here: {', '.join(ids)}: {html.escape(reason)}</p>" for reason, ids in missing.items())
        heading = html.escape((self.__doc__ or "").partition("\n")[0])
        ladder = table(((k.id, k.headline) for k in self), ("rung", "what it is about"))
        return block(f"<h4>{self.name}</h4><p>{heading}</p>", ladder, *not_here)

    def ladder(self, dtype: Any = np.float32) -> list[Implementation]:
        """All implementations for inputs of this dtype in reading order, those that cannot run here too.

        >>> import loopnest as ln
        >>> [k.variant for k in ln.matmul.ladder("float16")]
        ['upcast', 'upcast', 'upcast', 'wmma', 'mma', 'upcast', 'reduced']
        """
        return [k for k in self.rungs() if name_of_dtype(dtype) in k.dtypes]

    def rungs(self) -> list[Implementation]:
        """All implementations in reading order, for inputs of any dtype."""
        return [k for backend in BACKENDS for k in self._rungs(backend).values()] + list(self._registered.values())

    def fastest(self, dtype: Any = np.float32) -> Implementation:
        """The implementation that a call without `impl` uses."""
        each = filter(None, (self._fastest(backend, dtype) for backend in fastest_first()))
        found = next((k for k in each if not k.flaw()), None)
        if found is not None:
            return found
        raise UnavailableError(f"{self.name}: no implementation can run here; `loopnest list {self.name}` says why")

    def _fastest(self, backend: str, dtype: Any = np.float32) -> Implementation | None:
        """The backend's fastest that runs here."""
        usable = [k for k in self._rungs(backend).values() if not k.study and name_of_dtype(dtype) in k.dtypes]
        if name_of_dtype(dtype) in self.contract.reduced:
            times = self._times([k for k in usable if k.available() and not k.emulated()], name_of_dtype(dtype))
            return min(times, key=times.__getitem__, default=None)
        return next((k for k in reversed(usable) if k.available()), None)

    def _times(self, rungs: list[Implementation], dtype: str) -> dict[Implementation, float]:
        """Seconds of each rung that is right, for one workload: a flag says that instructions exist, not that they are
        fast. Taken in some milliseconds, and kept in the user's cache for each kind of processor and ISA level; where
        that is impossible, for this process. A single rung is not timed."""
        if len(rungs) < 2:
            return dict.fromkeys(rungs, 0.0)
        key = dtype, _core.isa(), *rungs
        name = "+".join([self.name, __version__, dtype, _core.isa(), *(k.id for k in rungs)])
        if key not in self._timed and (kept := _times_from(_core.kept_choice(name), rungs)):
            self._timed[key] = kept
        if key not in self._timed:
            workload = Workload("choice", dict.fromkeys(self.contract.workloads[0].shape, CHOICE))
            inputs = self.contract.sample(workload, dtype_called(dtype), np.random.default_rng(0)).inputs
            (exact,), (bound,) = self.contract.reference(*inputs), self.contract.bound(*inputs)
            best: dict[Implementation, float] = {}
            for _, k in itertools.product(range(4), rungs):  # in turn: other work disturbs all alike
                start = time.perf_counter()
                result = k.checked(*inputs)
                seconds = time.perf_counter() - start
                if (abs(result.astype(exact.dtype) - exact) <= bound).all():
                    best[k] = min(seconds, best.get(k, seconds))
            self._timed[key] = best
            _core.keep_choice(name, " ".join(f"{k.id}={seconds:.9f}" for k, seconds in best.items()))
        return self._timed[key]

    def workload(self, name: str) -> Workload:
        """The workload of this name, or of these lengths of its axes, in the order of `contract.workloads`.

        >>> import loopnest as ln
        >>> ln.matmul.workload("17x4096x33").shape
        {'m': 17, 'k': 4096, 'n': 33}

        Raises ValueError for any other name.
        """
        known = {w.name: w for w in self.contract.workloads}
        axes = list(self.contract.workloads[0].shape)
        expected = f"{' x '.join(axes)}, such as {'x'.join(map(str, (17, 4096, 33, 64)[: len(axes)]))}"
        if name in known:
            return known[name]
        if not re.fullmatch(r"\d+(x\d+)*", name):
            raise ValueError(f"{self.name}: {unknown('workload', name, known)} Or lengths of {expected}.")
        lengths = [int(length) for length in name.split("x")]
        if len(lengths) != len(axes) or 0 in lengths:
            raise ValueError(f"{self.name}: workload is {name!r}, expected lengths of 1 or more of {expected}")
        shape = dict(zip(axes, lengths, strict=True))
        if (nbytes := self.contract.traffic(8, **shape)) > MOST_BYTES:
            most = f"at most {MOST_BYTES >> 30} GiB"
            raise ValueError(f"{self.name}: workload {name} has arrays of {nbytes / 2**30:,.1f} GiB, expected {most}")
        return Workload("x".join(map(str, lengths)), shape)

    def why(self, *inputs: Any) -> str:
        """How `cpp.parallel` computes a call with these inputs, by their shapes and strides, and why so.

        >>> import numpy as np, loopnest as ln
        >>> ln.matmul.why(np.ones((1, 64), np.float32), np.ones((64, 640), np.float32))
        'in one piece; a has few rows: b is read once, row by row'

        In reduced precision it is which rung was the fastest.

        Raises TypeError for an operation that always computes in one way.
        """
        if self.contract.why is None:
            raise TypeError(f"{self.name}.why: {self.name} is computed in one way, whatever the inputs; ask matmul")
        for packed in filter(self._is_packed, inputs):
            return str(packed.why())
        dtype = plain_dtype_of(inputs[0]) if inputs else ""
        if dtype in self.contract.reduced:
            k = self.fastest(dtype)
            others = [other for other in self.ladder(dtype) if other.made_by is k.made_by and other.available()]
            times = self._times([other for other in others if not other.emulated()], dtype)
            taken = ", ".join(f"{other.variant} {duration(seconds)}" for other, seconds in times.items())
            sizes = " x ".join([str(CHOICE)] * len(self.contract.workloads[0].shape))
            return f"{k.id}, by times of {dtype} {sizes}: {taken}" if len(times) > 1 else f"{k.id}, the only one here"
        return self.contract.why(*inputs)

    def register(self, id: str) -> Callable[[Kernel], Kernel]:
        """A decorator that adds a rung of one's own, under an id such as `mine.tiled`.

        The function takes the operation's inputs, then arrays to fill with the results: for matmul `(a, b, c)`,
        all 2-D float32 or float64 arrays; inputs may have any strides, results are in C order. See the kernels of
        the operation's own folder for the exact arguments.

        A function of the same name in the same module, as a notebook's cell makes it that runs again, takes the place
        of the one before. Raises ValueError for an id that another function or a built-in rung has.
        """
        if not re.fullmatch(r"[A-Za-z_]\w*\.[A-Za-z_]\w*", str(id)):
            raise ValueError(f"{self.name}: id is {id!r}, expected backend.variant, such as 'mine.tiled'")
        backend = id.partition(".")[0]
        if id in self._rungs(backend):
            raise ValueError(f"{self.name}: the id {id!r} is taken; choose another")

        def add(kernel: Kernel) -> Kernel:
            if not callable(kernel):
                raise TypeError(f"{self.name}: {id} is {kernel!r}, expected a function of the inputs and `out`")
            if id in self._registered and _place(kernel) != _place(self._registered[id].kernel):
                raise ValueError(f"{self.name}: the id {id!r} is taken by another function; choose another")
            backend, variant = id.split(".")
            self._registered[id] = self._with(Backend(backend, "registered", speed=-1).rung(kernel, variant))
            return kernel

        return add

    def unregister(self, id: str) -> None:
        """Take a registered rung away again."""
        if id not in self._registered:
            raise UnknownImplementationError(f"{self.name}: no registered implementation has the id {id!r}")
        del self._registered[id]

    def _rungs(self, backend: str) -> dict[str, Implementation]:
        """The rungs of one backend by id; its file is imported at the first look."""
        if backend not in self._built_in:
            rungs: Mapping[str, Sequence[Implementation]] = {}
            name = f"{self.__module__}.in_{backend}"
            if backend in BACKENDS and importlib.util.find_spec(name):
                rungs = importlib.import_module(name).RUNGS
            listed = rungs.get(self.name) or (cpp_rungs(self.name) if backend == "cpp" else ())
            self._built_in[backend] = {k.id: self._with(k) for k in listed}
        return self._built_in[backend]

    def _with(self, k: Implementation) -> Implementation:
        """The rung as one of this operation's."""
        k.operation = self
        path = self.contract.fast_path
        if path is not None:
            k.fast = _core.fast_path(k.kernel, path.shapes, path.option) or decline  # one of the extension's, or none
        return k

    def __repr__(self) -> str:
        return f"<operation {self.name}>"
