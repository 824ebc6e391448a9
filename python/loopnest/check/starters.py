"""Files to start from: kernels that are right and slow. `loopnest check FILE --op OPERATION --new` writes one.

Each operation has one body, in Python. C, C++ and CUDA C++ are translated from it.

>>> print(starter("dot", "python").splitlines()[0])
\"\"\"dot: the dot product of two vectors, result = Σ_i x[i] · y[i].
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..operations import OPERATIONS
from ..output.files import save_new
from ..output.text import unknown
from ..verify.c_signature import c_parameters
from ..verify.signature import plan

SUFFIXES = {"python": ".py", "numba": ".py", "c": ".c", "cpp": ".cpp", "cuda": ".cu"}

TYPES = {"float32": "float", "float64": "double"}


@dataclass(frozen=True)
class Starter:
    """An operation's definition.

    about   the formula
    body    Python loops, which Numba compiles too; where `over` is given, what is done for element [i] alone
    over    an array over whose elements the body is repeated: all arrays of two axes, in C one after another
    axes    the number of axes of `over`
    before  a line before the loop over elements, after: one after it
    shapes  Python lines that name the sizes
    widths  the length of a row of each array with two axes, for C
    hint    what to try first
    """

    about: str
    body: str
    over: str = ""
    axes: int = 2
    before: str = ""
    after: str = ""
    shapes: str = ""
    widths: Mapping[str, str] = field(default_factory=dict)
    hint: str = "the compiler makes vector instructions of a loop without branches and without calls"


ONE_CHAIN = "the additions form one chain, and each waits for the one before: add into several sums"
PRODUCT = """\
for i in range(m):
    for j in range(n):
        total = {start}
        for p in range(k):
            total += {a}[i, p] * {b}[p, j]
        {c}[i, j] = total"""

STARTERS: dict[str, Starter] = {
    "dot": Starter(
        "the dot product of two vectors, result = Σ_i x[i] · y[i]",
        "total += x[i] * y[i]",
        over="x", axes=1, before="total = result.dtype.type(0)", after="result[()] = total", hint=ONE_CHAIN,
    ),
    "sum": Starter(
        "the sum of all elements",
        "total += a[i]",
        over="a", before="total = result.dtype.type(0)", after="result[()] = total", hint=ONE_CHAIN,
    ),
    "add": Starter("c = a + b, element by element", "c[i] = a[i] + b[i]", over="c"),
    "transpose": Starter(
        "b[j, i] = a[i, j]",
        "for i in range(m):\n    for j in range(n):\n        b[j, i] = a[i, j]",
        shapes="m, n = a.shape", widths={"a": "n", "b": "m"},
        hint="every store goes to another cache line: go through a and b in square blocks",
    ),
    "matmul": Starter(
        "the product of two matrices, c[i, j] = Σ_p a[i, p] · b[p, j]; a is (m, k), b (k, n), c (m, n)",
        PRODUCT.format(start="c.dtype.type(0)", a="a", b="b", c="c"),
        shapes="m, k = a.shape\nn = b.shape[1]", widths={"a": "k", "b": "n", "c": "n"},
        hint="the innermost loop walks down a column of b: exchange the loops over j and p, so that it follows a row",
    ),
    "linear": Starter(
        "a layer of perceptrons, y = x @ w + b; x is (m, k), w (k, n), b (n,)",
        PRODUCT.format(start="b[j]", a="x", b="w", c="y"),
        shapes="m, k = x.shape\nn = w.shape[1]", widths={"x": "k", "w": "n", "y": "n"},
        hint="the innermost loop walks down a column of w: exchange the loops over j and p, so that it follows a row",
    ),
    "relu": Starter("x where x > 0, else 0; NaN stays NaN", "y[i] = 0 if x[i] <= 0 else x[i]", over="y"),
    "sigmoid": Starter("1 / (1 + exp(-x))", "y[i] = 1 / (1 + np.exp(-np.float64(x[i])))", over="y"),
    "tanh": Starter("the hyperbolic tangent", "y[i] = np.tanh(np.float64(x[i]))", over="y"),
    "gelu": Starter(
        "GELU in its tanh form, x · σ(w) with w = 2 √(2/π) (x + 0.044715 x³) and σ(w) = 1 / (1 + exp(-w))",
        "v = np.float64(x[i])\nw = 1.5957691216057308 * (v + 0.044715 * v * v * v)\ny[i] = v / (1 + np.exp(-w))",
        over="y", hint="exp is a call for each element: a polynomial of your own can be computed in vectors",
    ),
    "softmax": Starter(
        "y[i, j] = exp(x[i, j]) / Σ_j exp(x[i, j]), over each row; the row's maximum is subtracted first",
        """\
