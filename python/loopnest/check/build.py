"""Does it build? From a file to a kernel: compiled or imported, its function found, and how that is called."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import inspect
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import REDUCED, dtype_called
from ..backends.compiler import (
    Build,
    BuildError,
    NoCompilerError,
    NoExecutionError,
    compile_library,
    exported,
    preprocessed,
    temporary_folder,
)
from ..backends.cuda_on_cpu import build_simulated
from ..backends.cuda_source import CudaSourceError, without_comments
from ..backends.user_file import LANGUAGES, language
from ..operation import Operation
from ..output.text import unknown
from ..process.session import EndedError, Session
from ..verify.c_signature import CForm, CFunction, bound_to, c_forms, defined
from ..verify.signature import PythonForm, SignatureError, plan, python_form, python_forms
from .explain import explained_end, refusal_of
from .kernel import Kernel, Observation
from .probes import FIRST
from .records import PROBLEMS, Refusal

CALL_SHARE, COMPILING_SHARE = 1 / 3, 0.8
"""The part of the time limit that a call, or the import, may take; and a call to a function that is compiled then."""

COMPILERS = frozenset(("numba", "torch", "triton", "jax"))

OPENMP = re.compile(
    r'^[ \t]*#[ \t]*pragma[ \t]+omp\b|\b_Pragma\s*\(\s*"omp\b|^[ \t]*#[ \t]*include[ \t]*<omp\.h>', re.M
)
THREADS = {
    "c": re.compile(
        r"^[ \t]*#[ \t]*pragma[ \t]+omp\b.*\b(?:parallel|teams)\b|\bpthread_create\b|\bstd::j?thread\b", re.M
    ),
    "python": re.compile(
        r"^[^#\n]*(?:\bparallel\s*=\s*True\b|\bimport (?:threading|concurrent|multiprocessing)\b"
        r"|\bfrom (?:threading|concurrent|multiprocessing)\b)",
        re.M,
    ),
}
"""How a file asks for OpenMP, and for threads."""

STRASSEN = re.compile(r"(?:#|//|\*)\s*loopnest:\s*strassen\s*\(\s*(\d+)\s*\)")
ABSOLUTE = re.compile(r"(?:#|//|\*)\s*loopnest:\s*absolute\s*\(\s*([0-9.]+(?:[eE][-+]?\d+)?)\s*\)")
"""The comments in which a file says that it is held to another bound: docs/check.md."""

MOST_ABSOLUTE = 1e-5
"""The largest absolute error that a file can promise: results of many operations are not far above."""


def build(
    path: Path,
    operation: Operation,
    host: Session,
    *,
    dtypes: Sequence[np.dtype[Any]],
    flags: str,
    compiler: str | None,
) -> tuple[Kernel, Refusal | None]:
    """A kernel of the function in a file, in the process `host`.

    dtypes  in which it is to be judged; the kernel's `dtypes` are those that it takes

    Returns the kernel, and a refusal where it cannot be built or its first call goes wrong. Raises ValueError for a
    file that is missing or of an unknown language.
    """
    if not path.is_file():
        if path.exists():
            raise ValueError(f"check: {path} is no ordinary file")
        raise ValueError(f"check: there is no file {path}; with --new, `loopnest check` writes one to start from")
    kind = language(path)
    if kind is None:
        known = ", ".join(LANGUAGES)
        raise ValueError(f"check: {path} is of no known language: expected a name that ends in one of {known}")
    kernel = Kernel(operation, path, kind, host, operation.name, PythonForm(True, ()), tuple(dtypes))
    try:
        content = path.read_bytes()  # once: what is judged is what lies there now
        source = _decoded(content, kind)
        _note_strassen(kernel, source)
        _note_absolute(kernel, source)
        if kind == "python":
            _import(kernel, content)
        elif kind == "cuda":
            _simulate(kernel, source)
        else:
            _compile(kernel, source, flags, compiler)
    except Refusal as refusal:
        return kernel, refusal
    except EndedError as error:
        return kernel, explained_end(kernel, error)
    except (NoCompilerError, NoExecutionError) as error:
        return kernel, Refusal("not-judged", str(error))
    except BuildError as error:
        if "No space left on device" in error.build.messages:
            return kernel, Refusal("not-judged", "the compiler's disk is full: set TMPDIR to another folder")
        kernel.build = error.build
        lines = error.build.messages.splitlines()
        first = (lines or [str(error)])[0]
        return kernel, Refusal("does-not-build", f"it does not compile: {first}", None, *lines)
    except CudaSourceError as error:
        return kernel, Refusal("no-function", str(error))
    except OSError as error:
        return kernel, Refusal("not-judged", f"{path} cannot be read: {error.strerror}")
    return kernel, None


def _decoded(content: bytes, language: str) -> str:
    """The text of a file, with a byte order mark or without: Python's in the encoding that its first lines name."""
    if language == "python":
        with contextlib.suppress(SyntaxError, UnicodeDecodeError):  # the import names what is wrong with it
            return importlib.util.decode_source(content)
    return content.decode("utf-8-sig", errors="replace")


