"""The tensor-parallel MLP as torch's own library writes it: DTensor and parallelize_module.

A plan names each layer of a `Sequential(Linear, GELU, Linear)`: ColwiseParallel for the first one, RowwiseParallel for
the second. Each parameter becomes a DTensor, a tensor that knows how it lies on the ranks, and each operation of torch
has a rule by which it works on DTensors: which collectives it needs. Compare tensor_parallel.py, which says the same by
hand.

torch's Linear keeps its weight as (out, in), so what is "by columns" here are rows of its weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array
from .ranks import Ranks


def sequential(w1: Array, b1: Array, w2: Array, b2: Array, approximate: str = "tanh") -> Any:
    """`torch.nn.Sequential(Linear, GELU, Linear)` with copies of these weights, (d, h) and (h, e)."""
    import torch

    (d, h), e = w1.shape, len(b2)
    dtype = torch.from_numpy(b1).dtype
    layers = torch.nn.Linear(d, h, dtype=dtype), torch.nn.GELU(approximate), torch.nn.Linear(h, e, dtype=dtype)
    model = torch.nn.Sequential(*layers)
    weights = {"0.weight": w1.T, "0.bias": b1, "2.weight": w2.T, "2.bias": b2}
    model.load_state_dict({name: torch.from_numpy(np.array(array, order="C")) for name, array in weights.items()})
    return model


def parallelized(model: Any, ranks: Ranks) -> Any:
    """A `torch.nn.Sequential(Linear, GELU, Linear)`, shared out among the ranks in place, and returned.

    Its own layers must do the work: DTensor has no rules for custom operators, such as `loopnest.torch.MLP` calls, and
    a TypeError says so. Between the layers stays a DTensor (use_local_output=False), so that the ranks need not divide
    the number of hidden units.
    """
    import torch

    if type(model).forward is not torch.nn.Sequential.forward:
        raise TypeError(
            f"model is a {type(model).__name__}, whose forward is not its layers' own, and DTensor has no rules for "
            f"other operators: load its state dict into a torch.nn.Sequential(Linear, GELU, Linear), or give its "
            f"weights to loopnest.parallel.TensorParallelMLP"
        )
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    mesh = init_device_mesh(ranks.device.type, (ranks.size,))
    plan = {"0": ColwiseParallel(use_local_output=False), "2": RowwiseParallel()}
    return parallelize_module(model.to(ranks.device), mesh, plan)


class DTensorMLP:
    """The MLP by DTensor, with the calls that `TensorParallelMLP` has, so that the two can be held side by side."""

    def __init__(self, w1: Array, b1: Array, w2: Array, b2: Array, *, ranks: Ranks, approximate: str = "tanh") -> None:
        self.ranks = ranks
        self.model = parallelized(sequential(w1, b1, w2, b2, approximate), ranks)

    def forward(self, x: Array) -> tuple[Array, Any]:
        import torch

        given = torch.from_numpy(x).to(self.ranks.device).requires_grad_()
        y = self.model(given)
        return y.detach().cpu().numpy(), (given, y)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Any, Any, Any, Any]:
        import torch

        given, y = cache
        self.model.zero_grad()
        y.backward(torch.from_numpy(dy).to(self.ranks.device))
        gradients = {name: parameter.grad for name, parameter in self.model.named_parameters()}
        names = ("0.weight", "0.bias", "2.weight", "2.bias")
        return given.grad.cpu().numpy(), *(gradients[name] for name in names)

    def gather(self, parts: dict[str, Any]) -> dict[str, Array]:
        """The whole gradients, as (in, out), of the parts by the names w1, b1, w2 and b2."""
        whole = {name: part.full_tensor().cpu().numpy() for name, part in parts.items()}
        return {name: array.T if array.ndim == 2 else array for name, array in whole.items()}
