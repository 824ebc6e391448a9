"""The transformer's MLP as a module of torch."""

import warnings
from typing import Any

import torch

from ..backends.torch import Tensor
from .checks import check_approximate, has_global_hooks, has_hooks
from .functional import mlp


class MLP(torch.nn.Sequential):
    """nn.Sequential(Linear(d, h), GELU(), Linear(h, d)), computed as one operation.

    It is an nn.Sequential with the same parameters under the same names, drawn from the same random numbers, so
    `mlp.load_state_dict(stack.state_dict())` and back just work; only its forward differs. Weights stay as torch stores
    them, (out, in): the kernels read them through exchanged strides, and nothing is copied.

    d, h         features of the input and of the hidden layer
    e            features of the output; None: d
    approximate  GELU's form, "none" or "tanh"
    bias         whether the layers have biases
    fallback     whether torch's own kernels take other dtypes and devices, instead of an error
    device, dtype  of the parameters, as for nn.Linear

    forward takes (…, d), returns (…, e), and raises the errors of `loopnest.torch.mlp`. It does not call the layers,
    unless one of them has hooks: then the three run as in an nn.Sequential, by torch's kernels, with a warning. Under
    hooks on all modules, such as FlopCounterMode's, they do too, without a warning. Weights of a tensor subclass with a
    __torch_function__ or __torch_dispatch__ of its own go to torch's own functions.

    >>> import torch, loopnest.torch
    >>> stack = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.GELU(), torch.nn.Linear(64, 16))
    >>> mlp = loopnest.torch.MLP(16, 64)
    >>> mlp.load_state_dict(stack.state_dict())
    <All keys matched successfully>
    >>> x = torch.randn(2, 5, 16)
    >>> torch.allclose(mlp(x), stack(x), atol=1e-5)
    True
    """

    def __init__(
        self,
        d: int,
        h: int,
        e: int | None = None,
        *,
        approximate: str = "none",
        bias: bool = True,
        fallback: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        check_approximate("MLP", approximate)
        for name, size in (("d", d), ("h", h), ("e", d if e is None else e)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(f"MLP: {name} is {size!r}, expected a number of features, 1 or more")
        super().__init__(
            torch.nn.Linear(d, h, bias=bias, device=device, dtype=dtype),
            torch.nn.GELU(approximate=approximate),
            torch.nn.Linear(h, d if e is None else e, bias=bias, device=device, dtype=dtype),
        )
        self.fallback = fallback

    def forward(self, x: Tensor) -> Tensor:
        first, gelu, second = self._modules.values()
        for name, layer in (("0", first), ("2", second)):
            if not isinstance(layer, torch.nn.Linear):
                raise TypeError(
                    f"MLP: layer {name} is a {type(layer).__name__}, expected a torch.nn.Linear; "
                    f"torch.nn.Sequential(*mlp) runs any layers"
                )
        if has_hooks(first) or has_hooks(gelu) or has_hooks(second):
            warnings.warn(
                "MLP: a layer has hooks, so the layers are called one by one, with torch's kernels", stacklevel=2
            )
            return super().forward(x)
        if has_global_hooks():
            return super().forward(x)
        return mlp(x, first.weight, first.bias, second.weight, second.bias, gelu.approximate, fallback=self.fallback)

    def extra_repr(self) -> str:
        return "fallback=True" if self.fallback else ""