def asks_for_threads(path: Path) -> bool:
    """Whether a file asks for threads, such as in a loop of OpenMP's."""
    kind = language(path) or ""
    found = THREADS.get(kind.removesuffix("++"))
    with contextlib.suppress(OSError):
        if found is None or not path.is_file():  # a pipe would wait for a writer
            return False
        text = _decoded(path.read_bytes(), kind)
        return bool(found.search(text if kind == "python" else without_comments(text)))
    return False


def _note_strassen(kernel: Kernel, source: str) -> None:
    """Whether the file says that it is Strassen's algorithm."""
    stated = STRASSEN.search(source)
    if stated and kernel.operation.name == "matmul":
        kernel.strassen = int(stated[1])
        kernel.promises += (f"strassen({stated[1]})",)
        bound = "held to that algorithm's error there, which is wider than the contract's bound"
        kernel.notes += (f"it says that it is Strassen's algorithm on blocks above {stated[1]}: {bound}",)


def _note_absolute(kernel: Kernel, source: str) -> None:
    """Whether the file promises an absolute error alone. Raises Refusal for a promise of nothing."""
    stated = ABSOLUTE.search(source)
    if not stated:
        return
    if not 0 < (promised := float(stated[1])) <= MOST_ABSOLUTE:
        text = f"it promises absolute({stated[1]}), expected more than 0 and at most {MOST_ABSOLUTE:g}"
        raise Refusal("not-judged", text)
    kernel.absolute = promised
    kernel.promises += (f"absolute({promised:g})",)
    held = f"single elements may be off by {promised:g}, which is less than the contract asks for"
    kernel.notes += (f"it promises an absolute error: {held}",)


# --- C and C++


def _compile(kernel: Kernel, source: str, flags: str, compiler: str | None) -> None:
    how = compiler, kernel.host.call_limit
    text, lines = preprocessed(kernel.file, kernel.language, flags, *how)
    if OPENMP.search(text or without_comments(source)) and "-fopenmp" not in flags:
        flags += " -fopenmp"
        text, lines = preprocessed(kernel.file, kernel.language, flags, *how)
    library = compile_library(kernel.file, kernel.language, flags, *how)
    kernel.build, kernel.library, kernel.flags = library.build, library.file, flags
    names = exported(library.file)
    function = _function(kernel, text or source, names)
    if lines:
        function = dataclasses.replace(function, line=lines[function.line - 1])
    if kernel.language == "c++" and names and function.name not in names:
        text = f'{function.name} has the linkage of C++: write extern "C" before it (line {function.line})'
        raise Refusal("no-function", text)
    _bind(kernel, function)
    _load(kernel, function.name)