for i in range(m):
    most = np.float64(-np.inf)
    for j in range(n):
        if x[i, j] > most or x[i, j] != x[i, j]:
            most = np.float64(x[i, j])
    total = 0.0
    for j in range(n):
        total += np.exp(x[i, j] - most)
    for j in range(n):
        y[i, j] = np.exp(x[i, j] - most) / total""",
        shapes="m, n = x.shape", widths={"x": "n", "y": "n"},
        hint="each exponential is computed twice: keep the first ones in y",
    ),
    "mse": Starter(
        "the mean of (y - t)²",
        "d = np.float64(y[i]) - np.float64(t[i])\ntotal += d * d",
        over="y", axes=1, before="total = 0.0", after="loss[()] = total / n if n else np.nan", hint=ONE_CHAIN,
    ),
    "sgd": Starter("param ← param - lr · grad, in place", "param[i] -= lr * grad[i]", over="param", axes=1),
    "momentum": Starter(
        "velocity ← mu · velocity + grad; param ← param - lr · velocity, in place",
        "velocity[i] = mu * velocity[i] + grad[i]\nparam[i] -= lr * velocity[i]",
        over="param", axes=1,
    ),
}  # fmt: skip


def starter(operation: str, lang: str, dtype: str = "float32") -> str:
    """The text of a file to start from. Raises ValueError for an operation or a language that has none."""
    if operation not in OPERATIONS:
        raise ValueError(f"new: {unknown('operation', operation, OPERATIONS)}")
    if operation not in STARTERS:
        raise ValueError(f"new: {operation} has no file to start from. Those that have: {', '.join(STARTERS)}")
    if lang not in SUFFIXES:
        raise ValueError(f"new: lang is {lang!r}, expected one of {', '.join(SUFFIXES)}")
    s = STARTERS[operation]
    if lang in ("python", "numba"):
        return _python(operation, s, numba=lang == "numba")
    return _cuda(operation, s, TYPES[dtype]) if lang == "cuda" else _c(operation, s, lang, TYPES[dtype])


def write_starter(operation: str, lang: str = "cpp", file: Path | None = None, dtype: str = "float32") -> Path:
    """Write a file to start from; its path. Raises ValueError where the file exists, or its folder does not."""
    text = starter(operation, lang, dtype)
    path = file or Path(f"{operation}{SUFFIXES[lang]}")
    try:
        save_new(text, path)
    except ValueError as error:
        raise ValueError(f"new: {error}") from None
    return path


def _python(operation: str, s: Starter, *, numba: bool) -> str:
    names = [p.name for p in plan(OPERATIONS[operation]).parameters if operation != "gelu" or p.role != "scalar"]
    body = "\n".join(filter(None, (s.shapes, s.body)))
    if s.over:
        two = s.axes == 2
        loops = f"for i in range({'m' if two else 'n'}):\n" + ("    for j in range(n):\n" if two else "")
        element = textwrap.indent(s.body.replace("[i]", "[i, j]") if two else s.body, "        " if two else "    ")
        shape = f"m, n = {s.over}.shape" if two else f"n = {s.over}.shape[0]"
        body = "\n".join(filter(None, (shape, s.before, loops + element, s.after)))
    how = " Numba compiles\nit at the first call." if numba else ""
    imports = "\n".join(["import numpy as np"] * ("np." in body) + ["from numba import njit"] * numba)
    return (
        f'"""{operation}: {s.about}.\n\nRight, and slow. The arrays are NumPy\'s; results are written to them.{how}\n'
        f'What to try first: {s.hint}.\n\n    loopnest check {operation}.py --op {operation}\n"""\n\n'
        + (f"{imports}\n\n" if imports else "")
        + ("\n@njit\n" if numba else "\n")
        + f"def {operation}({', '.join(names)}):\n{textwrap.indent(body, '    ')}\n"
    )


def _c(operation: str, s: Starter, lang: str, type_: str) -> str:
    python = s.body
    if s.over:
        loop = f"for i in range(n):\n{textwrap.indent(s.body, '    ')}"
        python = "\n".join(filter(None, (s.before, loop, s.after)))
    body = textwrap.indent(_translated(python, s.widths, type_), "    ")
    include = "#include <math.h>\n\n" if re.search(r"exp\(|tanh\(|NAN|INFINITY", body) else ""
    signature = _signature('extern "C" void' if lang == "cpp" else "void", operation, type_)
    about = "Right, and slow. Arrays are in C order: rows one after another."
    return _head(operation, s, about, s.hint, SUFFIXES[lang]) + f"{include}{signature} {{\n{body}\n}}\n"


