"""Files to start from: kernels that are right and slow. `loopnest check FILE --op OPERATION --new` writes one.

They are in templates/: Python as .py.txt, C++ as .cpp, CUDA C++ as .cu. Numba and C differ from these by a line.

>>> print(starter("dot", "python").splitlines()[0])
\"\"\"dot: the dot product of two vectors, result = Σ_i x[i] · y[i].
"""

from __future__ import annotations

from pathlib import Path

from ..arrays import REDUCED
from ..operations import OPERATIONS
from ..output.text import unknown

TEMPLATES = Path(__file__).parent / "templates"

SUFFIXES = {"python": ".py", "numba": ".py", "c": ".c", "cpp": ".cpp", "cuda": ".cu"}


def starter(operation: str, lang: str, dtype: str = "float32") -> str:
    """The text of a file to start from. Raises ValueError for an operation or a language that has none.

    dtype  of C, C++ and CUDA C++; Python takes both
    """
    if operation not in OPERATIONS:
        raise ValueError(f"new: {unknown('operation', operation, OPERATIONS)}")
    if lang not in SUFFIXES:
        raise ValueError(f"new: lang is {lang!r}, expected one of {', '.join(SUFFIXES)}")
    if dtype in REDUCED:
        raise ValueError(f"new: dtype is {dtype}, expected float32 or float64: docs/check.md shows {dtype}'s forms")
    kind = {"python": ".py.txt", "numba": ".py.txt", "cuda": ".cu"}.get(lang, ".cpp")
    file = TEMPLATES / f"{operation}{kind}"
    if not file.is_file():
        known = ", ".join(sorted(f.name.removesuffix(kind) for f in TEMPLATES.glob(f"*{kind}")))
        raise ValueError(f"new: {operation} has no file in {lang} to start from. Those that have: {known}")
    text = file.read_text(encoding="utf-8")
    if lang == "numba":
        return text.replace("\n\n\ndef ", "\n\nfrom numba import njit\n\n\n@njit\ndef ")
    if lang == "c":
        text = text.replace('extern "C" ', "").replace(f"{operation}.cpp", f"{operation}.c")
    return text.replace("float", "double") if dtype == "float64" and lang != "python" else text