def _function(kernel: Kernel, source: str, others: Sequence[str]) -> CFunction:
    """The definition in the source. Raises Refusal, which lists the other functions, where there is none."""
    found = next(filter(None, (defined(source, name) for name in _names(kernel))), None)
    if found is None:
        raise _no_function(kernel, others)
    return found


def _names(kernel: Kernel) -> tuple[str, str]:
    """What the function may be called: as the operation, or `tanh_kernel` where C has a function of that name."""
    return kernel.operation.name, f"{kernel.operation.name}_kernel"


def _bind(kernel: Kernel, function: CFunction) -> None:
    """Find out how a C function is called."""
    try:
        only = str(kernel.dtypes[0]) if len(kernel.dtypes) == 1 else ""
        form = bound_to(kernel.operation, function, only if only in REDUCED else "")
    except SignatureError as error:
        first, *rest = str(error).splitlines()
        raise Refusal("wrong-signature", f"{first} {rest[0] if rest else ''}".strip(), None, *rest[1:]) from None
    if len(kernel.dtypes) == 1 and str(kernel.dtypes[0]) != form.dtype:
        raise Refusal("wrong-signature", f"it takes {form.dtype}, and was to be judged in {kernel.dtypes[0]}")
    kernel.form, kernel.symbol, kernel.dtypes = form, function.name, (dtype_called(form.dtype),)


def _load(kernel: Kernel, symbol: str) -> None:
    """Load the library into the kernel's process."""
    assert isinstance(kernel.form, CForm)
    request = {"kind": "library", "file": str(kernel.library), "symbol": symbol, "returns": kernel.form.returned}
    answer = kernel.host.load(kernel.key, request)
    if "problem" in answer:
        raise Refusal("does-not-build", f"the library cannot be loaded: {answer['problem']['text']}")
    if not answer["found"]:
        assert kernel.library is not None
        raise _no_function(kernel, exported(kernel.library))


def _simulate(kernel: Kernel, source: str) -> None:
    """CUDA C++ runs on the CPU, right and slowly: it is judged so, and never timed."""
    start = time.monotonic()
    simulated = build_simulated(kernel.file)
    seconds, files = time.monotonic() - start, (str(kernel.file),)
    kernel.build = Build("cuda", "loopnest's simulator of CUDA on the CPU", seconds=seconds, files=files)
    kernel.simulated, kernel.library = simulated, simulated.library
    function = _function(kernel, source, [k.name for k in simulated.source.kernels])
    if simulated.source.kernel(function.name).launch is None:
        launch = "// launch: grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16)"
        raise Refusal("wrong-signature", f"{function.name} has no launch: write a line above it, such as {launch}")
    _bind(kernel, function)
    kernel.notes += ("simulated: the kernel ran on the CPU, by loopnest's simulator; it is not timed",)
    _load(kernel, "loopnest_launch")


# --- Python


def _import(kernel: Kernel, content: bytes) -> None:
    start, host, names = time.monotonic(), kernel.host, _names(kernel)
    handle, text = tempfile.mkstemp(".py", dir=temporary_folder())  # each new process gets the same text again
    with open(handle, "wb") as copy:
        copy.write(content)
    request = {"kind": "python", "file": str(kernel.file.resolve()), "text": text, "names": names}
    answer = host.load(kernel.key, request)
    files = (str(kernel.file), *answer.get("files", ()))
    kernel.build = Build("python", seconds=time.monotonic() - start, files=files)
    if "problem" in answer:
        raise _import_refusal(kernel.file.name, answer["problem"])
    if not answer["found"]:
        raise _no_function(kernel, answer["functions"])
    signature = None
    if answer["parameters"] is not None:
        kinds, defaults = vars(inspect.Parameter), (inspect.Parameter.empty, None)
        parameters = [inspect.Parameter(n, kinds[kind], default=defaults[o]) for n, kind, o in answer["parameters"]]
        signature = inspect.Signature(parameters)
    try:
        kernel.form = python_form(kernel.operation, signature)
    except SignatureError as error:
        raise Refusal("wrong-signature", str(error)) from None
    kernel.uses = tuple(answer["modules"])
    if COMPILERS & set(kernel.uses):
        host.call_limit *= COMPILING_SHARE / CALL_SHARE
    _call_once(kernel)


