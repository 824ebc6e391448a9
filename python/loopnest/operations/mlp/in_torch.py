"""The MLP in PyTorch: products by its BLAS library, GELU between them by this package's own formulas."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...arrays import HALVES
from ...backends import TORCH
from ...backends.torch import COMPILED_PRODUCT, PRODUCT, REDUCED_PRODUCT, Tensor

if TYPE_CHECKING:  # the backend imports it at a kernel's first call
    import torch
from ..gelu import in_torch as gelu


def mlp_forward_eager(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, z: Tensor, h: Tensor, y: Tensor, tanh_form: bool
) -> None:
    """Two products with their biases, and the chain of GELU's passes over the hidden layer between them.

    Both products go to BLAS with the bias written to the result first (see `linear`). With GPT-2 small's sizes they are
    nearly all of the arithmetic, 9.4 million operations a token. The passes over h have next to none, but each carries
    the (t, 3072) hidden layer through the caches.
    """
    torch.addmm(b1, x, w1, out=z)
    gelu.composed(z, h, tanh_form)
    torch.addmm(b2, h, w2, out=y)


def mlp_forward_compiled(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, z: Tensor, h: Tensor, y: Tensor, tanh_form: bool
) -> None:
    """The same two products, with all of GELU compiled into one loop between them.

    torch.compile leaves products to BLAS too, so only the part between them is compiled here: gelu's `compiled` reads z
    once and writes h once. At 128 tokens of GPT-2 small's sizes that takes 19 ms instead of 26 on one core (float32,
    AMD Zen 4). The products' time remains. The next step would be GELU as the first product's epilogue, while its
    results are in registers; torch does not do that here.
    """
    torch.addmm(b1, x, w1, out=z)
    if z.numel():
        gelu.compiled(z, h, tanh_form)
    torch.addmm(b2, h, w2, out=y)


def mlp_forward_reduced(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, z: Tensor, h: Tensor, y: Tensor, tanh_form: bool
) -> None:
    """Both products on the reduced dtype, as oneDNN has them; GELU in float32 between, on a z that is rounded already.

    torch's own gelu loses digits in its tails, where a sum cancels, so GELU is the chain of passes of `eager` here, on
    float32 copies of the hidden layer.
    """
    torch.addmm(b1, x, w1, out=z)
    wide = z.float()
    gelu.composed(wide, hidden := torch.empty_like(wide), tanh_form)
    h.copy_(hidden)
    torch.addmm(b2, h, w2, out=y)


def _gradients(
    gelu_backward: Callable[..., None],
    dy: Tensor, x: Tensor, w1: Tensor, w2: Tensor, z: Tensor, h: Tensor,
    dx: Tensor, dw1: Tensor, db1: Tensor, dw2: Tensor, db2: Tensor, tanh_form: bool,
) -> None:  # fmt: skip
    """The chain rule from the output back, one line a gradient."""
    torch.mm(h.t(), dy, out=dw2)
    torch.sum(dy, dim=0, out=db2)
    dh, dz = z.new_empty(z.shape), z.new_empty(z.shape)
    torch.mm(dy, w2.t(), out=dh)
    if z.numel():
        gelu_backward(z, dh, dz, tanh_form)
    torch.mm(x.t(), dz, out=dw1)
    torch.sum(dz, dim=0, out=db1)
    torch.mm(dz, w1.t(), out=dx)


def mlp_backward_eager(*args: Any) -> None:
    """Four products and two sums over the tokens, with GELU's gradient as a chain of passes between them.

    A product with a transposed matrix copies nothing: BLAS takes column-major operands, and a transposed view is one.
    Twice the forward pass's arithmetic, nearly all of it in BLAS. The chain between (gelu_backward's `composed`) makes
    nineteen passes over arrays of the hidden layer's size in the tanh form. Each call allocates scratch for dh, dz and
    three more arrays of that size.
    """
    _gradients(gelu.gelu_backward_composed, *args)


def mlp_backward_compiled(*args: Any) -> None:
    """The same products and sums, with GELU's gradient compiled into one loop: z and dh in, dz out.

    gelu_backward's `compiled` reads two arrays and writes one; the chain makes nineteen passes. The only scratch is dh
    and dz. The products' time remains, as in the forward pass.
    """
    _gradients(gelu.gelu_backward_compiled, *args)


RUNGS = {
    "mlp_forward": [
        TORCH.rung(mlp_forward_eager, "eager", **PRODUCT),
        TORCH.rung(mlp_forward_compiled, "compiled", **COMPILED_PRODUCT),
        TORCH.rung(mlp_forward_reduced, "reduced", dtypes=HALVES, **REDUCED_PRODUCT),
    ],
    "mlp_backward": [
        TORCH.rung(mlp_backward_eager, "eager", **PRODUCT),
        TORCH.rung(mlp_backward_compiled, "compiled", **COMPILED_PRODUCT),
    ],
}
