"""The operators' checks. An error names the argument, what it was, what was expected, and the fix.

Each operator has one function here. It first checks everything quickly, in a microsecond, and looks for the reason only
if something is wrong.
"""

from typing import Any

import torch
from torch.utils._device import DeviceContext

from ..arrays import overrides_functions
from ..backends.torch import Tensor

FLOATS = (torch.float32, torch.float64)


def check_matmul(a: Tensor, b: Tensor) -> None:
    _check_alike("matmul", a=a, b=b)
    for name, tensor in (("a", a), ("b", b)):
        if tensor.ndim < 2:
            raise ValueError(f"matmul: {name} has shape {tuple(tensor.shape)}, expected two axes or more")
    if a.shape[-1] != b.shape[-2]:
        expected = [*map(str, b.shape[:-2]), str(a.shape[-1]), str(b.shape[-1])]
        raise ValueError(
            f"matmul: b has shape {tuple(b.shape)}, expected ({', '.join(expected)}) to match a's {tuple(a.shape)}"
        )


def check_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    _check_alike("linear", x=x, weight=weight, bias=bias)
    _check_layer("linear", {"x": x, "weight": weight, "bias": bias})


def check_elementwise(operator: str, approximate: str, **tensors: Tensor) -> None:
    _check_alike(operator, **tensors)
    check_approximate(operator, approximate)
    (first, shape), *others = ((name, tensor.shape) for name, tensor in tensors.items())
    for name, other in others:
        if other != shape:
            raise ValueError(f"{operator}: {name} has shape {tuple(other)}, expected {tuple(shape)} to match {first}")


def check_mlp(
    x: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, approximate: str
) -> None:
    _check_alike("mlp", x=x, weight1=weight1, bias1=bias1, weight2=weight2, bias2=bias2)
    _check_layer("mlp", {"x": x, "weight1": weight1, "bias1": bias1})
    if weight2.ndim != 2 or weight2.shape[1] != weight1.shape[0]:
        raise ValueError(
            f"mlp: weight2 has shape {tuple(weight2.shape)}, expected (…, {weight1.shape[0]}) to match weight1's "
            f"{tuple(weight1.shape)}; both are (out, in), and a weight of (in, out) is passed as weight2.t()"
        )
    _check_bias("mlp", "bias2", bias2, "weight2", weight2)
    check_approximate("mlp", approximate)


def _check_layer(operator: str, layer: dict[str, Any]) -> None:
    """`layer` has the names and values of x, the weight and the bias."""
    (x_name, x), (name, weight), (bias_name, bias) = layer.items()
    if weight.ndim != 2:
        raise ValueError(f"{operator}: {name} has shape {tuple(weight.shape)}, expected two axes, (out, in)")
    if x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"{operator}: {x_name} has shape {tuple(x.shape)}, expected (…, {weight.shape[1]}) to match {name}'s "
            f"{tuple(weight.shape)}, (out, in); a weight of (in, out) is passed as {name}.t()"
        )
    _check_bias(operator, bias_name, bias, name, weight)


def _check_bias(operator: str, bias_name: str, bias: Tensor | None, name: str, weight: Tensor) -> None:
    if bias is not None and (bias.ndim != 1 or bias.shape[0] != weight.shape[0]):
        raise ValueError(
            f"{operator}: {bias_name} has shape {tuple(bias.shape)}, expected ({weight.shape[0]},) to match {name}'s "
            f"{tuple(weight.shape)}, (out, in)"
        )


def check_approximate(operator: str, approximate: str) -> None:
    if approximate not in ("none", "tanh"):
        raise ValueError(f"{operator}: approximate is {approximate!r}, expected 'none' or 'tanh'")


def _check_alike(operator: str, **tensors: Tensor | None) -> None:
    """All tensors have one dtype, float32 or float64, and are on the CPU."""
    dtype = None
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if dtype is None:
            dtype, first = tensor.dtype, name
        if tensor.dtype is not dtype or dtype not in FLOATS or not _here(tensor):
            _refuse(operator, name, tensor, first, dtype)


def _here(tensor: Tensor) -> bool:
    """Whether a tensor is on the CPU, or a meta tensor, with plain strides."""
    return (tensor.is_cpu or tensor.is_meta) and tensor.layout is torch.strided


def _refuse(operator: str, name: str, tensor: Tensor, first: str, dtype: Any) -> None:
    where, fallback = f"{operator}: {name}", "or pass fallback=True for torch's own kernel"
    if tensor.layout is not torch.strided:
        raise ValueError(
            f"{where} has the layout {tensor.layout}, expected torch.strided; pass {name}.to_dense(), {fallback}"
        )
    if not _here(tensor):
        raise ValueError(f"{where} is on the device {tensor.device}, expected cpu; pass {name}.cpu(), {fallback}")
    if tensor.dtype not in FLOATS:
        raise TypeError(
            f"{where} has dtype {tensor.dtype}, expected torch.float32 or torch.float64; convert it with "
            f"{name}.float(), {fallback}"
        )
    raise TypeError(
        f"{where} has dtype {tensor.dtype}, expected {dtype} to match {first}; convert one of them, as in "
        f"{name}.to({dtype})"
    )


def runs_here(*tensors: Tensor | None) -> bool:
    """Whether the operators take tensors of these dtypes and devices; `fallback` asks before it calls."""
    present = [tensor for tensor in tensors if tensor is not None]
    alike = len({tensor.dtype for tensor in present}) == 1 and present[0].dtype in FLOATS
    return alike and all(_here(tensor) and not tensor.is_nested for tensor in present)


def has_own_meaning(*tensors: Tensor | None) -> bool:
    """Whether a tensor is of a subclass that gives torch's functions another meaning: a quantized weight, for example.

    Kernels would read it as plain numbers. Its __torch_function__ or __torch_dispatch__ knows torch's own functions.
    """
    return any(type(tensor) not in _PLAIN and _overrides(type(tensor)) for tensor in tensors)


_PLAIN = (torch.Tensor, torch.nn.Parameter, type(None))


def _overrides(kind: Any) -> bool:
    if kind.__module__.startswith("torch._subclasses"):  # torch traces with these, and the operators take them
        return False
    return overrides_functions(torch.Tensor, kind)


def has_mode() -> bool:
    """Whether a torch.overrides.TorchFunctionMode is active, other than the default device's."""
    count = torch._C._len_torch_function_stack()
    modes = (torch._C._get_function_stack_at(i) for i in range(count))
    return any(not isinstance(mode, DeviceContext) for mode in modes)


def has_global_hooks() -> bool:
    """Whether hooks on all modules are registered, as FlopCounterMode's are: they want to see each layer's call."""
    hooks = torch.nn.modules.module
    return bool(
        hooks._global_forward_hooks
        or hooks._global_forward_pre_hooks
        or hooks._global_backward_hooks
        or hooks._global_backward_pre_hooks
    )


def has_hooks(module: Any) -> bool:
    """Whether a module's call does more than its class's forward."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in module.__dict__
    )
