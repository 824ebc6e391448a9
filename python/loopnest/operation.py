"""Operations, their implementations, and the ladder between them.

An `Operation` is what is computed; an `Implementation` is one way of computing it, one rung of the operation's
ladder. Calling either runs the operation's contract: check the arguments, allocate the result, call the kernel.

    ln.matmul(a, b)  ->  Operation._call  ->  Implementation._call  ->  contract's run()  ->  the kernel

Both derive from the extension's `Shortcut`, which takes the usual calls of C++ rungs from the first line to the kernel
itself, and gives all others to `_call` (csrc/bindings/shortcut.cpp).

An operation lives in one folder. Beside its contract.py lie the files in_python.py, in_numpy.py, …; each defines its
rungs in the order in which they are best read, which is also the order from slow to fast.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ._core import Shortcut, open_shortcut
from .backends import BACKENDS, fastest_first, simulated

Kernel = Callable[..., Any]


class UnavailableError(RuntimeError):
    """An implementation was asked for by id, and cannot run on this machine; the message says why, and the fix."""


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
class Usual:
    """What an operation's usual call is like: the one for which C++ rungs have a shortcut.

    shapes  "product"      two matrices of any strides, (m, k) and (k, n), give a third, (m, n)
            "elementwise"  arrays of one shape in C order give another, and kernels get each as one row
            "rows"         the same, but kernels get matrices whose rows are the last axis
    option  whether kernels take a form after the arrays, as GELU's do: the tanh form unless approximate="none" is asked
    """

    shapes: Literal["product", "elementwise", "rows"]
    option: bool = False


def _as_tuple(returned: Any) -> tuple[Any, ...]:
    return returned if isinstance(returned, tuple) else (returned,)


@dataclass(frozen=True)
class Contract:
    """What every implementation of one operation is held to.

    run        checks arguments, allocates results and calls `kernel`; its docstring is the operation's public one.
    sample     (workload, dtype, rng) -> Arguments: random inputs of the workload's shapes.
    reference  (*inputs, **options) -> arrays of a higher precision than the inputs': the exact result, as near as
               is needed to judge.
    bound      (*inputs, **options) -> for each result, the largest allowed |result - exact|, elementwise.
    flops      (**shape) -> floating-point operations of one call.
    traffic    (itemsize, **shape) -> compulsory bytes: every input read once, every result written once.
    workloads  from the smallest to the largest.
    results    (returned value) -> the arrays in it that reference and bound speak of, in their order.
    outs       how many of the results `out` takes; all where it is None.
    updates    the numbers of the inputs that a call updates in place, where these are its results; reference and bound
               then speak of what these inputs become, and take what they were.
    variations by name, what else a rung is judged with: each makes other arguments of a sample's, such as GELU's other
               form.
    usual      what the usual call is like, which the extension may take without `run`; None where there is none.
    """

    run: Callable[..., Any]
    sample: Callable[..., Arguments]
    reference: Callable[..., tuple[Any, ...]]
    bound: Callable[..., tuple[Any, ...]]
    flops: Callable[..., int]
    traffic: Callable[..., int]
    workloads: tuple[Workload, ...]
    results: Callable[[Any], tuple[Any, ...]] = _as_tuple
    outs: int | None = None
    updates: tuple[int, ...] = ()
    variations: Mapping[str, Callable[[Arguments], Arguments]] = field(default_factory=dict)
    usual: Usual | None = None


@dataclass(frozen=True)
class Rung:
    """A kernel as its file declares it, before it belongs to an operation."""

    variant: str
    kernel: Kernel
    lesson: Callable[[], str]
    source: Callable[[], str]
    why_unavailable: Callable[[], str | None] = lambda: None
    faster_than: tuple[str, ...] = ()
    study: bool = False
    slow_start: bool = False
    header: str | None = None  # of a C++ rung, below csrc/


_declared: dict[tuple[str, str], list[Rung]] = {}  # by operation and backend

inspector: Callable[..., Any] | None = None
"""What `Implementation.inspect` asks: the lab's, which is a floor above, and which __init__.py puts here."""