def _call_once(kernel: Kernel) -> None:
    """Find out whether it wants NumPy's arrays or torch's tensors, and whether it takes each dtype."""

    def first_call(dtype: np.dtype[Any]) -> Observation:
        """Raises Refusal where the result is wrong; an exception may be an honest way to decline."""
        seen = kernel.try_sizes(dtype, FIRST[0], phase="its first call")
        if seen.reply.problem is None and not seen.right:
            raise refusal_of(seen)
        return seen

    kernel.host.live().ask({"do": "watch"})
    problem = first_call(kernel.dtypes[0]).reply.problem
    own = problem and problem.get("returned") and str(kernel.dtypes[0]) not in REDUCED  # there NumPy may widen
    if problem and not own and "torch" in kernel.uses:
        notes, kernel.tensors = kernel.notes, True
        kernel.notes += ("it is called with torch's tensors, on the same memory",)
        problem = first_call(kernel.dtypes[0]).reply.problem
        problem = problem and _first_alone(kernel, problem, first_call)
        if problem:
            kernel.notes, kernel.tensors = notes, False
    else:
        problem = problem and _first_alone(kernel, problem, first_call)
    declines = problem is not None
    if len(kernel.dtypes) > 1 and not declines:
        other = first_call(kernel.dtypes[1]).reply.problem
        if other and not other.get("returned"):
            kernel.declined = (f"{kernel.dtypes[1]}: {other['text'].splitlines()[0][:120]}",)
            kernel.dtypes = kernel.dtypes[:1]


def _first_alone(
    kernel: Kernel, problem: Mapping[str, Any], first_call: Callable[[np.dtype[Any]], Observation]
) -> Mapping[str, Any] | None:
    """Whether it returns mlp_forward's y alone; what is wrong with its first call, then."""
    if kernel.operation.contract.outs is None or problem["kind"] not in ("results", "nothing", "type"):
        return problem
    notes, kernel.first_alone = kernel.notes, True
    (first, *others) = sorted(plan(kernel.operation).of("result"), key=lambda p: p.number)
    names = " and ".join(p.name for p in others)
    kernel.notes += (f"it returns {first.name} alone: {names}, which gradients need, were not looked at",)
    still = first_call(kernel.dtypes[0]).reply.problem
    if still:
        kernel.notes, kernel.first_alone = notes, False
        return problem
    return None


def _import_refusal(file: str, problem: Mapping[str, Any]) -> Refusal:
    kind, text, line = problem["kind"], problem["text"], problem.get("line")
    where, code = f"{file}:{line}: " if line else f"{file}: ", [f"  {problem['code']}"] if problem.get("code") else []
    if kind in ("MemoryError", "SystemExit", "KeyboardInterrupt"):
        outcome, trick, words = PROBLEMS[kind]
        return Refusal(outcome, f"{words.format(where=where)} when it was imported", trick, *code)
    if kind in ("SyntaxError", "IndentationError", "TabError"):
        text = f"{kind}: {text}"
    elif kind == "ModuleNotFoundError" and problem.get("module"):
        text += f": pip install {problem['module'].partition('.')[0]}"
    elif kind not in ("ImportError", "ModuleNotFoundError"):
        text = f"it raised {kind} when it was imported: {text}"
    return Refusal("does-not-build", f"{where}{text}", None, *code)


def _no_function(kernel: Kernel, functions: Sequence[str]) -> Refusal:
    forms = (python_forms if kernel.language == "python" else c_forms)(kernel.operation)
    others = [name for name in functions if not name.startswith("_")][:8]
    text = unknown("function", kernel.operation.name, others)
    return Refusal("no-function", f"{kernel.file.name}: {text} Expected {forms[0]}")
