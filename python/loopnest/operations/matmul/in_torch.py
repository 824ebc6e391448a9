"""matmul in PyTorch: its BLAS library, called at once and out of a compiled graph."""

from ...backends import TORCH
from ...backends.torch import Tensor, in_c_order, on_tensors, run_compiled, why_no_compiler


@on_tensors()
def eager(a: Tensor, b: Tensor, c: Tensor) -> None:
    """One call of torch.mm: PyTorch hands the product to its BLAS library (MKL, OpenBLAS or Accelerate).

    The same idea as NumPy's matmul with another library behind it, so a difference between the two is a difference
    between two hand-tuned kernels and their thread pools. Row-major and column-major operands go to it as they are;
    for any other stride torch makes a copy of its own first. `out=` saves the allocation: new memory costs a page
    fault every 4 KiB, which a product of small k feels.
    """
    import torch

    torch.mm(a, b, out=c)


def _product(a: Tensor, b: Tensor) -> Tensor:
    import torch

    with torch.autocast("cpu", enabled=False):  # which would make it a product of bfloat16
        return torch.mm(a, b)


@on_tensors()
def compiled(a: Tensor, b: Tensor, c: Tensor) -> None:
    """torch.compile on a single product: the graph calls the same BLAS routine, so nothing is won.

    A compiler gains by fusing what stands around a product, and here nothing does. It costs instead: some 20 µs a
    call for checking that the translation fits the arguments, a pass that copies the result into `c`, since a
    compiled graph allocates its products itself, and the translation, once. Operands that are not in C order are
    gathered into it first, so that torch need not translate the function again for every layout. `gelu` shows the
    case that a compiler is made for.
    """
    if c.numel() and a.numel():
        c.copy_(run_compiled(_product, in_c_order(a, *a.shape), in_c_order(b, *b.shape)))
    else:
        c.zero_()


RUNGS = {
    "matmul": [
        TORCH.rung(eager, faster_than="numpy.rows"),
        TORCH.rung(compiled, study=True, requires=why_no_compiler, slow_start=True),
    ],
}
