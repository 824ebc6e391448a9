"""dot, sum, add, transpose and linear in pure Python: the definitions, on lists.

As in matmul, `tolist` first makes lists of the arrays, of float64 numbers; results are rounded when stored.
"""

import numpy as np

from ...arrays import HALVES, Array
from ...backends import PYTHON
from ...numerics import rounded_to
from ..matmul.in_python import reordered


def dot_one_accumulator(x: Array, y: Array, result: Array) -> None:
    """The definition: multiply the elements pairwise and add them up.

    A product and a sum are a handful of bytecodes, each with a look-up of types and a new float object: some 40 ns for
    a fraction of a nanosecond of arithmetic. The limit is the interpreter.
    """
    total = 0.0
    for x_i, y_i in zip(x.tolist(), y.tolist(), strict=True):
        total += x_i * y_i
    result[()] = total


def sum_column_wise(a: Array, result: Array) -> None:
    """Down the columns of nested lists: two index expressions an element. The limit is the interpreter."""
    rows = a.tolist()
    total = 0.0
    for j in range(a.shape[1]):
        for i in range(a.shape[0]):
            total += rows[i][j]
    result[()] = total


def sum_row_wise(a: Array, result: Array) -> None:
    """Row by row, without an index expression: one addition an element. The limit is the interpreter."""
    total = 0.0
    for row in a.tolist():
        for element in row:
            total += element
    result[()] = total


def add_scalar(a: Array, b: Array, c: Array) -> None:
    """One addition and one new float object an element. The limit is the interpreter."""
    c[...] = [
        [a_ij + b_ij for a_ij, b_ij in zip(a_row, b_row, strict=True)]
        for a_row, b_row in zip(a.tolist(), b.tolist(), strict=True)
    ]


def transpose_naive(a: Array, b: Array) -> None:
    """The definition: element (i, j) goes to (j, i). The limit is the interpreter."""
    rows = a.tolist()
    columns = [[0.0] * a.shape[0] for _ in range(a.shape[1])]
    for i, row in enumerate(rows):
        for j, element in enumerate(row):
            columns[j][i] = element
    if columns:
        b[...] = columns


def linear_composed(x: Array, w: Array, b: Array, y: Array) -> None:
    """matmul's `reordered`, then the bias added to every row. The limit is the interpreter."""
    reordered(x, w, y)
    bias = b.tolist()
    for i, row in enumerate(y.tolist()):
        y[i] = [y_ij + b_j for y_ij, b_j in zip(row, bias, strict=True)]


def linear_upcast(x: Array, w: Array, b: Array, y: Array) -> None:
    """Reduced precision: the same in Python's floats, which are wider anyway, and one rounding at the end."""
    wide = np.zeros(y.shape)
    linear_composed(x, w, b, wide)
    y[...] = rounded_to(y.dtype, wide)


RUNGS = {
    "dot": [PYTHON.rung(dot_one_accumulator, "one_accumulator")],
    "sum": [
        PYTHON.rung(sum_column_wise, "column_wise", study=True),
        PYTHON.rung(sum_row_wise, "row_wise", faster_than="python.column_wise"),
    ],
    "add": [PYTHON.rung(add_scalar, "scalar")],
    "transpose": [PYTHON.rung(transpose_naive, "naive")],
    "linear": [PYTHON.rung(linear_composed, "composed"), PYTHON.rung(linear_upcast, "upcast", dtypes=HALVES)],
}
