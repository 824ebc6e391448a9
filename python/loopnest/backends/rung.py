"""A rung: one way of computing an operation, with what it says of itself; and the backend that it belongs to."""

from __future__ import annotations

import ast
import contextlib
import html
import inspect
import operator
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..arrays import FLOAT_NAMES
from .cpp import comment_above, csrc, opening_comment
from .prepacked import Prepacked

if TYPE_CHECKING:  # a rung knows its operation, which stands above
    from ..operation import Operation

Kernel = Callable[..., Any]


class UnavailableError(RuntimeError):
    """An implementation was asked for by id, and cannot run on this machine; the message says why, and the fix."""


def cannot_be_imported(package: str, error: Exception) -> str:
    """Why the rungs of a backend whose package is broken cannot run here."""
    said = " ".join(str(error).split()) or type(error).__name__
    return f"{package} cannot be imported ({said}): pip install --force-reinstall {package}"


def docstring(function: Callable[..., Any]) -> str:
    """A function's docstring; under `python -OO`, which drops them, as its source has it."""
    found = inspect.getdoc(function)
    if found is None and sys.flags.optimize > 1:
        with contextlib.suppress(OSError, TypeError, SyntaxError):
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
            found = ast.get_docstring(definition) if isinstance(definition, ast.FunctionDef) else None
    return found or ""


@dataclass(frozen=True)
class Backend:
    """A way of writing kernels.

    speed            the larger, the earlier a call without `impl` asks this backend for a rung; below 0: never
    why_unavailable  returns why none of its rungs can run here, with the fix, or None where they can
    simulated        returns whether its rungs run in a simulator here: right results, and times that mean nothing
    adapt            makes of the kernel as it is written one that takes NumPy arrays
    """

    name: str
    summary: str
    speed: int
    why_unavailable: Callable[[], str | None] = lambda: None
    simulated: Callable[[], bool] = lambda: False
    adapt: Callable[[Kernel], Kernel] = lambda kernel: kernel

    def rung(
        self,
        kernel: Kernel,
        variant: str | None = None,
        *,
        files: Sequence[str] = (),
        faster_than: str | Sequence[str] = (),
        study: bool = False,
        slow_start: bool = False,
        requires: Callable[[], str | None] = lambda: None,
        dtypes: Sequence[str] = FLOAT_NAMES,
        emulated: Callable[[], bool] = lambda: False,
        flaw: Callable[[], str | None] = lambda: None,
    ) -> Implementation:
        """A rung of this backend, for the list RUNGS of an in_*.py file.

        variant      its name; the function's where it is None
        files        the kernel's sources below csrc/, where it is not written in Python: the comment above the kernel,
                     if there is one, and the first file's opening comment are the lesson. Without files the kernel's
                     docstring is.
        faster_than  ids that the lesson claims to beat; `loopnest bench` checks the claim
        study        the rung is there to be compared: the backend's name alone never picks it
        slow_start   the first call takes many seconds (torch.compile calls a C++ compiler); a quick benchmark skips it
        requires     returns why this rung cannot run here, with the fix, or None; the backend's own reason comes first
        dtypes       the names of the inputs' dtypes that it takes
        emulated     returns whether instructions that it needs are emulated here: it is not timed, and never picked
        flaw         returns in what it breaks the contract here, as a check of it has found, or None: by name alone
        """
        claims = (faster_than,) if isinstance(faster_than, str) else tuple(faster_than)
        name: str = variant or kernel.__name__
        return Implementation(
            self,
            name,
            self.adapt(kernel),
            tuple(files),
            claims,
            study,
            slow_start,
            requires,
            tuple(dtypes),
            emulated,
            flaw,
        )

    def rungs(self, variant: str, **kernels: Kernel) -> dict[str, list[Implementation]]:
        """RUNGS of a file that has one rung for each operation, all of one variant."""
        return {operation: [self.rung(kernel, variant)] for operation, kernel in kernels.items()}