def rung(
    operation: str,
    *,
    faster_than: str | Sequence[str] = (),
    study: bool = False,
    slow_start: bool = False,
    requires: Callable[[], str | None] = lambda: None,
) -> Callable[[Kernel], Kernel]:
    """Declare a function of an in_*.py file to be a rung of `operation`; its docstring is the lesson.

    The variant is the function's name, less the operation's where it starts with that: the function `dot_unrolled`
    is the variant `unrolled` of dot. The backend is the file's: in_numba.py holds `numba`.

    faster_than  ids which this rung's lesson claims to beat; `loopnest bench` checks the claim.
    study        the rung is there to be compared, and is never picked by the backend's name alone.
    slow_start   the first call takes many seconds (torch.compile calls a C++ compiler); a quick benchmark leaves it
    out. requires     returns why this rung cannot run here (and the fix), or None; its backend's own reason comes
    first.
    """

    def declare(kernel: Kernel) -> Kernel:
        function = getattr(kernel, "py_func", kernel)  # a Numba dispatcher keeps the function that was written
        backend = function.__module__.rpartition(".")[2].removeprefix("in_")
        declared = _described(
            kernel,
            variant=function.__name__.removeprefix(operation + "_"),
            faster_than=(faster_than,) if isinstance(faster_than, str) else tuple(faster_than),
            study=study,
            slow_start=slow_start,
            why_unavailable=requires,
        )
        add_rung(operation, backend, declared)
        return kernel

    return declare


def _described(kernel: Kernel, variant: str, **facts: Any) -> Rung:
    """A rung whose lesson and source are those of the Python function that was written."""
    function = getattr(kernel, "py_func", kernel)
    return Rung(
        variant=variant,
        kernel=kernel,
        lesson=lambda: inspect.getdoc(function) or "",
        source=lambda: inspect.getsource(function),
        **facts,
    )


def add_rung(operation: str, backend: str, declared: Rung) -> None:
    """Put a rung on top of those that this backend has for `operation`."""
    rungs = _declared.setdefault((operation, backend), [])
    if any(known.variant == declared.variant for known in rungs):
        raise ValueError(f"{operation}: {backend}.{declared.variant} is declared twice; give one another name")
    rungs.append(declared)


class Implementation(Shortcut):
    """One rung: callable like its operation, and able to explain itself.

    >>> import loopnest as ln
    >>> k = ln.matmul["cpp.blocked"]
    >>> k.id, k.backend, k.variant
    ('cpp.blocked', 'cpp', 'blocked')
    >>> k.available()
    True
    """

    def __init__(self, operation: Operation, backend: str, declared: Rung) -> None:
        self.operation = operation
        self.backend = backend
        self.variant = declared.variant
        self.id = f"{backend}.{declared.variant}"
        self.kernel = declared.kernel
        self.faster_than = declared.faster_than
        self.study = declared.study
        self.slow_start = declared.slow_start
        self.header = declared.header
        self._declared = declared
        self._called = False

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        reason = self.why_unavailable()
        if reason is not None:
            raise UnavailableError(f"{self.operation.name}: {self.id} cannot run here: {reason}")
        if not self._called:
            self._called = True
            self.operation._open_shortcut(self, self)
        return self.operation.contract.run(self.kernel, *args, **kwargs)

    @property
    def lesson(self) -> str:
        """What this rung changes, why that is faster, and what limits it now."""
        return self._declared.lesson()

    @property
    def headline(self) -> str:
        """The lesson's first paragraph on one line."""
        return " ".join(self.lesson.split("\n\n")[0].split())

    def source(self) -> str:
        """The source text of the kernel, as it was written."""
        return textwrap.dedent(self._declared.source())

    def inspect(self, *aspects: str, **options: Any) -> Any:
        """What became of the source: a lab.inspect.View of this rung, as `loopnest inspect` prints it.

        The arguments and errors are lab.inspect.inspect's:

        >>> import loopnest as ln
        >>> view = ln.matmul["numpy.matmul"].inspect("source")
        >>> view.listings[0].title
        'the source of numpy.matmul'
        """
        if inspector is None:
            raise RuntimeError("nothing inspects implementations: `import loopnest` sets operation.inspector")
        return inspector(self, *aspects, **options)

    def available(self) -> bool:
        """Whether this rung can run here."""
        return self.why_unavailable() is None

    def why_unavailable(self) -> str | None:
        """Why this rung cannot run here and how to mend that, or None where it can."""
        backend = BACKENDS.get(self.backend)
        return (backend.why_unavailable() if backend else None) or self._declared.why_unavailable()

    def simulated(self) -> bool:
        """Whether it runs in a simulator here: its results are right, and its times mean nothing."""
        return simulated(self.backend)

    def __repr__(self) -> str:
        return f"<{self.operation.name} {self.id}{' (simulated)' if self.simulated() else ''}>"


