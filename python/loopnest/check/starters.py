"""Files to start from: kernels that are right and slow, and explain themselves. `loopnest new matmul --lang cpp`.

>>> print(starter("dot", "python").splitlines()[0])
\"\"\"dot: the dot product of two vectors, out = Σ_i x[i] · y[i].
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

from ..operations import OPERATIONS
from .form import plan

SUFFIXES = {"python": ".py", "numba": ".py", "c": ".c", "cpp": ".cpp", "cuda": ".cu"}


@dataclass(frozen=True)
class Starter:
    """An operation's definition, in C and in Python.

    about   the formula
    c, py   the function's body: in C with T for the type of the elements, in Python of loops that Numba compiles too
    thread  for CUDA: what the thread of element i of n does, or "" where one thread an element is not the way
    hint    what to try first
    """

    about: str
    c: str
    py: str
    thread: str = ""
    hint: str = "see which loop is innermost, and whether its neighbours are neighbours in memory"


def _elementwise(about: str, c: str, py: str, hint: str = "", result: str = "out") -> Starter:
    hint = hint or "the compiler makes vector instructions of a loop without branches and without calls"
    loop = f"for (long i = 0; i < n; i++) {{\n    {c}\n}}"
    loops = "for i in range(m):\n    for j in range(n):\n        " + py.replace("\n", "\n        ")
    shape = f"m, n = {result}.shape\n"
    return Starter(about, loop, shape + loops, c, hint)


def _one_axis(about: str, c: str, py: str, hint: str = "", first: str = "y") -> Starter:
    hint = hint or "the compiler makes vector instructions of a loop without branches and without calls"
    loop = f"for (long i = 0; i < n; i++) {{\n    {c.replace(chr(10), chr(10) + '    ')}\n}}"
    loops = f"for i in range({first}.shape[0]):\n    " + py.replace("\n", "\n    ")
    return Starter(about, loop, loops, "", hint)


SIGMOID_C = "1 / (1 + exp(-(double)x[i]))"
SIGMOID_PY = "1 / (1 + math.exp(-x[i, j])) if x[i, j] > -80 else math.exp(x[i, j])"

STARTERS: dict[str, Starter] = {
    "dot": Starter(
        "the dot product of two vectors, out = Σ_i x[i] · y[i]",
        "T total = 0;\nfor (long i = 0; i < n; i++)\n    total += x[i] * y[i];\n*out = total;",
        "total = out.dtype.type(0)\nfor i in range(x.shape[0]):\n    total += x[i] * y[i]\nout[()] = total",
        hint="one chain of additions, of which each waits for the one before: add into several sums",
    ),
    "sum": Starter(
        "the sum of all elements",
        "T total = 0;\nfor (long i = 0; i < n; i++)\n    total += a[i];\n*out = total;",
        "total = out.dtype.type(0)\nfor i in range(a.shape[0]):\n    for j in range(a.shape[1]):\n"
        "        total += a[i, j]\nout[()] = total",
        hint="one chain of additions, of which each waits for the one before: add into several sums",
    ),
    "add": _elementwise("out = a + b, element by element", "out[i] = a[i] + b[i];", "out[i, j] = a[i, j] + b[i, j]"),
    "transpose": Starter(
        "out[j, i] = a[i, j]",
        "for (long i = 0; i < m; i++)\n    for (long j = 0; j < n; j++)\n        out[j * m + i] = a[i * n + j];",
        "m, n = a.shape\nfor i in range(m):\n    for j in range(n):\n        out[j, i] = a[i, j]",
        hint="every store goes to another cache line: go through a and out in square blocks",
    ),
    "matmul": Starter(
        "the product of two matrices, c[i, j] = Σ_p a[i, p] · b[p, j]; a is (m, k), b (k, n), c (m, n)",
        "for (long i = 0; i < m; i++)\n    for (long j = 0; j < n; j++) {\n        T sum = 0;\n"
        "        for (long p = 0; p < k; p++)\n            sum += a[i * k + p] * b[p * n + j];\n"
        "        c[i * n + j] = sum;\n    }",
        "m, k = a.shape\nn = b.shape[1]\nfor i in range(m):\n    for j in range(n):\n"
        "        total = out.dtype.type(0)\n"
        "        for p in range(k):\n            total += a[i, p] * b[p, j]\n        out[i, j] = total",
        hint="the innermost loop walks down a column of b: exchange the loops over j and p, so that it follows a row",
    ),
    "linear": Starter(
        "a layer of perceptrons, out = x @ w + b; x is (m, k), w (k, n), b (n,)",
        "for (long i = 0; i < m; i++)\n    for (long j = 0; j < n; j++) {\n        T sum = b[j];\n"
        "        for (long p = 0; p < k; p++)\n            sum += x[i * k + p] * w[p * n + j];\n"
        "        out[i * n + j] = sum;\n    }",
        "m, k = x.shape\nn = w.shape[1]\nfor i in range(m):\n    for j in range(n):\n        total = b[j]\n"
        "        for p in range(k):\n            total += x[i, p] * w[p, j]\n        out[i, j] = total",
        hint="the innermost loop walks down a column of w: exchange the loops over j and p, so that it follows a row",
    ),
    "relu": _elementwise(
        "x where x > 0, else 0; NaN stays NaN",
        "out[i] = x[i] <= 0 ? 0 : x[i];",
        "out[i, j] = 0 if x[i, j] <= 0 else x[i, j]",
    ),
    "sigmoid": _elementwise("1 / (1 + exp(-x))", f"out[i] = {SIGMOID_C};", f"out[i, j] = {SIGMOID_PY}"),
    "tanh": _elementwise("the hyperbolic tangent", "out[i] = tanh((double)x[i]);", "out[i, j] = math.tanh(x[i, j])"),
    "gelu": _elementwise(
        "GELU in its tanh form, x · σ(w) with w = 2 √(2/π) (x + 0.044715 x³) and σ(w) = 1 / (1 + exp(-w))",
        "double v = x[i], w = 1.5957691216057308 * (v + 0.044715 * v * v * v);\n    out[i] = v / (1 + exp(-w));",
        "v = np.float64(x[i, j])\nw = 1.5957691216057308 * (v + 0.044715 * v * v * v)\n"
        "out[i, j] = v / (1 + math.exp(-w)) if w > -700 else v * math.exp(w)",
        "exp is a call, an element at a time: a polynomial of your own can be computed in vectors",
    ),
    "softmax": Starter(
        "out[i, j] = exp(x[i, j]) / Σ_j exp(x[i, j]), over each row; the row's maximum is subtracted first",
        "for (long i = 0; i < m; i++) {\n    const T* row = x + i * n;\n    T most = n ? row[0] : 0;\n"
        "    for (long j = 0; j < n; j++)\n        if (row[j] > most || row[j] != row[j]) most = row[j];\n"
        "    double total = 0;\n    for (long j = 0; j < n; j++)\n        total += exp((double)row[j] - most);\n"
        "    for (long j = 0; j < n; j++)\n        out[i * n + j] = exp((double)row[j] - most) / total;\n}",
        "m, n = x.shape\nfor i in range(m):\n    most = -math.inf\n    for j in range(n):\n"
        "        if x[i, j] > most or x[i, j] != x[i, j]:\n            most = np.float64(x[i, j])\n    total = 0.0\n"
        "    for j in range(n):\n        total += math.exp(x[i, j] - most)\n"
        "    for j in range(n):\n        out[i, j] = math.exp(x[i, j] - most) / total",
        hint="each exponential is computed twice: keep the first ones in out",
    ),
    "mse": Starter(
        "the mean of (y - t)²",
        "double total = 0;\nfor (long i = 0; i < n; i++) {\n    double d = (double)y[i] - t[i];\n    total += d * d;\n"
        "}\n*out = total / n;",
        "total = 0.0\nfor i in range(y.shape[0]):\n    d = np.float64(y[i]) - np.float64(t[i])\n    total += d * d\n"
        "out[()] = total / y.shape[0] if y.shape[0] else math.nan",
        hint="one chain of additions, of which each waits for the one before: add into several sums",
    ),
    "sgd": _one_axis(
        "param ← param - lr · grad, in place", "param[i] -= lr * grad[i];", "param[i] -= lr * grad[i]", first="param"
    ),
    "momentum": _one_axis(
        "velocity ← mu · velocity + grad; param ← param - lr · velocity, in place",
        "velocity[i] = mu * velocity[i] + grad[i];\nparam[i] -= lr * velocity[i];",
        "velocity[i] = mu * velocity[i] + grad[i]\nparam[i] -= lr * velocity[i]",
        first="param",
    ),
}


def starter(operation: str, lang: str, dtype: str = "float32") -> str:
    """The text of a file to start from. Raises ValueError for an operation or a language that has none."""
    if operation not in OPERATIONS:
        raise ValueError(f"new: no operation is called {operation!r}. Known: {', '.join(OPERATIONS)}")
    if operation not in STARTERS:
        raise ValueError(f"new: {operation} has no file to start from. Those that have: {', '.join(STARTERS)}")
    if lang not in SUFFIXES:
        raise ValueError(f"new: lang is {lang!r}, expected one of {', '.join(SUFFIXES)}")
    if lang in ("python", "numba"):
        return _python(operation, STARTERS[operation], lang == "numba")
    if lang == "cuda":
        return _cuda(operation, STARTERS[operation], {"float32": "float", "float64": "double"}[dtype])
    return _c(operation, STARTERS[operation], lang, {"float32": "float", "float64": "double"}[dtype])


def _python(operation: str, s: Starter, numba: bool) -> str:
    names = [p.name for p in plan(OPERATIONS[operation]).parameters]
    if operation == "gelu":
        names = ["x", "out"]
    head = (
        f'"""{operation}: {s.about}.\n\nRight, and slow. The arrays are NumPy\'s, and the results are written to them.'
    )
    how = " Numba\ncompiles it at the first call." if numba else ""
    uses = [m for m in ("math",) if f"{m}." in s.py]
    imports = [f"import {m}" for m in uses]
    if "np." in s.py:
        imports += [*([""] if imports else []), "import numpy as np"]
    if numba:
        imports += [*([""] if uses and "np." not in s.py else []), "from numba import njit"]
    text = "\n".join(imports)
    text = f"\n\n{text}" if text else ""
    decorator = "@njit\n" if numba else ""
    body = textwrap.indent(s.py, "    ")
    return (
        f"{head}{how} What to try first: {s.hint}.\n\n"
        f'    loopnest check {operation}.py --op {operation}\n"""{text}\n\n\n'
        f"{decorator}def {operation}({', '.join(names)}):\n{body}\n"
    ).replace(". What to try first", ".\nWhat to try first")