def decline(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Any:
    """The fast path of a rung that has none."""
    return NotImplemented


@dataclass(eq=False, repr=False)
class Implementation:
    """One rung of an operation's ladder: callable like its operation, and able to explain itself.

    >>> import loopnest as ln
    >>> k = ln.matmul["cpp.blocked"]
    >>> k.id, k.backend, k.variant
    ('cpp.blocked', 'cpp', 'blocked')
    """

    made_by: Backend
    variant: str
    kernel: Kernel
    files: tuple[str, ...]
    faster_than: tuple[str, ...]
    study: bool
    slow_start: bool
    requires: Callable[[], str | None]
    dtypes: tuple[str, ...] = FLOAT_NAMES
    emulated: Callable[[], bool] = lambda: False
    flaw: Callable[[], str | None] = lambda: None

    def __post_init__(self) -> None:
        self.backend = self.made_by.name
        self.id = f"{self.backend}.{self.variant}"
        self.operation: Operation
        self.fast: Callable[[tuple[Any, ...], dict[str, Any]], Any] = decline

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies, and what is sent to another process, are the operation's rung of this id."""
        return operator.getitem, (self.operation, self.id)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fast = self.fast  # a local, since CPython finds a method call's attribute 30 ns later
        result = fast(args, kwargs)
        return self.checked(*args, **kwargs) if result is NotImplemented else result

    def checked(self, *args: Any, **kwargs: Any) -> Any:
        """The call by its contract: every argument checked, every case handled."""
        reason = self.why_unavailable()
        if reason is not None:
            raise UnavailableError(f"{self.operation.name}: {self.id} cannot run here: {reason}")
        for x in (*args, *kwargs.values()):
            if isinstance(x, Prepacked):
                x.check(self.operation.name, self.id)
        if self.operation.contract.reduced:
            self.operation.check_dtype(self, args)
        try:
            return self.operation.contract.run(self.kernel, *args, **kwargs)
        except TypeError:
            self.operation.check_call(args, kwargs)  # raises where arguments do not fit the signature
            raise

    @property
    def lesson(self) -> str:
        """What this rung changes, why that is faster, and what limits it now."""
        if not self.files:
            return docstring(self._function)
        file = csrc() / self.files[0]
        return "\n\n".join(filter(None, (comment_above(file, self.variant), opening_comment(file))))

    @property
    def headline(self) -> str:
        """The lesson's first paragraph on one line."""
        return " ".join(self.lesson.split("\n\n")[0].split())

    @property
    def language(self) -> str:
        """The source's, as Pygments calls it."""
        return {"cpp": "cpp", "cuda_cpp": "cuda"}.get(self.backend, "python")

    def source(self) -> str:
        """The source text of the kernel, as it was written."""
        if self.files:
            return "\n".join((csrc() / file).read_text(encoding="utf-8") for file in self.files)
        return textwrap.dedent(inspect.getsource(self._function))

    @property
    def _function(self) -> Kernel:
        """The Python function that was written; Numba keeps it in `py_func`."""
        function: Kernel = getattr(self.kernel, "py_func", self.kernel)
        return function

    def available(self) -> bool:
        """Whether this rung can run here."""
        return self.why_unavailable() is None

    def why_unavailable(self) -> str | None:
        """Why this rung cannot run here, with the fix, or None where it can."""
        return self.made_by.why_unavailable() or self.requires()

    def simulated(self) -> bool:
        """Whether it runs in a simulator here: its results are right, and its times mean nothing."""
        return self.made_by.simulated() or self.emulated()

    def _repr_html_(self) -> str:
        """In a notebook: the lesson, and the source on a click."""
        from rich.syntax import Syntax

        from ..output.notebook import block, printed

        reason = self.why_unavailable()
        return block(
            f"<h4>{html.escape(f'{self.operation.name} {self.id}')}</h4>",
            f"<p>not here: {html.escape(reason)}</p>" if reason else "",
            f'<pre class="lesson">{html.escape(self.lesson)}</pre><details><summary>source</summary>',
            printed(Syntax(self.source(), self.language, theme="ansi_dark", background_color="default")),
            "</details>",
        )

    def __repr__(self) -> str:
        return f"<{self.operation.name} {self.id}{' (simulated)' if self.simulated() else ''}>"