class Operation(Shortcut):
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
        self._folder = folder
        self._loaded: dict[str, dict[str, Implementation]] = {}
        self._registered: dict[str, Implementation] = {}
        self._default: Implementation | None = None  # what calls without `impl` use, asked for once
        self.__name__ = name
        self.__doc__ = inspect.getdoc(contract.run)
        parameters = list(inspect.signature(contract.run).parameters.values())[1:]  # all but the kernel
        impl = inspect.Parameter("impl", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="str | None")
        self.__signature__ = inspect.Signature([*parameters, impl])

    def _call(self, *args: Any, impl: str | None = None, **kwargs: Any) -> Any:
        if impl is not None:
            return self[impl](*args, **kwargs)
        if self._default is None:
            self._default = self.fastest()
            self._open_shortcut(self, self._default)
        return self._default._call(*args, **kwargs)

    def _open_shortcut(self, caller: Shortcut, implementation: Implementation) -> None:
        """Let usual calls of `caller` go straight to the implementation's kernel, where the extension has it."""
        usual = self.contract.usual
        if usual is not None:
            open_shortcut(caller, implementation.kernel, usual.shapes, usual.option)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies, and what is sent to another process, are the operation of this name there."""
        return _operation_of, (self._folder, self.name)

    def __getitem__(self, id: str) -> Implementation:
        """The implementation with this id; a backend's name alone is its fastest that runs here."""
        if not isinstance(id, str):
            raise TypeError(f"{self.name}: impl is {id!r}, expected an id such as 'cpp.naive' or a backend's name")
        backend = id.partition(".")[0]
        if id in self._registered:
            return self._registered[id]
        rungs = self._backend(backend)
        if id in rungs:
            return rungs[id]
        if id == backend and rungs:
            for k in reversed(rungs.values()):
                if not k.study and k.available():
                    return k
            return [k for k in rungs.values() if not k.study][-1]
        known = [k.id for k in self.ladder()]
        near = difflib.get_close_matches(id, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise UnknownImplementationError(
            f"{self.name}: no implementation has the id {id!r}{hint} Known ids: {', '.join(known)}"
        )

    def __iter__(self) -> Iterator[Implementation]:
        return iter(self.ladder())

    def ladder(self) -> list[Implementation]:
        """All implementations in reading order, those that cannot run here too."""
        built_in = [k for backend in BACKENDS for k in self._backend(backend).values()]
        return built_in + list(self._registered.values())

    def fastest(self) -> Implementation:
        """The implementation that a call without `impl` uses."""
        for backend in fastest_first():
            for implementation in reversed(self._backend(backend).values()):
                if not implementation.study and implementation.available():
                    return implementation
        raise UnavailableError(f"{self.name}: no implementation can run here; `loopnest list {self.name}` says why")

    def register(self, id: str) -> Callable[[Kernel], Kernel]:
        """A decorator that adds a rung of one's own, under an id such as `mine.tiled`.

        The function takes the operation's inputs, then arrays to fill with the results: for matmul `(a, b, out)`,
        all 2-D float32 or float64 arrays; inputs may have any strides, `out` is C-contiguous. See the kernels of
        the operation's own folder for the exact arguments.
        """
        if not re.fullmatch(r"[A-Za-z_]\w*\.[A-Za-z_]\w*", str(id)):
            raise ValueError(f"{self.name}: id is {id!r}, expected backend.variant, such as 'mine.tiled'")
        if any(known.id == id for known in self.ladder()):
            raise ValueError(f"{self.name}: the id {id!r} is taken; choose another")

        def add(kernel: Kernel) -> Kernel:
            if not callable(kernel):
                raise TypeError(f"{self.name}: {id} is {kernel!r}, expected a function of the inputs and `out`")
            backend, variant = id.split(".")
            self._registered[id] = Implementation(self, backend, _described(kernel, variant))
            return kernel

        return add

    def unregister(self, id: str) -> None:
        """Take a registered rung away again."""
        if id not in self._registered:
            raise UnknownImplementationError(f"{self.name}: no registered implementation has the id {id!r}")
        del self._registered[id]

    def _backend(self, backend: str) -> dict[str, Implementation]:
        """The rungs of one backend by id; its file is imported at the first look."""
        if backend not in self._loaded:
            built = [Implementation(self, backend, declared) for declared in self._declared(backend)]
            self._loaded[backend] = {k.id: k for k in built}
        return self._loaded[backend]

    def _declared(self, backend: str) -> Sequence[Rung]:
        package = importlib.import_module(self._folder)
        if backend not in BACKENDS or not Path(package.__path__[0], f"in_{backend}.py").exists():
            return ()
        importlib.import_module(f"{self._folder}.in_{backend}")
        return _declared.get((self.name, backend), ())

    def __repr__(self) -> str:
        return f"<operation {self.name}>"


def _operation_of(folder: str, name: str) -> Any:
    return getattr(importlib.import_module(folder), name)
