"""The transformer's MLP as a module of torch."""

import warnings
from typing import Any

import numpy as np
import torch

from ..arrays import FLOAT_NAMES, HALVES, Array, Call
from ..backends.prepacked import Prepacked
from ..backends.torch import Tensor
from ..operations.gelu import gelu
from ..operations.matmul import prepack as prepacked
from .checks import check_approximate, has_global_hooks, has_hooks, has_own_meaning
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
    prepack      whether calls that need no gradient, on the CPU, keep the weights packed (ln.prepack), in a second copy
                 of them; bfloat16 and float16 are computed then, too. A weight is packed again once torch has counted
                 a change of it, which it does not do for changes through `weight.data`
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
        prepack: bool = False,
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
        self.fallback, self.prepack = fallback, prepack
        self._packed: dict[str, tuple[Any, Prepacked]] = {}  # by layer: what the weight was, and its packed copy

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
        if self.prepack and _needs_no_gradient(x, first, second):
            return self._by_packed_weights(x, first, gelu.approximate, second)
        return mlp(x, first.weight, first.bias, second.weight, second.bias, gelu.approximate, fallback=self.fallback)

    def _by_packed_weights(self, x: Tensor, first: Any, approximate: str, second: Any) -> Tensor:
        """The three layers on packed weights. The hidden features are float32, or float64, until GELU has been taken,
        and are then rounded to the weights' dtype."""
        rows = x.detach().reshape(-1, x.shape[-1])
        call = self._weight("0", first).call("MLP", x=rows)
        hidden = _layer(call.inputs[0], self._weight("0", first), first.bias)
        hidden = gelu(hidden, approximate=approximate).astype(call.dtype, copy=False)
        y = _layer(hidden, self._weight("2", second), second.bias).astype(call.dtype, copy=False)
        result: Tensor = call.result(y)
        return result.reshape(*x.shape[:-1], y.shape[-1])

    def _weight(self, name: str, layer: Any) -> Prepacked:
        weight = layer.weight
        is_now = weight.data_ptr(), weight._version, weight.dtype, weight.shape
        if name not in self._packed or self._packed[name][0] != is_now:
            self._packed[name] = is_now, prepacked(weight.detach().T)
        return self._packed[name][1]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_packed": {}}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}=True" for name in ("fallback", "prepack") if getattr(self, name))


def _needs_no_gradient(x: Any, *layers: Any) -> bool:
    """Whether packed weights serve a call: it records no graph, and all is plain and on the CPU."""
    tensors = [x, *(tensor for layer in layers for tensor in (layer.weight, layer.bias) if tensor is not None)]
    if torch.compiler.is_compiling() or not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        return False
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return False
    plain = all(t.is_cpu and t.is_floating_point() and not t.is_nested and not t.is_inference() for t in tensors[1:])
    return plain and x.is_cpu and x.ndim > 0 and not has_own_meaning(*tensors)


def _layer(x: Array, weight: Prepacked, bias: Any) -> Array:
    """x @ weight + bias, in float32, or in float64."""
    sums = np.empty((len(x), weight.shape[1]), weight.dtype if weight.dtype.name in FLOAT_NAMES else np.float32)
    weight.multiply(x, sums)
    if bias is not None:
        (b,) = Call("MLP", reduced=HALVES, bias=bias.detach()).inputs
        sums += b
    return sums