def _parameters(operation: str, type_: str) -> list[str]:
    known = plan(OPERATIONS[operation])
    kinds = {"bool": "int", "int": "long", "float": "double"}
    found = []
    for p in known.parameters:
        if p.role == "scalar":
            if operation != "gelu":
                found.append(f"{kinds[p.dtype]} {p.name}")
            continue
        name = "c" if operation == "matmul" and p.name == "out" else p.name
        found.append(f"{'const ' if p.role == 'input' else ''}{'long' if p.dtype else type_}* {name}")
    arrays = [f for f in found if "*" in f]
    numbers = [f for f in found if "*" not in f]
    axes = list(OPERATIONS[operation].contract.workloads[0].shape)
    order = ["m", "n", "k"] if operation in ("matmul", "linear") else ["n"] if known.joined else axes
    return [*arrays, *(f"long {a}" for a in order), *numbers]


def _c(operation: str, s: Starter, lang: str, type_: str) -> str:
    linkage = 'extern "C" ' if lang == "cpp" else ""
    suffix = SUFFIXES[lang]
    include = "#include <math.h>\n\n" if _calls_maths(s.c) else ""
    body = textwrap.indent(s.c, "    ").replace("T ", f"{type_} ").replace("T*", f"{type_}*")
    name = "tanh_kernel" if operation == "tanh" else operation  # C has a function tanh
    signature = _wrapped(f"{linkage}void {name}(", _parameters(operation, type_))
    return (
        f"// {operation}: {s.about}.\n//\n// Right, and slow. Arrays are in C order: rows one after another.\n"
        f"// What to try first: {s.hint}.\n//\n//     loopnest check {operation}{suffix} --op {operation}\n\n"
        f"{include}{signature} {{\n{body}\n}}\n"
    )


