"""Matrix product: c = a @ b."""

from typing import Any

from ...backends.prepacked import Prepacked
from ...operation import Operation
from .contract import CONTRACT
from .prepack import prepack_for

matmul = Operation("matmul", __name__, CONTRACT)


def prepack(b: Any, *, impl: str | None = None) -> Prepacked:
    """Weights that are packed once: `matmul` and `linear` take the result wherever they take the matrix.

    b      (k, n) float32, float64, bfloat16, float16 or int8, of any strides
    impl   the id of a C++ implementation that reads packed matrices, such as "cpp.upcast"; the fastest where it is None

    The result has b's shape and dtype, a copy of its elements in the layout in which the implementation reads them,
    and .unpack(), which gives b back, bit for bit. Products with few rows gain most, as a decoder's, which makes one
    token at a time. The layout belongs to an ISA level: on a machine of another kind a pickled one raises ValueError or
    UnavailableError when it is used, and .unpack() still works.

    Raises ValueError or TypeError for an argument that does not fit.

    >>> import numpy as np, loopnest as ln
    >>> w = ln.prepack(np.ones((3, 4), np.float32))
    >>> ln.matmul(np.ones((2, 3), np.float32), w)[0]
    array([3., 3., 3., 3.], dtype=float32)
    """
    return prepack_for(matmul, b, impl)
