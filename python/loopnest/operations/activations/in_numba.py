"""The activations in Numba: loops over elements with the C library's functions, compiled.

float32 is computed in float64 and rounded once at the end, where a function of the C library is called: the call is
most of the cost in either.
"""

from __future__ import annotations

import math

from ...arrays import Array
from ...numba_kernels import compiled, helper
from ...operation import rung


@rung("relu")
@compiled
def relu_loop(x: Array, out: Array) -> None:
    """0 where x <= 0, else x: one comparison an element.

    LLVM makes a vector comparison and a masked move of it, so no branch is left to be mispredicted. A load and
    a store for one comparison: the memory's bandwidth is the limit as soon as the arrays leave L1. NaN is not <= 0,
    and passes.
    """
    zero = x.dtype.type(0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = zero if x[i, j] <= zero else x[i, j]


@rung("relu_backward")
@compiled
def relu_backward_loop(x: Array, dy: Array, out: Array) -> None:
    """dy where x > 0 and 0 where x <= 0: the slope of relu is 1 or 0.

    Two loads, a comparison and a store, in vector instructions: bound by the memory's bandwidth beyond L1.
    """
    zero = x.dtype.type(0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = zero if x[i, j] <= zero else dy[i, j]


@rung("sigmoid")
@compiled
def sigmoid_loop(x: Array, out: Array) -> None:
    """σ(x) = 1 / (1 + exp(-x)), from t = exp(-|x|), which cannot overflow: 1 / (1 + t), or t / (1 + t) for x < 0.

    One call of the C library's exp an element. A call is nothing that LLVM can vectorize, so the loop takes one element
    at a time, some 5 ns each: that is the limit, far from the memory's. gelu's `polynomial` shows the way out.
    """
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x_ij = float(x[i, j])
            t = math.exp(-abs(x_ij))
            out[i, j] = (t if x_ij < 0 else 1.0) / (1.0 + t)


@rung("sigmoid_backward")
@compiled
def sigmoid_backward_loop(x: Array, dy: Array, out: Array) -> None:
    """σ'(x) = σ(x) σ(-x) = t / (1 + t)², with t = exp(-|x|): symmetric in x, so there is one formula for both sides.

    Written as σ (1 - σ) it would lose its digits where σ comes near 1. The call of exp is the limit, as in sigmoid.
    """
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            t = math.exp(-abs(float(x[i, j])))
            out[i, j] = float(dy[i, j]) * (t / ((1.0 + t) * (1.0 + t)))


@rung("tanh")
@compiled
def tanh_loop(x: Array, out: Array) -> None:
    """The C library's tanh for each element.

    A call of some 10 to 20 ns that LLVM cannot vectorize: that is the limit.
    """
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = math.tanh(float(x[i, j]))


@rung("tanh_backward")
@compiled
def tanh_backward_loop(x: Array, dy: Array, out: Array) -> None:
    """tanh'(x) = 1 / cosh²(x) = 4t / (1 + t)², with t = exp(-2|x|).

    Written as 1 - tanh² it would lose its digits where tanh comes near 1. The call of exp is the limit, as in sigmoid.
    """
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            t = math.exp(-2.0 * abs(float(x[i, j])))
            out[i, j] = float(dy[i, j]) * (4.0 * t / ((1.0 + t) * (1.0 + t)))


@rung("softmax")
@compiled
def softmax_loop(x: Array, out: Array) -> None:
    """exp(x - max) / Σ exp(x - max) over each row, in three passes.

    The first finds the maximum, the second takes the exponentials and their sum, the third divides by it. Without the maximum subtracted exp would overflow from x = 89 on (float32). A row is a few kilobytes and stays in L1
    through its three passes, so memory sees each element once in and once out. The calls of exp, some 5 ns each, are
    the limit.
    """
    for i in range(x.shape[0]):
        largest = largest_of(x[i])
        total = 0.0
        for j in range(x.shape[1]):
            e = math.exp(float(x[i, j]) - largest)
            out[i, j] = e
            total += e
        for j in range(x.shape[1]):
            out[i, j] = float(out[i, j]) / total


@helper
def largest_of(row: Array) -> float:
    """The largest element; a NaN is passed over, and shows in the exponentials."""
    largest = -math.inf
    for j in range(row.size):
        largest = max(largest, float(row[j]))
    return largest