def _calls_maths(body: str) -> bool:
    return "exp(" in body or "tanh(" in body


def _wrapped(start: str, parameters: list[str]) -> str:
    line = start + ", ".join(parameters) + ")"
    if len(line) <= 100:
        return line
    half = (len(parameters) + 1) // 2
    return f"{start}{', '.join(parameters[:half])},\n{' ' * len(start)}{', '.join(parameters[half:])})"


def _cuda(operation: str, s: Starter, type_: str) -> str:
    if operation == "matmul":
        launch = "grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16)"
        body = (
            "    long i = blockIdx.y * blockDim.y + threadIdx.y, j = blockIdx.x * blockDim.x + threadIdx.x;\n"
            f"    if (i >= m || j >= n) return;\n    {type_} sum = 0;\n"
            "    for (long p = 0; p < k; p++)\n        sum += a[i * k + p] * b[p * n + j];\n    c[i * n + j] = sum;"
        )
    elif s.thread:
        launch = "grid=((n + 255) / 256) block=(256)"
        body = f"    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;\n    if (i >= n) return;\n    {s.thread}"
    else:
        known = [name for name, other in STARTERS.items() if other.thread or name == "matmul"]
        raise ValueError(f"new: {operation} has no file in CUDA to start from. Those that have: {', '.join(known)}")
    name = "tanh_kernel" if operation == "tanh" else operation
    signature = _wrapped(f'extern "C" __global__ void {name}(', _parameters(operation, type_))
    return (
        f"// {operation}: {s.about}.\n//\n// Right, and slow: a thread for each element of the result.\n"
        "// What to try first: a tile in shared memory, where a block's threads need the same elements.\n"
        f"//\n//     loopnest check {operation}.cu --op {operation}\n\n"
        f"// launch: {launch}\n{signature} {{\n{body}\n}}\n"
    )


def write_starter(operation: str, lang: str = "cpp", file: Path | None = None, dtype: str = "float32") -> Path:
    """Write a file to start from; its path. Raises ValueError where a file is there already, and leaves it as it is."""
    text = starter(operation, lang, dtype)
    path = file or Path(f"{operation}{SUFFIXES.get(lang, '')}")
    try:
        with path.open("x", encoding="utf-8") as written:
            written.write(text)
    except FileExistsError:
        raise ValueError(f"new: {path} is there already, and is left as it is: name another file") from None
    except FileNotFoundError:
        raise ValueError(f"new: there is no folder {path.parent}") from None
    return path
