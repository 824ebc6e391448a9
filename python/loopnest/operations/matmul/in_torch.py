"""matmul in PyTorch: its BLAS library, called directly and from a compiled graph."""

from typing import TYPE_CHECKING

from ...backends import TORCH
from ...backends.torch import COMPILED_PRODUCT, PRODUCT, Tensor, in_c_order, run_compiled

if TYPE_CHECKING:  # the backend imports it at a kernel's first call
    import torch


def eager(a: Tensor, b: Tensor, c: Tensor) -> None:
    """One call of torch.mm: PyTorch hands the product to its BLAS library (MKL, OpenBLAS or Accelerate).

    Row-major and column-major operands go to BLAS as they are; torch copies operands with other strides first. `out=`
    saves the allocation: new memory costs a page fault every 4 KiB, which shows for small k.
    """
    torch.mm(a, b, out=c)


def _product(a: Tensor, b: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):  # which would make it a product of bfloat16
        return torch.mm(a, b)


def compiled(a: Tensor, b: Tensor, c: Tensor) -> None:
    """torch.compile on a single product: the graph calls the same BLAS routine, so it gains nothing.

    A compiler gains by fusing the operations around a product, and here there are none. It costs some 20 µs a call to
    check that the translation fits, a pass that copies the result into `c`, and the translation, once. `gelu` shows
    what a compiler is good at.
    """
    if c.numel() and a.numel():
        c.copy_(run_compiled(_product, in_c_order(a, *a.shape), in_c_order(b, *b.shape)))
    else:
        c.zero_()


RUNGS = {
    "matmul": [
        TORCH.rung(eager, faster_than="numpy.rows", **PRODUCT),
        TORCH.rung(compiled, study=True, **COMPILED_PRODUCT),
    ]
}
