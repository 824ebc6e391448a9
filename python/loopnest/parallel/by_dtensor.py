"""The tensor-parallel MLP by torch's own library: DTensor and parallelize_module.

A plan names each layer of a `Sequential(Linear, GELU, Linear)`: ColwiseParallel for the first, RowwiseParallel for the
second. Each parameter becomes a DTensor, a tensor that knows how it lies on the ranks, and each operation of torch has
a rule for DTensors, which says what collectives it needs. tensor_parallel.py writes the same by hand.

torch's Linear keeps its weight as (out, in), so "columns" here are rows of its weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array
from .ranks import Ranks

NAMES = {"w1": "0.weight", "b1": "0.bias", "w2": "2.weight", "b2": "2.bias"}
"""The parameters' names in the Sequential."""


def sequential(w1: Array, b1: Array, w2: Array, b2: Array, approximate: str = "tanh") -> Any:
    """`torch.nn.Sequential(Linear, GELU, Linear)` with copies of the weights (d, h) and (h, e)."""
    import torch

    (d, h), e = w1.shape, len(b2)
    dtype = torch.from_numpy(b1).dtype
    layers = torch.nn.Linear(d, h, dtype=dtype), torch.nn.GELU(approximate), torch.nn.Linear(h, e, dtype=dtype)
    model = torch.nn.Sequential(*layers)
    weights = zip(NAMES.values(), (w1.T, b1, w2.T, b2), strict=True)
    model.load_state_dict({name: torch.from_numpy(np.array(array, order="C")) for name, array in weights})
    return model


def parallelized(model: Any, ranks: Ranks) -> Any:
    """Split a `torch.nn.Sequential(Linear, GELU, Linear)` among the ranks in place, and return it.

    Between the layers there is a DTensor (use_local_output=False), so the number of ranks need not divide the number of
    hidden units. Raises TypeError for a module with a forward of its own, such as `loopnest.torch.MLP`: DTensor has no
    rules for custom operators.
    """
    import torch

    if type(model).forward is not torch.nn.Sequential.forward:
        raise TypeError(
            f"model is a {type(model).__name__} with a forward of its own, for whose operators DTensor has no rules; "
            f"expected a torch.nn.Sequential(Linear, GELU, Linear): load its state dict into one, or pass its weights "
            f"to loopnest.parallel.TensorParallelMLP"
        )
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    mesh = init_device_mesh(ranks.device.type, (ranks.size,))
    plan = {"0": ColwiseParallel(use_local_output=False), "2": RowwiseParallel()}
    return parallelize_module(model.to(ranks.device), mesh, plan)


class DTensorMLP:
    """The MLP by DTensor, with the methods of `TensorParallelMLP`."""

    def __init__(self, w1: Array, b1: Array, w2: Array, b2: Array, *, ranks: Ranks, approximate: str = "tanh") -> None:
        self.ranks = ranks
        self.model = parallelized(sequential(w1, b1, w2, b2, approximate), ranks)

    def forward(self, x: Array) -> tuple[Array, Any]:
        import torch

        tensor = torch.from_numpy(x).to(self.ranks.device).requires_grad_()
        y = self.model(tensor)
        return y.detach().cpu().numpy(), (tensor, y)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Any, Any, Any, Any]:
        import torch

        x, y = cache
        self.model.zero_grad()
        y.backward(torch.from_numpy(dy).to(self.ranks.device))
        dw1, db1, dw2, db2 = (self.model.get_parameter(name).grad for name in NAMES.values())
        return x.grad.cpu().numpy(), dw1, db1, dw2, db2

    def gather(self, parts: dict[str, Any]) -> dict[str, Array]:
        """The whole gradients, as (in, out), from the parts by the names w1, b1, w2 and b2."""
        whole = {name: part.full_tensor().cpu().numpy() for name, part in parts.items()}
        return {name: array.T if array.ndim == 2 else array for name, array in whole.items()}
