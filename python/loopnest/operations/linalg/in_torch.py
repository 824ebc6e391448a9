"""The linear algebra in PyTorch: one call each, into `out` where torch offers it."""

from typing import TYPE_CHECKING

from ...arrays import HALVES
from ...backends import TORCH
from ...backends.torch import PRODUCT, REDUCED_PRODUCT, Tensor

if TYPE_CHECKING:  # the backend imports it at a kernel's first call
    import torch


def dot_eager(x: Tensor, y: Tensor, result: Tensor) -> None:
    """One call of torch.dot, which hands the vectors and their strides to BLAS.

    The BLAS routine keeps several vector accumulators, so that one addition need not wait for the one before it. Two
    loads a multiply-add leave it bound by memory once the vectors outgrow the caches; below a few thousand elements
    the call itself, a few µs, is most of the time.
    """
    torch.dot(x, y, out=result)


def sum_eager(a: Tensor, result: Tensor) -> None:
    """One call of torch.sum, which adds in a cascade of partial sums.

    Sums of short runs are added to sums of longer ones, each in vector registers: rounding errors grow with log n and
    not with n, as in NumPy's pairwise sum, at no cost in speed. Large arrays are shared among threads. One load an
    addition: the limit is memory.
    """
    torch.sum(a, dim=(0, 1), out=result)


def add_eager(a: Tensor, b: Tensor, c: Tensor) -> None:
    """One call of torch.add, vectorized and shared among threads.

    torch orders the axes by their strides, so that the inner loop walks memory forwards, and uses vector instructions
    where a stride there is one element, or zero for one operand. With 12 bytes moved for one float32 addition nothing
    but memory matters: `out=` is worth more here than any instruction, since new memory is a page fault every 4 KiB.
    """
    torch.add(a, b, out=c)


def transpose_eager(a: Tensor, b: Tensor) -> None:
    """One copy of the transposed view, blocked by torch where the matrix is large.

    A copy that walks one matrix along rows walks the other along columns, and uses one element of every cache line it
    touches. For a C-ordered matrix of some 60 × 60 or more torch copies blocks of 60 × 60 instead, transposing each in
    a buffer that stays in the L1 cache. The limit is memory; other layouts go without blocks.
    """
    b.copy_(a.t())


def linear_eager(x: Tensor, w: Tensor, b: Tensor, y: Tensor) -> None:
    """One call of torch.addmm: the bias is written to `y` first, and the product added to it.

    BLAS computes c ← x·w + c, so filling c with the bias costs one pass of stores and spares the read, add and store
    of a pass after the product. Beyond that it is matmul's `torch.eager`.
    """
    torch.addmm(b, x, w, out=y)


def linear_reduced(x: Tensor, w: Tensor, b: Tensor, y: Tensor) -> None:
    """torch.addmm on the reduced dtype itself; for a float32 result on float32 copies. The limit is matmul's."""
    if y.dtype == x.dtype:
        torch.addmm(b, x, w, out=y)
    else:
        torch.addmm(b.float(), x.float(), w.float(), out=y)


RUNGS = TORCH.rungs("eager", dot=dot_eager, sum=sum_eager, add=add_eager, transpose=transpose_eager)
RUNGS["linear"] = [
    TORCH.rung(linear_eager, "eager", **PRODUCT),
    TORCH.rung(linear_reduced, "reduced", dtypes=HALVES, **REDUCED_PRODUCT),
]
