"""A user's file as functions: Python is imported, C and C++ compiled, CUDA C++ compiled for the CPU."""

import ctypes
import functools
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .compiler import FLAGS, BuildError, Library, compile_library
from .cuda_on_cpu import Simulated, build_simulated
from .cuda_source import CudaSourceError

LANGUAGES = {".py": "python", ".c": "c", **dict.fromkeys((".cpp", ".cc", ".cxx", ".c++"), "c++"), ".cu": "cuda"}

Built = Library | Simulated | None

Functions = Callable[[str], Callable[..., Any] | None]
"""Gives a file's function by its name, or None where the file has none of that name."""


class UserFileError(ValueError):
    """A file that cannot be loaded. The message is one line, with the file and the line where that is known;
    or the compiler's errors, shortened."""


def language(file: Path) -> str | None:
    """ "python", "c", "c++" or "cuda" by the file's suffix; None for any other."""
    return LANGUAGES.get(file.suffix.lower())


def is_file(text: str | Path) -> bool:
    """Whether this names a user's file: it has a known suffix, or a folder in it."""
    return isinstance(text, Path) or language(Path(text)) is not None or "/" in text


def build(file: Path | str, *, flags: str = FLAGS) -> Built:
    """Compile a file, and run nothing of it: a Library of C or C++, a Simulated of CUDA C++; None for Python.

    flags  for the compiler of C and C++

    Raises UserFileError for a file that is missing, has another suffix, or does not compile.
    """
    path = Path(file)
    if not path.is_file():
        raise UserFileError(f"there is no file {path}")
    kind = language(path)
    if kind is None:
        raise UserFileError(f"{path} ends in {path.suffix!r}, expected one of {', '.join(LANGUAGES)}")
    try:
        if kind == "cuda":
            return build_simulated(path)
        return None if kind == "python" else compile_library(path, kind, flags)
    except CudaSourceError as error:
        raise UserFileError(str(error)) from None
    except BuildError as error:
        raise UserFileError(error.build.messages or str(error)) from None


def load(file: Path | str, built: Built = None) -> Functions:
    """The functions of a file, by name, to be called in this process.

    Python functions are called as they are. Functions of C and C++ (`extern "C"`), and kernels of CUDA C++ with a
    `// launch:` comment, take NumPy arrays in C order for pointers and whole numbers for `long` (CUDA C++: for the
    parameter's own type); they return nothing.

    built  what `build` made of the file, perhaps in another process; compiled here where it is None

    Raises UserFileError as `build` does, and for a Python file that cannot be imported.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "mine.py"
    >>> _ = file.write_text("def twice(x):\\n    return 2 * x")
    >>> load(file)("twice")(21)
    42
    """
    built = built or build(file)
    if built is None:
        module = python_module(Path(file))
        return lambda name: getattr(module, name, None)
    if isinstance(built, Library):
        return _exports(built.file)
    names = {kernel.name for kernel in built.source.kernels}
    return lambda name: functools.partial(built.launch, name) if name in names else None


def python_module(path: Path) -> ModuleType:
    """A file that ends in .py, imported anew. Raises UserFileError where it raises an exception."""
    name = f"loopnest_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look for it there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UserFileError(described(error, path)) from error
    return module


def described(error: BaseException, path: Path) -> str:
    """An exception in one line: file, line, the exception, and the line's source."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == path.name]
    text, where, source = str(error), path.name, ""
    if isinstance(error, SyntaxError) and error.lineno and Path(error.filename or "").name == path.name:
        text, where, source = error.msg, f"{path.name}, line {error.lineno}", (error.text or "").strip()
    elif frames:
        where, source = f"{path.name}, line {frames[-1].lineno}", frames[-1].line or ""
    text = " ".join(text.split())
    return f"{where}: {type(error).__name__}{f': {text}' if text else ''}{f', in `{source}`' if source else ''}"


def _exports(library: Path) -> Functions:
    loaded = ctypes.CDLL(str(library))

    def function(name: str) -> Callable[..., None] | None:
        found = getattr(loaded, name, None)
        if found is None:
            return None
        found.restype = None
        return lambda *arguments: found(*map(_as_c, arguments))

    return function


def _as_c(argument: Any) -> Any:
    return ctypes.c_void_p(argument.ctypes.data) if isinstance(argument, np.ndarray) else ctypes.c_long(argument)
