"""matmul in PyTorch: its BLAS library, called directly and from a compiled graph."""

from typing import TYPE_CHECKING

from ...arrays import REDUCED
from ...backends import TORCH
from ...backends.torch import COMPILED_PRODUCT, PRODUCT, REDUCED_PRODUCT, Tensor, in_c_order, run_compiled

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


def reduced(a: Tensor, b: Tensor, *scales_and_c: Tensor) -> None:
    """torch.mm on the reduced dtype itself: oneDNN has kernels for it, or torch widens the elements.

    A result in float32 is a product of float32 copies, since torch.mm on the CPU rounds to the inputs' dtype. int8 has
    a function of its own, torch._int_mm. What limits it is the library: with AVX512_BF16 or AMX it is fast; without
    either, torch's loops for bfloat16 were seen to be hundreds of times slower than float32's.
    """
    *scales, c = scales_and_c
    if not (c.numel() and a.numel()):
        c.zero_()
    elif a.dtype == torch.int8:
        # With a stride of 1 from row to row it is wrong for a b of one row (torch 2.13): in_c_order makes it plain.
        c.copy_(torch._int_mm(in_c_order(a, *a.shape), in_c_order(b, *b.shape)))
        for axis, scale in enumerate(scales):
            c.mul_(scale.unsqueeze(1 - axis))
    elif c.dtype == a.dtype:
        torch.mm(a, b, out=c)
    else:
        torch.mm(a.float(), b.float(), out=c)


RUNGS = {
    "matmul": [
        TORCH.rung(eager, faster_than="numpy.rows", **PRODUCT),
        TORCH.rung(compiled, study=True, **COMPILED_PRODUCT),
        TORCH.rung(reduced, dtypes=REDUCED, **REDUCED_PRODUCT),
    ]
}
