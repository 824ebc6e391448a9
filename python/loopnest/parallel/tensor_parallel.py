"""The tensor-parallel MLP: each rank has a part of the hidden units.

    y = gelu(x w1 + b1) w2 + b2

w1 is split by columns and w2 by rows. Column j of h = gelu(x w1 + b1) needs only column j of w1, since gelu acts on
each element alone; so each rank computes its columns of h without the others. h w2 is a sum over j of (column j of h)
(row j of w2): each rank computes its terms, and one all-reduce sums them. Rank 0 adds b2.

Backward, a rank's parts of dh = dy w2ᵀ, dz, dw1, db1 and dw2 need only its own weights; db2 is the same on all ranks.
dx = dz w1ᵀ is again a sum over j: the second all-reduce.

So a pass forward and backward has two all-reduces, of (t, e) and (t, d) elements, and each of N ranks has 1/N of the
weights, of the optimizer's state and of the work. If w1 were split by rows, gelu would wait for a sum, since gelu(a +
b) is not gelu(a) + gelu(b). Shoeybi et al., Megatron-LM (2019), §3.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..nn import Chosen, choose
from .ranks import Ranks, split


class TensorParallelMLP:
    """The transformer's MLP with its hidden units split among the ranks.

    w1, b1       (d, h), (h,) the whole first layer, the same on all ranks: NumPy arrays of float32 or float64, or CPU
                 tensors. This rank's part is copied
    w2, b2       (h, e), (e,) the whole second layer
    ranks        from `parallel.start`
    approximate  GELU's form, "tanh" or "none"
    impl         an id as for `nn.choose`, such as "cpp"; each rank may have its own

    parameters   this rank's w1 (d, n), b1 (n,), w2 (n, e) and the whole b2 (e,), by name, for an `nn.Optimizer`
    hidden       h. If the ranks do not divide it, the first ones have one unit more

    Its methods are collectives: all ranks call them in the same order, with the same x or dy.
    The results are within the contract's bound, which holds for every order of summation.
    Raises ValueError or TypeError, naming the argument, for shapes and dtypes that do not fit.

    >>> import numpy as np
    >>> from loopnest import parallel
    >>> w1, b1, w2, b2 = np.ones((2, 8)), np.zeros(8), np.ones((8, 3)), np.ones(3)
    >>> if parallel.why_unavailable() is None:
    ...     with parallel.start() as ranks:  # one rank, where torchrun has not started this process
    ...         mlp = parallel.TensorParallelMLP(w1, b1, w2, b2, ranks=ranks)
    ...         y, cache = mlp.forward(np.ones((4, 2)))
    ...         dx, dw1, db1, dw2, db2 = mlp.backward(np.ones_like(y), cache)
    ...     assert y.shape == (4, 3) and dx.shape == (4, 2)
    """

    def __init__(
        self,
        w1: Any,
        b1: Any,
        w2: Any,
        b2: Any,
        *,
        ranks: Ranks,
        approximate: str = "tanh",
        impl: str | Chosen | None = None,
    ) -> None:
        shapes = _shapes(w1=w1, b1=b1, w2=w2, b2=b2)
        ranks.agree("the shapes of the weights", shapes, "give all ranks the same weights")
        self.ranks = ranks
        self.approximate = approximate
        self.chosen = choose(impl, ("mlp_forward", "mlp_backward"))
        self.hidden = len(b1)
        part = split(self.hidden, ranks.size)[ranks.rank]
        parts = {"w1": w1[:, part], "b1": b1[part], "w2": w2[part], "b2": b2}
        self.parameters = {name: _copy(array) for name, array in parts.items()}

    def forward(self, x: Any) -> tuple[Any, Any]:
        """y (t, e) for x (t, d), the same on all ranks, and the cache for `backward`: this rank's z and h."""
        p = self.parameters
        b2 = p["b2"] if self.ranks.rank == 0 else 0 * p["b2"]
        y, cache = self.chosen["mlp_forward"](x, p["w1"], p["b1"], p["w2"], b2, approximate=self.approximate)
        self.ranks.sum(y, "y")
        return y, cache

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any, Any, Any]:
        """dx (t, d) and db2, the same on all ranks, and this rank's dw1 (d, n), db1 (n,) and dw2 (n, e), for dy (t, e).

        Returned in the order of mlp_backward: (dx, dw1, db1, dw2, db2).
        """
        dx, dw1, db1, dw2, db2 = self.chosen["mlp_backward"](dy, cache)
        self.ranks.sum(dx, "dx")
        return dx, dw1, db1, dw2, db2

    def gather(self, parts: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The whole arrays on all ranks, bit for bit, for a checkpoint that any number of ranks can resume.

        parts  this rank's parts by the names w1, b1, w2 and b2: gradients or an optimizer's state; None: the parameters
        """
        parts = self.parameters if parts is None else parts
        axes = {"w1": 1, "b1": 0, "w2": 0}
        return {
            name: self.ranks.gather(part, axes[name], name) if name in axes else _copy(part)
            for name, part in parts.items()
        }


def _shapes(**arrays: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of w1, b1, w2 and b2. Raises ValueError if they do not fit together."""
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    for name, axes in (("w1", 2), ("b1", 1), ("w2", 2), ("b2", 1)):
        if len(shapes[name]) != axes:
            raise ValueError(f"{name} has shape {shapes[name]}, expected {axes} {'axis' if axes == 1 else 'axes'}")
    (d, h), e = shapes["w1"], shapes["w2"][1]
    for name, expected, other in (("b1", (h,), f"w1's {(d, h)}"), ("w2", (h, e), "w1"), ("b2", (e,), "w2")):
        if shapes[name] != expected:
            raise ValueError(f"{name} has shape {shapes[name]}, expected {expected} to match {other}")
    return shapes


def _copy(array: Any) -> Any:
    """A copy in C order, of the array's kind."""
    return np.array(array, order="C") if isinstance(array, np.ndarray) else array.detach().clone().contiguous()
