"""Linear algebra besides the matrix product: dot, sum, add, transpose, linear."""

from ...operation import Operation
from .contract import ADD, DOT, LINEAR, SUM, TRANSPOSE

dot = Operation("dot", __name__, DOT)
sum = Operation("sum", __name__, SUM)
add = Operation("add", __name__, ADD)
transpose = Operation("transpose", __name__, TRANSPOSE)
linear = Operation("linear", __name__, LINEAR)