def _cuda(operation: str, s: Starter, type_: str) -> str:
    if operation == "matmul":
        launch = "grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16)"
        index = "long i = blockIdx.y * blockDim.y + threadIdx.y, j = blockIdx.x * blockDim.x + threadIdx.x;"
        outside, python = "i >= m || j >= n", textwrap.dedent(s.body.split("\n", 2)[2])  # a thread for each i and j
    elif s.over and not s.after:
        launch = "grid=((n + 255) / 256) block=(256)"
        index = "long i = (long)blockIdx.x * blockDim.x + threadIdx.x;"
        outside, python = "i >= n", s.body
    else:
        known = [name for name, other in STARTERS.items() if (other.over and not other.after) or name == "matmul"]
        raise ValueError(f"new: {operation} has no file in CUDA to start from. Those that have: {', '.join(known)}")
    body = f"{index}\nif ({outside}) return;\n{_translated(python, s.widths, type_)}"
    about = "Right, and slow: a thread for each element of the result."
    hint = "a tile in shared memory, where a block's threads need the same elements"
    signature = _signature('extern "C" __global__ void', operation, type_)
    text = _head(operation, s, about, hint, ".cu")
    return f"{text}// launch: {launch}\n{signature} {{\n{textwrap.indent(body, '    ')}\n}}\n"


def _head(operation: str, s: Starter, about: str, hint: str, suffix: str) -> str:
    """The opening comment of a file in C, C++ or CUDA C++."""
    command = f"    loopnest check {operation}{suffix} --op {operation}"
    lines = [f"{operation}: {s.about}.", "", about, f"What to try first: {hint}.", "", command]
    return "".join(f"// {line}".rstrip() + "\n" for line in lines) + "\n"


def _signature(start: str, operation: str, type_: str) -> str:
    """A function's head in C; on two lines where one would be long."""
    name = "tanh_kernel" if operation == "tanh" else operation  # C has a function tanh
    parameters = [p for p in c_parameters(OPERATIONS[operation], type_) if not p.endswith(" tanh_form")]
    head = f"{start} {name}("
    line = f"{head}{', '.join(parameters)})"
    if len(line) <= 100:
        return line
    half = (len(parameters) + 1) // 2
    return f"{head}{', '.join(parameters[:half])},\n{' ' * len(head)}{', '.join(parameters[half:])})"


def _translated(python: str, widths: Mapping[str, str], type_: str) -> str:
    """The body in C. A name is declared at its first assignment: a double where doubles are assigned to it."""
    declared: set[str] = set()
    lines: list[str] = []
    depth = 0
    for line in [*python.splitlines(), ""]:
        new = (len(line) - len(line.lstrip())) // 4
        lines += [f"{'    ' * d}}}" for d in range(depth - 1, new - 1, -1)]
        depth = new
        if line:
            lines.append("    " * depth + _line(line.strip(), widths, declared, type_))
    return "\n".join(lines)


def _line(line: str, widths: Mapping[str, str], declared: set[str], type_: str) -> str:
    loop = re.fullmatch(r"for (\w) in range\((\w)\):", line)
    if loop:
        return f"for (long {loop[1]} = 0; {loop[1]} < {loop[2]}; {loop[1]}++) {{"
    name = re.match(r"(\w+) = ", line)
    kind = ""
    if name and name[1] not in declared:
        declared.add(name[1])
        kind = "double " if re.search(r"np\.|\d\.\d", line) else f"{type_} "
    line = re.sub(r"= (.*) if (.*) else (.*)", r"= \2 ? \1 : \3", line)
    line = re.sub(r"(\w+)\[(\w), (\w)\]", lambda at: f"{at[1]}[{at[2]} * {widths[at[1]]} + {at[3]}]", line)
    line = re.sub(r"\w+\.dtype\.type\(0\)", "0", re.sub(r"(\w+)\[\(\)\]", r"*\1", line))
    for word, other in (("np.inf", "INFINITY"), ("np.nan", "NAN"), (" or ", " || ")):
        line = line.replace(word, other)
    line = re.sub(r"np\.float64\(([^()]*)\)", r"(double)\1", line).replace("np.", "")
    return f"if ({line[3:-1]}) {{" if line.startswith("if ") else f"{kind}{line};"
